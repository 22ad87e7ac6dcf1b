"""The three state machines as data, and the one way to step them.

Everything else that knows the states (the diagram, the actions offered to a caller, the tests) is derived from the rows below.
Guards hold invariants only; which trigger is pulled is policy's and people's business.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

from msgspec import Struct
from transitions import Machine as TransitionsMachine
from transitions import MachineError

from workflows.domain.enums import (
    CANCELLATION_OPEN,
    CANCELLATION_WAITING,
    CancellationState,
    CancellationTrigger,
    LegState,
    LegTrigger,
    OnDeadline,
    PaymentState,
    PaymentTrigger,
)
from workflows.domain.errors import InvalidState

S = TypeVar("S", bound=StrEnum)
T = TypeVar("T", bound=StrEnum)


class GuardFacts(Struct, frozen=True):
    """All that a guard may look at."""

    origin: PaymentState | None = None  # where a payment's open cancellation came from
    left: int = 0  # what of the payment is neither refunded nor charged back, minor units
    second_approval: bool = False  # a second person must approve
    on_deadline: OnDeadline | None = None
    offers: int = 0  # offers made so far
    intact: bool = False  # the goods came back whole
    reopened_only: bool = False  # all that is unfinished of the payment is money that the rail returned
    raised: bool = False  # the agents' deadline has passed before, and a supervisor has the case


Guard = Callable[[GuardFacts], bool]


class Row(NamedTuple, Generic[S, T]):
    trigger: T
    source: S
    target: S
    guard: Guard | None = None
    when: str = ""  # the guard in words, for the diagram


OFFERS_MAX = 3


def from_pending(facts: GuardFacts) -> bool:
    return facts.origin is PaymentState.pending


def from_completed(facts: GuardFacts) -> bool:
    return facts.origin is PaymentState.completed


def nothing_left(facts: GuardFacts) -> bool:
    return facts.left == 0


def something_left(facts: GuardFacts) -> bool:
    return facts.left > 0


def one_suffices(facts: GuardFacts) -> bool:
    return not facts.second_approval


def two_needed(facts: GuardFacts) -> bool:
    return facts.second_approval


def offers_left(facts: GuardFacts) -> bool:
    return facts.offers < OFFERS_MAX


def intact_alone(facts: GuardFacts) -> bool:
    return facts.intact and not facts.second_approval


def intact_with_second(facts: GuardFacts) -> bool:
    return facts.intact and facts.second_approval


def not_intact(facts: GuardFacts) -> bool:
    return not facts.intact


def then_accept_alone(facts: GuardFacts) -> bool:
    return facts.on_deadline is OnDeadline.accept and not facts.second_approval


def then_accept_with_second(facts: GuardFacts) -> bool:
    return facts.on_deadline is OnDeadline.accept and facts.second_approval


def then_agent(facts: GuardFacts) -> bool:
    return facts.on_deadline is OnDeadline.agent


def then_decline(facts: GuardFacts) -> bool:
    return facts.on_deadline is OnDeadline.decline


def reopened_only(facts: GuardFacts) -> bool:
    return facts.reopened_only


def not_raised(facts: GuardFacts) -> bool:
    return not facts.raised


P, PT = PaymentState, PaymentTrigger
PAYMENT_ROWS: tuple[Row[PaymentState, PaymentTrigger], ...] = (
    Row(PT.complete, P.pending, P.completed),
    Row(PT.complete, P.cancel_requested, P.cancel_requested, from_pending, "while pending"),
    Row(PT.fail, P.pending, P.failed),
    Row(PT.fail, P.cancel_requested, P.failed, from_pending, "while pending"),
    Row(PT.request_cancellation, P.pending, P.cancel_requested),
    Row(PT.request_cancellation, P.completed, P.cancel_requested),
    Row(PT.request_cancellation, P.refunding, P.cancel_requested, reopened_only, "beside returned money"),
    Row(PT.keep, P.cancel_requested, P.pending, from_pending, "came from pending"),
    Row(PT.keep, P.cancel_requested, P.completed, from_completed, "came from completed"),
    Row(PT.confirm_void, P.cancel_requested, P.cancelled),
    Row(PT.start_refund, P.cancel_requested, P.refunding),
    Row(PT.confirm_refund, P.refunding, P.refunded, nothing_left, "nothing left"),
    Row(PT.confirm_refund, P.refunding, P.completed, something_left, "something left"),
    Row(PT.abandon_refund, P.refunding, P.refunded, nothing_left, "nothing left"),
    Row(PT.abandon_refund, P.refunding, P.completed, something_left, "something left"),
    Row(PT.reopen_refund, P.refunded, P.refunding),
    Row(PT.reopen_refund, P.completed, P.refunding),
    Row(PT.reopen_refund, P.cancel_requested, P.cancel_requested),
    Row(PT.reopen_refund, P.refunding, P.refunding),
    Row(PT.refund_late_capture, P.cancelled, P.refunding),
    Row(PT.refund_late_capture, P.failed, P.refunding),
    Row(PT.lose_dispute, P.completed, P.refunded),
    Row(PT.lose_dispute, P.cancel_requested, P.refunded),
    Row(PT.lose_dispute, P.refunding, P.refunded),
)

C, CT = CancellationState, CancellationTrigger
CANCELLATION_ROWS: tuple[Row[CancellationState, CancellationTrigger], ...] = (
    Row(CT.accept, C.awaiting_merchant, C.executing, one_suffices, "one approval suffices"),
    Row(CT.accept, C.awaiting_merchant, C.awaiting_second_approval, two_needed, "two needed"),
    Row(CT.accept_with_return, C.awaiting_merchant, C.awaiting_return),
    Row(CT.offer, C.awaiting_merchant, C.offered, offers_left, f"at most {OFFERS_MAX}"),
    Row(CT.decline, C.awaiting_merchant, C.declined),
    Row(CT.timeout, C.awaiting_merchant, C.executing, then_accept_alone, "then accept"),
    Row(CT.timeout, C.awaiting_merchant, C.awaiting_second_approval, then_accept_with_second, "then accept, two needed"),
    Row(CT.timeout, C.awaiting_merchant, C.awaiting_agent, then_agent, "then agent"),
    Row(CT.timeout, C.awaiting_merchant, C.declined, then_decline, "then decline"),
    Row(CT.escalate, C.awaiting_merchant, C.awaiting_agent),
    Row(CT.accept_offer, C.offered, C.executing, one_suffices, "one approval suffices"),
    Row(CT.accept_offer, C.offered, C.awaiting_second_approval, two_needed, "two needed"),
    Row(CT.decline_offer, C.offered, C.awaiting_merchant),
    Row(CT.timeout, C.offered, C.awaiting_agent, then_agent, "then agent"),
    Row(CT.return_shipped, C.awaiting_return, C.awaiting_return),
    Row(CT.return_received, C.awaiting_return, C.executing, intact_alone, "intact"),
    Row(CT.return_received, C.awaiting_return, C.awaiting_second_approval, intact_with_second, "intact, two needed"),
    Row(CT.return_received, C.awaiting_return, C.awaiting_agent, not_intact, "damaged or missing"),
    Row(CT.timeout, C.awaiting_return, C.executing, then_accept_alone, "not inspected"),
    Row(CT.timeout, C.awaiting_return, C.awaiting_second_approval, then_accept_with_second, "not inspected, two needed"),
    Row(CT.timeout, C.awaiting_return, C.declined, then_decline, "not sent"),
    Row(CT.approve, C.awaiting_agent, C.executing, one_suffices, "one approval suffices"),
    Row(CT.approve, C.awaiting_agent, C.awaiting_second_approval, two_needed, "two needed"),
    Row(CT.deny, C.awaiting_agent, C.declined),
    Row(CT.timeout, C.awaiting_agent, C.awaiting_agent, not_raised, "raised to a supervisor"),
    Row(CT.approve, C.awaiting_second_approval, C.executing),
    Row(CT.deny, C.awaiting_second_approval, C.declined),
    Row(CT.timeout, C.awaiting_second_approval, C.awaiting_agent),
    *(Row(CT.withdraw, state, C.withdrawn) for state in CancellationState if state in CANCELLATION_WAITING),
    Row(CT.done, C.executing, C.completed),
    Row(CT.stuck, C.executing, C.needs_attention),
    Row(CT.retry, C.needs_attention, C.executing),
    Row(CT.redirect, C.needs_attention, C.executing),
    Row(CT.close, C.needs_attention, C.failed),
    Row(CT.timeout, C.needs_attention, C.needs_attention, not_raised, "raised to a supervisor"),
    Row(CT.reopen, C.completed, C.needs_attention),
    Row(CT.escalate, C.declined, C.awaiting_agent),
    *(Row(CT.end_with_payment, state, C.completed) for state in CancellationState if state in CANCELLATION_OPEN),
)

L, LT = LegState, LegTrigger
_SENT = (L.submitted, L.processing, L.unknown, L.requires_action)
LEG_ROWS: tuple[Row[LegState, LegTrigger], ...] = (
    Row(LT.submit, L.scheduled, L.submitted),
    Row(LT.hold, L.scheduled, L.held),
    Row(LT.release, L.held, L.scheduled),
    Row(LT.mark_unknown, L.submitted, L.unknown),
    *(Row(LT.process, state, L.processing) for state in (L.submitted, L.unknown, L.requires_action)),
    *(Row(LT.require_action, state, L.requires_action) for state in (L.submitted, L.processing, L.unknown)),
    *(Row(LT.succeed, state, L.succeeded) for state in _SENT),
    *(Row(LT.fail, state, L.failed) for state in (L.scheduled, L.held, *_SENT)),
    Row(LT.mark_returned, L.succeeded, L.returned),
    Row(LT.adopt, L.failed, L.succeeded),
)


class _Cursor:
    """The one slot that `transitions` moves; a machine for each payment would cost a hundred times as much."""

    __slots__ = ("state",)

    def __init__(self, state: str) -> None:
        self.state = state


class Machine(Generic[S, T]):
    """One table of rows, compiled once and shared by all. Stateless: a state goes in, a state comes out."""

    def __init__(self, name: str, states: Iterable[S], *, starts: Iterable[S], rows: Iterable[Row[S, T]]) -> None:
        self.name = name
        self.starts = tuple(starts)
        self.rows = tuple(rows)
        self._word: dict[str, S] = {state.value: state for state in states}
        # `auto_transitions` would add to_<state>() triggers that lead from anywhere to anywhere.
        self._machine: Any = TransitionsMachine(
            model=None, states=list(self._word), initial=next(iter(self._word)), auto_transitions=False, send_event=False
        )
        for row in self.rows:
            self._machine.add_transition(
                row.trigger.value, row.source.value, row.target.value, conditions=None if row.guard is None else [row.guard]
            )
        self._rows: dict[tuple[S, T], list[Row[S, T]]] = {}
        for row in self.rows:
            self._rows.setdefault((row.source, row.trigger), []).append(row)
        # What no guard can change is asked of the machine once, here: most steps of a request are of that kind.
        plain = [key for key, rows in self._rows.items() if all(row.guard is None for row in rows)]
        self._unguarded = {(state, trigger): self._pull(state, trigger, GuardFacts()) for state, trigger in plain}
        self._actions = {
            state: tuple(dict.fromkeys(row.trigger for row in self.rows if row.source is state)) for state in self._word.values()
        }

    def step(self, state: S, trigger: T, facts: GuardFacts | None = None) -> S:
        """The state that `trigger` leads to. Raises InvalidState where no row allows it, or its guard forbids it."""
        known = self._unguarded.get((state, trigger))
        if known is not None:
            return known
        return self._pull(state, trigger, facts or GuardFacts())

    def _pull(self, state: S, trigger: T, facts: GuardFacts) -> S:
        cursor = _Cursor(state.value)
        try:
            moved = self._machine.events[trigger.value].trigger(cursor, facts)
        except MachineError:
            moved = False
        if not moved:
            raise InvalidState(state=state.value)
        return self._word[cursor.state]

    def may(self, state: S, trigger: T, facts: GuardFacts | None = None) -> bool:
        """Whether `step` would lead anywhere: asked of the rows, since moving the machine costs ten times as much."""
        return any(row.guard is None or row.guard(facts or GuardFacts()) for row in self._rows.get((state, trigger), ()))

    def actions_from(self, state: S) -> tuple[T, ...]:
        """The triggers that some row offers in this state, in the table's order, guards not asked."""
        return self._actions[state]

    def mermaid(self) -> str:
        """The table as a Mermaid state diagram; arrows between the same two states share a line."""
        arrows: dict[tuple[S, S], list[str]] = {}
        for row in self.rows:
            label = row.trigger.value + (f" [{row.when}]" if row.when else "")
            arrows.setdefault((row.source, row.target), []).append(label)
        lines = [f"    {source.value} --> {target.value}: {', '.join(labels)}" for (source, target), labels in arrows.items()]
        sources = {row.source for row in self.rows}
        ends = [f"    {state.value} --> [*]" for state in self._word.values() if state not in sources]
        starts = [f"    [*] --> {state.value}" for state in self.starts]
        return "\n".join(["stateDiagram-v2", *starts, *lines, *ends])


PAYMENT = Machine("payment", PaymentState, starts=(P.pending, P.completed), rows=PAYMENT_ROWS)
CANCELLATION = Machine(
    "cancellation",
    CancellationState,
    starts=(C.refused, C.awaiting_merchant, C.awaiting_return, C.awaiting_agent, C.awaiting_second_approval, C.executing),
    rows=CANCELLATION_ROWS,
)
LEG = Machine("leg", LegState, starts=(L.scheduled, L.held), rows=LEG_ROWS)


def mermaid() -> str:
    """The three machines as Markdown: a heading and a Mermaid block each."""
    blocks = (f"### {machine.name.capitalize()}\n\n```mermaid\n{machine.mermaid()}\n```" for machine in (PAYMENT, CANCELLATION, LEG))
    return "\n\n".join(blocks) + "\n"
