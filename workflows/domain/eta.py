"""When the money of a refund will be there, by the kinds of its funding sources."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from workflows.domain.enums import Source
from workflows.domain.ports import Calendar
from workflows.domain.windows import Length, Unit, deadline


class Eta(Struct, frozen=True, kw_only=True):
    """The whole of a refund is there when its slowest part is."""

    earliest: datetime
    latest: datetime
    basis: Literal["table"] = "table"


_AT_ONCE = Length(0, Unit.minutes)
_WITHIN_MINUTES = (_AT_ONCE, Length(5, Unit.minutes))

# What the rails themselves tell their users, as (at the earliest, at the latest):
# - into a wallet's balance within 5 minutes, to a bank card of the local network within 1 to 3 business days: WeChat Pay,
#   Merchant Documentation, "Refunds" (pay.weixin.qq.com/doc);
# - to a credit or debit card of the schemes within 5 to 10 business days: Stripe, Support, "Customer refund processing time".
# Promotions are booked where the balance is, and take as long.
ETA_BY_SOURCE = {
    Source.balance: _WITHIN_MINUTES,
    Source.coupon: _WITHIN_MINUTES,
    Source.points: _WITHIN_MINUTES,
    Source.cashback: _WITHIN_MINUTES,
    Source.bank: (Length(1, Unit.business_days), Length(3, Unit.business_days)),
    Source.card: (Length(5, Unit.business_days), Length(10, Unit.business_days)),
}


def estimate(sources: Iterable[Source], start: datetime, calendar: Calendar, zone: ZoneInfo) -> Eta:
    """When a refund to `sources` that is sent at `start` arrives; at once where it goes to none."""
    ranges = [ETA_BY_SOURCE[source] for source in set(sources)] or [(_AT_ONCE, _AT_ONCE)]
    return Eta(
        earliest=max(deadline(start, earliest, zone, calendar) for earliest, _ in ranges),
        latest=max(deadline(start, latest, zone, calendar) for _, latest in ranges),
    )
