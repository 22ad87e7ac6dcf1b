"""Moments as text: RFC 3339 in UTC, always with six digits of a second, so that text order is time order."""

import re
from datetime import UTC, datetime, timedelta

_ZERO = timedelta(0)
_SECOND = timedelta(seconds=1)
_FORM = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(?:[Zz]|[+-]00:00)")
_LEAP = "23:59:60"  # in UTC there is no other
TEXT_LENGTH_MAX = 64
_YEAR_MIN = 1970


def rfc3339(moment: datetime) -> str:
    """`2026-11-22T13:28:56.123456Z`. Raises ValueError for a moment that is naive or not in UTC."""
    if moment.tzinfo is not UTC and moment.utcoffset() != _ZERO:
        raise ValueError("a moment must be aware and in UTC")
    return moment.isoformat(timespec="microseconds")[:-6] + "Z"


def parse_rfc3339(text: str) -> datetime:
    """The moment that `text` names: RFC 3339 in UTC (`Z`, `+00:00` or `-00:00`), years 1970 to 9999, else ValueError.

    A fraction may have any number of digits, since clocks differ; what is below a microsecond is cut off. A leap second (`23:59:60`),
    which no datetime can hold, is the first moment of the next second, whatever its fraction, so that order is kept.
    """
    match = _FORM.fullmatch(text) if len(text) <= TEXT_LENGTH_MAX else None
    if match is None:
        raise ValueError("not a moment in RFC 3339 and UTC")
    day, clock, fraction = match.groups()
    leap = clock == _LEAP
    moment = datetime.fromisoformat(f"{day}T{'23:59:59' if leap else clock}").replace(tzinfo=UTC)
    if moment.year < _YEAR_MIN:
        raise ValueError("before the year 1970")
    if not leap:
        return moment.replace(microsecond=int((fraction or "")[:6].ljust(6, "0")))
    try:
        return moment + _SECOND
    except OverflowError:
        raise ValueError("after the year 9999") from None
