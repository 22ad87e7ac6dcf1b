"""One file per family of commands; each function takes values and returns the Change that follows."""
