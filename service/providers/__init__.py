"""The Provider port made real, a file per rail."""
