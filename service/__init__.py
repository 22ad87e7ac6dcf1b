"""How people and machines reach the workflows. Imports them, never the reverse."""

VERSION = "0.1.0"  # pyproject takes it from here
