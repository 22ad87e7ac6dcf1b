"""Bodies: what is taken, what is refused, with a pointer and a sentence, and without an echo."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from service.api import conversion
from service.api.currencies import EXPONENTS
from service.api.field_errors import ERRORS_MAX, body_errors, pointer
from service.api.i18n import Language, fault_message
from service.api.models import cancellations, decisions, payments
from service.api.types import AMOUNT_MAX, Body
from workflows.domain.faults import Fault, FaultCode

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MODELS: tuple[type[Body], ...] = (
    payments.RegisterPayment,
    payments.CompletePayment,
    payments.FailPayment,
    payments.ModifyPayment,
    payments.ChangeFulfilment,
    cancellations.RequestCancellation,
    decisions.Withdraw,
)
EXAMPLES: dict[type[Body], dict[str, Any]] = {model: model.model_json_schema()["example"] for model in MODELS}
PAYMENT: dict[str, Any] = {"reference": "r-1", "wallet_id": "w", "merchant_id": "m", "amount": 1000, "currency": "CNY"}
FUNDING = {"source": "card", "amount": 600, "provider": "stripe", "provider_reference": "ch_1"}


def errors_of(model: type[Body], body: Any) -> dict[str, str]:
    """The findings by pointer; empty where the body is taken."""
    text = body if isinstance(body, bytes | str) else json.dumps(body)
    try:
        model.model_validate_json(text)
    except ValidationError as error:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        return {fault.pointer: fault_message(fault, Language.en) for fault in body_errors(error, value, model)}
    return {}


def payment_with(**members: Any) -> dict[str, str]:
    return errors_of(payments.RegisterPayment, {**PAYMENT, **members})


def request_with(**members: Any) -> dict[str, str]:
    return errors_of(cancellations.RequestCancellation, {"reason": "changed_mind", **members})


def test_the_least_payment_is_taken() -> None:
    assert payment_with() == {}


def test_every_model_has_an_example_that_it_takes_and_a_description_of_every_member() -> None:
    for model in MODELS:
        schema = model.model_json_schema()

        assert errors_of(model, schema["example"]) == {}
        forms = [schema, *schema.get("$defs", {}).values()]
        undescribed = [name for form in forms for name, member in form.get("properties", {}).items() if not member.get("description")]
        assert [name for name in undescribed if name != "provider_reference"] == []


def test_a_required_member_that_is_missing_is_named() -> None:
    for name in ["reference", "wallet_id", "merchant_id", "amount", "currency"]:
        body = {key: value for key, value in PAYMENT.items() if key != name}

        assert errors_of(payments.RegisterPayment, body) == {f"/{name}": "Is required."}


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


def test_an_unknown_member_is_named() -> None:
    assert payment_with(colour="red") == {"/colour": "Is not a known name. Remove it, or check its spelling."}


def test_an_unknown_member_with_a_monstrous_name_is_not_sent_back() -> None:
    assert payment_with(**{"x" * 10_000: 1}) == {"": "Is not a known name. Remove it, or check its spelling."}
    assert payment_with(**{"a\nb": 1}) == {"": "Is not a known name. Remove it, or check its spelling."}


def test_a_pointer_escapes_what_rfc_6901_escapes() -> None:
    assert pointer(["a/b", "c~d", 0]) == "/a~1b/c~0d/0"
    assert pointer([]) == ""


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


def test_the_exponents_are_those_of_iso_4217() -> None:
    assert (EXPONENTS["JPY"], EXPONENTS["CNY"], EXPONENTS["KWD"], EXPONENTS["CLF"]) == (0, 2, 3, 4)


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


def test_authorised_is_not_later_than_completed() -> None:
    found = payment_with(authorised_at="2026-11-22T08:26:01Z", completed_at="2026-11-22T08:26:00Z")

    assert found == {"/authorised_at": "Must not be later than completed_at."}
    assert payment_with(authorised_at="2026-11-22T08:26:00Z", completed_at="2026-11-22T08:26:00Z") == {}


def test_a_moment_may_be_five_minutes_ahead_and_no_more() -> None:
    def body(name: str, at: datetime) -> payments.RegisterPayment:
        return payments.RegisterPayment.model_validate_json(json.dumps({**PAYMENT, name: at.isoformat()}))

    for name in ("completed_at", "authorised_at", "shipped_at", "delivered_at"):
        assert conversion.check_times(body(name, NOW + timedelta(minutes=5)), NOW) == []
        late = body(name, NOW + timedelta(minutes=5, microseconds=1))
        assert conversion.check_times(late, NOW) == [Fault(f"/{name}", FaultCode.in_future)]


def test_the_time_of_a_fulfilment_and_of_a_settlement_is_checked_too() -> None:
    shipped = payments.ChangeFulfilment.model_validate_json('{"status":"shipped","at":"2027-01-01T00:00:00Z"}')
    settled = payments.CompletePayment.model_validate_json('{"completed_at":"2027-01-01T00:00:00Z"}')

    assert [found.pointer for found in conversion.check_times(shipped, NOW)] == ["/at"]
    assert [found.pointer for found in conversion.check_times(settled, NOW)] == ["/completed_at"]
    assert conversion.check_times(decisions.Withdraw(), NOW) == []


def test_funding_sums_to_the_amount() -> None:
    rest = {**FUNDING, "source": "coupon", "amount": 400, "funder": "shop"}

    assert payment_with(funding=[FUNDING, rest]) == {}
    assert payment_with(funding=[FUNDING]) == {"/funding": "The amounts of the sources must add up to amount."}
    assert payment_with(funding=[]) == {"/funding": "Must have 1 or more entries."}
    assert list(payment_with(amount=11 * 600, funding=[FUNDING] * 11)) == ["/funding"]
    assert payment_with(amount=6000, funding=[FUNDING] * 10) == {}


def test_a_source_of_another_form_is_refused() -> None:
    cases: list[tuple[str, object]] = [
        ("source", "cash"),
        ("amount", 0),
        ("provider", "Stripe"),
        ("provider", ""),
        ("provider", "x" * 33),
        ("provider", "9pay"),
        ("provider_reference", "x" * 256),
        ("provider_reference", "a\x00"),
        ("provider_reference", None),
        ("funder", ""),
        ("colour", "red"),
    ]
    for name, value in cases:
        assert list(payment_with(amount=600, funding=[{**FUNDING, name: value}])) == [f"/funding/0/{name}"]


def lines(*amounts: int) -> list[dict[str, object]]:
    return [{"reference": f"line {n}", "name": "n", "quantity": 1, "amount": amount} for n, amount in enumerate(amounts)]


def test_lines_sum_to_the_amount() -> None:
    assert payment_with(items=lines(400, 600)) == {}
    assert payment_with(items=[]) == {}
    assert payment_with(items=lines(400, 601)) == {"/items": "The amounts of the items must add up to amount."}
    assert payment_with(items=lines(*[0, 1] * 1000)) == {}
    assert payment_with(items=lines(-1, 1001)) == {"/items/0/amount": "Must be at least 0."}


def test_lines_have_references_of_their_own() -> None:
    twice = [*lines(500), *lines(500)]

    assert payment_with(items=twice) == {"/items/1/reference": "Must not repeat the reference of another item."}


def test_a_line_of_another_form_is_refused() -> None:
    cases: list[tuple[str, object]] = [
        ("reference", ""),
        ("reference", "x" * 65),
        ("reference", "a\tb"),
        ("reference", "a\x85"),
        ("name", ""),
        ("name", "x" * 256),
        ("name", "a\x00b"),
        ("quantity", 0),
        ("quantity", 10**6 + 1),
        ("quantity", 1.0),
        ("amount", -1),
    ]
    for name, value in cases:
        (line,) = lines(1000)

        assert list(payment_with(items=[{**line, name: value}])) == [f"/items/0/{name}"]


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


def test_null_is_refused_wherever_a_member_may_be_left_out() -> None:
    """A client's null by accident must not ask for what leaving the member out means: all of it."""
    for model in BODIES:
        members = model.model_json_schema().get("properties", {})

        found = errors_of(model, dict.fromkeys(members))

        assert {where.split("/")[1] for where in found} == set(members)
        assert "null" not in json.dumps({name: form for name, form in members.items() if form.pop("default", None) is None})


