"""The space of requests: a cube gives an example that its conditions take."""

from datetime import UTC, datetime

from workflows.domain.enums import Anchor
from workflows.domain.policies.conditions import Condition, Subject, When
from workflows.domain.policies.cubes import difference
from workflows.domain.policies.space import space_of


def test_a_cube_gives_an_example_that_its_conditions_take() -> None:
    when = When(
        conditions=(
            Condition(subject=Subject.source, values=frozenset({"card", "bank"})),
            Condition(subject=Subject.source, values=frozenset({"card"}), negated=True),
            Condition(subject=Subject.currency, values=frozenset({"CNY", "EUR"}), negated=True),
            Condition(subject=Subject.merchant_id, values=frozenset({"another-merchant"}), negated=True),
            Condition(subject=Subject.state, values=frozenset({"pending"})),
        ),
        amount_above=20_000,
        amount_up_to=20_001,
    )
    space = space_of([when])
    cube = space.cube(when)

    assert cube is not None
    facts = space.example(cube, datetime(2026, 1, 1, tzinfo=UTC))
    assert when.holds(facts)
    assert (facts.amount, facts.currency, facts.sources) == (20_001, "USD", ("bank",))
    assert facts.anchors[Anchor.completed_at] is None


WORDS: dict[str, frozenset[str] | frozenset[int]] = {
    "state": frozenset({"pending"}),
    "category": frozenset({"general", "digital"}),
    "role": frozenset({"agent"}),
    "channel": frozenset({"hotline"}),
    "amount": frozenset({7}),
}


def test_the_conditions_of_a_cube_are_those_that_it_was_made_from() -> None:
    """Of each subject alone: what is told back holds for the same requests."""
    made = {name: Condition(subject=Subject(name), values=values) for name, values in WORDS.items()}
    bounds = [When(amount_above=9), When(amount_up_to=9), When(amount_above=9, amount_up_to=20)]
    space = space_of([*(When(conditions=(one,)) for one in made.values()), *bounds])

    told = {name: space.conditions(space.cube(When(conditions=(one,))) or space.universe, space.universe) for name, one in made.items()}

    assert told["state"] == {"state": ("pending",)}
    assert told["category"] == {"category": ("general", "digital")}
    assert told["role"]["role"] == ("agent",)
    assert told["channel"]["channel"] == ("hotline",)
    assert told["amount"] == {"amount_above": (6,), "amount_up_to": (7,)}
    for when in bounds:
        wanted = {"amount_above": when.amount_above, "amount_up_to": when.amount_up_to}
        cube = space.cube(when)
        assert cube is not None
        assert space.conditions(cube, space.universe) == {name: (bound,) for name, bound in wanted.items() if bound is not None}


def test_conditions_that_no_request_meets_have_no_cube() -> None:
    system = Condition(subject=Subject.channel, values=frozenset({"system"}))  # nobody asks by it
    pending, completed = (Condition(subject=Subject.state, values=frozenset({state})) for state in ("pending", "completed"))

    for when in (When(conditions=(system,)), When(conditions=(pending, completed)), When(amount_above=5, amount_up_to=5)):
        assert space_of([when]).cube(when) is None


def test_merchants_and_currencies_that_are_not_named_are_one_class() -> None:
    named = When(conditions=(Condition(subject=Subject.merchant_id, values=frozenset({"m-1"})),))
    space = space_of([named])
    cube = space.cube(named)
    assert cube is not None

    others = difference(space.universe, cube)

    assert [space.conditions(other, space.universe) for other in others] == [{"merchant_id_not": ("m-1",)}]
    assert space.example(others[0], datetime(2026, 1, 1, tzinfo=UTC)).merchant_id != "m-1"
