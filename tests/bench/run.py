"""Runs the parts of a plan, one after the other."""

import asyncio

from tests.bench import contest, deadlines, endpoints, exports, growth, pgbench, rails, stock, whole
from tests.bench import stage as stages
from tests.bench.contest import Contest
from tests.bench.figures import Figures
from tests.bench.plan import Plan, Reporter
from tests.bench.stage import Stage
from tests.bench.statements import Script, record_request
from workflows.domain.enums import Role

_ON_ONE_STAGE = ("requests", "endpoints", "memory", "exports")


def run(plan: Plan, reporter: Reporter) -> Figures:
    figures = Figures()
    if set(plan.parts) & set(_ON_ONE_STAGE):
        with stages.stage(plan.directory / "alone", plan.apis) as running:
            _on_one_stage(plan, running, figures, reporter)
    if "refunds" in plan.parts:
        whole.measure(plan, figures, reporter)
    if "deadlines" in plan.parts:
        deadlines.measure(plan, figures, reporter)
    if "rails" in plan.parts:
        rails.measure(plan, figures, reporter)
    if "rules" in plan.parts:
        from tests.bench import rules

        rules.measure(plan, figures, reporter)
    if "growth" in plan.parts:
        growth.measure(plan, figures, reporter)
    return figures


def _on_one_stage(plan: Plan, running: Stage, figures: Figures, reporter: Reporter) -> None:
    original = _prepare(plan, running, reporter)
    alone = stock.Original(original.payment, original.reference, stock.PAYMENT_ALONE)
    if "requests" in plan.parts:
        contest.measure(Contest(running, _script(running, reporter), alone, plan), figures, reporter)
    if "endpoints" in plan.parts:
        endpoints.measure(running, original, plan, figures, reporter)
    if "memory" in plan.parts:
        endpoints.memory(running, alone, plan, figures, reporter)
    if "exports" in plan.parts:
        exports.measure(running, plan, figures, reporter)


def _prepare(plan: Plan, running: Stage, reporter: Reporter) -> stock.Original:
    """Fill every table, so that no plan is one for empty tables. Gives the payment of which more copies can be made."""
    cancelled = running.register("cancelled-original")
    stages.cancel(running.url, running.token(Role.wallet), cancelled)
    with reporter.part("Filling the tables", plan.stock) as advance:
        everything = stock.Original(cancelled, "cancelled-original")
        asyncio.run(stock.fill(running.server.owner_url(), everything, running.take(plan.stock), plan.stock, advance))
        asyncio.run(stock.settle(running.server.owner_url()))
    return stock.Original(running.register("original"), "original", stock.PAYMENT_AND_RECORD)


def _script(running: Stage, reporter: Reporter) -> Script | None:
    if pgbench.find() is None:
        reporter.console.print("There is no pgbench here: only the service is measured.", style="yellow")
        return None
    before, recorded = running.register("before"), running.register("recorded")
    return asyncio.run(record_request(running.directory, running.token(Role.wallet), before, recorded))
