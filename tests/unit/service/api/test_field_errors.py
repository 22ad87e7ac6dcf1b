"""What is wrong with a body, by pointer: named, limited in number, and never sent back."""

import json

import pytest
from pydantic import ValidationError

from service.api.field_errors import ERRORS_MAX, body_errors, pointer
from service.api.models import payments
from tests.unit.service.api.bodies import PAYMENT, errors_of, payment_with


def test_a_required_member_that_is_missing_is_named() -> None:
    for name in ["reference", "wallet_id", "merchant_id", "amount", "currency"]:
        body = {key: value for key, value in PAYMENT.items() if key != name}

        assert errors_of(payments.RegisterPayment, body) == {f"/{name}": "Is required."}


def test_an_unknown_member_is_named() -> None:
    assert payment_with(colour="red") == {"/colour": "Is not a known name. Remove it, or check its spelling."}


def test_an_unknown_member_with_a_monstrous_name_is_not_sent_back() -> None:
    assert payment_with(**{"x" * 10_000: 1}) == {"": "Is not a known name. Remove it, or check its spelling."}
    assert payment_with(**{"a\nb": 1}) == {"": "Is not a known name. Remove it, or check its spelling."}


def test_a_pointer_escapes_what_rfc_6901_escapes() -> None:
    assert pointer(["a/b", "c~d", 0]) == "/a~1b/c~0d/0"
    assert pointer([]) == ""


def test_no_more_errors_are_told_than_a_person_reads() -> None:
    body = {**PAYMENT, "items": [{}] * 500}

    with pytest.raises(ValidationError) as raised:
        payments.RegisterPayment.model_validate_json(json.dumps(body))

    assert raised.value.error_count() < ERRORS_MAX, "pydantic stops at the first wrong line"
    assert len(body_errors(raised.value, body, payments.RegisterPayment)) == ERRORS_MAX


def test_what_was_sent_is_not_sent_back() -> None:
    secret = "4111-1111-1111-1111"
    body = {**dict.fromkeys(payments.RegisterPayment.model_fields, secret + "\x00"), "metadata": {"k": [secret]}, "items": [secret]}

    found = errors_of(payments.RegisterPayment, body)

    assert len(found) > 10
    assert secret not in json.dumps(found)
