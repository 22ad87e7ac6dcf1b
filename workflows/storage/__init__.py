"""The tables, and the statements over them."""
