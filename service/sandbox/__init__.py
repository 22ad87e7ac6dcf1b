"""The sandbox rail: its own little HTTP server and book, with faults on demand."""
