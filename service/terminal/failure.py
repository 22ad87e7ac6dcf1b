"""What went wrong, in words for the person at the terminal."""


class UserError(Exception):
    """Ends the command with exit status 1 and its text, without a traceback. The text says what to do."""
