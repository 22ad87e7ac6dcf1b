"""The guided tour: `python -m service.terminal.demo`."""
