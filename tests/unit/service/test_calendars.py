"""The published calendars: business days of countries and markets, by name."""

from datetime import date

import pytest

from service.calendars import calendar, calendar_exists


def test_business_days() -> None:
    cases = [
        ("CN", date(2026, 10, 1), False),
        ("CN", date(2026, 10, 10), True),  # a Saturday that makes up for Golden Week
        ("CN", date(2026, 10, 17), False),  # an ordinary Saturday
        ("XECB", date(2026, 4, 3), False),  # Good Friday
        ("XECB", date(2026, 4, 7), True),
        ("GB-SCT", date(2026, 1, 2), False),
        ("GB-ENG", date(2026, 1, 2), True),
        ("none", date(2026, 12, 25), True),
        ("none", date(2026, 12, 26), False),
        ("CN", date(1900, 1, 1), True),  # a Monday that nobody declared
        ("CN", date(9000, 1, 4), False),
        ("IN", date(2060, 3, 3), True),  # moon-based holidays are not declared so far ahead: no warning, no failure
    ]
    found = [(name, day, calendar(name).is_business_day(day)) for name, day, _ in cases]

    assert found == cases


def test_an_unknown_name_says_what_to_do() -> None:
    for name in ("", "ZZ", "cn", "US-ZZ", "CN\n", "NONE", "../CN", "XXXX", "None", "A" * 1_000):
        assert not calendar_exists(name), name
        with pytest.raises(ValueError, match="ISO 3166") as caught:
            calendar(name)
        assert len(str(caught.value)) < 300


def test_a_calendar_is_made_once() -> None:
    assert calendar("CN") is calendar("CN")
    assert calendar_exists("CN")
    assert calendar_exists("none")
