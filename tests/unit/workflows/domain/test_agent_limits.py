"""Velocity limits of agents: what one person of ours may ask for within 24 hours, and when he may ask again."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests.factories import AGENT, DAY, MERCHANT, NOW, OVERRIDE, SUPERVISOR, TERMS, WALLET, completed, context, policy, requested
from workflows.domain.agent_limits import AgentLimit, AgentLimits, AgentRequests, reached_limit, seconds_left
from workflows.domain.decisions import requests
from workflows.domain.enums import CancellationState, PaymentState
from workflows.domain.errors import AgentLimitReached, InvalidState
from workflows.domain.model import Actor, Snapshot

LIMITS = {"requests_per_day": 3, "amount_per_day": {"CNY": 1_000}, "refunds_to_wallet_per_day": 2}
AN_HOUR_AGO = NOW - timedelta(hours=1)


def under(found: AgentRequests, limits: object = LIMITS) -> AgentRequests:
    return replace(found, limits=policy(agent_limits=limits).agent_limits)


def asked(**members: Any) -> AgentRequests:
    return AgentRequests(requests_from=AN_HOUR_AGO, amount_from=AN_HOUR_AGO, to_wallet_from=AN_HOUR_AGO, **members)


def ask(actor: Actor, before: AgentRequests | None, *, limits: object = LIMITS, **members: Any) -> CancellationState:
    snapshot: Snapshot = replace(completed(), agent_requests=before and under(before, limits))
    change = requests.request(snapshot, requested(actor=actor, **members), TERMS, context(actor=actor))
    return change.cancellations[0].state


@pytest.mark.parametrize("actor", [AGENT, SUPERVISOR], ids=["agent", "supervisor"])
@pytest.mark.parametrize(
    ("within", "over", "limit"),
    [
        (asked(requests=2), asked(requests=3), "requests_per_day"),
        (asked(amount=700), asked(amount=701), "amount_per_day"),
        (asked(to_wallet=1), asked(to_wallet=2), "refunds_to_wallet_per_day"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_limit_holds_to_the_unit(actor: Actor, within: AgentRequests, over: AgentRequests, limit: str) -> None:
    assert ask(actor, within) is CancellationState.executing

    with pytest.raises(AgentLimitReached) as reached:
        ask(actor, over)

    assert (reached.value.limit, reached.value.retry_after_seconds) == (limit, 23 * 3600)


@pytest.mark.parametrize("actor", [WALLET, MERCHANT], ids=["wallet", "merchant"])
def test_nobody_but_ours_is_bound(actor: Actor) -> None:
    assert ask(actor, asked(requests=99, amount=10**9, to_wallet=99)) is CancellationState.executing


def test_without_limits_nothing_is_limited() -> None:
    most = asked(requests=10**6, amount=10**15, to_wallet=10**6)

    nothing_in_yuan: list[object] = [{}, {"amount_per_day": {}}, {"amount_per_day": {"EUR": 1}}]
    for limits in nothing_in_yuan:
        assert ask(AGENT, most, limits=limits) is CancellationState.executing


def test_a_part_counts_as_what_it_is() -> None:
    assert ask(AGENT, asked(amount=900), amount=100) is CancellationState.executing
    with pytest.raises(AgentLimitReached):
        ask(AGENT, asked(amount=900), amount=101)


def test_it_comes_after_what_the_payment_itself_forbids_and_before_policy() -> None:
    full = under(asked(requests=3))
    over = replace(completed(merchant_id="nobody"), agent_requests=full)
    with pytest.raises(AgentLimitReached):  # nothing is recorded as refused by policy
        requests.request(over, requested(actor=AGENT), TERMS, context(actor=AGENT))

    failed = replace(over, payment=replace(over.payment, state=PaymentState.failed))
    with pytest.raises(InvalidState):
        requests.request(failed, requested(actor=AGENT), TERMS, context(actor=AGENT))


def test_the_first_limit_in_their_order_is_told() -> None:
    limits = AgentLimits(requests_per_day=1, amount_per_day={"CNY": 1}, refunds_to_wallet_per_day=1)
    found = AgentRequests(requests=1, amount=1, to_wallet=1)

    assert reached_limit(limits, found, amount=1, currency="CNY") is AgentLimit.requests_per_day
    assert reached_limit(replace(limits, requests_per_day=None), found, amount=1, currency="CNY") is AgentLimit.amount_per_day
    assert reached_limit(replace(limits, requests_per_day=2), found, amount=1, currency="EUR") is AgentLimit.refunds_to_wallet_per_day


@pytest.mark.parametrize(
    ("oldest", "seconds"),
    [
        (NOW, 86_400),
        (NOW - DAY + timedelta(seconds=1), 1),
        (NOW - DAY + timedelta(seconds=1, microseconds=1), 2),
        (NOW - DAY + timedelta(microseconds=1), 1),
        (NOW - DAY, 1),
        (NOW - 2 * DAY, 1),
        (None, 86_400),
    ],
)
def test_how_long_it_takes_until_the_oldest_drops_out(oldest: datetime | None, seconds: int) -> None:
    found = AgentRequests(requests_from=oldest, amount_from=oldest, to_wallet_from=oldest)

    assert {seconds_left(limit, found, NOW) for limit in AgentLimit} == {seconds}


def test_an_amount_that_is_too_much_alone_is_told_apart_and_can_be_overridden() -> None:
    nothing = AgentRequests()
    with pytest.raises(AgentLimitReached) as reached:
        ask(AGENT, nothing, limits={"amount_per_day": {"CNY": 100}})

    assert reached.value.alone
    state = ask(SUPERVISOR, nothing, limits={"amount_per_day": {"CNY": 100}}, override=OVERRIDE)
    assert state is CancellationState.awaiting_second_approval
