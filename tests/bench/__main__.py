"""`make bench`: measures, prints, leaves nothing behind. Some three minutes, or half of one with --quick."""

import argparse
import asyncio
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from rich.console import Console

from tests.bench import client, exports, pgbench, report, stock, whole
from tests.bench.report import Round
from tests.bench.stage import Stage, stage, token
from tests.bench.statements import record_request
from tests.bench.usage import spending
from workflows.domain import ids
from workflows.domain.enums import Role

_PER_SECOND_MAX = 4000  # pgbench gets so many payments for each second; nobody has needed more
_API_PER_SECOND_MAX = 1800
_WARM_UP = 2000


@dataclass(frozen=True, slots=True)
class Plan:
    seconds: int
    callers: tuple[int, ...]
    refunds: int
    whole: bool
    directory: Path


def main() -> None:
    options = _options()
    console = Console(width=None if os.isatty(1) else 160)
    started = time.monotonic()
    load = ", ".join(f"{average:.2f}" for average in os.getloadavg())
    console.print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, load before: {load}")
    with tempfile.TemporaryDirectory(prefix="refundry-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)  # where the server has to run as `nobody`, it must get through
        plan = Plan(
            seconds=3 if options.quick else options.seconds,
            callers=tuple(options.callers),
            refunds=500 if options.quick else 3000,
            whole=not options.no_up,
            directory=directory,
        )
        found = measure(plan, console)
    if options.save:
        options.save.write_text(json.dumps(found, indent=2) + "\n")
    console.print(f"Took {timedelta(seconds=round(time.monotonic() - started))}.", style="dim")


def measure(plan: Plan, console: Console) -> dict[str, object]:
    """Print each table as soon as it is known; return all of it."""
    with stage(plan.directory / "alone") as running:
        rounds = list(_rounds(plan, running, console))
        report.print_rounds(console, rounds)
        exported = asyncio.run(exports.all_ways(running, token(running.directory, Role.auditor)))
        report.print_exports(console, exported)
    found: dict[str, object] = {"requests": [asdict(one) for one in rounds], "exports": [asdict(one) for one in exported]}
    if plan.whole:
        together = whole.measure(plan.directory / "whole", plan.refunds)
        report.print_whole(console, together)
        found["whole"] = asdict(together)
    return found


def _rounds(plan: Plan, running: Stage, console: Console) -> Iterator[Round]:
    wallet = token(running.directory, Role.wallet)
    each = plan.seconds * _PER_SECOND_MAX
    with console.status("Registering payments"):
        url = running.server.owner_url()
        payments = iter(asyncio.run(stock.fill(url, "bench", _WARM_UP + 1 + len(plan.callers) * plan.seconds * _API_PER_SECOND_MAX)))
        if pgbench.find() is not None:
            asyncio.run(pgbench.fill(url, "bench-0", 1, each * len(plan.callers)))
        else:
            console.print("There is no pgbench here: only the service is measured.", style="yellow")
        script = asyncio.run(record_request(running.directory, wallet, next(payments)))  # of bench-0, while it is as its copies are
        asyncio.run(stock.settle(url))
        _ask(running, wallet, payments, callers=8, seconds=1.5, count=_WARM_UP)
    for position, callers in enumerate(plan.callers):
        with console.status(f"{callers} callers"), spending(running.api) as api, spending(running.postmaster) as postgres:
            done = _ask(running, wallet, payments, callers=callers, seconds=plan.seconds, count=plan.seconds * _API_PER_SECOND_MAX)
        ran, client_cpu = None, 0.0
        first = 1 + position * each
        with console.status(f"pgbench with {callers}"), spending(running.postmaster) as beside:
            if pgbench.find() is not None:
                before = _children_seconds()
                ran = pgbench.run(url, script, running.directory, callers=callers, seconds=plan.seconds, first=first, count=each)
                client_cpu = _children_seconds() - before
                changed = asyncio.run(pgbench.changed(url, first, each))
                assert changed == ran.transactions, f"pgbench ran {ran.transactions} transactions, {changed} payments were changed"
        yield Round(
            callers=callers,
            service=done,
            api=api.seconds,
            postgres=postgres.seconds,
            pgbench=ran,
            pgbench_client=client_cpu,
            pgbench_postgres=beside.seconds,
        )


def _ask(running: Stage, wallet: str, payments: Iterator[UUID], *, callers: int, seconds: float, count: int) -> client.Measured:
    chosen = [ids.public("pay", one) for one, _ in zip(payments, range(count), strict=False)]
    return client.send(client.Load(host=running.host, port=running.port, token=wallet, callers=callers, seconds=seconds, payments=chosen))


def _children_seconds() -> float:
    """CPU of the children that have ended: pgbench's own."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 s for each measurement: to see that it works")
    parser.add_argument("--seconds", type=int, default=10, help="for each number of callers, the service and pgbench each (10)")
    parser.add_argument("--callers", type=int, nargs="+", default=(1, 8, 32), metavar="N", help="1 8 32 unless told")
    parser.add_argument("--no-up", action="store_true", help="leave out `refundry up` and its refunds")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write what was measured as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
