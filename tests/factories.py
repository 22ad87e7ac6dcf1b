"""Values of the domain for every test: payments, requests, the words of rails, records and exports. No clock runs here, and no database."""

import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from itertools import count
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from workflows.domain import ids
from workflows.domain.changes import Change, Context
from workflows.domain.decisions import outcomes, payments, requests
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.requests import CancellationRequest, OverrideRequest
from workflows.domain.decisions.words import Word
from workflows.domain.enums import ActorRole, Anchor, Category, Channel, Fulfilment, LegState, PaymentState, RailCall, Reason, Source
from workflows.domain.exports import ExportDigest, Scope, export_line, trailer_line
from workflows.domain.legs import Leg, SuccessorRules
from workflows.domain.model import Actor, Cancellation, DataValue, Funding, Item, ItemQuantity, Payment, Refund, Snapshot
from workflows.domain.policies.facts import PolicyFacts
from workflows.domain.policies.form import parse_policy
from workflows.domain.policies.policy import Policy
from workflows.domain.ports import Done, Outcome
from workflows.domain.record_types import RecordType
from workflows.domain.records import GENESIS, Record, RecordDraft, chain_id, seal
from workflows.domain.times import rfc3339
from workflows.domain.verifying import Verdict, verify_export

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SOON = NOW + MINUTE

WALLET = Actor(role=ActorRole.wallet, id="wallet-backend", channel=Channel.app)
AGENT = Actor(role=ActorRole.agent, id="agent-1", channel=Channel.hotline)
SUPERVISOR = Actor(role=ActorRole.supervisor, id="supervisor-1", channel=Channel.chat)
MERCHANT = Actor(role=ActorRole.merchant, id="shop", channel=Channel.merchant)
RAIL = Actor(role=ActorRole.provider, id="sandbox", channel=Channel.system)

ALL_SENT = frozenset({LegState.submitted, LegState.processing, LegState.unknown, LegState.requires_action})
OVERRIDE = OverrideRequest(justification="promised on the phone", ticket="T-1")
UETR = UUID(int=4)

_ids = count(1)


@dataclass
class Clock:
    """Moves when told to, and never back."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, span: timedelta) -> None:
        self.now += span

    def milliseconds(self) -> int:
        return int(self.now.timestamp() * 1000)

    def ago(self, **span: float) -> str:
        return rfc3339(self.now - timedelta(**span))


def new_id() -> UUID:
    return UUID(int=next(_ids))


def context(now: datetime = NOW, actor: Actor = WALLET) -> Context:
    return Context(actor=actor, now=now, new_id=new_id, new_salt=lambda: b"salt" * 4, request_id="req-1")


def refunds(change: Change) -> tuple[Refund, ...]:
    """Of the cancellations that were changed."""
    return tuple(row.refund for row in change.cancellations if row.refund is not None)


class Weekdays:
    def is_business_day(self, day: date) -> bool:
        return day.weekday() < 5


def policy(**members: Any) -> Policy:
    """One rule for each way, told apart by the merchant's name."""
    rules = [
        {"name": "void", "when": {"state": "pending"}, "window": {"anchor": "authorised_at", "length": "7 days"}, "route": "void"},
        {"name": "automatic", "when": {"merchant_id": "automatic"}, "route": "automatic"},
        {"name": "cash-first", "when": {"merchant_id": "cash-first"}, "route": "automatic", "allocation": "cash_first"},
        {"name": "merchant", "when": {"merchant_id": "merchant"}, "route": "merchant"},
        {"name": "return", "when": {"merchant_id": "return"}, "route": "return"},
        {"name": "agent", "when": {"merchant_id": "agent"}, "route": "agent"},
        {
            "name": "brief",
            "when": {"merchant_id": "brief"},
            "window": {"anchor": "completed_at", "length": "30 minutes"},
            "route": "automatic",
            "allocation": "promotions_first",
        },
    ]
    head = {"version": "v-1", "effective_from": "2026-01-01T00:00:00Z", "timezone": "UTC", "calendar": "none"}
    steps = {"default": {"next_steps": ["contact_merchant"]}}
    return parse_policy({**head, "rules": rules, "second_approval_above": {"CNY": 10_000}, "refusals": steps, **members})


