"""The currencies: their digits are those of ISO 4217, and those of the past are valid to the end of their last month."""

from datetime import UTC, datetime, timedelta, timezone

import iso4217

from service.api.currencies import EXPONENTS, WITHDRAWN, valid_at


def test_the_exponents_are_those_of_iso_4217() -> None:
    assert (EXPONENTS["JPY"], EXPONENTS["CNY"], EXPONENTS["KWD"], EXPONENTS["CLF"]) == (0, 2, 3, 4)


def test_a_currency_of_the_past_is_valid_to_the_end_of_its_last_month_in_utc() -> None:
    last = datetime(2023, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    tokyo = timezone(timedelta(hours=9))

    assert [valid_at("HRK", at) for at in (datetime(1970, 1, 1, tzinfo=UTC), last, last + timedelta(microseconds=1))] == [True, True, False]
    assert valid_at("HRK", datetime(2023, 2, 1, 8, tzinfo=tokyo)), "still January in UTC"
    assert not valid_at("ZMK", datetime(2013, 1, 1, tzinfo=UTC))
    assert valid_at("ZMK", datetime(2012, 12, 31, tzinfo=UTC))
    assert valid_at("EUR", datetime(9999, 1, 1, tzinfo=UTC))


def test_none_of_the_past_is_one_of_today() -> None:
    """The package of today's would otherwise decide, and the last month be ignored."""
    assert WITHDRAWN.keys() & {unit.code for unit in iso4217.Currency} == set()
