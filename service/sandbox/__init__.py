"""The sandbox rail: its own little HTTP server and ledger, with faults on demand."""
