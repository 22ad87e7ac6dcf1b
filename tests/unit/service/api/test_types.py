"""The members of bodies: amounts, references, currencies, times and texts that are taken, and those that are refused."""

import json
from datetime import UTC, datetime

import pytest

from service.api.models import payments
from service.api.types import AMOUNT_MAX, Body
from tests.unit.service.api.bodies import PAYMENT, errors_of, lines, payment_with


def test_an_amount_is_an_integer_of_json() -> None:
    for amount in ["5", "5.0", "1e3", "true", "null", '"5"', "[]", "{}"]:
        expected = {} if amount == "5" else {"/amount": "Must be an integer."}

        assert errors_of(payments.RegisterPayment, json.dumps(PAYMENT).replace("1000", amount)) == expected


def test_an_amount_has_limits() -> None:
    cases: list[tuple[int, str]] = [
        (0, "Must be at least 1."),
        (-1, "Must be at least 1."),
        (AMOUNT_MAX + 1, f"Must be at most {AMOUNT_MAX}."),
        (10**400, f"Must be at most {AMOUNT_MAX}."),
    ]
    for amount, detail in cases:
        assert payment_with(amount=amount) == {"/amount": detail}


def test_the_limits_of_an_amount_themselves_are_taken() -> None:
    assert payment_with(amount=1) == {}
    assert payment_with(amount=AMOUNT_MAX) == {}


def test_a_reference_that_is_taken() -> None:
    for reference in ["a", "A-Z_0.9:x", "x" * 64]:
        assert payment_with(reference=reference) == {}


def test_a_reference_that_is_refused() -> None:
    for reference in ["", "x" * 65, "a b", "a\n", "é", "a/b", "\x00", "a٣"]:
        assert list(payment_with(reference=reference)) == ["/reference"]


def test_a_pseudonym_is_visible_ascii() -> None:
    for wallet in ["", "x" * 65, "a b", "a\n", "é", "a\x7f"]:
        assert list(payment_with(wallet_id=wallet)) == ["/wallet_id"]


def test_a_currency_with_a_minor_unit_is_taken() -> None:
    for code in ["CNY", "JPY", "KWD", "GBP", "CLF"]:
        assert payment_with(currency=code) == {}


def test_another_currency_is_refused() -> None:
    for code in ["XXX", "XAU", "XTS", "cny", "CN", "ABC", "", "156", "CNY ", "CNY\n"]:
        assert list(payment_with(currency=code)) == ["/currency"]


def test_a_time_in_utc_is_taken() -> None:
    cases: list[tuple[str, datetime]] = [
        ("2010-12-01T08:26:00Z", datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
        ("2010-12-01T08:26:00+00:00", datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
        ("2010-12-01T08:26:00.5Z", datetime(2010, 12, 1, 8, 26, 0, 500_000, tzinfo=UTC)),
        ("1970-01-01T00:00:00.123456Z", datetime(1970, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)),
    ]
    for text, moment in cases:
        body = payments.CompletePayment.model_validate_json(json.dumps({"completed_at": text}))

        assert body.completed_at == moment
        assert body.completed_at.tzinfo is UTC


def test_any_other_time_is_refused() -> None:
    cases: list[object] = [
        "2010-12-01T08:26:00",
        "2010-12-01T08:26:00+08:00",
        "2010-12-01 08:26:00Z",
        "2010-12-01T08:26Z",
        "2010-12-01",
        "1969-12-31T23:59:59Z",
        "2010-12-01T08:26:60Z",
        "2010-02-30T08:26:00Z",
        "2010-12-01T24:00:00Z",
        "2010-12-01T08:26:00.Z",
        "2010-12-01T08:26:00Z\n",
        "12010-12-01T08:26:00Z",
        "٢٠١٠-12-01T08:26:00Z",
        "1291191960",
        "",
        1291191960,
        1291191960.5,
        True,
        [],
        {},
    ]
    for text in cases:
        assert list(payment_with(completed_at=text)) == ["/completed_at"]


def test_lines_have_references_of_their_own() -> None:
    twice = [*lines(500), *lines(500)]

    assert payment_with(items=twice) == {"/items/1/reference": "Must not repeat the reference of another item."}


def test_odd_unicode_is_kept_as_it_came() -> None:
    (line,) = lines(1000)
    name = "  Ω≈ç √ 中文 🧧 e\u0301 \u202e\ufeff\u00a0 "

    body = payments.RegisterPayment.model_validate_json(json.dumps({**PAYMENT, "items": [{**line, "name": name}]}))

    assert body.items is not None
    assert body.items[0].name == name


def test_metadata_is_twenty_short_strings() -> None:
    assert payment_with(metadata={f"k{n}": "v" * 200 for n in range(20)}) == {}
    assert payment_with(metadata={"k": ""}) == {}
    assert payment_with(metadata={f"k{n}": "v" for n in range(21)}) == {"/metadata": "Must have at most 20 entries."}
    assert payment_with(metadata={"k" * 41: "v"}) == {f"/metadata/{'k' * 41}": "Must have at most 40 characters."}
    assert payment_with(metadata={"k": "v" * 201}) == {"/metadata/k": "Must have at most 200 characters."}
    assert payment_with(metadata={"é": "v"}) == {"/metadata/é": "Must contain only printable ASCII characters."}
    assert payment_with(metadata={"k": 1}) == {"/metadata/k": "Must be a string."}
    assert payment_with(metadata={"k": None}) == {"/metadata/k": "Must be a string."}


BODIES = sorted(Body.__subclasses__(), key=lambda model: model.__name__)


@pytest.mark.slow
def test_null_is_refused_wherever_a_member_may_be_left_out() -> None:
    """A client's null by accident must not ask for what leaving the member out means: all of it."""
    for model in BODIES:
        members = model.model_json_schema().get("properties", {})

        found = errors_of(model, dict.fromkeys(members))

        assert {where.split("/")[1] for where in found} == set(members)
        assert "null" not in json.dumps({name: form for name, form in members.items() if form.pop("default", None) is None})
