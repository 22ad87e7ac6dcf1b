"""Records, their export and its verification."""
