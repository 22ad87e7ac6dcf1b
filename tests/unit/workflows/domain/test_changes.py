"""A change: row, record and job of one decision, which cannot fall apart."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import BOTH, DAY, NOW
from workflows.domain import ids
from workflows.domain.changes import _LEG_RECORDS, Change, ChangeBuilder
from workflows.domain.decisions import payments
from workflows.domain.enums import JobKind, LegKind, LegState, PaymentState
from workflows.domain.machines import LEG_ROWS
from workflows.domain.model import Snapshot
from workflows.domain.ports import Returned
from workflows.domain.record_types import RecordType
from workflows.domain.records import GENESIS, digest_text, hash_of


def life() -> list[Change]:
    """A payment of two sources: registered, refunded in part, in whole, returned."""
    snapshot = make.completed(funding=BOTH)
    changes: list[Change] = []

    def keep(change: Change | None) -> None:
        nonlocal snapshot
        assert change is not None
        changes.append(change)
        snapshot = change.after(snapshot)

    for amount in (100, None):
        keep(make.request(snapshot, make.requested(amount=amount)))
        snapshot = make.sent(snapshot)
        for leg in snapshot.legs:
            if leg.state is LegState.submitted:
                keep(make.learn(snapshot, leg, make.done(leg)))
    keep(make.learn(snapshot, snapshot.legs[0], Returned()))
    return changes


def test_records_form_one_chain() -> None:
    snapshot = make.completed()
    before = (snapshot.payment.sequence, snapshot.payment.head)
    change = make.request(snapshot)

    for record in change.records:
        assert (record.sequence, record.previous_hash) == (before[0] + 1, before[1])
        assert record.hash == hash_of(record.body.encode())
        assert (record.chain, record.payment_id) == (ids.public("pay", snapshot.payment.id), snapshot.payment.id)
        before = (record.sequence, record.hash)
    assert (change.payment.sequence, change.payment.head) == before


def test_records_stand_in_the_order_of_cause_and_effect() -> None:
    told = [make.types(change) for change in life()]

    assert told[0] == ["cancellation.requested", "refund.scheduled", "refund.scheduled"]
    assert told[2] == ["refund.succeeded", "cancellation.completed"]
    assert told[-2] == ["refund.succeeded", "cancellation.completed", "payment.refunded"]
    assert told[-1] == ["refund.returned", "cancellation.reopened"]


def test_every_record_names_the_payments_state_before_and_after() -> None:
    before = PaymentState.completed
    for change in life():
        said = {(make.body(record)["from_state"], make.body(record)["to_state"]) for record in change.records}
        assert said == {(before.value, change.payment.state.value)}
        before = change.payment.state


def test_refunded_is_said_once_when_it_becomes_so() -> None:
    said = [change.payment.state.value for change in life() if "payment.refunded" in make.types(change)]

    assert said == ["refunded"]


def test_a_change_swaps_exactly_one_version() -> None:
    snapshot = make.completed()
    change = make.request(snapshot)

    assert (change.expected_version, change.payment.version) == (1, 2)
    assert (change.payment.created_at, change.payment.updated_at) == (snapshot.payment.created_at, NOW)


def builder(snapshot: Snapshot) -> ChangeBuilder:
    return ChangeBuilder(snapshot, make.context())


def test_parts_grow_by_one_version_a_change_however_often_they_are_put() -> None:
    snapshot = make.asked(make.completed())
    made_ = builder(snapshot)
    row, refund = snapshot.cancellations[0], snapshot.refunds[0]

    for _ in range(3):
        row, refund = made_.put_cancellation(row), made_.put_refund(refund)
    change = made_.build()

    assert [one.version for one in change.cancellations] == [row.version] == [2]
    assert [one.version for one in make.refunds(change)] == [refund.version] == [2]


def test_a_new_part_starts_at_version_one() -> None:
    change = make.request(make.completed())

    assert [row.version for row in change.cancellations] == [1]
    assert [row.version for row in make.refunds(change)] == [1]


def test_a_chains_time_never_goes_back() -> None:
    snapshot = make.with_payment(make.completed(), updated_at=NOW + DAY)
    change = make.request(snapshot)

    assert change.payment.updated_at == NOW + DAY
    assert {record.occurred_at for record in change.records} == {NOW + DAY}
    assert {job.run_at for job in change.jobs} == {NOW + DAY}


def test_a_text_is_stored_with_its_salt_and_recorded_as_a_digest() -> None:
    made_ = builder(make.completed())
    said = made_.keep_text(made_.payment.id, "note", "call me")
    (text,) = made_.build().texts

    assert said == {"note_digest": digest_text("call me", text.salt)}
    assert (text.value, text.payment_id, text.subject_id) == ("call me", made_.payment.id, made_.payment.id)


def test_a_silent_change_of_a_leg_leaves_no_record() -> None:
    snapshot = make.asked(make.completed())
    made_ = builder(snapshot)
    made_.put_leg(snapshot.legs[0], silent=True)
    change = made_.build()

    assert [len(change.legs), change.records] == [1, ()]
    assert (change.payment.sequence, change.payment.head) == (snapshot.payment.sequence, snapshot.payment.head)


def test_what_a_leg_record_holds() -> None:
    snapshot = make.sent(make.asked(make.completed()))
    leg = replace(snapshot.legs[0], replaces=make.new_id(), failure_code="no")
    made_ = builder(snapshot)
    made_.put_leg(leg, {"extra": 1})
    (record,) = made_.build().records

    said = make.body(record)
    assert (said["type"], said["amount"], said["currency"], said["request_id"]) == ("refund.submitted", 300, "CNY", "req-1")
    assert said["data"] == {
        "cancellation_id": ids.public("can", leg.cancellation_id),
        "refund_id": ids.public("rfd", snapshot.refunds[0].id),
        "leg_id": ids.public("leg", leg.id),
        "rail_key": leg.rail_key,
        "source": "balance",
        "position": 0,
        "provider": "sandbox",
        "provider_reference": "order-1",
        "attempts": 1,
        "failure_code": "no",
        "replaces": ids.public("leg", leg.replaces or leg.id),
        "extra": 1,
    }


@pytest.mark.parametrize("kind", list(LegKind))
def test_every_state_that_a_leg_can_reach_has_a_record(kind: LegKind) -> None:
    # A void is never held, and moves no money that could come back.
    reachable = {row.target for row in LEG_ROWS} - (set() if kind is LegKind.refund else {LegState.held, LegState.returned})

    assert {state for of, state in _LEG_RECORDS if of is kind} == reachable
    assert all(type_.value.startswith(kind) and type_.value.endswith(state) for (of, state), type_ in _LEG_RECORDS.items() if of is kind)


def test_a_job_is_due_for_its_subject() -> None:
    made_ = builder(make.completed())
    made_.enqueue(JobKind.move, make.UETR, NOW + timedelta(seconds=1))
    (job,) = made_.build().jobs

    assert (job.kind, job.subject_id, job.payment_id, job.run_at) == ("move", make.UETR, made_.payment.id, NOW + timedelta(seconds=1))


def test_after_a_change_the_snapshot_shows_it() -> None:
    after = make.asked(make.completed(merchant_id="merchant"), make.requested(note="please"))

    row = make.newest(after)
    assert after.open_cancellation == row
    assert after.cancellation_ids == (row.id,)
    assert after.text(row.id, "note") == "please"
    assert after.text(row.id, "nothing") is None


def test_a_later_text_of_the_same_name_counts() -> None:
    made_ = builder(make.completed())
    for value in ("first", "second"):
        made_.keep_text(made_.payment.id, "note", value)

    assert made_.build().after(made_.now).text(made_.payment.id, "note") == "second"


def test_a_new_payment_has_no_state_before() -> None:
    change = payments.register(
        make.COMPLETED_TERMS, policy_version="v-1", uetr=make.UETR, default_provider="sandbox", context=make.context()
    )

    assert change.expected_version == 0
    assert [(r.type, r.previous_hash, make.body(r)["from_state"]) for r in change.records] == [
        (RecordType.payment_registered, GENESIS, None)
    ]
    assert change.after(None).payment == change.payment
