"""A policy, tried on the decisions of a span: what each would have come to. Nothing is written."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from workflows.commands import Runtime
from workflows.domain.decisions.policy_context import PolicyContext, context_for
from workflows.domain.errors import SimulationRunning
from workflows.domain.policies.calendar import business_days, with_calendar
from workflows.domain.policies.policy import Policy
from workflows.domain.policies.simulation import Judgement, KeptDecision, SimulationResult, SimulationTally
from workflows.storage import decisions
from workflows.storage.list_filters import Place

_TERMS_KEPT_MAX = 1_000
BATCH = 50  # decisions that are judged before others have their turn: some milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatePolicySpan:
    """A candidate, and the half-open span of the decisions to try it on."""

    candidate: Policy
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class SimulationProgress:
    """So many decisions have been looked at, the last of them made at `at`."""

    decisions: int
    at: datetime


class Simulations:
    """The simulations of one process, of which one runs at a time: each keeps a core busy for as long as it lasts."""

    def __init__(self) -> None:
        self._running = False

    async def run(self, runtime: Runtime, reads: Any, wanted: SimulatePolicySpan) -> AsyncGenerator[SimulationProgress | SimulationResult]:
        """Progress after each page, and the result at the end. Raises SimulationRunning at the first step.

        `reads`: the connections to read with, which may lag. Close it (`contextlib.aclosing`) when leaving early: it stops at once,
        and the next one may run.
        """
        if self._running:
            raise SimulationRunning
        self._running = True
        try:
            # With the days that it would be published with; the first look at a country's takes a while, in which others go on.
            candidate = await asyncio.to_thread(with_calendar, wanted.candidate, runtime.calendar, runtime.clock())
            tally, terms = SimulationTally(), _Terms(runtime, candidate)
            after = decisions.before_all(wanted.start)
            while page := await decisions.page(reads, after, wanted.end):
                await _judge(page, terms, tally)
                after = Place(page[-1].created_at, page[-1].cancellation_id)
                yield SimulationProgress(tally.seen, after.at)
                if len(page) < decisions.PAGE_ROWS:
                    break
            yield tally.result()
        finally:
            self._running = False


class _Terms:
    """The terms of decisions, by what is pinned to their payments, beside those that they would have had."""

    def __init__(self, runtime: Runtime, candidate: Policy) -> None:
        self._runtime = runtime
        self._candidate = candidate
        self._days = business_days(candidate, runtime.calendar)
        self._known: dict[tuple[str, str | None], tuple[PolicyContext, PolicyContext] | None] = {}

    async def of(self, decision: KeptDecision) -> tuple[PolicyContext, PolicyContext] | None:
        """The pinned terms and the candidate's, both with the merchant's own; None where what is pinned is not there."""
        versions = (decision.policy_version, decision.merchant_rules_version)
        if versions not in self._known:
            if len(self._known) >= _TERMS_KEPT_MAX:
                self._known.clear()
            pinned = await self._runtime.pinned_terms(*versions)
            self._known[versions] = None if pinned is None else (pinned, context_for(self._candidate, pinned.merchant, self._days))
        return self._known[versions]


async def _judge(page: list[KeptDecision], terms: _Terms, tally: SimulationTally) -> None:
    for number, decision in enumerate(page, 1):
        known = await terms.of(decision)
        if decision.facts is None or known is None:
            tally.skip()
        else:
            before, after = (Judgement(one.verdict(decision.facts, decision.created_at), one.policy.zone) for one in known)
            tally.add(decision, decision.facts, before, after)
        if number % BATCH == 0:
            await asyncio.sleep(0)
