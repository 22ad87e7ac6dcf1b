"""Every situation of a cancellation, for its sentences: run it (`python -m tests.unit.service.api.message_table`) to read them all."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import combinations
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from service.api.attention import advice_text
from service.api.cancellation_messages import cancellation_message
from service.api.i18n import Language
from tests import factories as make
from tests.factories import DAY, NOW, TERMS
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import (
    CANCELLATION_WAITING,
    ActorRole,
    CancellationState,
    LegKind,
    LegState,
    MerchantDecision,
    OnDeadline,
    PaymentState,
    Recovery,
    Refusal,
    Source,
)
from workflows.domain.legs import Leg
from workflows.domain.model import Cancellation, Funding, MerchantAnswer, Refund, Snapshot

Situation = tuple[str, Snapshot, Cancellation]

AT: datetime = NOW + 2 * DAY
ZONED = replace(TERMS, policy=replace(TERMS.policy, zone=ZoneInfo("Asia/Shanghai")))
FORFEITING = make.policy(rules=[{"name": "forfeiting", "when": {}, "route": "merchant", "forfeit": ["coupon"]}])
FORFEITS = replace(TERMS, policy=replace(FORFEITING, zone=ZoneInfo("Asia/Shanghai")))
SOURCES = (
    Funding(source=Source.card, amount=6_000, provider="sandbox", provider_reference="a"),
    Funding(source=Source.coupon, amount=4_000, provider="sandbox", provider_reference="b"),
)
CARRIED_OUT = (CancellationState.executing, CancellationState.needs_attention, CancellationState.completed, CancellationState.failed)


def asked(*, pending: bool = False, terms: PolicyContext = ZONED, **members: object) -> tuple[Snapshot, Cancellation]:
    """A payment of 100.00 and its cancellation, with these members."""
    terms_of = {"amount": 10_000, "merchant_id": "merchant", "funding": SOURCES}
    before = make.pending(**terms_of) if pending else make.completed(**terms_of)
    if pending:
        terms = replace(terms, policy=replace(terms.policy, rules=terms.policy.rules[3:]))
    snapshot = make.request(before, terms=terms).after(before)
    [row] = snapshot.cancellations
    row = replace(row, **members)
    return replace(snapshot, cancellations=(row,)), row


def leg(row: Cancellation, position: int, state: LegState, **members: object) -> Leg:
    given: dict[str, object] = {
        "id": UUID(int=9_000 + position),
        "payment_id": row.payment_id,
        "cancellation_id": row.id,
        "refund_id": UUID(int=8_000),
        "kind": LegKind.refund,
        "source": SOURCES[position].source,
        "position": position,
        "provider": "sandbox",
        "provider_reference": "ok",
        "amount": SOURCES[position].amount,
        "currency": "CNY",
        "state": state,
        "outcome_source": None,
        "provider_refund_id": None,
        "rail_reference": None,
        "attempts": 1,
        "failure_code": None,
        "next_attempt_at": None,
        "replaces": None,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Leg(**{**given, **members})  # type: ignore[arg-type]  # each member has its own type


def refunding(state: CancellationState, *states: LegState, disputed: bool = False, **members: object) -> tuple[Snapshot, Cancellation]:
    """An approved refund whose legs, of 60.00 and 40.00, are so."""
    snapshot, row = asked(**{"state": state, "deadline_at": None, "on_deadline": None, **members})  # type: ignore[arg-type]  # each has its own type
    legs = tuple(leg(row, position, each) for position, each in enumerate(states))
    refund = Refund(
        id=UUID(int=8_000),
        payment_id=row.payment_id,
        cancellation_id=row.id,
        version=1,
        state=states[0],
        amount=sum(each.amount for each in legs),
        currency="CNY",
        created_at=NOW,
        updated_at=NOW,
    )
    payment = replace(snapshot.payment, state=PaymentState.refunding, origin_state=None, disputes_open=int(disputed))
    row = replace(row, refund=refund)
    return replace(snapshot, payment=payment, cancellations=(row,), legs=legs), row


def situations() -> Iterator[Situation]:
    yield from waiting()
    yield from ended()
    yield from voids()
    yield from refunds()


def waiting() -> Iterator[Situation]:
    for state in CancellationState:
        if state in CANCELLATION_WAITING:
            for then in (None, *OnDeadline):
                members = {"state": state, "deadline_at": AT, "on_deadline": then, "offer_amount": 8_000, "offers": 1}
                yield f"{state}, then {then}", *asked(**members)
            yield f"{state}, of a pending payment", *asked(pending=True, state=state, deadline_at=None, on_deadline=None)
            yield f"{state}, raised", *asked(state=state, deadline_at=AT, raised=True)
            yield f"{state}, forfeits 40.00", *asked(terms=FORFEITS, state=state, deadline_at=None, offer_amount=5_000)


def ended() -> Iterator[Situation]:
    for refusal in (None, *Refusal):
        yield f"refused: {refusal}", *asked(state=CancellationState.refused, refusal=refusal)
    no = MerchantAnswer(decision=MerchantDecision.decline, reason_code=None, decided_at=NOW, decided_by="shop")
    for by in (ActorRole.merchant, ActorRole.agent, ActorRole.system):
        for days in (0, 8):
            said = replace(no, decided_at=NOW - timedelta(days=days)) if by is ActorRole.merchant else None
            snapshot, row = asked(state=CancellationState.declined, declined_by=by, merchant=said)
            payment = replace(snapshot.payment, state=PaymentState.completed, origin_state=None, amount_reserved=0)
            yield f"declined by {by}, {days} days ago", replace(snapshot, payment=payment), row
    yield "withdrawn", *asked(state=CancellationState.withdrawn)


def voids() -> Iterator[Situation]:
    for state in CARRIED_OUT:
        for origin in (PaymentState.pending, PaymentState.completed):
            snapshot, row = asked(pending=True, state=state, deadline_at=None)
            over = {CancellationState.completed: PaymentState.cancelled, CancellationState.failed: PaymentState.pending}
            payment = replace(snapshot.payment, state=over.get(state, PaymentState.cancel_requested), origin_state=origin)
            leg_state = LegState.succeeded if state is CancellationState.completed else LegState.unknown
            legs = tuple(leg(row, position, leg_state, kind=LegKind.void, refund_id=None) for position in (0, 1))
            if state in over and origin is PaymentState.completed:
                continue
            yield f"{state}, void, payment {origin}", replace(snapshot, payment=payment, legs=legs), row
    snapshot, row = asked(pending=True, state=CancellationState.completed)
    yield "completed, payment failed", replace(snapshot, payment=replace(snapshot.payment, state=PaymentState.failed)), row


def refunds() -> Iterator[Situation]:
    for state in CARRIED_OUT:
        yield f"{state}, no legs", *asked(state=state, deadline_at=None, on_deadline=None)
        for one in LegState:
            yield f"{state}, 100.00 {one}", *refunding(state, one, one)
            yield f"{state}, 60.00 succeeded, 40.00 {one}", *refunding(state, LegState.succeeded, one)
        for one, other in combinations(LegState, 2):
            yield f"{state}, 60.00 {one}, 40.00 {other}", *refunding(state, one, other)
    yield "executing, disputed", *refunding(CancellationState.executing, LegState.held, LegState.held, disputed=True)
    yield "executing, half disputed", *refunding(CancellationState.executing, LegState.succeeded, LegState.held, disputed=True)
    yield "completed, 40.00 forfeited", *refunding(CancellationState.completed, LegState.succeeded, forfeited=(0, 4_000))
    yield "completed, all forfeited", *asked(state=CancellationState.completed, forfeited=(6_000, 4_000))
    yield "completed, worth nothing", *asked(state=CancellationState.completed, amount=0)
    snapshot, row = refunding(CancellationState.completed, LegState.succeeded)
    voided = leg(row, 1, LegState.succeeded, kind=LegKind.void, refund_id=None)
    yield "completed, 40.00 voided", replace(snapshot, legs=(*snapshot.legs, voided)), row
    snapshot, row = refunding(CancellationState.completed, LegState.succeeded, LegState.failed)
    successor = leg(row, 1, LegState.succeeded, id=UUID(int=9_100), source=Source.balance, replaces=UUID(int=9_001))
    yield "completed, 40.00 redirected", replace(snapshot, legs=(*snapshot.legs, successor)), row
    yield from recovered()


def recovered() -> Iterator[Situation]:
    """After a person has ordered what is to follow."""
    for how, source in (("again", Source.coupon), ("to the balance", Source.balance)):
        snapshot, row = refunding(CancellationState.executing, LegState.succeeded, LegState.failed)
        successor = leg(row, 1, LegState.scheduled, id=UUID(int=9_100), source=source, replaces=UUID(int=9_001))
        yield f"executing, 40.00 sent {how}", replace(snapshot, legs=(*snapshot.legs, successor)), row
    snapshot, row = refunding(CancellationState.completed, LegState.failed, LegState.failed)
    successors = [
        leg(row, at, LegState.succeeded, id=UUID(int=9_100 + at), source=Source.balance, replaces=UUID(int=9_000 + at)) for at in (0, 1)
    ]
    yield "completed, all redirected", replace(snapshot, legs=(*snapshot.legs, *successors)), row
    for how in Recovery:
        state = CancellationState.needs_attention if how is Recovery.close else CancellationState.executing
        snapshot, row = refunding(state, LegState.succeeded, LegState.requires_action)
        legs = tuple(replace(one, recovery=how) if one.state is LegState.requires_action else one for one in snapshot.legs)
        yield f"{state}, 40.00 requires_action, {how} ordered", replace(snapshot, legs=legs), row
    yield "needs_attention, by a day", *refunding(CancellationState.needs_attention, LegState.returned, LegState.returned, deadline_at=AT)
    snapshot, row = asked(pending=True, state=CancellationState.failed)
    legs = (
        leg(row, 0, LegState.succeeded, kind=LegKind.void, refund_id=None),
        leg(row, 1, LegState.failed, kind=LegKind.void, refund_id=None),
    )
    yield "failed, 60.00 voided", replace(snapshot, payment=replace(snapshot.payment, state=PaymentState.pending), legs=legs), row


def advice() -> Iterator[tuple[str, Leg]]:
    """Each state of a leg that has not arrived, for what those of ours are told."""
    _, row = asked()
    for state in LegState:
        if state is not LegState.succeeded:
            yield state.value, leg(row, 0, state)
    yield "failed, never sent", leg(row, 0, LegState.failed, attempts=0)
    yield "requires_action, ordered", leg(row, 0, LegState.requires_action, recovery=Recovery.retry)


def situation_of(one: Leg) -> Snapshot:
    return replace(asked()[0], legs=(one,))


def told(situation: Situation, spoken: Language) -> str:
    name, snapshot, row = situation
    terms = FORFEITS if "forfeits" in name else ZONED
    return cancellation_message(snapshot, row, terms, spoken=spoken, now=NOW)


def table() -> str:
    lines = []
    for situation in situations():
        lines += [f"{situation[0]}", *(f"    {told(situation, spoken)}" for spoken in Language)]
    for name, one in advice():
        lines += [f"for ours, {name}", *(f"    {advice_text(situation_of(one), one, spoken)}" for spoken in Language)]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
