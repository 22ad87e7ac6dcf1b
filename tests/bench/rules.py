"""How long a policy takes to decide, in itself: of ten rules and of two hundred, the last of which decides."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from service.calendars import calendar
from tests.bench.figures import Figures
from tests.bench.plan import POLICY_SIZES, Plan, Reporter
from workflows.domain.enums import Anchor, Category, Channel, Fulfilment, PaymentState, Reason, Role, Source
from workflows.domain.policies.facts import PolicyFacts
from workflows.domain.policies.form import parse_policy
from workflows.domain.policies.policy import Policy
from workflows.domain.policies.verdicts import decide_route

_LOOPS, _TIMES = 300, 300  # the quickest of so many loops counts: what else runs on the machine makes the others slower
_NOW = datetime(2026, 11, 1, tzinfo=UTC)
_ASKED = PolicyFacts(
    state=PaymentState.completed,
    fulfilment=Fulfilment.none,
    category=Category.general,
    merchant_id="shop",
    currency="CNY",
    amount=100,
    role=Role.wallet,
    channel=Channel.app,
    reason=Reason.changed_mind,
    sources=(Source.balance,),
    anchors={Anchor.authorised_at: _NOW, Anchor.completed_at: _NOW},
    partial=False,
)


def measure(plan: Plan, figures: Figures, reporter: Reporter) -> None:
    with reporter.part("Policies of different sizes", plan.rounds * len(POLICY_SIZES)) as advance:
        for _ in range(plan.rounds):
            for size in POLICY_SIZES:
                figures.add(f"rules.{size}.us", _microseconds(_policy(size)))
                advance(1)


def _policy(size: int) -> Policy:
    """Rules that differ in their merchant, and one for all others at the end."""
    window = {"anchor": "completed_at", "length": "30 days"}
    rules: list[dict[str, Any]] = [
        {"name": f"rule-{number}", "when": {"state": "completed", "merchant_id": f"m-{number}"}, "window": window, "route": "merchant"}
        for number in range(size - 1)
    ]
    rules.append({"name": "last", "when": {"state": "completed"}, "window": window, "route": "agent"})
    head = {"version": "bench", "effective_from": "2026-01-01T00:00:00Z", "timezone": "Asia/Shanghai", "calendar": "none"}
    return parse_policy({**head, "rules": rules})


def _microseconds(policy: Policy) -> float:
    days, now, best = calendar("none"), _NOW + timedelta(hours=1), float("inf")
    for _ in range(_TIMES):
        start = time.process_time_ns()
        for _ in range(_LOOPS):
            decide_route(policy, _ASKED, now, days)
        best = min(best, (time.process_time_ns() - start) / _LOOPS / 1_000)
    return best
