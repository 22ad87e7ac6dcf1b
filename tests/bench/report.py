"""What was measured, as tables for a person and as JSON for comparison."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.bench.client import Measured
from tests.bench.exports import Exported
from tests.bench.pgbench import Ran
from tests.bench.whole import Whole

_MICRO = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One number of callers: the service, and pgbench right after it. CPU in seconds."""

    callers: int
    service: Measured
    api: float
    postgres: float
    pgbench: Ran | None
    pgbench_client: float
    pgbench_postgres: float

    @property
    def rate(self) -> float:
        return self.service.created / self.service.seconds


def print_rounds(console: Console, rounds: list[Round]) -> None:
    table = _table(
        "POST /v1/payments/{id}/cancellations, and pgbench with the same two statements (one API process, fsync on)",
        ("callers", "who", "per s", "p50 ms", "p95 ms", "p99 ms", "CPU µs Python", "CPU µs PostgreSQL", "CPU µs client", "of pgbench"),
    )
    for one in rounds:
        done, created = one.service, one.service.created or 1
        table.add_row(
            str(one.callers),
            "service",
            f"{one.rate:,.0f}",
            *(f"{value:.1f}" for value in (done.p50_ms, done.p95_ms, done.p99_ms)),
            *(f"{spent * _MICRO / created:,.0f}" for spent in (one.api, one.postgres, done.cpu_seconds)),
            f"{one.rate / one.pgbench.per_second:.0%}" if one.pgbench else "-",
        )
        if one.pgbench is not None:
            ran = one.pgbench
            spent = (f"{spent * _MICRO / ran.transactions:,.0f}" for spent in (one.pgbench_postgres, one.pgbench_client))
            table.add_row("", "pgbench", f"{ran.per_second:,.0f}", f"{ran.latency_ms:.1f} avg", "", "", "-", *spent, "")
        table.add_section()
    console.print(table)
    for one in rounds:
        if one.service.created != sum(one.service.statuses.values()):
            console.print(f"{one.callers} callers also got: {one.service.statuses}", style="red")


def print_exports(console: Console, exports: list[Exported]) -> None:
    table = _table(
        "Export of every record (NDJSON, signed trailer)",
        ("way", "records", "MB", "s", "records/s", "CPU µs Python", "CPU µs PostgreSQL", "of COPY"),
    )
    copied = exports[-1].records / exports[-1].seconds
    for one in exports:
        python = "-" if one.python is None else f"{one.python * _MICRO / one.records:.2f}"
        table.add_row(
            one.way,
            f"{one.records:,}",
            f"{one.bytes / 1e6:.1f}",
            f"{one.seconds:.2f}",
            f"{one.records / one.seconds:,.0f}",
            python,
            f"{one.postgres * _MICRO / one.records:.2f}",
            f"{one.records / one.seconds / copied:.0%}",
        )
    console.print(table)


def print_whole(console: Console, whole: Whole) -> None:
    table = _table("refundry up: one API process, one worker, the sandbox rail", ("what", "measured"))
    table.add_row("ready on a fresh directory", f"{whole.ready_seconds:.2f} s")
    table.add_row("ready again on the same directory", f"{whole.ready_again_seconds:.2f} s")
    table.add_row("requests accepted while refunds run", f"{whole.refunds / whole.requested_seconds:,.0f}/s")
    table.add_row("refunds requested, paid and confirmed, end to end", f"{whole.refunds / whole.finished_seconds:,.0f}/s")
    console.print(table)


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", padding=(0, 1))
    for column in columns:
        table.add_column(column, justify="left" if column in ("who", "way", "what") else "right", no_wrap=True)
    return table
