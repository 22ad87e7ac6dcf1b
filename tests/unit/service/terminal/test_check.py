"""What `refundry check` prints of what it found."""

import io
from datetime import UTC, datetime

from rich.console import Console

from service.terminal.check import print_noticed, print_results
from service.terminal.invariant_texts import INVARIANT_TEXTS, NOTICE_TEXTS
from workflows.flows.check import EXAMPLES_MAX, InvariantResult, Noticed


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def test_what_holds_is_a_table_and_a_sentence() -> None:
    printed, results = console(), [InvariantResult(name=name, looked_at=1_000) for name in INVARIANT_TEXTS]

    print_results(printed, results, seconds=1.25)

    assert f"All {len(results)} invariants hold (1.2 s)." in said(printed)
    assert all(name in said(printed) for name in INVARIANT_TEXTS)
    assert "1,000" in said(printed)


def test_what_is_broken_is_shown_by_examples_and_those_left_out_are_counted() -> None:
    name, other = list(INVARIANT_TEXTS)[:2]
    broken = InvariantResult(name=name, looked_at=9_000)
    for number in range(EXAMPLES_MAX + 1_234):
        broken.violated(f"pay_{number} name=\x1b[2J[red]")
    printed = console()

    print_results(printed, [broken, InvariantResult(name=other, looked_at=1)], seconds=0)

    told = said(printed)
    assert "1 of 2 invariants are broken" in told
    assert "and 1,234 more" in told
    assert f"pay_{EXAMPLES_MAX - 1} name=\N{REPLACEMENT CHARACTER}[2J[red]" in told
    assert f"pay_{EXAMPLES_MAX} " not in told
    assert "\x1b" not in told


def test_only_what_waits_for_somebody_is_noticed() -> None:
    names, printed = list(NOTICE_TEXTS), console()
    since = datetime(2026, 11, 2, 2, 1, tzinfo=UTC)
    noticed = [Noticed(name=names[0], count=1_200, oldest_at=since), Noticed(name=names[1], count=0, oldest_at=None)]

    print_noticed(printed, noticed)

    assert said(printed) == f"{names[0]}: 1,200 {NOTICE_TEXTS[names[0]]}, the oldest since 2026-11-02 02:01 UTC.\n"
