"""The tables for people, made of figures: rich ones for the terminal, and Markdown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.bench.endpoints import ENDPOINTS
from tests.bench.exports import WAYS
from tests.bench.figures import Figures, rounded
from tests.bench.plan import POLICY_SIZES, RAIL_CONCURRENCY

_RATE = {"per_second": "per s"}
_LATENCIES = {"p50_ms": "p50 ms", "p95_ms": "p95 ms", "p99_ms": "p99 ms"}
_CPU = {"python_us": "CPU µs Python", "postgres_us": "CPU µs PostgreSQL", "client_us": "CPU µs client"}
_BACKGROUND = {"autovacuum_us": "autovacuum µs", "writers_us": "writers µs", "starts_us": "starts µs"}
_SHOWN_NAMES = {"get": "GET /v1/payments/{id}", "eligibility": "GET …/eligibility", "register": "POST /v1/payments"}


@dataclass(frozen=True, slots=True)
class Sheet:
    """`names` columns at the left say what a row is about; all others hold figures."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    names: int = 1


def sheets(figures: Figures) -> list[Sheet]:
    """Those for which something was measured."""
    made = (
        _requests(figures),
        _ratios(figures),
        _endpoints(figures),
        _exports(figures),
        _refunds(figures),
        _deadlines(figures),
        _rails(figures),
        _rules(figures),
        _memory(figures),
        _growth(figures),
    )
    return [sheet for sheet in made if sheet.rows]


def compared(title: str, names: tuple[str, str], both: tuple[Figures, Figures]) -> Sheet:
    """Each figure of two versions with the second in parts of the first."""
    before, after = both
    rows = []
    for name in before.values:
        first, second = before.median(name), after.median(name)
        if first is not None and second is not None:
            rows.append((name, before.shown(name), after.shown(name), f"{second / first:.2f}" if first else "-"))
    return Sheet(title, ("figure", *names, "ratio"), rows)


def print_sheet(console: Console, sheet: Sheet) -> None:
    table = Table(title=sheet.title, title_justify="left", title_style="bold", header_style="bold", padding=(0, 1))
    for position, column in enumerate(sheet.columns):
        table.add_column(column, justify="left" if position < sheet.names else "right")
    for row in sheet.rows:
        table.add_row(*row[: sheet.names], *(cell.replace(" (", "\n(") for cell in row[sheet.names :]))  # the range below the median
    console.print(table)


def markdown(sheet: Sheet) -> str:
    rule = ["---" if position < sheet.names else "---:" for position in range(len(sheet.columns))]
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in (sheet.columns, rule, *sheet.rows)]
    return "\n".join((f"**{sheet.title}**", "", *(f"| {line} |" for line in lines), ""))


def callers_measured(figures: Figures) -> list[int]:
    return sorted({int(name.split(".")[1]) for name in figures.values if name.startswith("cancel.")})


def _requests(figures: Figures) -> Sheet:
    columns = {**_RATE, **_LATENCIES, **_CPU, **_BACKGROUND}
    rows = []
    for callers in callers_measured(figures):
        for who in ("service", "pgbench"):
            if f"cancel.{callers}.{who}.per_second" in figures.values:
                rows.append((str(callers), who, *_cells(figures, f"cancel.{callers}.{who}", columns)))
    title = "POST /v1/payments/{id}/cancellations, and pgbench with the same two statements"
    return Sheet(title, ("callers", "who", *columns.values()), rows, names=2)


def _ratios(figures: Figures) -> Sheet:
    rows = []
    for callers in callers_measured(figures):
        if (found := figures.values.get(f"cancel.{callers}.rate_ratio")) is not None:
            spent = figures.values[f"cancel.{callers}.cpu_ratio"]
            rows.append((str(callers), _percent(found), _percent(spent)))
    return Sheet(
        "The service beside pgbench", ("callers", "of its rate, as measured", "of its requests a CPU second, client taken out"), rows
    )


def _endpoints(figures: Figures) -> Sheet:
    columns = {**_RATE, **_LATENCIES, **_CPU}
    rows = [
        (_SHOWN_NAMES[name], *_cells(figures, f"endpoint.{name}", columns))
        for name in ENDPOINTS
        if f"endpoint.{name}.per_second" in figures.values
    ]
    return Sheet("Reads and registration, 8 callers", ("endpoint", *columns.values()), rows)


