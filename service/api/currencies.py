"""The currencies that a payment may be in: those of today, and those that were valid when it was authorised."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, NamedTuple

import iso4217


class Withdrawn(NamedTuple):
    """A currency of the past: the last month of its validity, and its minor digits then."""

    year: int
    month: int
    exponent: int


# ISO 4217 list three (SIX, "Codes for historic denominations of currencies & funds", published 2026-01-01; its XML is in the Python
# package iso_4217 0.8.260101): what was withdrawn since 2010 and had a minor unit. Where an entity gave a code up that others kept, the
# last date counts. The list tells the month; such a currency is taken for valid to its end, since payments were still settled in it
# then. Minor units are those of list one at the time. ANG: cash to June 2025, electronic payments to March (amendment 176).
WITHDRAWN: Final[Mapping[str, Withdrawn]] = MappingProxyType(
    {
        "EEK": Withdrawn(2011, 1, 2),
        "ZMK": Withdrawn(2012, 12, 2),
        "LVL": Withdrawn(2014, 1, 2),
        "USS": Withdrawn(2014, 3, 2),
        "LTL": Withdrawn(2014, 12, 2),
        "BYR": Withdrawn(2017, 1, 0),
        "MRO": Withdrawn(2017, 12, 2),
        "STD": Withdrawn(2017, 12, 2),
        "VEF": Withdrawn(2018, 8, 2),
        "CUC": Withdrawn(2021, 6, 2),
        "HRK": Withdrawn(2023, 1, 2),
        "SLL": Withdrawn(2023, 12, 2),
        "ZWL": Withdrawn(2024, 9, 2),
        "ANG": Withdrawn(2025, 3, 2),
        "BGN": Withdrawn(2026, 1, 2),
    }
)
# A currency is known when ISO 4217 gives it a minor unit: XXX, gold and other funds have none, so that no integer could name a sum.
EXPONENTS: Final[Mapping[str, int]] = MappingProxyType(
    {code: gone.exponent for code, gone in WITHDRAWN.items()}
    | {unit.code: unit.exponent for unit in iso4217.Currency if unit.exponent is not None}
)
_TODAY: Final = frozenset(unit.code for unit in iso4217.Currency)


def valid_at(code: str, at: datetime) -> bool:
    """Whether a known currency was one at that time. Lists one and three name no beginning: none is asked for."""
    if code in _TODAY:
        return True
    local = at.astimezone(UTC)
    gone = WITHDRAWN[code]
    return (local.year, local.month) <= (gone.year, gone.month)
