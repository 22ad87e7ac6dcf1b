"""Who is calling: bearer tokens, the keys that check them, and the keys that a machine makes for itself."""
