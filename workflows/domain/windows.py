"""Lengths of time, and the windows and deadlines that they make in a policy's time zone.

Seconds, minutes and hours are spans of absolute time. Days, business days and months move the calendar: the result stands at the same
time of day on the wall, in the policy's zone, whatever the clocks did in between. Three cases need a rule, and each has one:

- a day that the month does not have becomes the month's last (31 January and one month is 28 or 29 February);
- a wall time that the zone skips (clocks go forward) is read with the offset before the jump, so it lies after the gap;
- a wall time that occurs twice (clocks go back) is its first occurrence.

The last two are what RFC 5545 asks of calendars; they also make the start of a day right where midnight is skipped or doubled.
"""

import calendar as months
import re
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from msgspec import Struct

from workflows.domain.enums import Anchor
from workflows.domain.errors import Window
from workflows.domain.ports import Calendar


class Unit(StrEnum):
    seconds = "seconds"  # absolute; for tests and demonstrations
    minutes = "minutes"  # absolute
    hours = "hours"  # absolute
    days = "days"  # on the calendar, as are the two below
    business_days = "business_days"
    months = "months"


# A policy that asks for more than this is a slip of the pen, and no arithmetic below can overflow.
LENGTH_MAX = {
    Unit.seconds: 300_000_000,
    Unit.minutes: 5_000_000,
    Unit.hours: 87_600,
    Unit.days: 36_500,
    Unit.business_days: 2_500,
    Unit.months: 1_200,
}

# Moments beyond these count as these: a payment said to be of the year 1 must not overflow a time zone.
_MOMENT_MIN = datetime(1900, 1, 1, tzinfo=UTC)
_MOMENT_MAX = datetime(9000, 1, 1, tzinfo=UTC)

_LENGTH = re.compile(r"([0-9]{1,9}) (second|minute|hour|day|business_day|month)s?")
_ABSOLUTE = {Unit.seconds: timedelta(seconds=1), Unit.minutes: timedelta(minutes=1), Unit.hours: timedelta(hours=1)}
_DAY = timedelta(days=1)
_NOMINAL = {
    Unit.seconds: 1,
    Unit.minutes: 60,
    Unit.hours: 3_600,
    Unit.days: 86_400,
    Unit.business_days: 86_400 * 7 // 5,
    Unit.months: 86_400 * 30,
}

_LONGEST = {Unit.months: 86_400 * 31}
_SHORTEST = {Unit.months: 86_400 * 28, Unit.business_days: 86_400}


class Length(Struct, frozen=True):
    amount: int
    unit: Unit

    def __str__(self) -> str:
        return f"{self.amount} {self.unit.removesuffix('s') if self.amount == 1 else self.unit}"


def parse_length(text: str) -> Length | None:
    """`30 minutes`, `5 business_days`, `1 month`; None where the text is no length, or is longer than `LENGTH_MAX`."""
    match = _LENGTH.fullmatch(text)
    if match is None:
        return None
    length = Length(int(match[1]), Unit(match[2] + "s"))
    return length if length.amount <= LENGTH_MAX[length.unit] else None


class Phase(StrEnum):
    ahead = "ahead"  # opens later, or when its anchor happens
    open = "open"
    closed = "closed"


AHEAD, OPEN, CLOSED = Phase  # CPython 3.11 looks an enum's member up slowly, and every rule of every request asks


class WindowSpec(Struct, frozen=True, kw_only=True):
    """A window as a policy writes it: one of `length` and `end_of_day` is given.

    `end_of_day` is how long after the end of the anchor's local day the window closes. With `next_day` the count starts at the
    beginning of the local day after the anchor; the window itself is open from the anchor on.
    """

    anchor: Anchor
    length: Length | None = None
    end_of_day: Length | None = None
    next_day: bool = False
    requires_anchor: bool = False


