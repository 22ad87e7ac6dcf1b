"""Reads and registration: what each costs Python and PostgreSQL. And what an API process weighs before and after many requests."""

import asyncio
import random
import time

from tests.bench import client, stock
from tests.bench.contest import background
from tests.bench.figures import Figures, latencies, per
from tests.bench.plan import Plan, Reporter
from tests.bench.stage import Stage, api_process
from tests.bench.usage import between, memory_bytes

_CALLERS = 8
_READ = 5000  # payments, each read again and again
_PER_SECOND_MAX = 20_000
_MEGABYTE = 1_000_000
_MEMORY_SHARE = 10  # a cancellation for so many reads
ENDPOINTS = {"get": client.READ, "eligibility": client.ELIGIBILITY, "register": client.REGISTER}


def measure(stage: Stage, original: stock.Original, plan: Plan, figures: Figures, reporter: Reporter) -> None:
    """Each endpoint in each round, one after the other."""
    first = stage.take(_READ)
    asyncio.run(stock.fill(stage.server.owner_url(), original, first, _READ))
    asyncio.run(stock.settle(stage.server.owner_url()))
    choose = random.Random(plan.seed)
    asked = round((plan.endpoint_seconds + plan.warm_seconds) * _PER_SECOND_MAX)
    with reporter.part("Reads and registration", plan.rounds * len(ENDPOINTS)) as advance:
        for number in range(plan.rounds):
            for name, request in ENDPOINTS.items():
                if request is client.REGISTER:
                    subjects = [f"registered-{number}-{one}" for one in range(asked)]
                else:
                    subjects = client.payments(choose.choices(range(first, first + _READ), k=asked))
                figures.add_all(f"endpoint.{name}", _one(stage, request, subjects, plan))
                advance(1)


def _one(stage: Stage, request: client.Request, subjects: list[str], plan: Plan) -> dict[str, float]:
    with stage.client(request, subjects, _CALLERS) as asking:
        asking.warm_up(plan.warm_seconds)
        before, api_before = stage.postgres(), stage.api_cpu()
        done = asking.slice(plan.endpoint_seconds)
        unexpected = asking.unexpected(done)
        time.sleep(0.02)  # all have gone back to waiting
        spent, python = between(before, stage.postgres()), stage.api_cpu() - api_before
    return {
        "per_second": done.per_second,
        **latencies(done.latencies_ms),
        "python_us": per(python, done.count),
        "postgres_us": per(spent["service"], done.count),
        "unexpected": unexpected,
        "client_us": per(done.cpu_seconds, done.count),
        **background(spent, done.count),
    }


def memory(stage: Stage, original: stock.Original, plan: Plan, figures: Figures, reporter: Reporter) -> None:
    """A fresh process gets all the requests: reads, and a cancellation for each ten of them."""
    cancelled = max(plan.memory_requests // (_MEMORY_SHARE + 1), 1)
    first = stage.take(cancelled)
    asyncio.run(stock.fill(stage.server.owner_url(), original, first, cancelled))
    payments = client.payments(range(first, first + cancelled))
    done = 0
    with reporter.part("API memory", cancelled * (_MEMORY_SHARE + 1)) as advance, api_process(stage.directory, "memory") as (port, process):
        figures.add("memory.before.rss_mb", memory_bytes(process) / _MEGABYTE)
        for request, subjects in ((client.CANCEL, payments), (client.READ, payments * _MEMORY_SHARE)):
            with stage.client(request, subjects, _CALLERS, ports=[port]) as asking:
                while (count := asking.slice(1.0).count) > 0:
                    done += count
                    advance(count)
        figures.add("memory.after.rss_mb", memory_bytes(process) / _MEGABYTE)
    figures.add("memory.requests.count", done)
