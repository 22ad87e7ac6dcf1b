"""What a simulation counts: outcomes, who is better off, what differs most, and what cannot be replayed."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from tests.factories import COMPLETED_AT, FACTS, policy_of
from tests.unit.workflows.domain.policies.rules import NONE
from workflows.domain.enums import Refusal, Route
from workflows.domain.policies.facts import PolicyFacts
from workflows.domain.policies.policy import Policy
from workflows.domain.policies.simulation import DIFFERENCES_MAX, Judgement, KeptDecision, SimulationResult, SimulationTally, Transition
from workflows.domain.policies.verdicts import decide_route

DAY = timedelta(days=1)


def within(days: int, route: str = "automatic", **rule: Any) -> dict[str, Any]:
    return {"route": route, "window": {"anchor": "completed_at", "length": f"{days} days"}, **rule}


BEFORE = policy_of(within(5), within(15, "merchant"))


def kept(number: int = 1, **members: Any) -> KeptDecision:
    usual: dict[str, Any] = {"route": Route.automatic, "refusal": None, "rule": "r0"}
    return KeptDecision(
        cancellation_id=UUID(int=number),
        payment_id=UUID(int=1000 + number),
        created_at=COMPLETED_AT + DAY,
        policy_version="v",
        facts=FACTS,
        **{**usual, **members},
    )


def judge(
    tally: SimulationTally, candidate: Policy, decision: KeptDecision | None = None, *, facts: PolicyFacts = FACTS, days: int = 1
) -> None:
    at = COMPLETED_AT + days * DAY
    before, after = (Judgement(decide_route(one, facts, at, NONE), one.zone) for one in (BEFORE, candidate))
    tally.add(replace(decision or kept(), created_at=at), facts, before, after)


def simulated(candidate: Policy, *days: int, facts: PolicyFacts = FACTS) -> SimulationResult:
    """One decision on each of these days after the payment."""
    tally = SimulationTally()
    for number, day in enumerate(days, 1):
        judge(tally, candidate, kept(number), facts=facts, days=day)
    return tally.result()


def counted(result: SimulationResult) -> tuple[int, int, int, int, int]:
    return result.decisions, result.changed, result.kinder, result.harsher, result.window_changed


def test_the_same_policy_changes_nothing() -> None:
    result = simulated(BEFORE, 1, 6, 16)

    assert counted(result) == (3, 0, 0, 0, 0)
    assert result.differences == ()
    outcomes = (Route.automatic, Route.merchant, Refusal.window_closed)
    assert result.transitions == tuple(Transition(before=one, after=one, decisions=1, amounts={"CNY": 10_000}) for one in outcomes)


def test_a_kinder_policy_is_counted_as_kinder() -> None:
    result = simulated(policy_of(within(10), within(20, "merchant")), 6, 16, 30)

    assert counted(result) == (3, 2, 2, 0, 0)
    assert [(one.before, one.after) for one in result.transitions] == [
        (Route.merchant, Route.automatic),
        (Refusal.window_closed, Route.merchant),
        (Refusal.window_closed, Refusal.window_closed),
    ]


def test_a_harsher_policy_is_counted_as_harsher() -> None:
    result = simulated(policy_of(within(2), within(10, "agent")), 1, 4, 12)

    assert counted(result) == (3, 2, 0, 2, 1)
    assert [(one.before, one.after) for one in result.transitions] == [
        (Route.automatic, Route.agent),
        (Route.automatic, Route.automatic),
        (Route.merchant, Refusal.window_closed),
    ]


def test_another_end_of_the_window_is_no_other_outcome() -> None:
    assert counted(simulated(policy_of(within(5), within(16, "merchant")), 1, 6)) == (2, 0, 0, 0, 1)


def test_one_refusal_instead_of_another_is_neither_kinder_nor_harsher() -> None:
    result = simulated(policy_of({"when": {"state": "pending"}}), 16)

    assert counted(result) == (1, 1, 0, 0, 0)
    assert result.transitions == (Transition(before=Refusal.window_closed, after=Refusal.no_rule, decisions=1, amounts={"CNY": 10_000}),)
    assert result.rules_after == ((None, 1),)


def test_another_end_of_a_window_that_is_closed_either_way_is_nothing() -> None:
    assert counted(simulated(policy_of(within(5), within(14, "merchant")), 16)) == (1, 0, 0, 0, 0)


def test_amounts_are_those_asked_for_by_currency() -> None:
    tally = SimulationTally()
    for amount, currency in ((300, "JPY"), (5, "CNY"), (200, "JPY"), (7, "CNY")):
        judge(tally, BEFORE, facts=replace(FACTS, amount=amount, currency=currency))

    assert tally.result().transitions == (
        Transition(before=Route.automatic, after=Route.automatic, decisions=4, amounts={"CNY": 12, "JPY": 500}),
    )


def test_rules_are_counted_by_the_candidates_names_the_most_frequent_first() -> None:
    candidate = policy_of(within(2, name="soon"), within(10, "merchant", name="later"))

    assert simulated(candidate, 1, 3, 4, 12).rules_after == (("later", 3), ("soon", 1))


def test_the_largest_differences_are_kept_whatever_their_order() -> None:
    tally = SimulationTally()
    candidate = policy_of(within(5, "agent"))
    amounts = [(number * 7919) % 503 for number in range(1, 301)]
    for number, amount in enumerate(amounts, 1):
        judge(tally, candidate, kept(number), facts=replace(FACTS, amount=amount))

    found = [(one.amount, one.cancellation_id.int) for one in tally.result().differences]

    assert found == sorted(((amount, number) for number, amount in enumerate(amounts, 1)), reverse=True)[:DIFFERENCES_MAX]


def test_of_equal_amounts_the_earlier_ids_are_kept() -> None:
    for numbers in (range(1, 151), range(150, 0, -1)):
        tally = SimulationTally()
        for number in numbers:
            judge(tally, policy_of(within(5, "agent")), kept(number))

        assert [one.cancellation_id.int for one in tally.result().differences] == list(range(1, 101))


def test_a_difference_is_explained_by_both_policies() -> None:
    [difference] = simulated(policy_of(within(9, "agent", name="new"), version="w", timezone="Asia/Tokyo"), 6).differences

    assert (difference.cancellation_id, difference.payment_id) == (UUID(int=1), UUID(int=1001))
    assert (difference.amount, difference.currency, difference.created_at) == (10_000, "CNY", COMPLETED_AT + 6 * DAY)
    before, after = difference.before.verdict, difference.after.verdict
    assert (before.rule, before.policy_version, after.rule, after.policy_version) == ("r1", "v", "new", "w")
    assert after.window is not None
    assert after.window.closes_at == datetime(2026, 11, 11, 2, tzinfo=UTC)
    assert (str(difference.before.zone), str(difference.after.zone)) == ("UTC", "Asia/Tokyo")


def not_reproduced(decision: KeptDecision, *, facts: PolicyFacts = FACTS, days: int = 1) -> int:
    tally = SimulationTally()
    judge(tally, BEFORE, decision, facts=facts, days=days)
    return tally.result().not_reproduced


def test_a_decision_that_is_replayed_as_it_was_kept_is_reproduced() -> None:
    assert not_reproduced(kept()) == 0
    assert not_reproduced(kept(route=None, refusal=Refusal.window_closed, rule="r1"), days=16) == 0


def test_what_was_kept_otherwise_is_counted() -> None:
    assert not_reproduced(kept(route=Route.agent)) == 1
    assert not_reproduced(kept(rule="r1")) == 1
    assert not_reproduced(kept(rule=None)) == 1
    assert not_reproduced(kept(route=None, refusal=Refusal.window_closed)) == 1
    assert not_reproduced(kept(route=None, refusal=Refusal.no_rule, rule="r1"), days=16) == 1
    assert not_reproduced(kept(), days=16) == 1


def test_an_override_is_compared_by_what_policy_said() -> None:
    passed = kept(overridden=True, rule="r1")

    assert not_reproduced(passed, days=16) == 0
    assert not_reproduced(replace(passed, rule="r0"), days=16) == 1
    assert not_reproduced(replace(passed, route=Route.agent), days=16) == 1
    assert not_reproduced(kept(overridden=True, route=Route.merchant, rule="r1"), days=6) == 0
    assert simulated(BEFORE, 16).transitions[0].before is Refusal.window_closed


def test_what_is_worth_nothing_stays_refused_whatever_a_supervisor_says() -> None:
    nothing = replace(FACTS, amount=0)

    assert not_reproduced(kept(overridden=True, route=None, refusal=Refusal.window_closed, rule="r1"), facts=nothing, days=16) == 0
    assert not_reproduced(kept(overridden=True, rule="r1"), facts=nothing, days=16) == 1


def test_what_cannot_be_replayed_is_skipped_and_seen() -> None:
    tally = SimulationTally()
    judge(tally, BEFORE)
    tally.skip()

    assert (tally.seen, tally.result().decisions, tally.result().skipped) == (2, 1, 1)
