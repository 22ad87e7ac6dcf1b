"""The wish to undo a payment: who may ask and how, what it comes to, what is refused first, and how it is taken back."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests import factories as make
from tests.factories import AGENT, BOTH, DAY, HOUR, LINES, MERCHANT, NOW, OVERRIDE, SUPERVISOR, TERMS
from workflows.domain.decisions import requests
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.requests import CancellationRequest
from workflows.domain.enums import ActorRole, CancellationState, Channel, OnDeadline, PaymentState, Reason, Refusal, Route
from workflows.domain.errors import (
    AmountExceedsRefundable,
    CancellationOpen,
    ClientReferenceConflict,
    Forbidden,
    Invalid,
    InvalidState,
    NotFound,
    PartialNotSupported,
    PaymentDisputed,
    PolicyRefused,
    RefundableAmountChanged,
    RefundryError,
)
from workflows.domain.model import Actor, Item, Snapshot
from workflows.domain.policies.facts import facts_from
from workflows.domain.policies.verdicts import Allowed, Denied

ASKING = [ActorRole.wallet, ActorRole.agent, ActorRole.supervisor, ActorRole.merchant]


def assess(snapshot: Snapshot, **members: Any) -> requests.Assessment:
    return requests.assess(snapshot, make.requested(**members), TERMS, NOW)


@pytest.mark.parametrize("role", ASKING)
@pytest.mark.parametrize("channel", [None, *Channel])
def test_who_may_ask_by_which_channel(role: ActorRole, channel: Channel | None) -> None:
    spoken = set(Channel) - {Channel.system}
    expected = {
        ActorRole.wallet: {None: Channel.app} | {one: one for one in spoken},
        ActorRole.merchant: {None: Channel.merchant, Channel.merchant: Channel.merchant},
    }.get(role, {one: one for one in spoken - {Channel.app}}).get(channel)  # fmt: skip

    if expected is None:
        with pytest.raises(Invalid) as refused:
            requests.actor_channel(role, channel)
        assert refused.value.pointer == "/channel"
    else:
        assert requests.actor_channel(role, channel) is expected


# Every reason to say no, in the order in which they are promised. Each is a change to a payment or a wish that would be granted.
Broken = tuple[Snapshot, dict[str, Any]]


def over(snapshot: Snapshot, wish: dict[str, Any]) -> Broken:
    return make.with_payment(snapshot, state=PaymentState.refunded), wish


def one_open(snapshot: Snapshot, wish: dict[str, Any]) -> Broken:
    other = make.newest(make.asked(make.completed(merchant_id="merchant")))
    return replace(snapshot, cancellations=(replace(other, id=make.new_id(), amount=1),)), wish


def disputed(snapshot: Snapshot, wish: dict[str, Any]) -> Broken:
    return make.with_payment(snapshot, disputes_open=1), wish


def looked_at_earlier(snapshot: Snapshot, wish: dict[str, Any]) -> Broken:
    return snapshot, wish | {"expected_refundable": 299}


def too_much(snapshot: Snapshot, wish: dict[str, Any]) -> Broken:
    return snapshot, wish | {"amount": 301}


REASONS: list[tuple[Callable[[Snapshot, dict[str, Any]], Broken], type[RefundryError]]] = [
    (over, InvalidState),
    (one_open, CancellationOpen),
    (disputed, PaymentDisputed),
    (looked_at_earlier, RefundableAmountChanged),
    (too_much, AmountExceedsRefundable),
]


@pytest.mark.parametrize("first", range(len(REASONS)))
def test_of_several_reasons_the_first_promised_is_given(first: int) -> None:
    snapshot, wish = make.completed(merchant_id="nobody"), dict[str, Any]()  # policy would say no, too
    for break_, _ in reversed(REASONS[first:]):
        snapshot, wish = break_(snapshot, wish)

    with pytest.raises(REASONS[first][1]):
        assess(snapshot, **wish)


def test_policy_is_asked_last() -> None:
    assert isinstance(assess(make.completed(merchant_id="nobody")).verdict, Denied)


def test_a_pending_payment_is_cancelled_whole_or_not_at_all() -> None:
    with pytest.raises(PartialNotSupported):
        assess(make.pending(merchant_id="nobody"), amount=299)
    with pytest.raises(PartialNotSupported):
        assess(make.pending(items=LINES), items=make.pieces(a=3))
    with pytest.raises(AmountExceedsRefundable):
        assess(make.pending(), amount=301)
    with pytest.raises(RefundableAmountChanged):
        assess(make.pending(), amount=299, expected_refundable=1)
    assert assess(make.pending(), amount=300).amount == 300
    assert assess(make.pending(items=LINES), items=make.pieces(a=3, b=2)).amount == 300


@pytest.mark.parametrize("state", list(PaymentState))
def test_only_a_pending_or_a_settled_payment_is_asked_about(state: PaymentState) -> None:
    snapshot = make.with_payment(make.completed(), state=state)

    if state in {PaymentState.pending, PaymentState.completed}:
        assert assess(snapshot).amount == 300
    else:
        with pytest.raises(InvalidState) as refused:
            assess(snapshot)
        assert refused.value.state == state


def test_what_is_refundable_is_all_that_nobody_has() -> None:
    snapshot = make.with_payment(make.completed(), amount_refunded=50, amount_reserved=20, amount_charged_back=30)

    assert assess(snapshot).amount == 200
    assert assess(snapshot, expected_refundable=200).amount == 200
    with pytest.raises(RefundableAmountChanged) as changed:
        assess(snapshot, expected_refundable=300)
    assert changed.value.amount_refundable == 200
    with pytest.raises(AmountExceedsRefundable) as exceeded:
        assess(snapshot, amount=201)
    assert exceeded.value.amount_refundable == 200


def test_nothing_is_not_a_wish() -> None:
    with pytest.raises(AmountExceedsRefundable):
        assess(make.with_payment(make.completed(), amount_charged_back=300))


def test_a_reopened_cancellation_is_not_the_open_one() -> None:
    snapshot = make.refunded(make.completed(), 100)
    reopened = make.with_cancellation(snapshot, make.newest(snapshot), state=CancellationState.needs_attention, reopened=True)

    assert assess(reopened).amount == 200


def test_items_must_be_the_payments() -> None:
    with pytest.raises(Invalid) as unknown:
        assess(make.completed(items=LINES), items=make.pieces(a=1, z=1))
    assert unknown.value.pointer == "/items/1/reference"
    with pytest.raises(AmountExceedsRefundable):
        assess(make.completed(items=LINES), items=make.pieces(a=4))
    with pytest.raises(AmountExceedsRefundable):  # their worth has gone back already, as an amount
        assess(make.refunded(make.completed(items=LINES), 250), items=make.pieces(a=3))


def test_items_worth_nothing_are_a_wish_of_nothing() -> None:
    lines = (Item(reference="a", quantity=3, amount=1), Item(reference="b", quantity=1, amount=299))

    assessment = assess(make.completed(items=lines), items=make.pieces(a=1))

    assert (assessment.amount, assessment.items) == (0, make.pieces(a=1))


@given(quantity=st.integers(1, 12), amount=st.integers(1, 1000), steps=st.lists(st.integers(1, 5), max_size=12))
def test_pieces_of_a_line_sum_to_the_line_in_any_sequence(quantity: int, amount: int, steps: list[int]) -> None:
    lines = (Item(reference="a", quantity=quantity, amount=amount), Item(reference="b", quantity=1, amount=5))
    snapshot = make.completed(amount=amount + 5, items=lines)
    given_back, taken = 0, 0
    for step in [*steps, quantity]:
        pieces = min(step, quantity - taken)
        if not pieces:
            break
        try:
            wanted = assess(snapshot, items=make.pieces(a=pieces)).amount
        except Invalid:  # so little of the line that it is worth nothing
            wanted = 0
        given_back, taken = given_back + wanted, taken + pieces
        payment = snapshot.payment
        snapshot = make.with_payment(snapshot, amount_refunded=payment.amount_refunded + wanted, cancelled_quantities=(taken, 0))
        assert abs(given_back * quantity - amount * taken) <= quantity / 2

    if taken == quantity:
        assert given_back == amount


Way = tuple[str, Route, CancellationState, list[str], timedelta | None, OnDeadline | None]
WAYS: list[Way] = [
    ("automatic", Route.automatic, CancellationState.executing, [], None, None),
    ("merchant", Route.merchant, CancellationState.awaiting_merchant, ["cancellation.handed_off"], 48 * HOUR, OnDeadline.agent),
    ("return", Route.return_, CancellationState.awaiting_return, ["cancellation.return_awaited"], 15 * DAY, OnDeadline.decline),
    ("agent", Route.agent, CancellationState.awaiting_agent, [], 5 * DAY, OnDeadline.agent),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way[0])
def test_each_route_starts_where_somebody_must_decide(way: Way) -> None:
    merchant, route, state, says, wait, then = way

    change = make.request(make.completed(merchant_id=merchant))

    (row,) = change.cancellations
    assert (row.route, row.state, row.version, row.amount, row.rule) == (route, state, 1, 300, merchant)
    assert (row.on_deadline, row.second_approval, row.refusal) == (then, False, None)
    assert change.payment.amount_reserved == 300
    if merchant == "agent":
        assert row.deadline_at is not None
        assert row.deadline_at.weekday() == 4  # a Sunday and five business days
    else:
        assert row.deadline_at == (None if wait is None else NOW + wait)
    if state is CancellationState.executing:
        assert make.types(change) == ["cancellation.requested", "refund.scheduled"]
    else:
        assert make.types(change) == ["cancellation.requested", *says]
        assert (change.payment.state, change.payment.origin_state) == ("cancel_requested", "completed")
        assert [change.legs, make.refunds(change)] == [(), ()]
        assert row.clock is not None
        first = NOW + 24 * HOUR if state is CancellationState.awaiting_merchant else row.deadline_at  # a reminder comes first
        assert [(job.kind, job.subject_id, job.run_at) for job in change.jobs] == [("deadline", row.clock.id, first)]


def test_a_wish_is_kept_with_what_decided_it() -> None:
    wish = make.requested(amount=100, note="I changed my mind", client_reference="c-1", verification={"method": "otp", "reference": "v-1"})
    change = make.request(make.completed(funding=BOTH), wish)

    (row,) = change.cancellations
    facts = facts_from(row.facts)
    assert (row.requested_by, row.channel, row.reason) == (make.WALLET, Channel.app, Reason.changed_mind)
    assert (row.partial, row.client_reference, row.fingerprint) == (True, "c-1", "f-1")
    assert (facts.amount, facts.partial, facts.state, [*facts.sources]) == (100, True, "completed", ["coupon", "balance"])
    data = make.body(change.records[0])["data"]
    assert data["facts"] == row.facts
    assert (data["allocation"], data["second_approval"]) == ("pro_rata", False)
    assert (data["reason"], data["rule"], data["policy_version"], data["route"]) == ("changed_mind", "automatic", "v-1", "automatic")
    assert (data["client_reference"], data["verification_method"]) == ("c-1", "otp")
    assert {text.name: text.value for text in change.texts} == {"note": "I changed my mind", "verification_reference": "v-1"}
    assert "changed my mind" not in "".join(record.body for record in change.records)


def test_items_are_taken_from_the_lines() -> None:
    change = make.request(make.completed(items=LINES), make.requested(items=make.pieces(b=1, a=2)))

    assert (change.payment.cancelled_quantities, change.payment.amount_reserved) == ((2, 1), 167)
    assert make.body(change.records[0])["data"]["items"] == [{"reference": "b", "quantity": 1}, {"reference": "a", "quantity": 2}]


def test_policys_no_is_on_record_and_changes_nothing_else() -> None:
    snapshot = make.completed(merchant_id="brief")
    change = make.request(snapshot, make.requested(client_reference="c-1", note="please"))

    (row,) = change.cancellations
    assert (row.state, row.route, row.refusal, row.rule, row.amount) == ("refused", None, "window-closed", "brief", 300)
    assert make.sums(change.payment) == ("completed", 0, 0, (0,))
    assert make.types(change) == ["cancellation.refused"]
    assert make.body(change.records[0])["data"]["refusal"] == "window-closed"
    assert isinstance(change.refusal, PolicyRefused)
    assert (change.refusal.refusal, change.refusal.cancellation_id) == (Refusal.window_closed, row.id)
    assert (change.refusal.next_steps, change.refusal.window) == (("contact_merchant",), row.window)
    assert requests.refusal_of(row) == change.refusal
    assert [change.legs, change.jobs] == [(), ()]


def test_after_a_refusal_another_wish_is_heard() -> None:
    snapshot = make.asked(make.completed(merchant_id="brief"))

    assert snapshot.open_cancellation is None
    assert make.request(snapshot, now=NOW - HOUR).refusal is None


def test_only_a_refused_one_has_a_refusal() -> None:
    with pytest.raises(ValueError, match="not refused"):
        requests.refusal_of(make.newest(make.asked(make.completed())))


@pytest.mark.parametrize("actor", [make.WALLET, AGENT, MERCHANT])
def test_only_a_supervisor_overrides(actor: Actor) -> None:
    with pytest.raises(Forbidden):
        make.request(make.completed(merchant_id="brief"), make.requested(actor=actor, override=OVERRIDE))


def test_an_overridden_refusal_waits_for_a_second_person() -> None:
    change = make.request(make.completed(merchant_id="brief"), make.requested(actor=SUPERVISOR, override=OVERRIDE))

    (row,) = change.cancellations
    assert change.refusal is None
    assert (row.state, row.route, row.second_approval, row.override_ticket) == ("awaiting_second_approval", "automatic", True, "T-1")
    assert (row.deadline_at, row.on_deadline, row.refusal, row.rule) == (NOW + DAY, "agent", None, "brief")
    assert change.legs == ()
    expected = ["cancellation.requested", "cancellation.overridden", "cancellation.second_approval_awaited"]
    assert make.types(change) == expected
    assert [(text.name, text.value) for text in change.texts] == [("justification", "promised on the phone")]
    assert make.body(change.records[1])["data"]["ticket"] == "T-1"


@pytest.mark.parametrize(
    ("merchant", "route", "state"),
    [
        ("automatic", "automatic", "awaiting_second_approval"),
        ("merchant", "merchant", "awaiting_merchant"),
        ("agent", "agent", "awaiting_agent"),
    ],
)
def test_an_override_that_nothing_refused_is_on_record_and_needs_a_second_person_too(merchant: str, route: str, state: str) -> None:
    change = make.request(make.completed(merchant_id=merchant), make.requested(actor=SUPERVISOR, override=OVERRIDE))

    (row,) = change.cancellations
    assert (row.route, row.state, row.second_approval, row.override_ticket) == (route, state, True, "T-1")
    assert make.types(change)[:2] == ["cancellation.requested", "cancellation.overridden"]
    assert change.legs == ()


@pytest.mark.parametrize("actor", [make.WALLET, MERCHANT, AGENT, SUPERVISOR], ids=lambda actor: actor.role)
@pytest.mark.parametrize(("amount", "currency"), [(10_000, "CNY"), (10_001, "CNY"), (1, "JPY")])
@pytest.mark.parametrize(("merchant", "first"), [("automatic", None), ("merchant", "awaiting_merchant"), ("agent", "awaiting_agent")])
def test_above_the_limit_one_of_ours_does_not_decide_alone(
    actor: Actor, amount: int, currency: str, merchant: str, first: str | None
) -> None:
    (row,) = make.request(make.completed(amount=amount, currency=currency, merchant_id=merchant), make.requested(actor=actor)).cancellations

    above = amount > 10_000 or currency == "JPY"
    two = above and (actor.role in {"agent", "supervisor"} or merchant == "agent")
    assert row.second_approval is two
    assert row.state == (first or ("awaiting_second_approval" if two else "executing"))


def test_a_client_reference_stands_for_one_wish_for_ever() -> None:
    snapshot = make.asked(make.completed(), make.requested(client_reference="c-1"))
    row = make.newest(snapshot)

    assert requests.find_repeated(snapshot, make.requested(client_reference="c-1", note="another note")) == row
    assert requests.find_repeated(snapshot, make.requested(client_reference="c-2", fingerprint="f-2")) is None
    assert requests.find_repeated(snapshot, make.requested()) is None
    with pytest.raises(ClientReferenceConflict):
        requests.find_repeated(snapshot, make.requested(client_reference="c-1", fingerprint="f-2"))
    assert requests.find_repeated(make.arrived(snapshot), make.requested(client_reference="c-1")) is not None


def test_without_a_reason_it_is_only_a_question() -> None:
    assert isinstance(assess(make.completed(), reason=None).verdict, Allowed)
    with pytest.raises(ValueError, match="reason"):
        make.request(make.completed(), make.requested(reason=None))


def test_requests_of_the_last_day_count_against_the_limit() -> None:
    snapshot = replace(make.completed(), requests_last_day=2)

    for limit, refusal in ((2, Refusal.limit_reached), (3, None)):
        terms = PolicyContext(policy=make.policy(limits={"requests_per_day": limit}), calendar=make.Weekdays())
        change = make.request(snapshot, terms=terms)
        assert (change.refusal.refusal if isinstance(change.refusal, PolicyRefused) else change.refusal) == refusal


WITHDRAWABLE: list[tuple[Snapshot, CancellationRequest]] = [
    (make.completed(merchant_id="merchant", items=LINES), make.requested(items=make.pieces(a=1, b=2))),
    (make.completed(merchant_id="return"), make.requested(amount=7)),
    (make.completed(merchant_id="agent"), make.requested()),
    (make.completed(merchant_id="brief"), make.requested(actor=SUPERVISOR, override=OVERRIDE)),
    (make.pending(amount=20_000), make.requested(actor=AGENT)),
]


@pytest.mark.parametrize(("before", "wish"), WITHDRAWABLE)
def test_withdrawing_gives_everything_back(before: Snapshot, wish: CancellationRequest) -> None:
    snapshot = make.asked(before, wish)
    change = requests.withdraw(snapshot, make.newest(snapshot), make.context())

    kept = {"version": 3, "sequence": change.payment.sequence, "head": change.payment.head, "updated_at": change.payment.updated_at}
    assert change.payment == replace(before.payment, **kept)
    (row,) = change.cancellations
    assert (row.state, row.version, row.deadline_at, row.on_deadline) == ("withdrawn", 2, None, None)
    assert make.types(change) == ["cancellation.withdrawn"]
    assert [change.legs, change.jobs] == [(), ()]


@pytest.mark.parametrize("state", list(CancellationState))
def test_only_what_is_not_yet_executed_is_withdrawn(state: CancellationState) -> None:
    snapshot = make.asked(make.completed(merchant_id="merchant"))
    snapshot = make.with_cancellation(snapshot, make.newest(snapshot), state=state)

    if state.value.startswith("awaiting") or state is CancellationState.offered:
        assert requests.withdraw(snapshot, make.newest(snapshot), make.context()).payment.state is PaymentState.completed
    else:
        with pytest.raises(InvalidState) as refused:
            requests.withdraw(snapshot, make.newest(snapshot), make.context())
        assert refused.value.state == state


def test_a_cancellation_belongs_to_its_payment() -> None:
    snapshot = make.asked(make.completed())
    row = make.newest(snapshot)

    assert requests.must_find(snapshot, row) is row
    for stranger in (None, replace(row, payment_id=make.new_id())):
        with pytest.raises(NotFound):
            requests.must_find(snapshot, stranger)


def test_an_override_of_pieces_worth_nothing_is_refused_and_not_dropped() -> None:
    gift = (Item(reference="gift", quantity=1, amount=0), Item(reference="rest", quantity=1, amount=300))

    with pytest.raises(Invalid) as refused:
        make.request(make.completed(items=gift), make.requested(actor=SUPERVISOR, items=make.pieces(gift=1), override=OVERRIDE))
    assert refused.value.pointer == "/override"


WANTED = {"channels": ["hotline"], "methods": ["otp", "callback"]}


@pytest.mark.parametrize(
    ("actor", "method", "fault"),
    [
        (make.AGENT, None, ("/verification", "verification_required")),
        (replace(make.SUPERVISOR, channel=Channel.hotline), None, ("/verification", "verification_required")),
        (make.AGENT, "document", ("/verification/method", "unknown_value")),
        (make.AGENT, "otp", None),
        (replace(make.AGENT, channel=Channel.chat), None, None),
        (make.WALLET, None, None),
    ],
)
def test_whoever_asks_for_a_customer_verifies_him_as_policy_wants(actor: Actor, method: str | None, fault: tuple[str, str] | None) -> None:
    terms = replace(make.TERMS, policy=make.policy(verification=WANTED))
    wish = make.requested(actor=actor, verification=None if method is None else {"method": method, "reference": "v-1"})

    if fault is None:
        assert make.request(make.completed(), wish, terms=terms).refusal is None
        return
    with pytest.raises(Invalid) as raised:
        make.request(make.completed(), wish, terms=terms)
    assert (raised.value.pointer, raised.value.code) == fault
