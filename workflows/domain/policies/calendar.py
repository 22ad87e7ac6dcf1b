"""The calendar that a policy counts business days by, and how its days are written into the version that is published."""

from collections.abc import Callable
from datetime import date, datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from workflows.domain.policies.policy import CalendarDays, Policy, PolicyCalendar
from workflows.domain.ports import Calendar

NO_CALENDAR = "none"

_YEARS_BEFORE, _YEARS_AFTER = 2, 10
_SATURDAY = 5


class DeclaredDays(Struct, frozen=True):
    """Monday to Friday without the holidays, and the working weekends."""

    days: CalendarDays

    def is_business_day(self, day: date) -> bool:
        if day.weekday() < _SATURDAY:
            return day not in self.days.holidays
        return day in self.days.working_weekends


def business_days(policy: Policy, library: Callable[[str], Calendar]) -> Calendar:
    """The policy's business days: those published with it; `library`, by the calendar's name, where none were."""
    days = policy.calendar.days
    return library(policy.calendar.name) if days is None else DeclaredDays(days)


def with_calendar(policy: Policy, library: Callable[[str], Calendar], now: datetime) -> Policy:
    """The policy as it is published at `now`: with the days of its calendar, so that it decides alike whatever `library` says later.

    They cover two years before `now` to ten years after it, or after `effective_from` where that is later, but not more than another
    ten. Beyond them Monday to Friday count, as they do for a calendar without days. Days that the policy names itself stay as they are.
    """
    named = policy.calendar
    if named.days is not None or named.name == NO_CALENDAR:
        return policy
    last = min(max(now.year, policy.effective_from.year), now.year + 10) + _YEARS_AFTER
    return replace(policy, calendar=PolicyCalendar(named.name, _declared(library(named.name), now.year - _YEARS_BEFORE, last)))


def same_calendar(policy: Policy, published: Policy) -> Policy:
    """`policy` with the days that were published under the same name, where it names none: what it would have been then."""
    ours, theirs = policy.calendar, published.calendar
    return replace(policy, calendar=theirs) if ours.days is None and ours.name == theirs.name else policy


def _declared(library: Calendar, first: int, last: int) -> CalendarDays:
    start = date(first, 1, 1)
    span = [start + timedelta(days=count) for count in range((date(last + 1, 1, 1) - start).days)]
    return CalendarDays(
        holidays=frozenset(day for day in span if day.weekday() < _SATURDAY and not library.is_business_day(day)),
        working_weekends=frozenset(day for day in span if day.weekday() >= _SATURDAY and library.is_business_day(day)),
    )
