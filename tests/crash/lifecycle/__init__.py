"""A payment's life in any order, beside an auditor who knows only what was promised."""
