"""A walk over the states of one payment: every command that a state allows, from every state that can be reached."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

from tests import factories as make
from tests.factories import AGENT, MERCHANT, NOW, SUCCESSORS, SUPERVISOR, WALLET
from workflows.domain.changes import Change
from workflows.domain.decisions import (
    anomalies,
    attention,
    clocks,
    handoffs,
    outcomes,
    payments,
    recovery,
    requests,
    returns,
    reviews,
    successors,
)
from workflows.domain.decisions.handoffs import MerchantResponse
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.recorded import ToldOutcome, record_outcome
from workflows.domain.decisions.reviews import persons
from workflows.domain.enums import (
    CANCELLATION_OPEN,
    AnomalyAction,
    AnomalyKind,
    AnomalyState,
    JobKind,
    LegState,
    MerchantDecision,
    PaymentFailure,
    RailCall,
    ReturnCondition,
)
from workflows.domain.errors import RefundryError
from workflows.domain.legs import Leg
from workflows.domain.model import Actor, Anomaly, Cancellation, Snapshot
from workflows.domain.ports import (
    Absent,
    Declined,
    Done,
    NeedsAction,
    Outcome,
    Pending,
    ProviderUnavailable,
    RailSchedule,
    Returned,
    Settled,
    Unknown,
)
from workflows.domain.records import Record

PATIENCE = RailSchedule(enquiries=(make.MINUTE,), sends_again=True, unknown_max=0 * NOW.resolution, processing_max=0 * NOW.resolution)
REVIEWERS = (AGENT, SUPERVISOR)
MOVING = frozenset({LegState.scheduled, LegState.submitted, LegState.processing, LegState.unknown, LegState.requires_action})
ENDED = frozenset({LegState.succeeded, LegState.failed, LegState.returned})
# What its rail may still say of a leg that is not on its way.
LATE: dict[LegState, tuple[str, ...]] = dict.fromkeys(
    (*ENDED, LegState.scheduled, LegState.held), ("done", "declined", "returned", "settled")
)


@dataclass(frozen=True)
class Node:
    """A payment as it stands, and the jobs that workers have: legs to be moved, clocks to strike."""

    snapshot: Snapshot
    moves: frozenset[UUID]
    deadlines: frozenset[UUID]
    records: tuple[Record, ...] = ()

    @property
    def is_final(self) -> bool:
        return not any(c.state in CANCELLATION_OPEN for c in self.snapshot.cancellations)


@dataclass(frozen=True)
class Step:
    """A command that was given, and what it changed. None: nothing. A refusal: it was not allowed."""

    name: str
    change: Change | None
    node: Node  # as it is then
    refused: RefundryError | None = None


@dataclass
class Graph:
    nodes: list[Node] = field(default_factory=list)
    ways: dict[int, set[int]] = field(default_factory=dict)  # from a state to those that one command leads to
    expanded: set[int] = field(default_factory=set)


Look = Callable[[Node, list[Step]], None]


@dataclass(frozen=True, kw_only=True)
class Walk:
    terms: PolicyContext = make.TERMS
    chain_max: int = 2  # legs that succeed one another at one source
    requests_max: int = 1
    states_max: int = 10_000

    def run(self, start: Snapshot, look: Look) -> Graph:
        """Visit what can be reached: all of it in order of distance, or, of too many states, some that are drawn evenly."""
        chance, graph = Random(1), Graph()
        first = Node(start, frozenset(), frozenset(), make.REGISTRATIONS[start.payment.head])
        known, waiting = {fingerprint(first): 0}, [0]
        graph.nodes.append(first)
        while waiting and len(graph.expanded) < self.states_max:
            at = waiting.pop(chance.randrange(len(waiting)))
            graph.expanded.add(at)
            steps = list(self.steps(graph.nodes[at]))
            look(graph.nodes[at], steps)
            for step in steps:
                if step.change is None:
                    continue
                mark = fingerprint(step.node)
                if mark not in known:
                    known[mark] = len(graph.nodes)
                    waiting.append(known[mark])
                    graph.nodes.append(step.node)
                graph.ways.setdefault(at, set()).add(known[mark])
        return graph

    def steps(self, node: Node) -> Iterator[Step]:
        yield from self._of_payment(node)
        for cancellation in node.snapshot.cancellations:
            yield from self._of_people(node, cancellation)
            yield from self._of_clock(node, cancellation)
        for leg in node.snapshot.legs:
            yield from self._of_rail(node, leg)
        yield from self._of_anomalies(node)

    def _of_anomalies(self, node: Node) -> Iterator[Step]:
        """Those that decide about what a person may order."""
        for one in node.snapshot.anomalies:
            if one.kind in BLOCKING and one.state is not AnomalyState.resolved:
                for action in (AnomalyAction.note, AnomalyAction.adopt):
                    resolution = anomalies.Resolution(action=action, note="looked into")
                    context = make.context(NOW, AGENT)
                    yield _step(
                        f"anomaly {action.value}",
                        node,
                        partial(
                            anomalies.resolve, node.snapshot, one, resolution, terms=self.terms, successors=make.SUCCESSORS, context=context
                        ),
                    )

    def _of_payment(self, node: Node) -> Iterator[Step]:
        snapshot, terms, context = node.snapshot, self.terms, make.context()
        yield _step(
            "complete", node, lambda: payments.complete(snapshot, completed_at=None, provider_reference=None, terms=terms, context=context)
        )
        yield _step("fail", node, lambda: payments.fail(snapshot, code=PaymentFailure.other, detail=None, context=context))
        if len(snapshot.cancellations) < self.requests_max:
            for amount in (None, 100):
                yield _step("request", node, partial(make.request, snapshot, make.requested(amount=amount), terms=terms))

    def _of_people(self, node: Node, row: Cancellation) -> Iterator[Step]:
        chain = max([_depth(node.snapshot, leg) for leg in node.snapshot.legs if leg.cancellation_id == row.id], default=0)
        for actor in (*REVIEWERS, WALLET):
            for name, command in commands(node.snapshot, row, self.terms, actor):
                if name in {"retry", "redirect"} and chain >= self.chain_max:
                    continue
                yield _step(f"{name} by {actor.id}", node, command)

    def _of_clock(self, node: Node, row: Cancellation) -> Iterator[Step]:
        due = clocks.next_deadline_at(row)
        if due is None or row.clock is None:
            return
        step = _step("clock", node, lambda: clocks.fire_deadline(node.snapshot, row, self.terms, make.context(due, make.RAIL)))
        after = step.node.snapshot.cancellation(row.id)
        if after is None or after.clock is None or after.clock.id != row.clock.id:
            step = replace_job(step, deadlines=step.node.deadlines - {row.clock.id})
        yield step

    def _of_rail(self, node: Node, leg: Leg) -> Iterator[Step]:
        for name, said in words(leg).items():
            if name in LATE.get(leg.state, (name,)):
                yield self._heard(node, leg, name, said, RailCall.notification)
        if leg.state not in MOVING or leg.id not in node.moves:
            return
        before = recovery.predecessors(node.snapshot, leg)
        if leg.state is LegState.scheduled and before:
            yield from self._heard_of_predecessors(node, leg, before)
        if leg.state in outcomes.MAY_BE_SENT:
            yield _step("submit", node, lambda: outcomes.submit(node.snapshot, leg, make.context()))
        call = RailCall.cancel if leg.recovery is not None else RailCall.ask
        if leg.state is not LegState.scheduled:
            for name, said in words(leg).items():
                yield self._heard(node, leg, name, said, call)
            for name in ("done", "declined", "unknown") if leg.state in outcomes.MAY_BE_SENT else ():
                yield self._heard(node, leg, name, words(leg)[name], RailCall.send)
        if leg.recovery is not None:
            yield _worked(
                leg, _step("silent", node, lambda: outcomes.give_up_recovery(node.snapshot, leg, terms=self.terms, context=_rail()))
            )
        yield self._impatient(node, leg)

    def _heard(self, node: Node, leg: Leg, name: str, said: Outcome, call: RailCall) -> Step:
        word = make.word(said, call)
        step = _step(
            f"{call.value} {name}",
            node,
            lambda: outcomes.learn(node.snapshot, leg, word, terms=self.terms, successors=SUCCESSORS, context=_rail()),
        )
        return step if call is RailCall.notification else _worked(leg, step)

    def _heard_of_predecessors(self, node: Node, leg: Leg, before: tuple[Leg, ...]) -> Iterator[Step]:
        for one in before:
            for name, said in words(one).items():
                if not successors.lets_send(one, said):
                    yield _worked(leg, _step(f"predecessor {name}", node, self._told_of(node, leg, one, said)))

    def _told_of(self, node: Node, leg: Leg, before: Leg, said: Outcome) -> Callable[[], Change | None]:
        word = make.word(said, RailCall.ask)
        return lambda: successors.learn_of_predecessor(node.snapshot, leg, before, word, terms=self.terms, context=_rail())

    def _impatient(self, node: Node, leg: Leg) -> Step:
        return _step(
            "impatient",
            node,
            lambda: attention.give_to_person(node.snapshot, leg, schedule=PATIENCE, terms=self.terms, context=make.context(make.SOON)),
        )


BLOCKING = frozenset({AnomalyKind.paid_after_failure, AnomalyKind.amount_mismatch})


def commands(snapshot: Snapshot, row: Cancellation, terms: PolicyContext, actor: Actor) -> Iterator[tuple[str, Callable[[], Change]]]:
    """What a person can order about a cancellation, by the name under which it is offered to him."""
    context = make.context(NOW, actor)
    common: dict[str, Any] = {"terms": terms, "context": context}
    yield "approve", lambda: reviews.approve(snapshot, row, note=None, **common)
    yield "deny", lambda: reviews.deny(snapshot, row, reason_code="no", note="no", **common)
    yield "assign", lambda: reviews.assign(snapshot, row, to=None, context=context)
    yield "retry", lambda: recovery.retry(snapshot, row, successors=SUCCESSORS, context=context)
    yield "redirect", lambda: recovery.redirect(snapshot, row, successors=SUCCESSORS, context=context)
    yield "close", lambda: recovery.close(snapshot, row, context=context)
    for leg in snapshot.legs:
        if leg.cancellation_id == row.id and leg.state in MOVING:
            for succeeded in (True, False):
                told = ToldOutcome(leg_id=leg.id, succeeded=succeeded, note="read in the book")
                yield "record_outcome", partial(record_outcome, snapshot, row, told=told, successors=SUCCESSORS, **common)
    if actor is WALLET:
        yield from _of_others(snapshot, row, common)


def _of_others(snapshot: Snapshot, row: Cancellation, common: dict[str, Any]) -> Iterator[tuple[str, Callable[[], Change]]]:
    """Whoever gives these changes nothing but the record."""
    for decision in MerchantDecision:
        answer = MerchantResponse(decision=decision, amount=row.amount // 2 if decision is MerchantDecision.offer else None)
        shop = {"terms": common["terms"], "context": make.context(NOW, MERCHANT)}
        yield decision.value, partial(handoffs.decide, snapshot, row, answer, **shop)
    yield "accept_offer", lambda: handoffs.respond(snapshot, row, accept=True, **common)
    yield "decline_offer", lambda: handoffs.respond(snapshot, row, accept=False, **common)
    yield "escalate", lambda: handoffs.escalate(snapshot, row, **common)
    yield "return_shipped", lambda: returns.ship(snapshot, row, carrier="c", tracking_number="t", **common)
    for condition in ReturnCondition:
        yield "return_received", partial(returns.receive, snapshot, row, condition=condition, note=None, **common)
    yield "withdraw", lambda: requests.withdraw(snapshot, row, common["context"])


def words(leg: Leg) -> dict[str, Outcome]:
    return {
        "done": Done(leg.amount, leg.currency),
        "other": Done(leg.amount + 1, leg.currency),
        "pending": Pending(),
        "declined": Declined("no"),
        "unknown": Unknown("timeout"),
        "unavailable": ProviderUnavailable(),
        "needs_action": NeedsAction(),
        "settled": Settled(),
        "absent": Absent(),
        "returned": Returned("closed"),
    }


def fingerprint(node: Node) -> tuple[Any, ...]:
    """All of a state that decides what may become of it: neither ids nor times nor hashes."""
    snapshot, payment = node.snapshot, node.snapshot.payment
    return (
        (payment.state, payment.origin_state, payment.completed_at is None, payment.amount_refunded, payment.amount_reserved),
        (payment.amount_forfeited, payment.allocated, payment.cancelled_quantities),
        tuple(_mark_of_cancellation(row) for row in snapshot.cancellations),
        tuple(_mark_of_leg(node, leg) for leg in ordered(snapshot)),
        frozenset(mark for one in snapshot.anomalies if (mark := _mark_of_anomaly(snapshot, one)) is not None),
    )


def ordered(snapshot: Snapshot) -> list[Leg]:
    rows = [row.id for row in snapshot.cancellations]
    return sorted(snapshot.legs, key=lambda leg: (rows.index(leg.cancellation_id), leg.kind, leg.position, _depth(snapshot, leg)))


def _mark_of_cancellation(row: Cancellation) -> tuple[Any, ...]:
    part = persons(row)
    return (
        (row.state, row.amount, row.forfeited, row.second_approval, row.reopened, row.raised, row.clock is not None, row.on_deadline),
        (row.offers, row.offer_amount, row.declined_by, row.goods is not None and row.goods.shipped_at is not None),
        tuple(one.id in part for one in REVIEWERS),
        None if row.refund is None else (row.refund.state, row.refund.amount),
    )


def _mark_of_leg(node: Node, leg: Leg) -> tuple[Any, ...]:
    came_back = (leg.failure_code or "").startswith("returned") or leg.failure_code == "payment_settled"
    replaced = any(one.replaces == leg.id for one in node.snapshot.legs)
    told = tuple(any(answer.by == one.id for answer in leg.answers) for one in REVIEWERS)
    return (
        (leg.kind, leg.position, leg.amount, leg.source, leg.replaces is not None),
        (leg.state, leg.attempts > 0, leg.recovery),
        leg.state is LegState.failed and came_back,
        leg.state is LegState.failed and not replaced and told,
        leg.state in MOVING and leg.id in node.moves,
    )


def _mark_of_anomaly(snapshot: Snapshot, anomaly: Anomaly) -> tuple[Any, ...] | None:
    """Of these the kind decides about what comes after."""
    if not anomaly.kind.startswith("paid") and anomaly.kind not in BLOCKING:
        return None
    return anomaly.kind, [leg.id == anomaly.leg_id for leg in ordered(snapshot)].index(True), anomaly.state


def _depth(snapshot: Snapshot, leg: Leg) -> int:
    """Which of the legs it is that succeed one another: 1 for the first."""
    before = snapshot.leg(leg.replaces) if leg.replaces else None
    return 1 if before is None else 1 + _depth(snapshot, before)


def _step(name: str, node: Node, command: Callable[[], Change | None]) -> Step:
    try:
        change = command()
    except RefundryError as refused:
        return Step(name, None, node, refused)
    if change is None:
        return Step(name, None, node)
    moves = node.moves | {job.subject_id for job in change.jobs if job.kind is JobKind.move}
    deadlines = node.deadlines | {job.subject_id for job in change.jobs if job.kind is JobKind.deadline}
    return Step(name, change, Node(change.after(node.snapshot), moves, deadlines, node.records + change.records))


def _worked(leg: Leg, step: Step) -> Step:
    """A worker's own step: the job ends where nothing is left to do for the leg."""
    after = step.node.snapshot.leg(leg.id)
    ends = after is None or after.state not in MOVING
    return replace_job(step, moves=step.node.moves - {leg.id}) if ends else step


def replace_job(step: Step, *, moves: frozenset[UUID] | None = None, deadlines: frozenset[UUID] | None = None) -> Step:
    node = step.node
    moves, deadlines = node.moves if moves is None else moves, node.deadlines if deadlines is None else deadlines
    return Step(step.name, step.change, Node(node.snapshot, moves, deadlines, node.records), step.refused)


def _rail() -> Any:
    return make.context(NOW, make.RAIL)
