"""Query strings and cursors: known parameters once each, in their form, and never an exception of another kind."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.api.models.cancellations import EligibilityQuery, ListCancellations
from service.api.models.payments import ListPayments
from service.api.models.records import ExportRecords, ListPaymentRecords, SearchRecords
from service.api.models.refunds import ListRefunds
from service.api.problems import RequestProblem
from service.api.queries import Query, check_query, item_quantities
from service.api.types import CustomerChannel
from tests.unit.service.api.query_strings import ID, errors_of, read_query
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


@settings(max_examples=3 * settings().max_examples)
@given(raw=st.binary(max_size=60) | st.text(max_size=30).map(lambda text: f"reference={quote(text, errors='replace')}&limit=5".encode()))
def test_any_query_string_is_read_or_refused(raw: bytes) -> None:
    for model in MODELS:
        assert all(where.startswith("/query") and detail for where, detail in errors_of(model, raw).items())


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
