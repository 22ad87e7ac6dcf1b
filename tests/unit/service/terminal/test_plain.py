"""Text of any origin at a terminal: nothing that a terminal obeys, nothing that is read as markup, one line."""

import io

from rich.console import Console

from service.terminal.plain import plain, say


def test_what_a_terminal_would_obey_is_replaced() -> None:
    for sign in "\x1b\r\n\t\x00\x7f\x9b\u202e\u200b\ufeff\ud800":
        assert plain(f"a{sign}b") == "a\N{REPLACEMENT CHARACTER}b", ascii(sign)
    assert plain("月饼 é 🥮 ¥1.00") == "月饼 é 🥮 ¥1.00"


def test_a_sentence_is_one_line_with_its_own_brackets_and_colons() -> None:
    console = Console(file=io.StringIO(), width=20, force_terminal=True, color_system=None)
    sentence = "[bold red]a[/] order:100:x " + "long " * 20

    say(console, sentence)

    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == sentence + "\n"
