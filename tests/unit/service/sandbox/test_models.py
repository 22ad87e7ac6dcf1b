"""The bodies that the sandbox rail takes, and those that it refuses."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.sandbox.faults import KINDS_DEFAULT, UnreadableFault
from service.sandbox.models import AMOUNT_MAX, PAGE_MAX, REFERENCE_LENGTH_MAX, InstructionBody, MovementsQuery, RandomFaultsBody

GOOD: dict[str, Any] = {"rail_key": "k-1", "payment_reference": "p", "provider_reference": "ok", "amount": 1, "currency": "CNY"}


def test_an_instruction_at_its_limits_is_taken() -> None:
    for name, value in (
        ("amount", AMOUNT_MAX),
        ("rail_key", "k" * 64),
        ("payment_reference", "订" * REFERENCE_LENGTH_MAX),
        ("provider_reference", ""),
    ):
        body = InstructionBody.model_validate(GOOD | {name: value})
        assert getattr(body.instruction("refund"), name) == value, name


def test_an_instruction_beyond_them_is_refused_by_name() -> None:
    cases = [
        *(("amount", value) for value in (0, -1, AMOUNT_MAX + 1, 1.0, "1", True)),
        *(("rail_key", value) for value in ("", "k" * 65, "a b", "a\n", "é")),
        *(("payment_reference", value) for value in ("", "p\n", "p\x00", "p" * (REFERENCE_LENGTH_MAX + 1))),
        *(("currency", value) for value in ("cny", "CNYX", "", "CNY\n")),
        ("provider_reference", "x\x1b"),
        ("colour", "red"),
    ]
    for name, value in cases:
        with pytest.raises(ValidationError) as refused:
            InstructionBody.model_validate(GOOD | {name: value})
        assert [one["loc"] for one in refused.value.errors()] == [(name,)], (name, value)


def test_a_reference_with_a_fault_that_cannot_be_read_is_told_as_such() -> None:
    with pytest.raises(UnreadableFault):
        InstructionBody.model_validate(GOOD | {"provider_reference": "slow:soon"})


def test_random_faults_are_those_that_are_named_else_the_usual_ones() -> None:
    assert RandomFaultsBody(rate=0.5).random_faults().kinds == KINDS_DEFAULT
    assert RandomFaultsBody(rate=0.5, kinds=[]).random_faults().kinds == ()
    with pytest.raises(UnreadableFault):
        RandomFaultsBody(rate=0.5, kinds=["explode"]).random_faults()
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValidationError):
            RandomFaultsBody(rate=rate)


def test_movements_are_listed_from_the_first_and_all_of_them_unless_told() -> None:
    assert MovementsQuery.model_validate({}).model_dump() == {"payment_reference": None, "after": 0, "limit": None}
    for wrong in ({"limit": 0}, {"limit": PAGE_MAX + 1}, {"after": -1}, {"after": 2**63}, {"colour": "red"}):
        with pytest.raises(ValidationError):
            MovementsQuery.model_validate(wrong)
