"""Moments as text."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.domain.times import parse_rfc3339, rfc3339


def test_always_six_digits() -> None:
    assert rfc3339(datetime(2026, 11, 22, 13, 28, 56, 123456, UTC)) == "2026-11-22T13:28:56.123456Z"
    assert rfc3339(datetime(2026, 11, 22, tzinfo=UTC)) == "2026-11-22T00:00:00.000000Z"


def test_another_name_of_utc_is_utc() -> None:
    assert rfc3339(datetime(2026, 11, 22, tzinfo=timezone(timedelta(0), "Zulu"))) == "2026-11-22T00:00:00.000000Z"


@pytest.mark.parametrize("moment", [datetime(2026, 11, 22), datetime(2026, 11, 22, tzinfo=timezone(timedelta(hours=8)))])  # noqa: DTZ001 -- naive on purpose
def test_naive_and_local_moments_are_refused(moment: datetime) -> None:
    with pytest.raises(ValueError, match="UTC"):
        rfc3339(moment)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22T13:28:56Z", datetime(2026, 11, 22, 13, 28, 56, tzinfo=UTC)),
        ("2026-11-22t13:28:56.5z", datetime(2026, 11, 22, 13, 28, 56, 500000, UTC)),
        ("2026-11-22T13:28:56.123456789+00:00", datetime(2026, 11, 22, 13, 28, 56, 123456, UTC)),
        ("2026-11-22T13:28:56.1234567Z", datetime(2026, 11, 22, 13, 28, 56, 123456, UTC)),
        ("2026-11-22T13:28:56.999999999999Z", datetime(2026, 11, 22, 13, 28, 56, 999999, UTC)),
        ("2026-11-22T13:28:56." + "1" * 43 + "Z", datetime(2026, 11, 22, 13, 28, 56, 111111, UTC)),
        ("2026-11-22T13:28:56-00:00", datetime(2026, 11, 22, 13, 28, 56, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60.75Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
    ],
)
def test_reads(text: str, moment: datetime) -> None:
    assert parse_rfc3339(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-22",
        "2026-11-22T13:28:56",
        "2026-11-22 13:28:56Z",
        "2026-11-22T13:28Z",
        "2026-11-22T13:28:56.Z",
        "2026-11-22T13:28:56." + "1" * 44 + "Z",
        "2026-11-22T13:28:56+08:00",
        "2026-11-22T13:28:56-00:01",
        "2026-11-22T13:28:56+0000",
        "2026-11-22T13:28:56Z\n",
        " 2026-11-22T13:28:56Z",
        "2026-02-29T13:28:56Z",
        "2026-11-22T24:00:00Z",
        "2016-12-31T23:59:61Z",
        "2016-12-31T23:58:60Z",
        "9999-12-31T23:59:60Z",
        "1969-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "12026-11-22T13:28:56Z",
        "２０２６-11-22T13:28:56Z",
        "2026-W47-7T13:28:56Z",
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_rfc3339(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        moment = parse_rfc3339(text)
    except ValueError:
        return
    assert moment.utcoffset() == timedelta(0)


MOMENTS = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 -- hypothesis wants its bounds naive


@given(MOMENTS, MOMENTS)
def test_there_and_back_and_text_order_is_time_order(one: datetime, other: datetime) -> None:
    assert parse_rfc3339(rfc3339(one)) == one
    assert (rfc3339(one) < rfc3339(other)) == (one < other)
