"""Whether one window is open whenever another is: proven, or seen on every day of the years that count."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

from workflows.domain.enums import PaymentState
from workflows.domain.policies.policy import Policy
from workflows.domain.policies.spans import opens_as_early, outlasts
from workflows.domain.ports import Calendar
from workflows.domain.windows import WindowSpec, locate

PAIRS_MAX = 150  # of windows that are looked at day by day: about a second

_DAYS = 2 * 366
# Ends of days tell windows apart that count days from those that count hours.
_TIMES = (time(0), time(12), time(23, 59, 59, 999_999))
_Known = tuple[WindowSpec | None, WindowSpec | None, PaymentState]


class Coverage:
    """Answers for the windows of one policy and of a merchant's rules; each pair is looked at once."""

    def __init__(self, policy: Policy, calendar: Calendar) -> None:
        self._zone = policy.zone
        days = policy.calendar.days
        known = sorted({day.year for day in days.holidays}) if days is not None else []
        self._first = date(known[min(2, len(known) - 1)] if known else policy.effective_from.year, 1, 1)  # where the calendar knows all
        self._calendar = calendar
        self._known: dict[_Known, bool] = {}
        self._pairs_left = PAIRS_MAX

    def holds(self, wide: WindowSpec | None, narrow: WindowSpec | None, state: PaymentState) -> bool:
        """Whether `wide` is open whenever `narrow` is, and closes no earlier, for payments in this state. False: not shown."""
        asked = (wide, narrow, state)
        if asked not in self._known:
            self._known[asked] = outlasts(wide, narrow, state) or self._seen(wide, narrow, state)
        return self._known[asked]

    def _seen(self, wide: WindowSpec | None, narrow: WindowSpec | None, state: PaymentState) -> bool:
        """For windows of one anchor whose lengths cannot be compared without the calendar."""
        if wide is None or narrow is None or self._pairs_left <= 0 or not opens_as_early(wide, narrow, state):
            return False
        self._pairs_left -= 1
        return all(self._end(wide, at) >= self._end(narrow, at) for at in self._moments())

    def _end(self, form: WindowSpec, anchor_at: datetime) -> datetime:
        _, window = locate(form, anchor_at, anchor_at, zone=self._zone, calendar=self._calendar)
        return window.closes_at or anchor_at

    def _moments(self) -> Iterator[datetime]:
        for day in range(_DAYS):
            for wall in _TIMES:
                yield datetime.combine(self._first + timedelta(days=day), wall, self._zone).astimezone(UTC)
