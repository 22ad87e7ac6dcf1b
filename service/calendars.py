"""Business days, by the name of a country or a financial market."""

import re
import warnings
from datetime import date
from functools import cache

import holidays

from workflows.domain.ports import Calendar

_NAME = re.compile(r"[A-Z0-9]{2,6}(-[A-Z0-9]{1,6})?")
_YEARS = range(1970, 2101)  # beyond these nobody has published holidays; Monday to Friday must do


class _Weekdays:
    def is_business_day(self, day: date) -> bool:
        return day.weekday() < 5


class _Published:
    """The days that a country or a market has declared, working Saturdays among them."""

    def __init__(self, book: holidays.HolidayBase) -> None:
        self._book = book

    def is_business_day(self, day: date) -> bool:
        if day.year not in _YEARS:
            return day.weekday() < 5
        if day.year in self._book.years:
            return self._book.is_working_day(day)
        with warnings.catch_warnings():  # the library warns where moon-based holidays of a far year are not yet declared
            warnings.simplefilter("ignore", UserWarning)
            return self._book.is_working_day(day)


@cache
def calendar(name: str) -> Calendar:
    """The calendar of that name; ValueError says which names there are."""
    if name == "none":
        return _Weekdays()
    book = _book(name)
    if book is None:
        raise ValueError(
            f"there is no calendar {name[:40]!r}: take a country's ISO 3166 code, with or without its subdivision (CN, GB-SCT), "
            "a financial market (XECB, XNYS), or none for Monday to Friday"
        )
    return _Published(book)


def calendar_exists(name: str) -> bool:
    """Whether a policy may name it."""
    try:
        calendar(name)
    except ValueError:
        return False
    return True


def _book(name: str) -> holidays.HolidayBase | None:
    if not _NAME.fullmatch(name):
        return None
    place, _, part = name.partition("-")
    for look_up in (holidays.country_holidays, holidays.financial_holidays):
        try:
            return look_up(place, subdiv=part or None)
        except NotImplementedError:  # how the library says that it does not know a name
            continue
    return None
