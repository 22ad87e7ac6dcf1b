"""What must hold of a payment at every state, and of every step from one state to the next: an opinion of its own, in plain loops."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests import factories as make
from tests.factories import NOW
from tests.unit.workflows.domain import replaying
from tests.unit.workflows.domain.walk import MOVING, REVIEWERS, Node, Step
from workflows.domain.changes import Change
from workflows.domain.decisions import permitted
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.enums import CANCELLATION_CLOCKED, CANCELLATION_OPEN, LEG_FINAL, LegKind, LegState
from workflows.domain.machines import CANCELLATION, LEG, PAYMENT, Machine
from workflows.domain.model import Cancellation, Snapshot
from workflows.domain.records import hash_of

MAY_ARRIVE = MOVING | {LegState.held}
IN_FLIGHT = frozenset({LegState.submitted, LegState.processing, LegState.unknown})
WORST_FIRST = ("failed", "returned", "requires_action", "unknown", "held", "scheduled", "submitted", "processing", "succeeded")
SUMMARIES = {"completed": "cancellation.completed", "needs_attention": "cancellation.needs_attention", "failed": "cancellation.failed"}
# Steps of one change that pass through a state in which nothing is written.
THROUGH = {
    ("needs_attention", "completed"),  # taken up again, done
    ("awaiting_agent", "completed"),  # all that is approved was a promotion that does not go back
    ("awaiting_merchant", "completed"),
    ("cancel_requested", "refunding"),  # kept, and the money of an earlier refund had come back
    ("refunded", "completed"),  # returned after a person had closed the refund
    ("cancel_requested", "refunded"),
    ("cancel_requested", "completed"),
}


def check_node(node: Node) -> None:
    snapshot = node.snapshot
    check_sums(snapshot)
    check_sources(snapshot)
    check_refunds(snapshot)
    check_payment_state(snapshot)
    assert replaying.found(snapshot, list(node.records)) == [], "the records tell another story"
    for row in snapshot.cancellations:
        check_cancellation(node, row)
    for leg in snapshot.legs:
        assert leg.state not in MOVING or leg.id in node.moves, f"nobody moves a leg that is {leg.state}"
        assert leg.recovery is None or leg.state is LegState.requires_action, "what is ordered waits for the rail's word"


def live(snapshot: Snapshot, row: Cancellation, kind: str | None = None) -> list[Any]:
    """At each source what arrived, else the last of the legs that succeeded one another."""
    found = []
    for leg in snapshot.legs:
        if leg.cancellation_id != row.id or (kind is not None and leg.kind != kind):
            continue
        beside = [one for one in snapshot.legs if (one.cancellation_id, one.kind, one.position) == (row.id, leg.kind, leg.position)]
        replaced = any(one.replaces == leg.id for one in beside)
        if leg.state is LegState.succeeded or not (replaced or any(one.state is LegState.succeeded for one in beside)):
            found.append(leg)
    return found


def back(snapshot: Snapshot, row: Cancellation) -> list[Any]:
    """The legs whose money is with the customer: a void counts where a refund did the rest, or a person closed it half done."""
    voids = row.refund is not None or row.state == "failed"
    legs = [leg for leg in snapshot.legs if leg.cancellation_id == row.id and leg.state is LegState.succeeded]
    return [leg for leg in legs if leg.kind is LegKind.refund or voids]


def check_sums(snapshot: Snapshot) -> None:
    payment = snapshot.payment
    held = {row.id: row.amount - total(back(snapshot, row)) - sum(row.forfeited) for row in snapshot.cancellations}
    assert payment.amount_refunded == sum(total(back(snapshot, row)) for row in snapshot.cancellations)
    assert payment.amount_reserved == sum(held[row.id] for row in snapshot.cancellations if row.state in CANCELLATION_OPEN)
    assert payment.amount_forfeited == sum(sum(row.forfeited) for row in snapshot.cancellations)
    assert min(payment.amount_refunded, payment.amount_reserved, payment.amount_forfeited) >= 0
    assert payment.amount_refunded + payment.amount_reserved + payment.amount_forfeited <= payment.amount
    for at, item in enumerate(payment.items):
        rows = [row for row in snapshot.cancellations if row.state not in {"refused", "declined", "withdrawn"}]
        most = {row.id: sum(one.quantity for one in row.items if one.reference == item.reference) for row in rows}
        least = sum(most[row.id] for row in rows if row.state != "failed" or back(snapshot, row))
        assert payment.cancelled_quantities[at] == least <= item.quantity


def check_sources(snapshot: Snapshot) -> None:
    payment = snapshot.payment
    for at, funding in enumerate(payment.funding):
        taken = paid = 0
        for row in snapshot.cancellations:
            taken += row.forfeited[at] if row.forfeited else 0
            ends = row.state == "failed"
            legs = [leg for leg in live(snapshot, row, "refund") if leg.state is LegState.succeeded or not ends]
            legs += [leg for leg in back(snapshot, row) if leg.kind is LegKind.void]
            taken += total(leg for leg in legs if leg.position == at)
            paid += total(leg for leg in snapshot.legs if (leg.cancellation_id, leg.position, leg.state) == (row.id, at, "succeeded"))
        assert payment.allocated[at] == taken <= funding.amount
        assert paid <= funding.amount, "no source gets more than it paid"


def check_refunds(snapshot: Snapshot) -> None:
    for row in snapshot.cancellations:
        if row.refund is None:
            continue
        legs = live(snapshot, row, "refund")
        voided = total(leg for leg in back(snapshot, row) if leg.kind is LegKind.void)
        assert row.refund.amount == total(legs)
        assert row.refund.amount + voided + sum(row.forfeited) == row.amount or (row.state == "failed" and not row.forfeited)
        assert row.refund.state == min((leg.state for leg in legs), key=WORST_FIRST.index)
    for leg in snapshot.legs:
        if leg.replaces is None:
            continue
        before = snapshot.leg(leg.replaces)
        assert before is not None
        adopted = before.state is LegState.succeeded and leg.state in LEG_FINAL
        assert before.state in LEG_FINAL or adopted
        for name in ("cancellation_id", "refund_id", "kind", "position", "amount", "currency"):
            assert getattr(before, name) == getattr(leg, name)
        assert sum(one.replaces == before.id for one in snapshot.legs) == 1


def check_payment_state(snapshot: Snapshot) -> None:
    payment = snapshot.payment
    opened = [row for row in snapshot.cancellations if row.state in CANCELLATION_OPEN]
    moving = [row for row in opened if row.state in {"executing", "needs_attention"} and row.refund is not None]
    left = payment.amount - payment.amount_refunded - payment.amount_charged_back - payment.amount_forfeited
    assert (payment.state == "cancel_requested") == (payment.origin_state is not None)
    assert sum(not row.reopened for row in opened) <= 1
    match payment.state.value:
        case "cancel_requested":
            assert len(opened) - len(moving) == 1
            assert (payment.origin_state == "completed") == (payment.completed_at is not None)
        case "refunding":
            assert moving
        case "pending":
            assert not opened
            assert payment.completed_at is None
            assert left > 0
        case "completed":
            assert not opened
            assert payment.completed_at is not None
            assert left > 0
        case "refunded":
            assert not opened
            assert left == 0
        case "failed":
            assert not opened
            assert payment.failure_code is not None
        case "cancelled":
            released = {leg.position for row in snapshot.cancellations for leg in back(snapshot, row)}
            done = [row for row in snapshot.cancellations if row.state == "completed"]
            released |= {leg.position for row in done for leg in snapshot.legs if (leg.cancellation_id, leg.state) == (row.id, "succeeded")}
            assert not opened
            assert released == set(range(len(payment.funding)))


def check_cancellation(node: Node, row: Cancellation) -> None:
    snapshot = node.snapshot
    legs = live(snapshot, row)
    waiting = [leg for leg in legs if leg.state in MAY_ARRIVE]
    match row.state.value:
        case "executing":
            assert waiting, "it goes on by itself"
            assert any(leg.state is not LegState.requires_action or leg.recovery is not None for leg in waiting), "or somebody is called"
        case "needs_attention":
            assert any(leg.state is not LegState.succeeded for leg in legs)
        case "completed" if any(leg.kind is LegKind.refund for leg in legs):
            assert all(leg.state is LegState.succeeded for leg in legs if leg.kind is LegKind.refund)
        case "completed":
            released = bool(legs) and all(leg.state is LegState.succeeded for leg in legs)
            assert snapshot.payment.failure_code is not None or released or sum(row.forfeited) == row.amount
        case "failed":
            assert not waiting, "a person closed it while something of it may still arrive"
        case _:
            assert not legs
    if row.state in CANCELLATION_CLOCKED:
        assert row.raised or (row.clock is not None and row.clock.id in node.deadlines), "somebody is waited for, and no clock runs"
        assert row.deadline_at is not None
    else:
        assert (row.clock, row.deadline_at, row.raised) == (None, None, False)


def check_actions(node: Node, steps: list[Step], terms: PolicyContext) -> None:
    """What is offered to a person is what he may order, and nothing else."""
    done = Counter(step.name for step in steps if step.change is not None)
    if len(node.snapshot.cancellations) != 1:
        return
    (row,) = node.snapshot.cancellations
    for actor in (*REVIEWERS, make.WALLET):
        given = {step.name.partition(" by ")[0] for step in steps if step.name.endswith(f" by {actor.id}")}
        offered = set(permitted.actions(node.snapshot, row, terms, actor, NOW)) & given
        assert offered == {name for name in given if done[f"{name} by {actor.id}"]}
    if row.state == "needs_attention":
        ordered = any(leg.recovery is not None for leg in node.snapshot.legs)
        coming = any(leg.state in IN_FLIGHT for leg in node.snapshot.legs)
        closers = {step.name for step in steps if step.name.startswith("close by") and step.change is not None}
        disputed = any(one.kind in {"paid_after_failure", "amount_mismatch"} for one in node.snapshot.anomalies)  # to be resolved first
        told = any(one.by == make.SUPERVISOR.id for leg in node.snapshot.legs for one in leg.answers)  # another supervisor's, then
        assert ordered or coming or closers or disputed or told, "somebody can always end it"


def check_step(node: Node, step: Step) -> None:
    change = step.change
    if change is None:
        return
    before, after = node.snapshot, step.node.snapshot
    check_arrow(PAYMENT, before.payment.state, after.payment.state)
    for row in change.cancellations:
        known = before.cancellation(row.id)
        if known is not None:
            check_arrow(CANCELLATION, known.state, row.state)
    for leg in change.legs:
        one = before.leg(leg.id)
        if one is not None:
            check_arrow(LEG, one.state, leg.state)
            assert (leg.amount, leg.position, leg.provider, leg.source) == (one.amount, one.position, one.provider, one.source)
    assert all(one in node.moves for one in change.hastened)
    check_records(before, change)


def check_arrow(machine: Machine[Any, Any], before: Any, after: Any) -> None:
    known = {(row.source.value, row.target.value) for row in machine.rows} | (THROUGH if machine is not LEG else set())
    assert before == after or (before.value, after.value) in known, f"{machine.name}: {before} to {after}"


def check_records(before: Snapshot, change: Change) -> None:
    sequence, head = before.payment.sequence, before.payment.head
    for record in change.records:
        assert (record.sequence, record.previous_hash, record.hash) == (sequence + 1, head, hash_of(record.body.encode()))
        sequence, head = record.sequence, record.hash
    assert (change.payment.sequence, change.payment.head) == (sequence, head)
    told = make.types(change)
    if make.sums(before.payment) != make.sums(change.payment):
        assert told
    for leg in change.legs:
        one = before.leg(leg.id)
        if one is None or one.state is not leg.state:
            assert f"{leg.kind.value}.{leg.state.value}" in told or (one is None and f"{leg.kind.value}.scheduled" in told)
    for row in change.cancellations:
        known = before.cancellation(row.id)
        if known is not None and known.state is not row.state:
            # The capture of a payment takes a void up again that was stuck: what is on record then is the refund that follows.
            assert any(name.startswith(("cancellation.", "refund.re", "void.re", "refund.scheduled")) for name in told)
            reopened = known.state == "completed" and row.state == "needs_attention"
            assert "cancellation.reopened" in told if reopened else SUMMARIES.get(row.state.value, told[0]) in told
    check_order(told, change)
    became_refunded = before.payment.state != "refunded" == change.payment.state
    assert told.count("payment.refunded") == became_refunded
    assert told.count("payment.voided") == (before.payment.state != "cancelled" == change.payment.state)


def check_order(told: list[str], change: Change) -> None:
    """What was learnt of a leg first, then what that makes of the cancellation, then of the payment."""
    for name in ("cancellation.completed", "cancellation.needs_attention", "cancellation.reopened", "cancellation.failed"):
        if name in told:
            learnt = [at for at, each in enumerate(told) if each.split(".")[1] in {"succeeded", "returned", "requires_action"}]
            assert all(at < told.index(name) for at in learnt if not told[at].startswith("cancellation"))
    for name in ("payment.refunded", "payment.voided"):
        if name in told:
            before = told[: told.index(name)]
            assert {"cancellation.completed", "cancellation.failed", "anomaly.resolved"} & set(before)
    assert all(record.actor == change.records[0].actor for record in change.records)


def total(legs: Iterable[Any]) -> int:
    return sum(leg.amount for leg in legs)
