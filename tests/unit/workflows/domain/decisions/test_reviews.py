"""Agents and supervisors: whose case it is, and that three persons decide where three must."""

from datetime import datetime

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import AGENT, DAY, HOUR, MERCHANT, NOW, OVERRIDE, SUPERVISOR, TERMS, WALLET
from workflows.domain.changes import Change
from workflows.domain.decisions import handoffs, permitted, returns, reviews
from workflows.domain.decisions.handoffs import MerchantResponse
from workflows.domain.enums import CANCELLATION_OPEN, ActorRole, CancellationState, MerchantDecision, ReturnCondition
from workflows.domain.errors import Forbidden, InvalidState, SecondApproverRequired
from workflows.domain.model import Actor, Snapshot

SECOND_AGENT = replace(AGENT, id="agent-2")
SECOND_SUPERVISOR = replace(SUPERVISOR, id="supervisor-2")


def waiting(actor: Actor = WALLET, *, amount: int = 300) -> Snapshot:
    return make.asked(make.completed(merchant_id="agent", amount=amount), make.requested(actor=actor))


def approve(snapshot: Snapshot, actor: Actor, *, note: str | None = None, now: datetime = NOW) -> Change:
    return reviews.approve(snapshot, make.newest(snapshot), note=note, terms=TERMS, context=make.context(now, actor))


def approved(snapshot: Snapshot, actor: Actor) -> Snapshot:
    return approve(snapshot, actor).after(snapshot)


def deny(snapshot: Snapshot, actor: Actor) -> Change:
    context = make.context(NOW, actor)
    return reviews.deny(snapshot, make.newest(snapshot), reason_code="no_proof", note="another shop's", terms=TERMS, context=context)


def offered_to(snapshot: Snapshot, actor: Actor) -> set[str]:
    return set(permitted.actions(snapshot, make.newest(snapshot), TERMS, actor, NOW))


def test_one_yes_suffices_up_to_the_limit() -> None:
    change = approve(waiting(amount=10_000), AGENT, note="showed the receipt")

    (row,) = change.cancellations
    assert (row.state, [(one.by, one.role) for one in row.approvals]) == ("executing", [("agent-1", "agent")])
    assert (row.clock, row.deadline_at) == (None, None)
    assert make.sums(change.payment) == ("refunding", 0, 10_000, (10_000,))
    assert [text.name for text in change.texts] == ["approval_note"]
    assert "receipt" not in "".join(record.body for record in change.records)


def test_above_the_limit_a_supervisor_must_say_yes_too() -> None:
    snapshot = waiting(amount=10_001)

    first = approve(snapshot, AGENT)
    assert (first.cancellations[0].state, first.legs) == ("awaiting_second_approval", ())
    assert (first.cancellations[0].deadline_at, first.cancellations[0].on_deadline) == (NOW + DAY, "agent")
    assert make.types(first) == ["cancellation.approved", "cancellation.second_approval_awaited"]

    second = approve(first.after(snapshot), SUPERVISOR)
    assert second.cancellations[0].state == "executing"
    assert [one.by for one in second.cancellations[0].approvals] == ["agent-1", "supervisor-1"]
    assert [leg.amount for leg in second.legs] == [10_001]


@pytest.mark.parametrize("amount", [1, 300, 10_001])
@pytest.mark.parametrize("actor", [AGENT, SUPERVISOR])
def test_whoever_asked_never_approves(actor: Actor, amount: int) -> None:
    with pytest.raises(SecondApproverRequired):
        approve(waiting(actor, amount=amount), actor)
    with pytest.raises(SecondApproverRequired):  # a person is its sub, whatever role the token names this time
        approve(waiting(actor, amount=amount), replace(SUPERVISOR, id=actor.id))


@pytest.mark.parametrize("second", [AGENT, SECOND_AGENT, replace(SUPERVISOR, id=AGENT.id)], ids=["same", "agent", "same, as supervisor"])
def test_the_second_is_another_person_and_a_supervisor(second: Actor) -> None:
    with pytest.raises(SecondApproverRequired):
        approve(approved(waiting(amount=10_001), AGENT), second)


def test_requester_approver_and_second_approver_are_three_persons() -> None:
    snapshot = approved(waiting(AGENT, amount=10_001), SUPERVISOR)

    for person in (AGENT, replace(SUPERVISOR, id=AGENT.id), SUPERVISOR, SECOND_AGENT):
        with pytest.raises(SecondApproverRequired):
            approve(snapshot, person)
    assert approve(snapshot, SECOND_SUPERVISOR).cancellations[0].state == "executing"


