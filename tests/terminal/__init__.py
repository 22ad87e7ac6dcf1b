"""The terminal's commands against a service of our own making."""
