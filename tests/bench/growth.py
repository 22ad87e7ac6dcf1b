"""Whether a full database is slower than an empty one: cancellations among ten thousand payments, a million, ten million."""

import asyncio
import random
import time

from tests.bench import client, stage, stock
from tests.bench.figures import Figures, latencies, per
from tests.bench.plan import Plan, Reporter
from tests.bench.stage import Stage
from tests.bench.usage import between
from workflows.domain.enums import Role

_CALLERS = 8
_PER_SECOND_MAX = 3000


def measure(plan: Plan, figures: Figures, reporter: Reporter) -> None:
    with stage.stage(plan.directory / "growth", plan.apis) as running:
        made = running.register("growth-original")
        alone = stock.Original(made, "growth-original", stock.PAYMENT_AND_RECORD)
        cancelled = running.register("growth-cancelled")
        stage.cancel(running.url, running.token(Role.wallet), cancelled)
        everything = stock.Original(cancelled, "growth-cancelled")
        asyncio.run(stock.fill(running.server.owner_url(), everything, running.take(plan.stock), plan.stock))
        choose = random.Random(plan.seed)
        fresh: list[int] = []
        filled = 0  # those with a cancellation are not counted: at each size, there are some more
        for size in sorted(plan.growth):
            missing = size - filled
            filled = max(size, filled)
            if missing > 0:
                with reporter.part(f"Filling up to {size:,} payments", missing) as advance:
                    first = running.take(missing)
                    asyncio.run(stock.fill(running.server.owner_url(), alone, first, missing, advance))
                    asyncio.run(stock.settle(running.server.owner_url()))
                fresh += range(first, first + missing)
            choose.shuffle(fresh)
            with reporter.part(f"Cancellations among {size:,} payments", plan.rounds) as advance:
                for _ in range(plan.rounds):
                    wanted = min(round((plan.warm_seconds + plan.seconds) * _PER_SECOND_MAX), len(fresh) // (plan.rounds + 1))
                    taken, fresh = fresh[:wanted], fresh[wanted:]
                    figures.add_all(f"growth.{size}", _one(running, taken, plan))
                    advance(1)


def _one(running: Stage, numbers: list[int], plan: Plan) -> dict[str, float]:
    with running.client(client.CANCEL, client.payments(numbers), _CALLERS) as asking:
        asking.warm_up(plan.warm_seconds)
        before, api_before = running.postgres(), running.api_cpu()
        done = asking.slice(plan.seconds)
        time.sleep(0.02)
        spent, python = between(before, running.postgres()), running.api_cpu() - api_before
    return {
        "per_second": done.per_second,
        **latencies(done.latencies_ms),
        "python_us": per(python, done.count),
        "postgres_us": per(spent["service"], done.count),
    }