def test_who_accepted_for_the_merchant_does_not_approve_it_as_one_of_ours() -> None:
    snapshot = make.asked(make.completed(merchant_id="merchant", amount=20_000), make.requested(actor=AGENT))
    yes = MerchantResponse(decision=MerchantDecision.accept)
    snapshot = handoffs.decide(snapshot, make.newest(snapshot), yes, TERMS, make.context(NOW, MERCHANT)).after(snapshot)

    with pytest.raises(SecondApproverRequired):
        approve(snapshot, replace(SUPERVISOR, id=MERCHANT.id))
    assert approve(snapshot, SUPERVISOR).cancellations[0].state == "executing"


def test_an_override_is_approved_by_another_supervisor() -> None:
    snapshot = make.asked(make.completed(merchant_id="brief"), make.requested(actor=SUPERVISOR, override=OVERRIDE))

    for person in (AGENT, SUPERVISOR):
        with pytest.raises(SecondApproverRequired):
            approve(snapshot, person)
    assert approve(snapshot, SECOND_SUPERVISOR).cancellations[0].state == "executing"


def test_an_override_that_waited_for_its_merchant_is_approved_by_another_supervisor() -> None:
    snapshot = make.asked(make.completed(merchant_id="merchant"), make.requested(actor=SUPERVISOR, override=OVERRIDE))
    yes = MerchantResponse(decision=MerchantDecision.accept)

    snapshot = handoffs.decide(snapshot, make.newest(snapshot), yes, TERMS, make.context(NOW, MERCHANT)).after(snapshot)

    assert make.newest(snapshot).state == "awaiting_second_approval"
    with pytest.raises(SecondApproverRequired):
        approve(snapshot, SUPERVISOR)
    assert approve(snapshot, SECOND_SUPERVISOR).cancellations[0].state == "executing"


@pytest.mark.parametrize("snapshot", [waiting(), approved(waiting(amount=10_001), AGENT)], ids=["first", "second"])
def test_a_no_ends_it_with_its_reason(snapshot: Snapshot) -> None:
    change = deny(snapshot, AGENT)

    (row,) = change.cancellations
    assert (row.state, row.declined_by, row.clock) == ("declined", "agent", None)
    assert make.sums(change.payment) == ("completed", 0, 0, (0,))
    assert make.types(change) == ["cancellation.denied"]
    assert make.body(change.records[0])["data"]["reason_code"] == "no_proof"
    assert "another shop" not in change.records[0].body
    assert change.after(snapshot).text(row.id, "denial") == {"reason_code": "no_proof", "note": "another shop's"}


def test_an_agents_no_is_not_escalated() -> None:
    snapshot = waiting()
    snapshot = deny(snapshot, AGENT).after(snapshot)

    with pytest.raises(InvalidState):
        handoffs.escalate(snapshot, make.newest(snapshot), TERMS, make.context())
    assert "escalate" not in offered_to(snapshot, WALLET)


def test_a_case_whose_deadline_passed_is_a_supervisors() -> None:
    snapshot = waiting()
    raised = make.with_cancellation(snapshot, make.newest(snapshot), raised=True, clock=None)

    for decide in (approve, deny):
        with pytest.raises(Forbidden):
            decide(raised, AGENT)
    assert approve(raised, SUPERVISOR).cancellations[0].raised is False
    assert deny(raised, SUPERVISOR).cancellations[0].state == "declined"


def test_a_case_is_taken_and_handed_on() -> None:
    snapshot = waiting()

    taken = reviews.assign(snapshot, make.newest(snapshot), to=None, context=make.context(NOW + HOUR, AGENT))
    assert (taken.cancellations[0].assigned_to, taken.cancellations[0].state) == ("agent-1", "awaiting_agent")
    assert taken.cancellations[0].clock == make.newest(snapshot).clock
    assert make.types(taken) == ["cancellation.assigned"]

    snapshot = taken.after(snapshot)
    handed_on = reviews.assign(snapshot, make.newest(snapshot), to="agent-2", context=make.context(NOW, AGENT))
    assert handed_on.cancellations[0].assigned_to == "agent-2"
    data = make.body(handed_on.records[0])["data"]
    assert (data["from"], data["to"]) == ("agent-1", "agent-2")


