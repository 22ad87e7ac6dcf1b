"""The index finds the very rules that hold, and the verdict is that of asking each rule in turn."""

import random
from collections.abc import Iterable, Iterator

import pytest
from msgspec.structs import replace

from tests import factories as make
from tests.factories import FACTS
from workflows.domain.enums import Category, Channel, Fulfilment, PaymentState, Reason, Role, Source
from workflows.domain.policies.conditions import Condition, Subject, When
from workflows.domain.policies.facts import PolicyFacts
from workflows.domain.policies.policy import REFUSAL_OF
from workflows.domain.policies.rule_index import index_of, positions

WORDS: dict[Subject, tuple[str, ...]] = {
    Subject.state: tuple(PaymentState),
    Subject.fulfilment: tuple(Fulfilment),
    Subject.category: tuple(Category),
    Subject.merchant_id: ("m-1", "m-2", "m-3"),
    Subject.currency: ("CNY", "EUR", "USD"),
    Subject.role: tuple(Role),
    Subject.channel: tuple(Channel),
    Subject.reason: tuple(Reason),
    Subject.source: tuple(Source),
}
AMOUNTS = (1, 2, 99, 100, 101, 500)


def some(chance: random.Random, values: Iterable[str]) -> frozenset[str]:
    listed = list(values)
    return frozenset(chance.sample(listed, chance.randint(1, len(listed))))


def random_when(chance: random.Random) -> When:
    conditions = [
        Condition(subject=subject, values=some(chance, words), negated=negated)
        for subject, words in WORDS.items()
        for negated in (False, True)
        if chance.random() < 0.15
    ]
    if chance.random() < 0.2:
        values = frozenset(chance.sample(AMOUNTS, 2))
        conditions.append(Condition(subject=Subject.amount, values=values, negated=chance.random() < 0.5))
    return When(
        conditions=tuple(conditions),
        amount_above=chance.choice(AMOUNTS) if chance.random() < 0.15 else None,
        amount_up_to=chance.choice(AMOUNTS) if chance.random() < 0.15 else None,
    )


def random_facts(chance: random.Random) -> PolicyFacts:
    return replace(
        FACTS,
        state=chance.choice(list(PaymentState)),
        fulfilment=chance.choice(list(Fulfilment)),
        category=chance.choice(list(Category)),
        merchant_id=chance.choice(["m-1", "m-2", "elsewhere"]),
        currency=chance.choice(["CNY", "EUR", "JPY"]),
        amount=chance.choice([1, 2, 3, 98, 99, 100, 101, 102, 499, 500, 501]),
        role=chance.choice(list(Role)),
        channel=chance.choice(list(Channel)),
        reason=chance.choice([None, *Reason]),
        sources=tuple(chance.sample(list(Source), chance.randint(0, 3))),
    )


def scanned(whens: tuple[When, ...], facts: PolicyFacts) -> list[int]:
    return [number for number, when in enumerate(whens) if when.holds(facts)]


def without(whens: tuple[When, ...], subject: Subject, *, negated_only: bool) -> tuple[When, ...]:
    def kept(when: When) -> Iterator[Condition]:
        return (one for one in when.conditions if one.subject is not subject or (negated_only and not one.negated))

    return tuple(replace(when, conditions=tuple(kept(when))) for when in whens)


@pytest.mark.slow
def test_the_index_finds_what_asking_each_rule_finds() -> None:
    chance, found = random.Random(15), 0
    for _ in range(60):
        whens = tuple(random_when(chance) for _ in range(chance.choice([0, 1, 3, 20, 70])))
        index = index_of(whens, REFUSAL_OF)
        for _ in range(100):
            facts = random_facts(chance)
            expected = scanned(whens, facts)
            assert list(positions(index.matching(facts))) == expected, (whens, facts)
            found += len(expected)
            for subject in REFUSAL_OF:
                for negated_only in (True, False):
                    told = index.matching_but(facts, subject, negated_only=negated_only)
                    assert list(positions(told)) == scanned(without(whens, subject, negated_only=negated_only), facts)
    assert found > 5_000, "most of what was asked must not be trivial"


def test_a_policy_has_the_index_of_its_own_rules() -> None:
    policy = make.policy()
    own = policy.with_rules("own", policy.rules[1:3])

    automatic = replace(FACTS, merchant_id="automatic")
    assert list(positions(policy.index.matching(automatic))) == [1]
    assert list(positions(own.index.matching(automatic))) == [0]
