"""When a refund's money arrives: the slowest source decides."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from service.calendars import calendar
from workflows.domain.enums import Source
from workflows.domain.eta import ETA_BY_SOURCE, Eta, estimate

SHANGHAI = ZoneInfo("Asia/Shanghai")
START = datetime.fromisoformat("2026-09-30T10:00+08:00").astimezone(UTC)  # the eve of Golden Week


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("sources", "earliest", "latest"),
    [
        ((), "2026-09-30T10:00+08:00", "2026-09-30T10:00+08:00"),
        ((Source.balance,), "2026-09-30T10:00+08:00", "2026-09-30T10:05+08:00"),
        ((Source.balance, Source.coupon, Source.points, Source.cashback), "2026-09-30T10:00+08:00", "2026-09-30T10:05+08:00"),
        ((Source.bank,), "2026-10-08T10:00+08:00", "2026-10-10T10:00+08:00"),
        ((Source.card,), "2026-10-13T10:00+08:00", "2026-10-20T10:00+08:00"),
        ((Source.balance, Source.bank, Source.card, Source.card), "2026-10-13T10:00+08:00", "2026-10-20T10:00+08:00"),
    ],
)
def test_the_slowest_source_decides(sources: tuple[Source, ...], earliest: str, latest: str) -> None:
    found = estimate(iter(sources), START, calendar("CN"), SHANGHAI)

    assert found == Eta(earliest=at(earliest), latest=at(latest), basis="table")


def test_every_source_has_its_row() -> None:
    assert set(ETA_BY_SOURCE) == set(Source)
