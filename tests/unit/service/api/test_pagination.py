"""Cursors: each leads on from where it was made, in the list and the order that gave it, and no other text is one."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.api import pagination as cursor
from service.api.models.cancellations import ListCancellations
from service.api.models.payments import ListPayments
from service.api.models.records import ListPaymentRecords, SearchRecords
from service.api.pagination import After, CursorMalformed
from tests.unit.service.api.query_strings import ID, errors_of, read_query
from workflows.storage.list_filters import ListOrder

AFTER = After(datetime(2026, 11, 22, 13, 28, 56, 123456, tzinfo=UTC), ID)


def test_a_cursor_leads_on_from_where_it_was_made() -> None:
    text = cursor.encode("payments", AFTER)

    assert cursor.decode("payments", text) == AFTER
    assert read_query(f"cursor={text}".encode(), ListPayments).cursor == AFTER
    assert read_query(f"cursor={cursor.encode('records', AFTER)}".encode(), SearchRecords).cursor == AFTER
    assert read_query(f"cursor={cursor.encode_id('payment_records', ID)}".encode(), ListPaymentRecords).cursor == ID


@settings(max_examples=2 * settings().max_examples)
@given(
    at=st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 -- hypothesis adds the zone
    last=st.uuids(),
)
@pytest.mark.slow
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


@settings(max_examples=3 * settings().max_examples)
@given(text=st.text(max_size=220) | st.binary(max_size=120).map(lambda raw: urlsafe_b64encode(raw).decode().rstrip("=")))
def test_any_other_text_is_no_cursor(text: str) -> None:
    for take in (cursor.decode, cursor.decode_id):
        with pytest.raises(CursorMalformed):
            take("payments", text)


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
