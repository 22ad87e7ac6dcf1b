"""The facts of a decision come back from JSON, and decide as they did."""

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.factories import FACTS, policy_of
from tests.unit.workflows.domain.policies.rules import decide, window
from workflows.domain.enums import (
    ActorRole,
    Anchor,
    Category,
    Channel,
    Fulfilment,
    PaymentState,
    Reason,
    Source,
)
from workflows.domain.policies.facts import PolicyFacts, facts_data, facts_from

_moments = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 -- bounds are naive by hypothesis's own rule


_facts = st.builds(
    PolicyFacts,
    state=st.sampled_from(PaymentState),
    fulfilment=st.sampled_from(Fulfilment),
    category=st.sampled_from(Category),
    merchant_id=st.text(min_size=1, max_size=64),
    currency=st.sampled_from(["CNY", "JPY"]),
    amount=st.integers(1, 10**15),
    role=st.sampled_from(ActorRole),
    channel=st.sampled_from(Channel),
    reason=st.none() | st.sampled_from(Reason),
    sources=st.lists(st.sampled_from(Source), max_size=6).map(tuple),
    anchors=st.dictionaries(st.sampled_from(Anchor), st.none() | _moments),
    partial=st.booleans(),
    partial_refunds=st.integers(0, 100),
    last_partial_at=st.none() | _moments,
    requests_last_day=st.integers(0, 100),
)


@given(facts=_facts)
def test_facts_survive_json(facts: PolicyFacts) -> None:
    text = json.dumps(facts_data(facts))

    assert facts_from(json.loads(text)) == facts
    assert "+00:00" not in text


@given(facts=_facts, now=_moments)
def test_every_decision_replays_from_its_facts(facts: PolicyFacts, now: datetime) -> None:
    form = policy_of(
        {"when": {"state": "pending"}, "window": window("authorised_at", "7 days")},
        {"when": {"category_not": "digital", "reason_not": "other"}, "window": window("delivered_at", "7 days", count_from="next_day")},
        {"when": {"role": ["agent"]}, "window": window("completed_at", "13 months"), "route": "agent"},
        limits={"partial_refunds_max": 50, "partial_interval": "1 minute"},
    )

    assert decide(form, facts_from(facts_data(facts)), now) == decide(form, facts, now)


def test_facts_that_were_kept_before_taken_was_can_be_read() -> None:
    kept = facts_data(replace(FACTS, taken=7))
    assert facts_from(kept).taken == 7
    del kept["taken"]

    assert facts_from(kept) == replace(FACTS, taken=0)
