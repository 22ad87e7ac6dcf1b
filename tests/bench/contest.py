"""Cancellations by the service and by pgbench, in short turns one after the other, so that what the machine does otherwise befalls both."""

import asyncio
import random
import time
from dataclasses import dataclass, field

from tests.bench import client, pgbench, stock
from tests.bench.client import Client, Slice
from tests.bench.figures import Figures, latencies, per
from tests.bench.pgbench import Pgbench, Window
from tests.bench.plan import Plan, Reporter
from tests.bench.stage import Stage
from tests.bench.statements import Script
from tests.bench.usage import BACKGROUND, Spent, between, cpu_seconds, total

_FIRST_GUESS = 3000  # payments a second and side, before it is known how fast this machine is
_LEAST = 1000
_ATTEMPTS_MAX = 3
_CALIBRATED_WITH = 8
_SPARE = 4  # so many times the payments that the calibration needed


class _RanOut(Exception):
    """There were too few payments: the machine has become faster."""


@dataclass(frozen=True, slots=True)
class Contest:
    """What all turns have in common."""

    stage: Stage
    script: Script | None  # None: there is no pgbench here
    original: stock.Original
    plan: Plan


@dataclass(slots=True)
class _Turns:
    """One number of callers in one round, as it goes."""

    service: list[Slice] = field(default_factory=list)
    unexpected: int = 0
    api_cpu: float = 0.0
    pgbench_cpu: float = 0.0
    postgres: dict[str, list[Spent]] = field(default_factory=lambda: {"service": [], "pgbench": []})


def measure(contest: Contest, figures: Figures, reporter: Reporter) -> None:
    plan = contest.plan
    with reporter.part("Calibrating", 1) as advance:
        first = Figures()
        _measure_one(contest, _CALIBRATED_WITH, seconds=plan.slice_seconds, per_second=_FIRST_GUESS, figures=first)
        fastest = max((first.median(f"cancel.{_CALIBRATED_WITH}.{who}.per_second") or 0.0) for who in ("service", "pgbench"))
        needed = max(round(_SPARE * fastest), _LEAST)
        advance(1)
    with reporter.part("Cancellations, service and pgbench in turns", plan.rounds * len(plan.callers)) as advance:
        for _ in range(plan.rounds):
            for callers in plan.callers:
                needed = _measure_one(contest, callers, seconds=plan.seconds, per_second=needed, figures=figures)
                advance(1)


def _measure_one(contest: Contest, callers: int, *, seconds: float, per_second: int, figures: Figures) -> int:
    """Again with twice the payments where they ran out. Gives how many a second sufficed."""
    for attempt in range(_ATTEMPTS_MAX):
        try:
            _with_callers(contest, callers, seconds=seconds, per_second=per_second << attempt, figures=figures)
        except _RanOut:
            continue
        return per_second << attempt
    raise RuntimeError(f"{per_second << (_ATTEMPTS_MAX - 1)} payments for each second did not suffice")


def _with_callers(contest: Contest, callers: int, *, seconds: float, per_second: int, figures: Figures) -> None:
    """Fresh payments, a warm-up, then turns; adds what came of it."""
    stage, plan = contest.stage, contest.plan
    count = round((seconds + 2 * plan.warm_seconds) * per_second)
    url = stage.server.owner_url()
    ours, theirs = stage.take(count), stage.take(count)
    asyncio.run(stock.fill(url, contest.original, ours, 2 * count if contest.script else count))
    asyncio.run(stock.settle(url))
    numbers = list(range(ours, ours + count))
    random.Random(plan.seed).shuffle(numbers)
    name = f"cancel.{callers}"
    with stage.client(client.CANCEL, client.payments(numbers), callers) as asking:
        asking.warm_up(plan.warm_seconds)
        if contest.script is None:
            _add_service(name, _take_turns(contest, asking, None, seconds), figures)
            return
        directory = plan.directory / f"pgbench-{theirs}"
        with Pgbench(url=url, script=contest.script, directory=directory, callers=callers, first=theirs, count=count) as beside:
            beside.slice(plan.warm_seconds)
            beside.windows.clear()
            turns = _take_turns(contest, asking, beside, seconds)
            transactions = beside.finish()
        changed = asyncio.run(stock.changed(url, theirs, count))
        if changed != len(transactions) and 2 * len(transactions) > count:
            raise _RanOut
        if changed != len(transactions):
            raise RuntimeError(f"pgbench ran {len(transactions)} transactions, but {changed} payments were changed")
    _add_service(name, turns, figures)
    _add_pgbench(name, turns, beside.windows, transactions, figures)
    _add_ratios(name, figures)