def _exports(figures: Figures) -> Sheet:
    columns = {
        "records": "records",
        "mb": "MB",
        "per_second": "records/s",
        "python_us": "CPU µs Python",
        "postgres_us": "CPU µs PostgreSQL",
    }
    copied = figures.median("export.copy.per_second")
    rows = []
    for way, title in WAYS.items():
        if (rate := figures.median(f"export.{way}.per_second")) is not None:
            rows.append((title, *_cells(figures, f"export.{way}", columns), f"{rate / copied:.0%}" if copied else "-"))
    return Sheet("Export of every record (NDJSON, signed trailer)", ("way", *columns.values(), "of COPY"), rows)


def _refunds(figures: Figures) -> Sheet:
    units = {
        "up.fresh.s": "ready on a fresh directory, s",
        "up.again.s": "ready again on the same directory, s",
        "refund.per_second": "refunds executed and confirmed, per s",
        "refund.worker_us": "CPU µs of the worker, a refund",
        "refund.postgres_us": "CPU µs of PostgreSQL, a refund",
        "refund.api_us": "CPU µs of the API, which takes the rail's word",
        "refund.rail_us": "CPU µs of the sandbox rail, a refund",
    }
    return _list("refundry up: one API process, one worker, the sandbox rail", units, figures)


def _deadlines(figures: Figures) -> Sheet:
    due = rounded(figures.median("deadlines.count") or 0)
    units = {
        "deadlines.s": f"seconds until all {due} were decided",
        "deadlines.per_second": "decided per s",
        "deadlines.alone.p50_s": "seconds for a refund, nothing else being due, p50",
        "deadlines.alone.p95_s": "the same, p95",
        "deadlines.beside.p50_s": "seconds for a refund, while they fall due, p50",
        "deadlines.beside.p95_s": "the same, p95",
    }
    return _list(f"{due} hand-offs that fall due together, two workers, 10 refunds a second beside them", units, figures)


def _rails(figures: Figures) -> Sheet:
    units = {
        **{f"rails.{number}.per_second": f"refunds executed per s, {number} at once" for number in RAIL_CONCURRENCY},
        "rails.beside.per_second": f"the same, {RAIL_CONCURRENCY[1]} at once, beside a second rail that answers in 30 s",
        "rails.beside.hanging": "calls that hung at the second rail meanwhile",
        **{
            f"rails.{way}.{name}": f"{text}, {with_what}"
            for way, with_what in (("guarded", "with a circuit breaker"), ("unguarded", "without"))
            for name, text in (
                ("calls", "calls during an outage"),
                ("legs", "refunds that these were spent on"),
                ("per_leg_max", "most calls for one refund"),
                ("resumed_s", "seconds from the rail's return to the next refund"),
            )
        },
    }
    return _list("One worker against rails in memory: log-normal answers, 120 ms on average, p99 380 ms", units, figures)


def _rules(figures: Figures) -> Sheet:
    units = {f"rules.{size}.us": f"CPU µs of a policy of {size} rules, the last of which decides" for size in POLICY_SIZES}
    return _list("A policy's verdict alone, without the request around it", units, figures)


def _memory(figures: Figures) -> Sheet:
    count = rounded(figures.median("memory.requests.count") or 0)
    return _list(
        "Memory of one API process",
        {"memory.before.rss_mb": "RSS before, MB", "memory.after.rss_mb": f"RSS after {count} requests, MB"},
        figures,
    )


def _growth(figures: Figures) -> Sheet:
    columns = {**_RATE, **_LATENCIES, "python_us": "CPU µs Python", "postgres_us": "CPU µs PostgreSQL"}
    sizes = sorted({int(name.split(".")[1]) for name in figures.values if name.startswith("growth.")})
    rows = [(f"{size:,}", *_cells(figures, f"growth.{size}", columns)) for size in sizes]
    return Sheet("Cancellations among so many payments, 8 callers", ("payments", *columns.values()), rows)


def _list(title: str, units: dict[str, str], figures: Figures) -> Sheet:
    return Sheet(title, ("what", "measured"), [(text, figures.shown(name)) for name, text in units.items() if name in figures.values])


def _cells(figures: Figures, prefix: str, columns: dict[str, str]) -> Iterator[str]:
    return (figures.shown(f"{prefix}.{unit}") for unit in columns)


def _percent(values: Sequence[float]) -> str:
    one = Figures({"": list(values)})
    middle, low, high = one.median("") or 0.0, min(values), max(values)
    return f"{middle:.0%}" if len(values) == 1 else f"{middle:.0%} ({low:.0%}–{high:.0%})"
