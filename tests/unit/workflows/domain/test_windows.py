"""Lengths, deadlines and windows: DST, leap days, month ends, business days, and the very edges."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.calendars import calendar
from workflows.domain.enums import Anchor
from workflows.domain.errors import Window
from workflows.domain.windows import LENGTH_MAX, Length, Phase, Unit, WindowSpec, deadline, locate, parse_length

CN = calendar("CN")
NONE = calendar("none")
SHANGHAI = ZoneInfo("Asia/Shanghai")
MICROSECOND = timedelta(microseconds=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def length(text: str) -> Length:
    parsed = parse_length(text)
    assert parsed is not None
    return parsed


@pytest.mark.parametrize("unit", Unit)
def test_a_length_reads_what_it_writes(unit: Unit) -> None:
    for amount in (0, 1, 2, LENGTH_MAX[unit]):
        assert parse_length(str(Length(amount, unit))) == Length(amount, unit)
    assert parse_length(str(Length(LENGTH_MAX[unit] + 1, unit))) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "days",
        "5days",
        "5  days",
        "-1 days",
        "+5 days",
        "1.5 hours",
        "5 weeks",
        "5 milliseconds",
        "5 business days",
        "٥ days",
        "5 days\n",
        "1e3 days",
    ],
)
def test_what_is_no_length_is_none(text: str) -> None:
    assert parse_length(text) is None


def test_one_of_a_unit_is_singular() -> None:
    assert str(Length(1, Unit.months)) == "1 month"
    assert str(Length(1, Unit.business_days)) == "1 business_day"
    assert parse_length("1 months") == parse_length("1 month") == Length(1, Unit.months)


@pytest.mark.parametrize(
    ("zone", "start", "after", "expected"),
    [
        # absolute units do not know the wall's clock
        ("America/New_York", "2026-03-08T01:30-05:00", "24 hours", "2026-03-09T02:30-04:00"),
        ("America/New_York", "2026-11-01T00:30-04:00", "90 minutes", "2026-11-01T01:00-05:00"),
        ("America/New_York", "2026-11-01T01:59:59-04:00", "2 seconds", "2026-11-01T01:00:01-05:00"),
        # a day is a day on the wall: 23 hours, 25 hours, 24
        ("America/New_York", "2026-03-07T12:00-05:00", "1 day", "2026-03-08T12:00-04:00"),
        ("America/New_York", "2026-10-31T12:00-04:00", "1 day", "2026-11-01T12:00-05:00"),
        # in a gap: with the offset before, so an hour later on the wall
        ("America/New_York", "2026-03-07T02:30-05:00", "1 day", "2026-03-08T03:30-04:00"),
        # twice: the first
        ("America/New_York", "2026-10-31T01:30-04:00", "1 day", "2026-11-01T01:30-04:00"),
        # from the second occurrence of 01:30, an ordinary day on
        ("America/New_York", "2026-11-01T01:30-05:00", "1 day", "2026-11-02T01:30-05:00"),
        # from a second occurrence to another ambiguous wall time, a year on
        ("America/New_York", "2026-11-01T01:30-05:00", "371 days", "2027-11-07T01:30-04:00"),
        # a whole day that an island never had
        ("Pacific/Apia", "2011-12-29T10:00-10:00", "1 day", "2011-12-31T10:00+14:00"),
        # months clamp to the month's end
        ("Asia/Shanghai", "2026-01-31T10:00+08:00", "1 month", "2026-02-28T10:00+08:00"),
        ("Asia/Shanghai", "2028-01-31T10:00+08:00", "1 month", "2028-02-29T10:00+08:00"),
        ("Asia/Shanghai", "2028-02-29T10:00+08:00", "12 months", "2029-02-28T10:00+08:00"),
        ("Asia/Shanghai", "2026-10-31T10:00+08:00", "13 months", "2027-11-30T10:00+08:00"),
        ("Asia/Shanghai", "2026-12-15T10:00+08:00", "1 month", "2027-01-15T10:00+08:00"),
        ("America/New_York", "2026-02-08T02:30-05:00", "1 month", "2026-03-08T03:30-04:00"),
        ("America/New_York", "2026-10-01T01:30-04:00", "1 month", "2026-11-01T01:30-04:00"),
        ("America/New_York", "2026-11-01T01:30-05:00", "132 months", "2037-11-01T01:30-04:00"),  # from a second occurrence to a first
        # the month is the zone's, not that of UTC: 1 February there is still January here
        ("Asia/Shanghai", "2026-01-31T16:30+00:00", "1 month", "2026-03-01T00:30+08:00"),
        # leap day by days
        ("Asia/Shanghai", "2028-02-22T00:00+08:00", "7 days", "2028-02-29T00:00+08:00"),
        ("Asia/Shanghai", "2027-02-22T00:00+08:00", "7 days", "2027-03-01T00:00+08:00"),
    ],
)
def test_deadlines_on_the_wall_and_off_it(zone: str, start: str, after: str, expected: str) -> None:
    found = deadline(at(start), length(after), ZoneInfo(zone), NONE)

    assert found == at(expected)
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    ("start", "days", "expected"),
    [
        # Golden Week 2026: 1 to 7 October off; Saturday the 10th makes up for it
        ("2026-09-30T18:00+08:00", 1, "2026-10-08T18:00+08:00"),
        ("2026-09-30T18:00+08:00", 2, "2026-10-09T18:00+08:00"),
        ("2026-09-30T18:00+08:00", 3, "2026-10-10T18:00+08:00"),
        ("2026-09-30T18:00+08:00", 4, "2026-10-12T18:00+08:00"),
        ("2026-10-03T09:00+08:00", 1, "2026-10-08T09:00+08:00"),  # from within the holidays
        ("2026-09-30T16:30+00:00", 1, "2026-10-08T00:30+08:00"),  # already 1 October in Shanghai
        ("2026-11-20T09:00+08:00", 1, "2026-11-23T09:00+08:00"),  # Friday to Monday
        ("2026-11-20T09:00+08:00", 5, "2026-11-27T09:00+08:00"),
        ("2026-11-20T09:00+08:00", 0, "2026-11-20T09:00+08:00"),
    ],
)
def test_business_days_skip_holidays_and_count_made_up_saturdays(start: str, days: int, expected: str) -> None:
    assert deadline(at(start), Length(days, Unit.business_days), SHANGHAI, CN) == at(expected)


@pytest.mark.parametrize(
    ("zone", "form", "anchor", "closes"),
    [
        # seven days from the day after the 1st end with the 8th
        ("Asia/Shanghai", {"length": Length(7, Unit.days), "next_day": True}, "2026-11-01T09:00+08:00", "2026-11-09T00:00+08:00"),
        ("Asia/Shanghai", {"length": Length(7, Unit.days), "next_day": True}, "2026-11-01T00:00+08:00", "2026-11-09T00:00+08:00"),
        ("Asia/Shanghai", {"length": Length(7, Unit.days), "next_day": True}, "2026-11-01T16:00+00:00", "2026-11-10T00:00+08:00"),
        ("Asia/Shanghai", {"length": Length(1, Unit.months), "next_day": True}, "2026-01-31T09:00+08:00", "2026-03-01T00:00+08:00"),
        ("Asia/Shanghai", {"length": Length(12, Unit.hours), "next_day": True}, "2026-11-01T09:00+08:00", "2026-11-02T12:00+08:00"),
        # business days from the next day on count as whole days
        ("Asia/Shanghai", {"length": Length(1, Unit.business_days), "next_day": True}, "2026-09-30T09:00+08:00", "2026-10-09T00:00+08:00"),
        ("Asia/Shanghai", {"length": Length(5, Unit.business_days), "next_day": True}, "2026-11-21T09:00+08:00", "2026-11-28T00:00+08:00"),
        # until the end of the day, and some minutes
        ("Asia/Shanghai", {"end_of_day": Length(15, Unit.minutes)}, "2026-11-01T23:59+08:00", "2026-11-02T00:15+08:00"),
        ("Asia/Shanghai", {"end_of_day": Length(0, Unit.minutes)}, "2026-11-01T00:00+08:00", "2026-11-02T00:00+08:00"),
        ("Asia/Shanghai", {"end_of_day": Length(15, Unit.minutes), "next_day": True}, "2026-11-01T09:00+08:00", "2026-11-03T00:15+08:00"),
        # a day whose midnight is skipped begins at one; one whose midnight comes twice begins with the first
        ("America/Sao_Paulo", {"end_of_day": Length(0, Unit.minutes)}, "2018-11-03T12:00-03:00", "2018-11-04T01:00-02:00"),
        ("America/Havana", {"end_of_day": Length(0, Unit.minutes)}, "2026-10-31T12:00-04:00", "2026-11-01T00:00-04:00"),
        ("America/New_York", {"length": Length(1, Unit.days), "next_day": True}, "2026-03-07T12:00-05:00", "2026-03-09T00:00-04:00"),
    ],
)
def test_a_window_is_half_open_to_the_microsecond(zone: str, form: dict[str, object], anchor: str, closes: str) -> None:
    window_form = WindowSpec(anchor=Anchor.delivered_at, **form)  # type: ignore[arg-type]  # a table of members is not typed one by one
    expected = Window(Anchor.delivered_at, at(anchor), at(closes))

    def phase(now: datetime) -> Phase:
        found, window = locate(window_form, at(anchor), now, zone=ZoneInfo(zone), calendar=CN)
        assert window == expected
        return found

    assert phase(at(anchor) - MICROSECOND) is Phase.ahead
    assert phase(at(anchor)) is Phase.open
    assert phase(at(closes) - MICROSECOND) is Phase.open
    assert phase(at(closes)) is Phase.closed
    assert phase(at(closes) + MICROSECOND) is Phase.closed


@pytest.mark.parametrize(("requires", "expected"), [(False, Phase.open), (True, Phase.ahead)])
def test_an_anchor_that_has_not_happened(requires: bool, expected: Phase) -> None:
    form = WindowSpec(anchor=Anchor.delivered_at, length=Length(7, Unit.days), requires_anchor=requires)

    assert locate(form, None, at("2026-11-01T00:00Z"), zone=SHANGHAI, calendar=CN) == (expected, Window(Anchor.delivered_at, None, None))


@given(
    start=st.datetimes(timezones=st.just(UTC)),
    unit=st.sampled_from(Unit),
    share=st.integers(0, 1_000),
    zone=st.sampled_from(["Asia/Shanghai", "America/New_York", "Pacific/Apia", "Africa/Casablanca", "UTC"]),
)
def test_no_moment_and_no_length_overflows(start: datetime, unit: Unit, share: int, zone: str) -> None:
    after = Length(LENGTH_MAX[unit] * share // 1_000, unit)

    found = deadline(start, after, ZoneInfo(zone), NONE)

    assert 1899 <= found.year <= 9101


@given(
    start=st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2080, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 -- bounds are naive by hypothesis's own rule
    unit=st.sampled_from(Unit),
    amounts=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    next_day=st.booleans(),
)
def test_a_longer_window_never_closes_earlier(start: datetime, unit: Unit, amounts: tuple[int, int], next_day: bool) -> None:
    shorter, longer = sorted(amounts)
    zone = ZoneInfo("America/New_York")

    def closes(amount: int) -> datetime:
        form = WindowSpec(anchor=Anchor.completed_at, length=Length(amount, unit), next_day=next_day)
        _, window = locate(form, start, start, zone=zone, calendar=NONE)
        assert window.closes_at is not None
        return window.closes_at

    assert start < closes(shorter) <= closes(longer)


@given(day=st.dates(date(2020, 1, 1), date(2030, 1, 1)), amount=st.integers(1, 40))
def test_business_days_by_counting(day: date, amount: int) -> None:
    start = datetime(day.year, day.month, day.day, 12, tzinfo=SHANGHAI)

    last = deadline(start, Length(amount, Unit.business_days), SHANGHAI, CN).astimezone(SHANGHAI).date()

    passed = [day + timedelta(days=n) for n in range(1, (last - day).days + 1)]
    assert sum(CN.is_business_day(each) for each in passed) == amount
    assert CN.is_business_day(last)
