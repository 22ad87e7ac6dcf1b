"""Moments as text: RFC 3339 in UTC, always with six digits of a second, so that text order is time order."""

import re
from datetime import UTC, datetime, timedelta

_ZERO = timedelta(0)
_FORM = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(?:[Zz]|\+00:00)")
_YEAR_MIN = 1970


def rfc3339(moment: datetime) -> str:
    """`2026-11-22T13:28:56.123456Z`. Raises ValueError for a moment that is naive or not in UTC."""
    if moment.tzinfo is not UTC and moment.utcoffset() != _ZERO:
        raise ValueError("a moment must be aware and in UTC")
    return moment.isoformat(timespec="microseconds")[:-6] + "Z"


def parse_rfc3339(text: str) -> datetime:
    """The moment that `text` names: RFC 3339 in UTC (`Z`, `z` or `+00:00`), years 1970 to 9999, else ValueError.

    A fraction may have up to nine digits, since some clocks count nanoseconds; what is below a microsecond is cut off.
    A leap second (`:60`) is refused, since no datetime can hold it.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError("not a moment in RFC 3339 and UTC")
    day, clock, fraction = match.groups()
    moment = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=UTC)
    if moment.year < _YEAR_MIN:
        raise ValueError("before the year 1970")
    return moment.replace(microsecond=int((fraction or "")[:6].ljust(6, "0")))