def policy_of(*rules: dict[str, Any], **members: Any) -> Policy:
    """These rules, `r0`, `r1`, …, each `automatic` unless it says otherwise."""
    named = [{"name": f"r{position}", "route": "automatic", **rule} for position, rule in enumerate(rules)]
    head = {"version": "v", "effective_from": "2026-01-01T00:00:00Z", "timezone": "UTC", "calendar": "none"}
    return parse_policy({**head, "rules": named, **members})


COMPLETED_AT = datetime(2026, 11, 2, 2, tzinfo=UTC)  # of the payment in `FACTS`
FACTS = PolicyFacts(
    state=PaymentState.completed,
    fulfilment=Fulfilment.none,
    category=Category.general,
    merchant_id="m-1",
    currency="CNY",
    amount=10_000,
    role=ActorRole.wallet,
    channel=Channel.app,
    reason=Reason.changed_mind,
    sources=(Source.balance, Source.coupon),
    anchors={Anchor.completed_at: COMPLETED_AT, Anchor.delivered_at: COMPLETED_AT + timedelta(days=2)},
    partial=False,
)

TERMS = PolicyContext(policy=policy(), calendar=Weekdays())
SUCCESSORS = SuccessorRules("sandbox", lambda _, reference: f"{reference}+")
PENDING_TERMS = payments.PaymentDetails(
    reference="order-1", wallet_id="wallet-1", merchant_id="automatic", amount=300, currency="CNY", authorised_at=NOW - DAY
)
COMPLETED_TERMS = replace(PENDING_TERMS, completed_at=NOW - HOUR)
BOTH = (
    Funding(source=Source.coupon, amount=100, provider="sandbox", provider_reference="c"),
    Funding(source=Source.balance, amount=200, provider="wallet", provider_reference="b"),
)
LINES = (Item(reference="a", quantity=3, amount=100), Item(reference="b", quantity=2, amount=200))


REGISTRATIONS: dict[str, tuple[Record, ...]] = {}  # the records of what was registered here, by the head of the chain


def registered(terms: payments.PaymentDetails, now: datetime = NOW - HOUR) -> Snapshot:
    change = payments.register(terms, policy_version="v-1", uetr=UETR, default_provider="sandbox", context=context(now))
    REGISTRATIONS[change.payment.head] = change.records
    return change.after(None)


def completed(**members: Any) -> Snapshot:
    return registered(replace(COMPLETED_TERMS, **members))


def pending(**members: Any) -> Snapshot:
    return registered(replace(PENDING_TERMS, **members))


def with_payment(snapshot: Snapshot, **members: Any) -> Snapshot:
    return replace(snapshot, payment=replace(snapshot.payment, **members))


def with_cancellation(snapshot: Snapshot, cancellation: Cancellation, **members: Any) -> Snapshot:
    rows = tuple(replace(c, **members) if c.id == cancellation.id else c for c in snapshot.cancellations)
    return replace(snapshot, cancellations=rows)


def with_leg(snapshot: Snapshot, leg: Leg, **members: Any) -> Snapshot:
    return replace(snapshot, legs=tuple(replace(one, **members) if one.id == leg.id else one for one in snapshot.legs))


def requested(**members: Any) -> CancellationRequest:
    return CancellationRequest(**{"actor": WALLET, "reason": Reason.changed_mind, "fingerprint": "f-1", **members})


def pieces(**quantities: int) -> tuple[ItemQuantity, ...]:
    return tuple(ItemQuantity(reference=name, quantity=quantity) for name, quantity in quantities.items())


def request(snapshot: Snapshot, wish: CancellationRequest | None = None, *, now: datetime = NOW, terms: PolicyContext = TERMS) -> Change:
    wish = wish or requested()
    return requests.request(snapshot, wish, terms, context(now, wish.actor))


def asked(snapshot: Snapshot, wish: CancellationRequest | None = None, *, now: datetime = NOW) -> Snapshot:
    return request(snapshot, wish, now=now).after(snapshot)


def newest(snapshot: Snapshot) -> Cancellation:
    return max(snapshot.cancellations, key=lambda cancellation: cancellation.id)


def sent(snapshot: Snapshot, now: datetime = NOW) -> Snapshot:
    """Every scheduled leg's intent is written."""
    for leg in snapshot.legs:
        if leg.state is LegState.scheduled:
            snapshot = outcomes.submit(snapshot, leg, context(now)).after(snapshot)
    return snapshot


def learn(snapshot: Snapshot, leg: Leg, outcome: Outcome, *, now: datetime = NOW) -> Change | None:
    """What the rail's word about this leg, as it now stands, changes."""
    current = snapshot.leg(leg.id)
    assert current is not None
    return outcomes.learn(snapshot, current, word(outcome), terms=TERMS, successors=SUCCESSORS, context=context(now, RAIL))


