"""Policies: what they say, how they are written down, what they decide, and what can be told about them before they bind."""
