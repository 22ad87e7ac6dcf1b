"""Query strings and cursors: known parameters once each, in their form, and never an exception of another kind."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from service.api import pagination as cursor
from service.api.field_errors import field_errors
from service.api.i18n import Language, fault_message
from service.api.models.cancellations import EligibilityQuery, ListCancellations
from service.api.models.payments import ListPayments
from service.api.models.records import ExportRecords, ListPaymentRecords, SearchRecords
from service.api.models.refunds import ListRefunds
from service.api.pagination import After, CursorMalformed
from service.api.problems import RequestProblem
from service.api.queries import Query, check_query, item_quantities
from service.api.types import CustomerChannel
from workflows.domain.enums import CancellationState, Reason, Route
from workflows.domain.record_types import RecordType
from workflows.storage.list_filters import CancellationFilter, ListOrder

MODELS: tuple[type[Query], ...] = (
    ListPayments,
    ListCancellations,
    ListRefunds,
    SearchRecords,
    ListPaymentRecords,
    ExportRecords,
    EligibilityQuery,
)
ID = UUID("0193b1e6-a5c0-7d2e-8f4a-6b1c2d3e4f50")
AFTER = After(datetime(2026, 11, 22, 13, 28, 56, 123456, tzinfo=UTC), ID)


Q = TypeVar("Q", bound=Query)


def read_query(raw: bytes, model: type[Q]) -> Q:
    """As FastAPI does it, once the route class has looked at the whole."""
    check_query(raw, known=True)
    try:
        return model.model_validate(dict(parse_qsl(raw.decode(), keep_blank_values=True)))
    except ValidationError as error:
        raise RequestProblem("validation-failed", members={"errors": field_errors(error, "/query")}) from None


def errors_of(model: type[Query], raw: bytes) -> dict[str, str]:
    try:
        read_query(raw, model)
    except RequestProblem as problem:
        errors: Any = problem.members["errors"] if problem.problem.slug == "validation-failed" else None
        return {fault.pointer: fault_message(fault, Language.en) for fault in errors}
    return {}


def test_no_parameter_is_required_and_none_unknown() -> None:
    for model in MODELS:
        assert errors_of(model, b"") == {}
        assert errors_of(model, b"colour=red") == {"/query/colour": "Is not a known name. Remove it, or check its spelling."}


def test_every_parameter_is_described() -> None:
    for model in MODELS:
        members = model.model_json_schema().get("properties", {})

        assert [name for name, member in members.items() if not member.get("description")] == []


def test_where_no_parameter_is_known_none_is_taken() -> None:
    check_query(b"", known=False)
    with pytest.raises(RequestProblem) as raised:
        check_query(b"colour=red&limit=1", known=False)
    errors: Any = raised.value.members["errors"]
    assert [(fault.pointer, fault.code) for fault in errors] == [("/query/colour", "unknown_member"), ("/query/limit", "unknown_member")]


def test_a_page_has_fifty_entries_unless_told() -> None:
    assert read_query(b"", ListPayments).limit == 50
    assert read_query(b"limit=1", ListPayments).limit == 1
    assert read_query(b"limit=200", ListPayments).limit == 200


def test_another_limit_is_refused() -> None:
    cases: list[tuple[str, str]] = [
        ("0", "Must be at least 1."),
        ("201", "Must be at most 200."),
        ("9" * 16, "Must be at most 200."),
        ("9" * 5000, "Must be an integer."),
        ("-1", "Must be an integer."),
        ("+1", "Must be an integer."),
        ("5.0", "Must be an integer."),
        ("1_0", "Must be an integer."),
        ("%205", "Must be an integer."),
        ("%D9%A3", "Must be an integer."),
        ("", "Must be an integer."),
        ("true", "Must be an integer."),
    ]
    for limit, detail in cases:
        assert errors_of(ListPayments, b"limit=" + limit.encode()) == {"/query/limit": detail}


def test_the_filters_become_what_they_mean() -> None:
    raw = f"state=executing&route=return&payment_id=pay_{ID.hex}&overdue=false&assigned_to=a-1&created_from=2026-11-22T00:00:00Z"

    got = read_query(raw.encode(), ListCancellations)

    assert (got.state, got.route, got.payment_id, got.overdue) == (CancellationState.executing, Route.return_, ID, False)
    assert (got.assigned_to, got.created_from, got.created_to) == ("a-1", datetime(2026, 11, 22, tzinfo=UTC), None)


def test_from_and_to_are_named_as_they_are_written() -> None:
    got = read_query(b"from=2026-01-01T00:00:00%2B00:00&to=2026-02-01T00:00:00Z&type=payment.registered", SearchRecords)

    assert (got.from_, got.to) == (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    assert got.type is RecordType.payment_registered
    assert list(errors_of(SearchRecords, b"from_=2026-01-01T00:00:00Z")) == ["/query/from_"]
    assert list(errors_of(ExportRecords, b"from=2026-01-01")) == ["/query/from"]


def test_a_value_of_another_form_is_refused_by_name() -> None:
    cases: list[tuple[type[Query], str]] = [
        (ListPayments, "state=lost"),
        (ListPayments, "state="),
        (ListPayments, "reference=a%20b"),
        (ListPayments, "wallet_id=a%00"),
        (ListPayments, "order_reference=%00"),
        (ListPayments, "created_from=yesterday"),
        (ListPayments, "created_to=2026-11-22T00:00:00+00:00"),  # an unescaped plus is a space
        (ListCancellations, "overdue=yes"),
        (ListCancellations, "overdue=1"),
        (ListCancellations, f"payment_id=can_{ID.hex}"),
        (ListCancellations, f"payment_id={ID}"),
        (ListRefunds, "provider=Stripe"),
        (ListRefunds, f"cancellation_id=can_{ID.hex.upper()}"),
        (SearchRecords, "type=payment.lost"),
        (EligibilityQuery, "amount=0"),
        *((EligibilityQuery, f"amount={text}") for text in ("1_000", "1.0", "5.00", "%2B5", "%205", "5%20", "1e3", "")),
        (EligibilityQuery, "amount=1000000000000001"),
        (EligibilityQuery, "channel=pigeon"),
        (ExportRecords, "format=parquet"),
    ]
    for model, raw in cases:
        assert list(errors_of(model, raw.encode())) == [f"/query/{raw.partition('=')[0]}"]


def test_a_format_that_is_not_there_names_those_that_are() -> None:
    assert errors_of(ExportRecords, b"format=parquet") == {"/query/format": "Must be one of: 'ndjson' or 'csv'."}
    assert read_query(b"", ExportRecords).format == "ndjson"
    assert read_query(b"format=csv", ExportRecords).format == "csv"


def test_eligibility_asks_for_an_amount_over_a_channel() -> None:
    got = read_query(b"amount=1000000000000000&channel=hotline&reason=damaged&as=customer", EligibilityQuery)

    assert (got.amount, got.channel, got.reason, got.as_customer) == (10**15, CustomerChannel.hotline, Reason.damaged, True)


def test_lines_are_asked_for_in_one_parameter() -> None:
    cases: list[tuple[bytes, dict[str, int]]] = [
        (b"items=85123A:2,85124:1", {"85123A": 2, "85124": 1}),
        (b"items=85123A%3A2%2C85124%3A1", {"85123A": 2, "85124": 1}),  # as many clients write it
        (b"items=a%252Cb:c:1000000", {"a,b:c": 1_000_000}),
        (b"items=" + quote("月饼 六枚").encode() + b":3", {"月饼 六枚": 3}),
        (b"items=50%25 off:1", {"50% off": 1}),
    ]
    for raw, lines in cases:
        got = read_query(raw, EligibilityQuery)

        assert {line.reference: line.quantity for line in item_quantities(got.items or "")} == lines


def test_lines_of_another_form_are_refused() -> None:
    for value in ["", ",", "a", "a:", ":1", "a:0", "a:-1", "a:1,", "a:1.5", "a:1000001", "x" * 65 + ":1", "a%2500:1", "%25FF:1"]:
        assert errors_of(EligibilityQuery, f"items={value}".encode()) == {
            "/query/items": "Must be written as reference:quantity, with commas between the items."
        }


def test_lines_go_with_no_amount_and_are_named_once() -> None:
    assert errors_of(EligibilityQuery, b"items=a:1,a:2") == {"/query/items": "Must not repeat the reference of another item."}
    assert errors_of(EligibilityQuery, b"items=a:1&amount=5") == {"/query/items": "Must not be sent together with amount."}


def test_a_parameter_is_given_once() -> None:
    assert errors_of(ListPayments, b"limit=5&limit=5") == {"/query/limit": "Must be sent only once."}
    assert errors_of(ListPayments, b"limit=5&limi%74=6&state=&state=") == {
        "/query/limit": "Must be sent only once.",
        "/query/state": "Must be sent only once.",
    }


def test_what_is_not_utf_8_is_refused() -> None:
    for raw in [b"reference=%FF", b"%FF=1", b"reference=\xff", "reference=é".encode(), b"reference=%ED%A0%80"]:
        assert errors_of(ListPayments, raw) == {"/query": "Must be percent-encoded UTF-8."}


def test_too_many_parameters_are_refused_before_they_are_read() -> None:
    assert errors_of(ListPayments, b"&".join(b"a%d=1" % n for n in range(51))) == {"/query": "Must have at most 50 parameters."}


@settings(max_examples=300, deadline=None)
@given(raw=st.binary(max_size=60) | st.text(max_size=30).map(lambda text: f"reference={quote(text, errors='replace')}&limit=5".encode()))
def test_any_query_string_is_read_or_refused(raw: bytes) -> None:
    for model in MODELS:
        assert all(where.startswith("/query") and detail for where, detail in errors_of(model, raw).items())


def test_a_cursor_leads_on_from_where_it_was_made() -> None:
    text = cursor.encode("payments", AFTER)

    assert cursor.decode("payments", text) == AFTER
    assert read_query(f"cursor={text}".encode(), ListPayments).cursor == AFTER
    assert read_query(f"cursor={cursor.encode('records', AFTER)}".encode(), SearchRecords).cursor == AFTER
    assert read_query(f"cursor={cursor.encode_id('payment_records', ID)}".encode(), ListPaymentRecords).cursor == ID


@settings(max_examples=200, deadline=None)
@given(
    at=st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 -- hypothesis adds the zone
    last=st.uuids(),
)
def test_every_cursor_comes_back_and_needs_no_escaping(at: datetime, last: UUID) -> None:
    after = After(at, last)
    text = cursor.encode("refunds", after)

    assert cursor.decode("refunds", text) == after
    assert quote(text, safe="") == text
    assert cursor.decode_id("records", cursor.encode_id("records", last)) == last


def packed(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().rstrip("=")


MICROSECONDS = (AFTER.at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def test_a_cursor_that_no_such_list_gave_is_refused() -> None:
    cases: list[str] = [
        "",
        "x",
        "é",
        "\x00",
        "=",
        "A" * 100_000,
        cursor.encode("payments", AFTER) + "=",
        cursor.encode("payments", AFTER)[:-1],
        cursor.encode("payments", AFTER) + "\n",
        cursor.encode("refunds", AFTER),
        cursor.encode_id("payments", ID),
        packed(None),
        packed([1, "payments", MICROSECONDS]),
        packed([2, "payments", MICROSECONDS, ID.hex]),
        packed([True, "payments", MICROSECONDS, ID.hex]),
        packed([1, "payments", True, ID.hex]),
        packed([1, "payments", float(MICROSECONDS), ID.hex]),
        packed([1, "payments", 10**30, ID.hex]),
        packed([1, "payments", -(10**30), ID.hex]),
        packed([1, "payments", MICROSECONDS, str(ID)]),
        packed([1, "payments", MICROSECONDS, ID.hex.upper()]),
        urlsafe_b64encode(b"[" * 100).decode().rstrip("="),
        urlsafe_b64encode(b"\xff\xfe[]").decode().rstrip("="),
        urlsafe_b64encode(b'[1, "payments", %d, "%s"]' % (MICROSECONDS, ID.hex.encode())).decode().rstrip("="),
    ]
    for text in cases:
        with pytest.raises(CursorMalformed):
            cursor.decode("payments", text)
        assert errors_of(ListPayments, f"cursor={quote(text)}".encode()) == {
            "/query/cursor": "Must be a next_cursor that this list returned, sent with the same order."
        }


def test_an_id_cursor_that_no_such_list_gave_is_refused() -> None:
    for text in ["", cursor.encode("records", AFTER), packed([1, "records", 5]), packed([1, "records", "x"])]:
        with pytest.raises(CursorMalformed):
            cursor.decode_id("records", text)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=220) | st.binary(max_size=120).map(lambda raw: urlsafe_b64encode(raw).decode().rstrip("=")))
def test_any_other_text_is_no_cursor(text: str) -> None:
    for take in (cursor.decode, cursor.decode_id):
        with pytest.raises(CursorMalformed):
            take("payments", text)


def test_a_query_has_the_order_of_its_sort() -> None:
    when = "2026-11-22T00:00:00Z"
    cases: list[tuple[str, ListOrder]] = [
        ("", ListOrder.created),
        ("sort=updated", ListOrder.updated),
        (f"updated_from={when}", ListOrder.updated),
        (f"sort=updated&updated_from={when}", ListOrder.updated),
        ("sort=deadline", ListOrder.deadline),
        (f"sort=deadline&created_from={when}&overdue=true&state=awaiting_merchant", ListOrder.deadline),
    ]
    for raw, order in cases:
        got = read_query(raw.encode(), ListCancellations)

        assert (got.order, got.filters()["order"]) == (order, order)
        assert CancellationFilter(**got.filters()).order is order


def test_an_order_that_the_list_does_not_have_is_refused() -> None:
    when = "2026-11-22T00:00:00Z"
    assert errors_of(ListPayments, b"sort=deadline") == {"/query/sort": "Must be one of: 'updated'."}
    assert errors_of(ListRefunds, b"sort=deadline") == {"/query/sort": "Must be one of: 'updated'."}
    assert errors_of(ListCancellations, b"sort=created") == {"/query/sort": "Must be one of: 'updated' or 'deadline'."}
    assert errors_of(ListCancellations, f"sort=deadline&updated_from={when}".encode()) == {
        "/query/updated_from": "Is allowed only when sort is updated."
    }


def test_a_cursor_goes_on_in_its_own_order_only() -> None:
    kinds: dict[ListOrder, cursor.Kind] = {
        ListOrder.created: "cancellations",
        ListOrder.updated: "cancellations_updated",
        ListOrder.deadline: "cancellations_deadline",
    }
    sorts = {ListOrder.created: "", ListOrder.updated: "sort=updated&", ListOrder.deadline: "sort=deadline&"}
    for made, kind in kinds.items():
        for asked, sort in sorts.items():
            raw = f"{sort}cursor={cursor.encode(kind, AFTER)}".encode()
            if asked is made:
                assert read_query(raw, ListCancellations).cursor == After(AFTER.at, AFTER.id, made)
            else:
                assert list(errors_of(ListCancellations, raw)) == ["/query/cursor"]