def word(outcome: Outcome, call: RailCall = RailCall.notification) -> Word:
    return Word(outcome=outcome, call=call, next_attempt_at=SOON)


def told(snapshot: Snapshot, leg: Leg, outcome: Outcome, *, now: datetime = NOW) -> Snapshot:
    change = learn(snapshot, leg, outcome, now=now)
    assert change is not None
    return change.after(snapshot)


def done(leg: Leg) -> Done:
    return Done(leg.amount, leg.currency, "re-1", "arn-1")


def arrived(snapshot: Snapshot, now: datetime = NOW) -> Snapshot:
    """Every leg that is not final is sent, and confirmed."""
    snapshot = sent(snapshot, now)
    for leg in snapshot.legs:
        if leg.state in ALL_SENT:
            snapshot = told(snapshot, leg, done(leg), now=now)
    return snapshot


def refunded(snapshot: Snapshot, amount: int | None = None) -> Snapshot:
    return arrived(asked(snapshot, requested(amount=amount)))


def sums(payment: Payment) -> tuple[str, int, int, tuple[int, ...]]:
    return payment.state.value, payment.amount_refunded, payment.amount_reserved, payment.allocated


def types(change: Change | None) -> list[str]:
    assert change is not None
    return [record.type.value for record in change.records]


def body(record: Record) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(record.body)
    return read


def anomalies(change: Change | None) -> list[str]:
    assert change is not None
    return [body(record)["data"]["said"] for record in change.records if record.type.value == "payment.anomaly"]


# -- records and exports, and a signer that needs no library -----------------------------------------------------------------

OURS = "refundry+00000001+b3Vycw=="
THEIRS = "refundry+00000002+dGhlaXJz"
_SECRETS = {OURS: b"ours", THEIRS: b"theirs"}


def sign(data: bytes, key: str = OURS) -> bytes:
    return hmac.digest(_SECRETS[key], data, "sha256") * 2  # as long as an Ed25519 signature


def check_signature(key: str, signature: bytes, data: bytes) -> bool:
    return key in _SECRETS and hmac.compare_digest(signature, sign(data, key))


def draft(occurred_at: datetime = NOW, data: dict[str, DataValue] | None = None) -> RecordDraft:
    return RecordDraft(
        type=RecordType.refund_succeeded,
        occurred_at=occurred_at,
        actor=Actor(role=ActorRole.system, id="worker", channel=Channel.system),
        from_state="refunding",
        to_state="refunding",
        amount=1000,
        currency="CNY",
        data={"reason": "ž ✓ 退款"} if data is None else data,
        request_id=None,
    )


def chain(name: str, length: int, *, start: datetime = NOW, step: timedelta = timedelta(minutes=1)) -> list[Record]:
    """`length` records of one payment, `step` apart."""
    payment = ids.payment_id(name)
    records: list[Record] = []
    for sequence in range(1, length + 1):
        records.append(
            seal(
                draft(start + (sequence - 1) * step),
                id=UUID(bytes=sha256(f"{name}/{sequence}".encode()).digest()[:16], version=4),
                chain=ids.public("pay", payment),
                payment_id=payment,
                sequence=sequence,
                previous_hash=records[-1].hash if records else GENESIS,
            )
        )
    return records


def in_order(records: Iterable[Record]) -> list[Record]:
    """By day, chain and sequence, as an export is."""
    return sorted(records, key=lambda record: (record.occurred_at.date(), chain_id(record.chain), record.sequence))


def lines_of(records: Iterable[Record]) -> list[bytes]:
    return [export_line(record.body.encode(), record.hash) for record in records]


def export(records: Sequence[Record], *, scope: Scope | None = None, key: str = OURS) -> list[bytes]:
    """The lines of an export of these records in this order, with a trailer that fits them."""
    digest = ExportDigest()
    lines = lines_of(records)
    for line, record in zip(lines, records, strict=True):
        digest.add(line, record.chain, record.sequence, record.hash)
    return [*lines, trailer_line(digest.totals(), scope=scope or Scope(), key=key, sign=lambda data: sign(data, key))]


def judge(lines: Iterable[bytes], trusted_key: str | None = None) -> Verdict:
    return verify_export(lines, check_signature=check_signature, trusted_key=trusted_key)
