"""Text of any origin, said at the terminal as it stands."""

from rich.console import Console


def plain(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def say(console: Console, sentence: str, style: str = "") -> None:
    """One sentence, with no markup read into it, and no line broken in it."""
    console.print(plain(sentence), style=style, markup=False, emoji=False, highlight=False, soft_wrap=True)
