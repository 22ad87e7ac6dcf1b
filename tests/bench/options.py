"""The options of `make bench`, and the plan that they make."""

import argparse
from pathlib import Path

from tests.bench.plan import BY_DEFAULT, PARTS, Plan

_GROWTH = (10_000, 1_000_000)


def parse(description: str, arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="everything once and briefly, in about a minute: to see that it works")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=_positive, help="how often each is measured (3)")
    parser.add_argument("--seconds", type=float, help="the service and pgbench each, for each number of callers in each round (5)")
    parser.add_argument("--callers", type=_positive, nargs="+", metavar="N", help="1 8 32 unless told")
    parser.add_argument("--api", type=_positive, default=2, metavar="N", help="API processes; the callers are spread over them (2)")
    parser.add_argument("--memory", type=_positive, metavar="N", help="requests between the two looks at the memory (5000)")
    parser.add_argument(
        "--growth", type=_positive, nargs="*", metavar="N", help="cancellations among so many payments, too (10000 1000000); takes minutes"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the order in which payments are taken (1)")
    parser.add_argument("--goal", type=float, metavar="US", help="CPU µs that a cancellation may cost, for the chart (twice pgbench's)")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="two commits in turns, by this bench")
    parser.add_argument("--turns", type=_positive, default=3, metavar="N", help="of --compare (3)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as Markdown")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a chart of what a request costs")
    options = parser.parse_args(arguments)
    if options.growth is not None and not options.growth:
        options.growth = list(_GROWTH)
    return options


def plan(options: argparse.Namespace, directory: Path) -> Plan:
    parts = tuple(options.only or BY_DEFAULT)
    if options.growth and "growth" not in parts:
        parts = (*parts, "growth")
    quick: bool = options.quick
    return Plan(
        parts=parts,
        rounds=options.rounds or (1 if quick else 3),
        seconds=options.seconds or (1.5 if quick else 5.0),
        slice_seconds=0.5 if quick else 1.0,
        warm_seconds=0.5 if quick else 1.0,
        endpoint_seconds=1.0 if quick else 3.0,
        callers=tuple(options.callers or (1, 8, 32)),
        apis=options.api,
        stock=1000 if quick else 10_000,
        refunds=200 if quick else 2000,
        deadlines=500 if quick else 10_000,
        deadline_seconds=5.0 if quick else 20.0,
        rail_seconds=2.0 if quick else 8.0,
        outage_seconds=3.0 if quick else 20.0,
        memory_requests=options.memory or (500 if quick else 5000),
        growth=tuple(options.growth or _GROWTH),
        seed=options.seed,
        directory=directory,
    )


def for_one_run(options: argparse.Namespace) -> list[str]:
    """The options of one of the runs that --compare makes: cancellations and endpoints, one round, unless told."""
    given = ["--only", *(options.only or ("requests", "endpoints")), "--rounds", str(options.rounds or 1), "--api", str(options.api)]
    given += ["--quick"] if options.quick else []
    for name in ("seconds", "callers", "memory", "growth"):
        value = getattr(options, name)
        if value is not None:
            given += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return [*given, "--seed", str(options.seed)]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