def _take_turns(contest: Contest, asking: Client, beside: Pgbench | None, seconds: float) -> _Turns:
    """First the one, then the other; next time the other way round, so that what only rises or falls cancels out."""
    stage, turns = contest.stage, _Turns()
    pgbench_before = cpu_seconds(beside.process) if beside else 0.0
    for number in range(max(2, round(seconds / contest.plan.slice_seconds))):
        order = ("service", "pgbench") if number % 2 == 0 else ("pgbench", "service")
        for who in order:
            before, api_before = stage.postgres(), stage.api_cpu()
            if who == "service":
                turns.service.append(asking.slice(contest.plan.slice_seconds))
                turns.unexpected += asking.unexpected(turns.service[-1])
                if turns.service[-1].seconds < contest.plan.slice_seconds:
                    raise _RanOut
                time.sleep(0.02)  # PostgreSQL's processes go back to waiting
                turns.api_cpu += stage.api_cpu() - api_before
            elif beside is not None:
                beside.slice(contest.plan.slice_seconds)
            turns.postgres[who].append(between(before, stage.postgres()))
    turns.pgbench_cpu = cpu_seconds(beside.process) - pgbench_before if beside else 0.0
    return turns


def _add_service(name: str, turns: _Turns, figures: Figures) -> None:
    count = sum(one.count for one in turns.service)
    spent = total(turns.postgres["service"])
    figures.add_all(
        f"{name}.service",
        {
            "per_second": sum(one.per_second for one in turns.service) / len(turns.service),
            **latencies([one for turn in turns.service for one in turn.latencies_ms]),
            "python_us": per(turns.api_cpu, count),
            "postgres_us": per(spent["service"], count),
            "unexpected": turns.unexpected,
            "client_us": per(sum(one.cpu_seconds for one in turns.service), count),
            **background(spent, count),
        },
    )


def _add_pgbench(name: str, turns: _Turns, windows: list[Window], transactions: list[pgbench.Transaction], figures: Figures) -> None:
    counted = [one for window in windows for one in pgbench.within(transactions, window)]
    spent = total(turns.postgres["pgbench"])
    figures.add_all(
        f"{name}.pgbench",
        {
            "per_second": sum(pgbench.rate(transactions, window) for window in windows) / len(windows),
            **latencies([one.milliseconds for window in windows for one in pgbench.undisturbed(transactions, window)]),
            "postgres_us": per(spent["pgbench"], len(counted)),
            "client_us": per(turns.pgbench_cpu, len(counted)),
            **background(spent, len(counted)),
        },
    )


def _add_ratios(name: str, figures: Figures) -> None:
    """Of the round that was added last."""
    last = {key: values[-1] for key, values in figures.values.items() if key.startswith(f"{name}.")}
    figures.add(f"{name}.rate_ratio", last[f"{name}.service.per_second"] / (last[f"{name}.pgbench.per_second"] or 1))
    ours = last[f"{name}.service.python_us"] + last[f"{name}.service.postgres_us"]
    figures.add(f"{name}.cpu_ratio", last[f"{name}.pgbench.postgres_us"] / (ours or 1))


def background(spent: Spent, count: int) -> dict[str, float]:
    return {f"{kind}_us": per(spent[kind], count) for kind in BACKGROUND}
