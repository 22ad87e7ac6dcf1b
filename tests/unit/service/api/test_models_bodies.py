"""Bodies: what is taken, what is refused, with a pointer and a sentence, and without an echo."""

from typing import Any

from service.api.models import cancellations, payments
from tests.unit.service.api.bodies import MODELS, errors_of, lines, payment_with

FUNDING = {"source": "card", "amount": 600, "provider": "stripe", "provider_reference": "ch_1"}


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


def test_authorised_is_not_later_than_completed() -> None:
    found = payment_with(authorised_at="2026-11-22T08:26:01Z", completed_at="2026-11-22T08:26:00Z")

    assert found == {"/authorised_at": "Must not be later than completed_at."}
    assert payment_with(authorised_at="2026-11-22T08:26:00Z", completed_at="2026-11-22T08:26:00Z") == {}


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


def test_lines_sum_to_the_amount() -> None:
    assert payment_with(items=lines(400, 600)) == {}
    assert payment_with(items=[]) == {}
    assert payment_with(items=lines(400, 601)) == {"/items": "The amounts of the items must add up to amount."}
    assert payment_with(items=lines(*[0, 1] * 1000)) == {}
    assert payment_with(items=lines(-1, 1001)) == {"/items/0/amount": "Must be at least 0."}


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
