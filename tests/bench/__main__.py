"""`make bench`: what the service costs, measured on this machine beside PostgreSQL alone. Leaves nothing behind.

What is measured
  requests   POST /v1/payments/{id}/cancellations, and pgbench with the two statements that the service itself sends for one (recorded while
             it serves one). For 1, 8 and 32 callers, in three rounds.
  endpoints  GET /v1/payments/{id}, GET …/eligibility, POST /v1/payments.
  memory     The resident set of one API process before and after some thousand requests.
  exports    GET /v1/records/export beside a bare COPY of the same records.
  refunds    `refundry up`: how soon it is ready; what a refund costs the worker, the rail, the API and PostgreSQL.
  deadlines  `refundry up` with two workers: ten thousand hand-offs fall due at once, and refunds beside them.
  rails      One worker against a rail in memory that answers in 120 ms on average: refunds per second at 16, 32 and 64 at once, beside a
             rail that hangs for 30 s, and what an outage of 20 s costs, with and without circuit breakers.
  rules      How long a policy of ten rules and one of two hundred take to decide, without a request around it.
  growth     Off unless told: rate and p99 among ten thousand and a million payments.

How
  In turns   Service and pgbench run for a second each, again and again, every other time the other one first. pgbench is one process all
             the while, and is stopped in between: connections and plans stay. How a turn begins (a fifth of it) is left out of the rates.
  CPU        As the operating system accounts it (/proc), in microseconds a request. PostgreSQL's is that of the backends of the service, or
             of pgbench; autovacuum, the writers (checkpointer, background and WAL writer, I/O workers) and connection starts stand apart.
  Two ratios "Of its rate, as measured" is the service's rate beside pgbench's. Where client, API and PostgreSQL share few cores, it also
             says how much the load client and Python take away from PostgreSQL. "Of its requests a CPU second, client taken out" is free of
             that: PostgreSQL's CPU of pgbench's transaction, over Python's and PostgreSQL's of a request. It does not depend on how many
             cores there are, nor on the client, but knows nothing of waiting (fsync, locks): for that, the first one stands.
  Settled    Every table is filled first with copies of one cancelled payment, then vacuumed and analyzed, with a checkpoint; so again
             before each number of callers. A warm-up follows, which no figure contains. Payments are taken in random order with a seed.
  pgbench    Makes its ids by arithmetic in SQL (lpad, format), which costs it some microseconds more than the service pays.
  Figures    Medians of the rounds, with the range in brackets. Other programs on the machine move them: look at the load before.

The interpreter matters: one built without profile-guided optimisation (PGO) is slower by some tenths. The first lines say which it is.
"""

import argparse
import os
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from rich.console import Console

from tests.bench import compare, options, results, run, svg
from tests.bench.figures import Figures
from tests.bench.plan import Reporter
from tests.bench.sheets import Sheet, markdown, print_sheet, sheets


def main() -> int:
    given = options.parse(__doc__ or "")
    console = Console(width=None if os.isatty(1) else 200)
    started, measured_with = time.monotonic(), results.environment()
    for name, value in measured_with.items():
        console.print(f"{name.replace('_', ' ')}: {value}", highlight=False)
    with tempfile.TemporaryDirectory(prefix="refundry-bench-") as directory:
        Path(directory).chmod(0o711)  # where the server has to run as `nobody`, it must get through
        try:
            figures, drawn, tables = _measured(given, Path(directory), Reporter(console))
        except RuntimeError as failure:
            console.print(str(failure), style="red", markup=False)
            return 1
    for table in tables:
        print_sheet(console, table)
    for name, values in figures.values.items():
        if name.endswith(".unexpected") and any(values):
            console.print(f"{name}: {sum(values):.0f} answers, too late on a busy machine, or wrong", style="yellow")
    _write(given, figures, tables, measured_with)
    if given.svg:
        given.svg.write_text(svg.chart(svg.bars(drawn, given.goal)), encoding="utf-8")
    console.print(f"Took {timedelta(seconds=round(time.monotonic() - started))}.", style="dim")
    return 0


def _measured(given: argparse.Namespace, directory: Path, reporter: Reporter) -> tuple[Figures, Figures, list[Sheet]]:
    """What is to be saved, what is to be drawn, and the tables."""
    if given.compare:
        first, second = given.compare
        table, (before, after) = compare.measure((first, second), given.turns, options.for_one_run(given), directory, reporter)
        both = {f"{part}.{name}": values for part, one in (("a", before), ("b", after)) for name, values in one.values.items()}
        return Figures(both), after, [table]
    figures = run.run(options.plan(given, directory), reporter)
    return figures, figures, sheets(figures)


def _write(given: argparse.Namespace, figures: Figures, tables: list[Sheet], measured_with: results.Environment) -> None:
    if given.save:
        results.save(given.save, figures, measured_with)
    if given.markdown:
        told = "; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in measured_with.items())
        given.markdown.write_text("\n".join([*map(markdown, tables), told, ""]), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