def absolute(length: Length) -> timedelta | None:
    """The span of a length that is one, whatever the calendar says; None for days, business days and months."""
    span = _ABSOLUTE.get(length.unit)
    return None if span is None else length.amount * span


def nominal_seconds(length: Length) -> int:
    """About how long it is, to tell the longer of two: a month has thirty days, five business days a week."""
    return length.amount * _NOMINAL[length.unit]


def at_most(first: Length, second: Length) -> bool:
    """Whether the first is never longer than the second, whenever they start; False where that depends on the calendar.

    A change of the clocks does not count: a day is 24 hours.
    """
    if first.unit is second.unit:
        return first.amount <= second.amount
    longest = None if first.unit is Unit.business_days else first.amount * _LONGEST.get(first.unit, _NOMINAL[first.unit])
    return longest is not None and longest <= second.amount * _SHORTEST.get(second.unit, _NOMINAL[second.unit])


def locate(form: WindowSpec, anchor_at: datetime | None, now: datetime, *, zone: ZoneInfo, calendar: Calendar) -> tuple[Phase, Window]:
    """The window that `form` opens at `anchor_at`, and where `now` lies: half-open, so that `closes_at` itself is outside.

    An anchor that has not happened leaves the window open without an end, or ahead where the form requires it.
    """
    if anchor_at is None:
        return (AHEAD if form.requires_anchor else OPEN), Window(form.anchor, None, None)
    closes_at = _closes_at(form, anchor_at, zone, calendar)
    window = Window(form.anchor, anchor_at, closes_at)
    if now < anchor_at:
        return AHEAD, window
    return (OPEN if now < closes_at else CLOSED), window


def deadline(start: datetime, length: Length, zone: ZoneInfo, calendar: Calendar) -> datetime:
    """The moment `length` after `start`, in UTC. N business days end on the N-th business day after the local day of `start`."""
    span = absolute(length)
    if span is not None:
        return max(_MOMENT_MIN, min(start, _MOMENT_MAX)) + span
    # Adding to an aware datetime moves the wall's clock and asks the zone afterwards, with fold=0: the first of two occurrences,
    # and the offset before a gap (PEP 495). That is what the module's docstring promises.
    wall = _wall(start, zone)
    if length.unit == "days":
        wall += length.amount * _DAY
    elif length.unit == "months":
        wall = _months_later(wall, length.amount)
    else:
        day = wall.date()
        wall += _business_day(day, length.amount, calendar) - day
    return wall.astimezone(UTC)


def _closes_at(form: WindowSpec, anchor_at: datetime, zone: ZoneInfo, calendar: Calendar) -> datetime:
    """A business day counts as a whole from the next day on: the window ends with it, not at its beginning."""
    length = form.length
    if length is not None and not form.next_day:
        return deadline(anchor_at, length, zone, calendar)
    day = _wall(anchor_at, zone).date()
    if length is None:
        end = _midnight(day + (2 if form.next_day else 1) * _DAY, zone)
        return end if form.end_of_day is None else deadline(end, form.end_of_day, zone, calendar)
    if length.unit == "business_days":
        return _midnight(_business_day(day, length.amount, calendar) + _DAY, zone)
    return deadline(_midnight(day + _DAY, zone), length, zone, calendar)


def _business_day(day: date, amount: int, calendar: Calendar) -> date:
    """The `amount`-th business day after `day`."""
    while amount > 0:
        day += _DAY
        amount -= calendar.is_business_day(day)
    return day


def _months_later(wall: datetime, amount: int) -> datetime:
    years, month = divmod(wall.month - 1 + amount, 12)
    year = wall.year + years
    last = months.monthrange(year, month + 1)[1]
    return wall.replace(year=year, month=month + 1, day=min(wall.day, last), fold=0)


def _wall(at: datetime, zone: ZoneInfo) -> datetime:
    return max(_MOMENT_MIN, min(at, _MOMENT_MAX)).astimezone(zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first moment of `day` in `zone`, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
