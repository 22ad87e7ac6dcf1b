"""The three machines: every state and every trigger against a table typed anew from what the service promises."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from itertools import product

import pytest

from tests import ROOT
from workflows.domain.enums import (
    CANCELLATION_OPEN,
    CancellationState,
    CancellationTrigger,
    LegState,
    LegTrigger,
    OnDeadline,
    PaymentState,
    PaymentTrigger,
)
from workflows.domain.errors import InvalidState
from workflows.domain.machines import CANCELLATION, LEG, PAYMENT, GuardFacts, Machine, mermaid

README = ROOT / "README.md"
Expected = str | Callable[[GuardFacts], str | None]


def origin_pending(target: str) -> Expected:
    return lambda facts: target if facts.origin == "pending" else None


def by_left(facts: GuardFacts) -> str:
    return "refunded" if facts.left == 0 else "completed"


def approved(facts: GuardFacts) -> str:
    return "awaiting_second_approval" if facts.second_approval else "executing"


def merchant_silent(facts: GuardFacts) -> str | None:
    answers = {"accept": approved(facts), "agent": "awaiting_agent", "decline": "declined"}
    return None if facts.on_deadline is None else answers[facts.on_deadline]


PAYMENTS: dict[str, dict[str, Expected]] = {
    "pending": {"complete": "completed", "fail": "failed", "request_cancellation": "cancel_requested"},
    "completed": {"request_cancellation": "cancel_requested", "reopen_refund": "refunding", "lose_dispute": "refunded"},
    "cancel_requested": {
        "complete": origin_pending("cancel_requested"),
        "fail": origin_pending("failed"),
        "keep": lambda facts: facts.origin,
        "confirm_void": "cancelled",
        "start_refund": "refunding",
        "reopen_refund": "cancel_requested",
        "lose_dispute": "refunded",
    },
    "refunding": {
        "confirm_refund": by_left,
        "abandon_refund": by_left,
        "reopen_refund": "refunding",
        "lose_dispute": "refunded",
        "request_cancellation": lambda facts: "cancel_requested" if facts.reopened_only else None,
    },
    "refunded": {"reopen_refund": "refunding"},
    "cancelled": {"refund_late_capture": "refunding"},
    "failed": {"refund_late_capture": "refunding"},
}
CANCELLATIONS: dict[str, dict[str, Expected]] = {
    "awaiting_merchant": {
        "accept": approved,
        "accept_with_return": "awaiting_return",
        "offer": lambda facts: "offered" if facts.offers < 3 else None,
        "decline": "declined",
        "timeout": merchant_silent,
        "withdraw": "withdrawn",
        "escalate": "awaiting_agent",
        "end_with_payment": "completed",
    },
    "offered": {
        "accept_offer": approved,
        "decline_offer": "awaiting_merchant",
        "timeout": lambda facts: "awaiting_agent" if facts.on_deadline == "agent" else None,
        "withdraw": "withdrawn",
        "end_with_payment": "completed",
    },
    "awaiting_return": {
        "return_shipped": "awaiting_return",
        "return_received": lambda facts: approved(facts) if facts.intact else "awaiting_agent",
        "timeout": lambda facts: {None: None, "accept": approved(facts), "decline": "declined", "agent": None}[facts.on_deadline],
        "withdraw": "withdrawn",
        "end_with_payment": "completed",
    },
    "awaiting_agent": {
        "approve": approved,
        "deny": "declined",
        "timeout": lambda facts: None if facts.raised else "awaiting_agent",
        "withdraw": "withdrawn",
        "end_with_payment": "completed",
    },
    "awaiting_second_approval": {
        "approve": "executing",
        "deny": "declined",
        "timeout": "awaiting_agent",
        "withdraw": "withdrawn",
        "end_with_payment": "completed",
    },
    "executing": {"done": "completed", "stuck": "needs_attention", "end_with_payment": "completed"},
    "needs_attention": {
        "retry": "executing",
        "redirect": "executing",
        "close": "failed",
        "timeout": lambda facts: None if facts.raised else "needs_attention",
        "end_with_payment": "completed",
    },
    "completed": {"reopen": "needs_attention"},
    "refused": {},
    "declined": {"escalate": "awaiting_agent"},
    "withdrawn": {},
    "failed": {},
}
_ENDS: dict[str, Expected] = {"succeed": "succeeded", "fail": "failed"}
LEGS: dict[str, dict[str, Expected]] = {
    "scheduled": {"submit": "submitted", "hold": "held", "fail": "failed"},
    "held": {"release": "scheduled", "fail": "failed"},
    "submitted": {"process": "processing", "mark_unknown": "unknown", "require_action": "requires_action", **_ENDS},
    "processing": {"require_action": "requires_action", **_ENDS},
    "unknown": {"process": "processing", "require_action": "requires_action", **_ENDS},
    "requires_action": {"process": "processing", **_ENDS},
    "succeeded": {"mark_returned": "returned"},
    "failed": {"adopt": "succeeded"},
    "returned": {},
}

PAYMENT_FACTS = [
    GuardFacts(origin=origin, left=left, reopened_only=reopened)
    for origin, left, reopened in product((None, PaymentState.pending, PaymentState.completed), (0, 1), (False, True))
]
CANCELLATION_FACTS = [
    GuardFacts(second_approval=second, on_deadline=then, offers=offers, intact=intact, raised=raised)
    for second, then, offers, intact, raised in product((False, True), (None, *OnDeadline), (0, 2, 3), (False, True), (False, True))
]

MACHINES: list[tuple[Machine[StrEnum, StrEnum], type[StrEnum], type[StrEnum], dict[str, dict[str, Expected]], list[GuardFacts]]] = [
    (PAYMENT, PaymentState, PaymentTrigger, PAYMENTS, PAYMENT_FACTS),  # type: ignore[list-item]  # a machine of narrower words
    (CANCELLATION, CancellationState, CancellationTrigger, CANCELLATIONS, CANCELLATION_FACTS),  # type: ignore[list-item]  # the same
    (LEG, LegState, LegTrigger, LEGS, [GuardFacts()]),  # type: ignore[list-item]  # the same
]


def test_a_trigger_leads_where_it_is_promised_to_and_nowhere_else(subtests: pytest.Subtests) -> None:
    for machine, states, triggers, table, all_facts in MACHINES:
        for state, trigger in product(states, triggers):
            with subtests.test(f"{machine.name}: {trigger} from {state}"):
                _leads(machine, state, trigger, table[state].get(trigger), all_facts)


def _leads(
    machine: Machine[StrEnum, StrEnum], state: StrEnum, trigger: StrEnum, expected: Expected | None, all_facts: list[GuardFacts]
) -> None:
    for facts in all_facts:
        target = expected(facts) if callable(expected) else expected

        assert machine.may(state, trigger, facts) is (target is not None)
        if target is not None:
            reached = machine.step(state, trigger, facts)
            assert reached == target
            assert type(reached) is type(state)
        else:
            with pytest.raises(InvalidState) as refused:
                machine.step(state, trigger, facts)
            assert refused.value.state == state.value


@pytest.mark.parametrize(("machine", "states", "triggers", "table", "_"), MACHINES, ids=lambda part: getattr(part, "name", ""))
def test_the_actions_of_a_state_are_the_triggers_that_some_facts_allow(
    machine: Machine[StrEnum, StrEnum], states: type[StrEnum], triggers: type[StrEnum], table: dict[str, dict[str, Expected]], _: object
) -> None:
    assert set(table) == set(states)
    for state in states:
        actions = machine.actions_from(state)

        assert set(actions) == set(table[state])
        assert len(actions) == len(set(actions))
        assert set(actions) <= set(triggers)


def test_without_facts_every_guard_that_wants_one_says_no() -> None:
    assert not PAYMENT.may(PaymentState.cancel_requested, PaymentTrigger.keep)
    assert not PAYMENT.may(PaymentState.cancel_requested, PaymentTrigger.complete)
    assert not CANCELLATION.may(CancellationState.awaiting_merchant, CancellationTrigger.timeout)
    assert not CANCELLATION.may(CancellationState.awaiting_return, CancellationTrigger.timeout)


def test_a_refused_step_leaves_the_machine_as_it_was() -> None:
    with pytest.raises(InvalidState):
        PAYMENT.step(PaymentState.failed, PaymentTrigger.complete)

    assert PAYMENT.step(PaymentState.pending, PaymentTrigger.complete) is PaymentState.completed


def test_nothing_leads_out_of_a_final_state_but_money_that_a_rail_took_all_the_same() -> None:
    for state in (PaymentState.cancelled, PaymentState.failed):
        assert {(row.trigger, row.target) for row in PAYMENT.rows if row.source is state} == {
            (PaymentTrigger.refund_late_capture, PaymentState.refunding)
        }
    for ended in (CancellationState.refused, CancellationState.withdrawn, CancellationState.failed):
        assert reachable(CANCELLATION, ended) == {ended}
    assert reachable(LEG, LegState.returned) == {LegState.returned}
    assert {(row.trigger, row.target) for row in LEG.rows if row.source is LegState.failed} == {(LegTrigger.adopt, LegState.succeeded)}


def test_only_a_refund_that_was_started_or_a_lost_dispute_leads_to_refunded() -> None:
    into = {(row.source, row.trigger) for row in PAYMENT.rows if row.target is PaymentState.refunded}

    assert into == {
        (PaymentState.refunding, PaymentTrigger.confirm_refund),
        (PaymentState.refunding, PaymentTrigger.abandon_refund),
        (PaymentState.completed, PaymentTrigger.lose_dispute),
        (PaymentState.cancel_requested, PaymentTrigger.lose_dispute),
        (PaymentState.refunding, PaymentTrigger.lose_dispute),
    }


def test_the_money_of_a_cancellation_moves_only_after_it_was_approved() -> None:
    into = {
        row.source for row in CANCELLATION.rows if row.target is CancellationState.completed and row.trigger is CancellationTrigger.done
    }

    assert into == {CancellationState.executing}


def test_every_state_is_reached_and_every_open_one_can_end() -> None:
    for machine, states, _, _, _ in MACHINES:
        assert set().union(*(reachable(machine, start) for start in machine.starts)) == set(states)
    for state in CANCELLATION_OPEN:
        assert CancellationState.completed in reachable(CANCELLATION, state)


def test_the_diagram_shows_every_row_once_and_is_always_the_same() -> None:
    drawn = mermaid()

    assert drawn == mermaid()
    assert drawn.count("```mermaid\nstateDiagram-v2\n") == 3
    for machine, _, _, _, _ in MACHINES:
        lines = machine.mermaid().splitlines()
        arrows = [line.strip() for line in lines if ": " in line]
        labels = [(arrow.partition(": ")[0], label) for arrow in arrows for label in labels_of(arrow)]
        assert len(arrows) == len({arrow.partition(": ")[0] for arrow in arrows})
        assert len(labels) == len(set(labels)) == len(machine.rows)


def test_the_diagram_marks_starts_and_ends() -> None:
    drawn = PAYMENT.mermaid().splitlines()

    assert drawn[:3] == ["stateDiagram-v2", "    [*] --> pending", "    [*] --> completed"]
    assert [line for line in drawn if line.endswith("--> [*]")] == []
    assert "    refunding --> refunded: confirm_refund [nothing left], abandon_refund [nothing left], lose_dispute" in drawn


def test_the_readme_shows_these_machines() -> None:
    _, opened, rest = README.read_text(encoding="utf-8").partition("<!-- machines -->")
    shown, closed, _ = rest.partition("<!-- /machines -->")

    assert opened
    assert closed
    assert shown.strip() == mermaid().strip()


def reachable(machine: Machine[StrEnum, StrEnum] | Machine[PaymentState, PaymentTrigger] | object, start: StrEnum) -> set[StrEnum]:
    assert isinstance(machine, Machine)
    seen, ahead = {start}, [start]
    while ahead:
        state = ahead.pop()
        for row in machine.rows:
            if row.source is state and row.target not in seen:
                seen.add(row.target)
                ahead.append(row.target)
    return seen


def labels_of(arrow: str) -> Iterable[str]:
    """The labels of an arrow; a guard's words may hold a comma."""
    label, depth = "", 0
    for sign in arrow.partition(": ")[2] + ",":
        depth += {"[": 1, "]": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            yield label.strip()
            label = ""
        else:
            label += sign
