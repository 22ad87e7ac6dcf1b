"""Use cases that are more than load, decide, apply."""