def test_a_free_case_may_be_taken_by_whoever_may_decide_it() -> None:
    def takers(snapshot: Snapshot) -> set[str]:
        team = (AGENT, SECOND_AGENT, SUPERVISOR, SECOND_SUPERVISOR)
        return {actor.id for actor in team if reviews.may_take(make.newest(snapshot), actor)}

    everybody = {"agent-1", "agent-2", "supervisor-1", "supervisor-2"}
    snapshot = waiting(amount=20_000)
    assert takers(snapshot) == everybody
    assert takers(waiting(AGENT)) == everybody - {"agent-1"}
    assert takers(make.with_cancellation(snapshot, make.newest(snapshot), raised=True, clock=None)) == {"supervisor-1", "supervisor-2"}
    assert takers(make.with_cancellation(snapshot, make.newest(snapshot), assigned_to="agent-9")) == set()
    second = approved(make.with_cancellation(snapshot, make.newest(snapshot), assigned_to="supervisor-1"), SUPERVISOR)
    assert (make.newest(second).state, make.newest(second).assigned_to) == ("awaiting_second_approval", None)
    assert takers(second) == {"supervisor-2"}
    assert takers(deny(snapshot, AGENT).after(snapshot)) == set()


@pytest.mark.parametrize("state", [state for state in CancellationState if state not in CANCELLATION_OPEN])
def test_what_is_over_is_nobodys_case(state: CancellationState) -> None:
    snapshot = waiting()
    over = make.with_cancellation(snapshot, make.newest(snapshot), state=state)

    with pytest.raises(InvalidState):
        reviews.assign(over, make.newest(over), to=None, context=make.context(NOW, AGENT))


@pytest.mark.parametrize("person", [AGENT, SECOND_AGENT, SUPERVISOR, SECOND_SUPERVISOR], ids=lambda person: person.id)
@pytest.mark.parametrize("amount", [300, 10_001])
@pytest.mark.parametrize("first", [None, SECOND_AGENT, SUPERVISOR], ids=["nobody", "agent-2", "supervisor-1"])
@pytest.mark.parametrize("raised", [False, True])
def test_what_is_offered_to_a_person_is_what_that_person_may_do(person: Actor, amount: int, first: Actor | None, raised: bool) -> None:
    snapshot = waiting(AGENT, amount=amount)
    if first is not None:
        snapshot = approved(snapshot, first)
    elif raised:
        snapshot = make.with_cancellation(snapshot, make.newest(snapshot), raised=True, clock=None)

    for name, decide in (("approve", approve), ("deny", deny)):
        try:
            decide(snapshot, person)
        except (Forbidden, InvalidState, SecondApproverRequired):
            assert name not in offered_to(snapshot, person)
        else:
            assert name in offered_to(snapshot, person)


def test_a_person_is_its_sub_and_roles_do_not_make_another() -> None:
    assert reviews.persons(make.newest(approved(waiting(amount=10_001), AGENT))) == {"wallet-backend", "agent-1"}


def test_whoever_helped_to_a_decision_does_not_approve_it() -> None:
    """Under whatever role: who took the merchant's offer for the customer, and who said that the goods are back."""
    handed = make.asked(make.completed(merchant_id="merchant", amount=20_000), make.requested(actor=AGENT))
    offer = MerchantResponse(decision=MerchantDecision.offer, amount=15_000)
    offered = handoffs.decide(handed, make.newest(handed), offer, TERMS, make.context(NOW, MERCHANT)).after(handed)
    taken = handoffs.respond(offered, make.newest(offered), accept=True, terms=TERMS, context=make.context(NOW, SUPERVISOR)).after(offered)
    sent = make.asked(make.completed(merchant_id="return", amount=20_000), make.requested(actor=AGENT))
    receiver = replace(SUPERVISOR, role=ActorRole.merchant)
    back = returns.receive(
        sent, make.newest(sent), condition=ReturnCondition.intact, note=None, terms=TERMS, context=make.context(NOW, receiver)
    ).after(sent)

    for snapshot in (taken, back):
        assert make.newest(snapshot).state is CancellationState.awaiting_second_approval
        with pytest.raises(SecondApproverRequired):
            approve(snapshot, SUPERVISOR)
        assert approve(snapshot, SECOND_SUPERVISOR).after(snapshot).payment.state == "refunding"


def test_a_case_is_taken_only_by_who_may_decide_it() -> None:
    asked_by_agent, second = waiting(AGENT), approved(waiting(amount=20_000), AGENT)

    with pytest.raises(SecondApproverRequired):
        reviews.assign(asked_by_agent, make.newest(asked_by_agent), to=None, context=make.context(NOW, AGENT))
    with pytest.raises(SecondApproverRequired):
        reviews.assign(asked_by_agent, make.newest(asked_by_agent), to=AGENT.id, context=make.context(NOW, SUPERVISOR))
    with pytest.raises(Forbidden):
        reviews.assign(second, make.newest(second), to=None, context=make.context(NOW, SECOND_AGENT))
    assert reviews.assign(second, make.newest(second), to=None, context=make.context(NOW, SUPERVISOR)).cancellations[0].assigned_to
