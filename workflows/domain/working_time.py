"""Time as those who work see it: only the hours count in which they are there."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from workflows.domain.ports import Calendar

_DAY = timedelta(days=1)
_NOTHING = timedelta(0)
# Further ahead no calendar knows its holidays. A span that is not over by then ends there.
DAYS_MAX = 3_660


class WorkingHours(Struct, frozen=True, kw_only=True):
    """On each business day from `opens` to `closes`, as the clock on the wall shows it. `closes` is later than `opens`."""

    opens: time
    closes: time


class Schedule(Struct, frozen=True, kw_only=True):
    """The hours, and what they need to be placed in time. Without hours somebody is always there."""

    hours: WorkingHours | None
    zone: ZoneInfo
    calendar: Calendar

    def after(self, start: datetime, span: timedelta) -> datetime:
        """The moment by which so much working time has passed since `start`, in UTC. A span below zero lies before it, hours or not."""
        if self.hours is None or span < _NOTHING:
            return start + span
        day, left = start.astimezone(self.zone).date(), span
        for _ in range(DAYS_MAX):
            opens, closes = self._open(day)
            begin = max(start, opens)
            if begin < closes and left <= closes - begin:
                return begin + left
            left -= max(_NOTHING, closes - begin)
            day += _DAY
        return opens

    def between(self, start: datetime, end: datetime) -> timedelta:
        """How much working time lies between the two; below zero, by the clock, where `end` is the earlier one."""
        if self.hours is None or end < start:
            return end - start
        day, last, found = start.astimezone(self.zone).date(), end.astimezone(self.zone).date(), _NOTHING
        while day <= last:
            opens, closes = self._open(day)
            found += max(_NOTHING, min(end, closes) - max(start, opens))
            day += _DAY
        return found

    def _open(self, day: date) -> tuple[datetime, datetime]:
        """From when to when, in UTC; the same moment twice where nobody works on that day."""
        if self.hours is None or not self.calendar.is_business_day(day):
            nobody = self._at(day, time())
            return nobody, nobody
        return self._at(day, self.hours.opens), self._at(day, self.hours.closes)

    def _at(self, day: date, clock: time) -> datetime:
        """A time that the zone skips is read with the offset before the jump, one that occurs twice is its first occurrence."""
        return datetime.combine(day, clock, tzinfo=self.zone).astimezone(UTC)
