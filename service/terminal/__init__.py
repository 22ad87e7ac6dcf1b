"""What the terminal does: one module a command that is more than a line."""
