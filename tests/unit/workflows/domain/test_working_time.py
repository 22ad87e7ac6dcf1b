"""Working time: what counts of a day, over evenings, weekends, holidays and the hours that clocks skip or repeat."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.domain.working_time import Schedule, WorkingHours

SHANGHAI, LONDON = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/London")
HOURS = WorkingHours(opens=time(9), closes=time(18))


class Days:
    """Monday to Friday, less a holiday, plus a Saturday that is worked."""

    def is_business_day(self, day: date) -> bool:
        if day in {date(2026, 10, 1), date(2026, 10, 2)}:
            return False
        return day.weekday() < 5 or day == date(2026, 10, 10)


def schedule(hours: WorkingHours | None = HOURS, zone: ZoneInfo = SHANGHAI) -> Schedule:
    return Schedule(hours=hours, zone=zone, calendar=Days())


def wall(text: str, zone: ZoneInfo = SHANGHAI) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("start", "minutes", "end"),
    [
        ("2026-11-27T10:00", 10, "2026-11-27T10:10"),  # a Friday
        ("2026-11-27T17:55", 10, "2026-11-30T09:05"),  # over the weekend
        ("2026-11-27T17:50", 10, "2026-11-27T18:00"),  # to the end of the day, not the beginning of the next
        ("2026-11-27T20:00", 10, "2026-11-30T09:10"),
        ("2026-11-27T08:00", 10, "2026-11-27T09:10"),
        ("2026-11-28T12:00", 540, "2026-11-30T18:00"),
        ("2026-11-28T12:00", 541, "2026-12-01T09:01"),
        ("2026-09-30T17:59", 2, "2026-10-05T09:01"),  # over two holidays and a weekend
        ("2026-10-09T17:59", 2, "2026-10-10T09:01"),  # into the Saturday that is worked
    ],
)
def test_only_working_hours_count(start: str, minutes: int, end: str) -> None:
    assert schedule().after(wall(start), timedelta(minutes=minutes)) == wall(end)


def test_without_hours_somebody_is_always_there() -> None:
    assert schedule(None).after(wall("2026-11-28T23:55"), timedelta(minutes=10)) == wall("2026-11-29T00:05")
    assert schedule(None).between(wall("2026-11-28T23:55"), wall("2026-11-29T00:05")) == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("hours", "start", "minutes", "end"),
    [
        # On 30 March 2026 nothing is skipped in working hours; night shifts meet the change itself.
        (WorkingHours(opens=time(0), closes=time(6)), "2027-03-29T00:00+01:00", 300, "2027-03-29T05:00+01:00"),
        (WorkingHours(opens=time(0, 30), closes=time(3)), "2026-10-26T00:00+00:00", 60, "2026-10-26T01:30+00:00"),
    ],
)
def test_a_working_day_is_on_the_wall(hours: WorkingHours, start: str, minutes: int, end: str) -> None:
    found = schedule(hours, LONDON).after(datetime.fromisoformat(start), timedelta(minutes=minutes))

    assert found == datetime.fromisoformat(end)


def test_what_is_overdue_stays_overdue_by_as_much() -> None:
    made = schedule()

    assert made.between(wall("2026-11-27T10:00"), wall("2026-11-27T09:00")) == timedelta(hours=-1)
    assert made.after(wall("2026-11-30T10:00"), timedelta(hours=-1)) == wall("2026-11-30T09:00")


MOMENTS = st.integers(0, 1_000_000).map(lambda minutes: wall("2026-01-01T00:00") + timedelta(minutes=minutes))


@given(
    start=MOMENTS, minutes=st.integers(1, 5_000), hours=st.sampled_from([None, HOURS, WorkingHours(opens=time(22), closes=time(23, 59))])
)
def test_as_much_time_passes_as_was_asked_for(start: datetime, minutes: int, hours: WorkingHours | None) -> None:
    made, span = schedule(hours), timedelta(minutes=minutes)

    assert made.between(start, made.after(start, span)) == span


@given(start=MOMENTS, minutes=st.integers(1, 600), gap=st.integers(0, 20_000))
def test_a_pause_takes_nothing_away(start: datetime, minutes: int, gap: int) -> None:
    """Whenever the time stands and goes on, the same amount of work is left."""
    made = schedule()
    due = made.after(start, timedelta(minutes=minutes))
    stands = start + timedelta(minutes=minutes) / 3
    left = made.between(stands, due)
    again = stands + timedelta(minutes=gap)

    assert made.between(again, made.after(again, left)) == left


def test_a_span_that_no_calendar_reaches_ends_somewhere() -> None:
    assert schedule(WorkingHours(opens=time(9), closes=time(9, 1))).after(wall("2026-11-27T10:00"), timedelta(days=30)) > wall(
        "2030-01-01T00:00"
    )
