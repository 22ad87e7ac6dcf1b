"""Every page for people."""
