"""A Change: all that one decision writes, built so that row, record and job cannot fall apart."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple, TypeVar
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from workflows.domain import ids
from workflows.domain.anomaly_steps import with_steps
from workflows.domain.enums import AnomalyKind, JobKind, LegKind, LegState
from workflows.domain.errors import Refused
from workflows.domain.legs import Leg
from workflows.domain.model import (
    CANCELLATIONS_SHOWN,
    Actor,
    Anomaly,
    AnomalyStep,
    Cancellation,
    DataValue,
    Job,
    Payment,
    PersonalText,
    Refund,
    Snapshot,
)
from workflows.domain.ports import NewId
from workflows.domain.record_types import RecordType
from workflows.domain.records import Record, RecordDraft, digest_text, seal
from workflows.domain.standing import standing

T = TypeVar("T", Cancellation, Leg)


class Context(Struct, frozen=True, kw_only=True):
    """Who acts, when, and where fresh ids and salts come from: the only way by which time and chance reach a decision."""

    actor: Actor
    now: datetime
    new_id: NewId
    new_salt: Callable[[], bytes]
    request_id: str | None = None


class Change(Struct, frozen=True, kw_only=True):
    """What to write, all of it or nothing, if the payment is still as it was in `before` (None: not registered yet)."""

    before: Snapshot | None
    payment: Payment
    cancellations: tuple[Cancellation, ...] = ()
    legs: tuple[Leg, ...] = ()
    records: tuple[Record, ...] = ()
    texts: tuple[PersonalText, ...] = ()
    jobs: tuple[Job, ...] = ()
    hastened: tuple[UUID, ...] = ()  # legs that are looked after now, whenever their job was due
    anomalies: tuple[Anomaly, ...] = ()
    anomaly_steps: tuple[AnomalyStep, ...] = ()
    refusal: Refused | None = None  # the answer is no, and that no is what the change records

    @property
    def expected_version(self) -> int:
        """The version that the payment must still have; 0 where there must be none of that id."""
        return 0 if self.before is None else self.before.payment.version

    def after(self, before: Snapshot | None) -> Snapshot:
        """The snapshot as it stands once this change is applied."""
        base = before or Snapshot(payment=self.payment)
        return replace(
            base,
            payment=self.payment,
            cancellations=_merged(base.cancellations, self.cancellations),
            legs=_merged(base.legs, self.legs),
            texts=base.texts + self.texts,
            anomalies=with_steps(base.anomalies, self.anomaly_steps) + self.anomalies,
            cancellation_ids=tuple(dict.fromkeys([*base.cancellation_ids, *(c.id for c in self.cancellations)]))[-CANCELLATIONS_SHOWN:],
        )


def _merged(old: tuple[T, ...], new: tuple[T, ...]) -> tuple[T, ...]:
    rows = {row.id: row for row in old}
    rows.update({row.id: row for row in new})
    return tuple(rows.values())


_LEG_RECORDS: dict[tuple[LegKind, LegState], RecordType] = {
    (LegKind.refund, LegState.scheduled): RecordType.refund_scheduled,
    (LegKind.refund, LegState.held): RecordType.refund_held,
    (LegKind.refund, LegState.submitted): RecordType.refund_submitted,
    (LegKind.refund, LegState.processing): RecordType.refund_processing,
    (LegKind.refund, LegState.unknown): RecordType.refund_unknown,
    (LegKind.refund, LegState.requires_action): RecordType.refund_requires_action,
    (LegKind.refund, LegState.succeeded): RecordType.refund_succeeded,
    (LegKind.refund, LegState.failed): RecordType.refund_failed,
    (LegKind.refund, LegState.returned): RecordType.refund_returned,
    (LegKind.void, LegState.scheduled): RecordType.void_scheduled,
    (LegKind.void, LegState.submitted): RecordType.void_submitted,
    (LegKind.void, LegState.processing): RecordType.void_processing,
    (LegKind.void, LegState.unknown): RecordType.void_unknown,
    (LegKind.void, LegState.requires_action): RecordType.void_requires_action,
    (LegKind.void, LegState.succeeded): RecordType.void_succeeded,
    (LegKind.void, LegState.failed): RecordType.void_failed,
}


class _Entry(NamedTuple):
    """A record to be: what all records of a change share is added when it is sealed."""

    type: RecordType
    amount: int | None
    data: dict[str, DataValue]


class ChangeBuilder:
    """A change in the making: a snapshot that moves forward, and the records of each step.

    Records are sealed at the end, in the order in which they were added: what was asked or learnt first, then what follows from it.
    """

    def __init__(self, before: Snapshot, context: Context, *, new: bool = False) -> None:
        self.now = before
        # Clocks of several machines differ; a chain's own time never goes back.
        self.context = replace(context, now=max(context.now, before.payment.updated_at))
        self._before = None if new else before
        self._cancellations: dict[UUID, Cancellation] = {}
        self._refunds: set[UUID] = set()  # those whose version was raised, or that are new
        self._legs: dict[UUID, Leg] = {}
        self._texts: list[PersonalText] = []
        self._jobs: list[Job] = []
        self._hastened: list[UUID] = []
        self._anomalies: list[Anomaly] = []
        self._anomaly_steps: list[AnomalyStep] = []
        self._entries: list[_Entry] = []

    @property
    def payment(self) -> Payment:
        return self.now.payment

    def set_payment(self, payment: Payment) -> None:
        self.now = replace(self.now, payment=payment)

    def put_cancellation(self, cancellation: Cancellation, *, unseen: bool = False) -> Cancellation:
        """Add a cancellation, or change one; its version grows once a change. `unseen`: nothing changed that anybody is shown.

        Its refund stays as the builder knows it: that is changed by `put_refund`.
        """
        known = self.now.cancellation(cancellation.id)
        if known is not None:
            raised = not unseen and cancellation.id not in self._cancellations
            cancellation = replace(cancellation, version=known.version + raised, refund=known.refund)
        return self._keep_cancellation(cancellation if unseen else replace(cancellation, updated_at=self.context.now))

    def put_refund(self, refund: Refund) -> Refund:
        """Add the refund to its cancellation, which is known, or change it."""
        cancellation = self.now.cancellation(refund.cancellation_id)
        if cancellation is None:
            raise LookupError(refund.cancellation_id)
        if cancellation.refund is not None:
            raised = refund.id not in self._refunds
            refund = replace(refund, version=cancellation.refund.version + raised, updated_at=self.context.now)
        self._refunds.add(refund.id)
        self._keep_cancellation(replace(self.put_cancellation(cancellation), refund=refund))
        return refund

    def _keep_cancellation(self, cancellation: Cancellation) -> Cancellation:
        self._cancellations[cancellation.id] = cancellation
        self.now = replace(self.now, cancellations=_merged(self.now.cancellations, (cancellation,)))
        return cancellation

    def put_leg(self, leg: Leg, data: dict[str, DataValue] | None = None, *, silent: bool = False) -> Leg:
        """Add or change a leg, and say so on the record; `silent` for what no state shows (an attempt's time)."""
        row = replace(leg, updated_at=self.context.now)
        self._legs[row.id] = row
        self.now = replace(self.now, legs=_merged(self.now.legs, (row,)))
        if not silent:
            self._record(_LEG_RECORDS[row.kind, row.state], row.amount, _leg_data(row) | (data or {}))
        return row

    def record_cancellation(self, type_: RecordType, cancellation: Cancellation, data: dict[str, DataValue] | None = None) -> None:
        """Every step names the rule and the version by which the wish was decided."""
        base: dict[str, DataValue] = {
            "cancellation_id": ids.public("can", cancellation.id),
            "reason": cancellation.reason.value,
            "rule": cancellation.rule,
            "policy_version": cancellation.policy_version,
        }
        self._record(type_, cancellation.amount or None, base | (data or {}))

    def record_payment(self, type_: RecordType, data: dict[str, DataValue] | None = None, *, amount: int | None = None) -> None:
        self._record(type_, self.payment.amount if amount is None else amount, data or {})

    def note_anomaly(self, kind: AnomalyKind, word: str, *, provider: str | None, leg: Leg | None, data: dict[str, DataValue]) -> bool:
        """Keep a word that no transition allows, and record it; False where the same word is kept already.

        `word` names what was said, so that the same thing said again, by whatever way, is one anomaly.
        """
        digest = digest_text([kind.value, None if leg is None else leg.id.hex, word], b"")
        if any(each.word == digest for each in (*self.now.anomalies, *self._anomalies)):
            return False
        anomaly = Anomaly(
            scope_id=self.payment.id,
            id=self.context.new_id(),
            payment_id=self.payment.id,
            kind=kind,
            word=digest,
            provider=provider,
            leg_id=None if leg is None else leg.id,
            data=data if leg is None else data | {"position": leg.position},
            created_at=self.context.now,
        )
        self._anomalies.append(anomaly)
        told: dict[str, DataValue] = {"anomaly_id": ids.public("ano", anomaly.id), "kind": kind.value}
        if leg is not None:
            told |= _leg_data(leg) | {"leg_state": leg.state.value}
        self.record_payment(RecordType.payment_anomaly, told | data, amount=None if leg is None else leg.amount)
        return True

    def put_anomaly_step(self, step: AnomalyStep) -> None:
        """What a person does about an anomaly that is known; at most one step of each in a change."""
        self._anomaly_steps.append(step)
        self.now = replace(self.now, anomalies=with_steps(self.now.anomalies, (step,)))

    def keep_text(self, subject_id: UUID, name: str, value: DataValue) -> dict[str, DataValue]:
        """Store a personal text where it can be erased; returns what the record may say of it."""
        text = PersonalText(
            id=self.context.new_id(),
            payment_id=self.payment.id,
            subject_id=subject_id,
            name=name,
            value=value,
            salt=self.context.new_salt(),
        )
        self._texts.append(text)
        return {f"{name}_digest": digest_text(value, text.salt)}

    def enqueue(self, kind: JobKind, subject_id: UUID, run_at: datetime, *, provider: str = "") -> None:
        """Work for a worker; `provider` names the rail that it must have, where it needs one."""
        job_id = self.context.new_id()
        self._jobs.append(Job(id=job_id, payment_id=self.payment.id, kind=kind, provider=provider, subject_id=subject_id, run_at=run_at))

    def hasten(self, leg_id: UUID) -> None:
        """What is to be done for that leg is due now."""
        self._hastened.append(leg_id)

    def build(self, refusal: Refused | None = None) -> Change:
        self._raise_versions()
        self._tell_standings()
        payment = self.payment
        records = tuple(self._sealed(self._entries))
        sequence, head = (records[-1].sequence, records[-1].hash) if records else (payment.sequence, payment.head)
        version = 1 if self._before is None else self._before.payment.version + 1
        payment = replace(payment, sequence=sequence, head=head, version=version, updated_at=self.context.now)
        return Change(
            before=self._before,
            payment=payment,
            cancellations=tuple(self._cancellations.values()),
            legs=tuple(self._legs.values()),
            records=records,
            texts=tuple(self._texts),
            jobs=tuple(self._jobs),
            hastened=tuple(self._hastened),
            anomalies=tuple(self._anomalies),
            anomaly_steps=tuple(self._anomaly_steps),
            refusal=refusal,
        )

    def _raise_versions(self) -> None:
        """A refund is shown with its legs, a cancellation with its refund: the version of each moves with all that is shown of it."""
        for leg in self._legs.values():
            if leg.refund_id is not None and leg.refund_id not in self._refunds:
                refund = next((each for each in self.now.refunds if each.id == leg.refund_id), None)
                if refund is not None:
                    self.put_refund(refund)
            if leg.cancellation_id not in self._cancellations:
                cancellation = self.now.cancellation(leg.cancellation_id)
                if cancellation is not None:
                    self.put_cancellation(cancellation)

    def _tell_standings(self) -> None:
        """Of each cancellation that stands otherwise than before, the last record that is about it says how."""
        for row in self._cancellations.values():
            known, now = None if self._before is None else self._before.cancellation(row.id), standing(row)
            if known is None or standing(known) != now:
                named = ids.public("can", row.id)
                about = (entry for entry in reversed(self._entries) if entry.data.get("cancellation_id") == named)
                if (last := next(about, None)) is not None:
                    last.data["cancellation"] = now

    def _record(self, type_: RecordType, amount: int | None, data: dict[str, DataValue]) -> None:
        self._entries.append(_Entry(type_, amount, data))

    def _sealed(self, entries: Iterable[_Entry]) -> Iterable[Record]:
        """A change has one state before and one after it; every record of it names both."""
        from_state = None if self._before is None else self._before.payment.state.value
        to_state = self.payment.state.value
        chain, sequence, head = ids.public("pay", self.payment.id), self.payment.sequence, self.payment.head
        for entry in entries:
            sequence += 1
            draft = RecordDraft(
                type=entry.type,
                occurred_at=self.context.now,
                actor=self.context.actor,
                from_state=from_state,
                to_state=to_state,
                amount=entry.amount,
                currency=self.payment.currency,
                data=entry.data,
                request_id=self.context.request_id,
            )
            sealed = seal(
                draft,
                id=self.context.new_id(),
                chain=chain,
                payment_id=self.payment.id,
                sequence=sequence,
                previous_hash=head,
            )
            head = sealed.hash
            yield sealed


def _leg_data(leg: Leg) -> dict[str, DataValue]:
    data: dict[str, DataValue] = {
        "cancellation_id": ids.public("can", leg.cancellation_id),
        "leg_id": ids.public("leg", leg.id),
        "rail_key": leg.rail_key,
        "source": leg.source.value,
        "position": leg.position,
        "provider": leg.provider,
        "provider_reference": leg.provider_reference,
    }
    if leg.recovery is not None:
        data["recovery"] = leg.recovery.value
    if leg.provider_refund_id is not None:
        data["provider_refund_id"] = leg.provider_refund_id
    if leg.rail_reference is not None:
        data["rail_reference"] = leg.rail_reference
    if leg.refund_id is not None:
        data["refund_id"] = ids.public("rfd", leg.refund_id)
    if leg.attempts:
        data["attempts"] = leg.attempts
    if leg.outcome_source is not None:
        data["outcome_source"] = leg.outcome_source.value
    if leg.failure_code is not None:
        data["failure_code"] = leg.failure_code
    if leg.replaces is not None:
        data["replaces"] = ids.public("leg", leg.replaces)
    return data