def test_a_modification_is_held_to_its_sums() -> None:
    body = {"amount": 500, "reason": "sold out"}

    assert errors_of(payments.ModifyPayment, body) == {}
    assert errors_of(payments.ModifyPayment, {**body, "funding": [FUNDING]}) == {
        "/funding": "The amounts of the sources must add up to amount."
    }
    assert errors_of(payments.ModifyPayment, {**body, "items": lines(499)}) == {"/items": "The amounts of the items must add up to amount."}
    assert errors_of(payments.ModifyPayment, {"amount": 500}) == {"/reason": "Is required."}


def test_a_failure_has_a_known_code() -> None:
    assert errors_of(payments.FailPayment, {"code": "network", "detail": "no route"}) == {}
    assert errors_of(payments.FailPayment, {"code": "sunspots"})["/code"].startswith("Must be one of: 'insufficient_funds', 'network'")


def test_a_request_needs_a_reason_and_nothing_more() -> None:
    assert request_with() == {}
    assert errors_of(cancellations.RequestCancellation, {}) == {"/reason": "Is required."}


def test_a_request_names_an_amount_or_lines_but_not_both() -> None:
    line = {"reference": "85123A", "quantity": 1}

    assert request_with(items=[line]) == {}
    assert request_with(amount=1, items=[line]) == {"/items": "Must not be sent together with amount."}
    assert request_with(items=[]) == {"/items": "Must have 1 or more entries."}
    assert request_with(items=[line, line]) == {"/items/1/reference": "Must not repeat the reference of another item."}
    assert request_with(items=[{"reference": f"r{n}", "quantity": 1} for n in range(8000)]) == {}


def test_another_reason_needs_a_note() -> None:
    assert request_with(reason="other") == {"/note": "Is required when reason is other."}
    assert request_with(reason="other", note=" \n ") == {"/note": "Must not be blank."}
    assert request_with(reason="other", note="line one\n\tline two") == {}
    assert request_with(note="x" * 2001) == {"/note": "Must have at most 2000 characters."}
    assert request_with(note="bell \x07") == {"/note": "Must not contain control characters other than tabs and line breaks."}


def test_the_rest_of_a_request() -> None:
    assert request_with(channel="hotline", client_reference="c-1", expected_refundable=0) == {}
    assert list(request_with(channel="pigeon")) == ["/channel"]
    assert list(request_with(client_reference="a b")) == ["/client_reference"]
    assert list(request_with(expected_refundable=-1)) == ["/expected_refundable"]
    assert request_with(verification={"method": "otp", "reference": "v-1"}) == {}
    assert request_with(verification={"method": "guess", "reference": "v"}) == {
        "/verification/method": "Must be one of: 'otp', 'callback', 'document' or 'app_session'."
    }
    assert request_with(override={"justification": "bereavement", "ticket": "T-1"}) == {}
    assert request_with(override={}) == {"/override/justification": "Is required.", "/override/ticket": "Is required."}


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
