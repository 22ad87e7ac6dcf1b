"""What the database itself must keep."""
