"""What the service costs, measured on this machine beside PostgreSQL alone: `make bench`."""
