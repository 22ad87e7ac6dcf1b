"""`python -m service` is `refundry`."""

from service.cli import main

if __name__ == "__main__":
    main()
