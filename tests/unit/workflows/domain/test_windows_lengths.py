"""How long lengths are, and which of two is never longer."""

from datetime import UTC, datetime
from itertools import product
from zoneinfo import ZoneInfo

from tests.factories import DAY
from tests.unit.workflows.domain.policies.rules import CN, OWN_CLOCKS
from workflows.domain.windows import Length, Unit, at_most, deadline, nominal_seconds, parse_length


def length(text: str) -> Length:
    read = parse_length(text)
    assert read is not None
    return read


def test_about_how_long_a_length_is() -> None:
    expected = {
        "90 seconds": 90,
        "2 minutes": 120,
        "3 hours": 10_800,
        "2 days": 172_800,
        "5 business_days": 604_800,
        "1 month": 2_592_000,
    }

    assert {text: nominal_seconds(length(text)) for text in expected} == expected


def test_at_most_is_true_on_every_day_or_not_said() -> None:
    lengths = [length(text) for text in (*OWN_CLOCKS, "31 days", "28 days", "0 days")]
    zone = ZoneInfo("Asia/Shanghai")
    days = [datetime(2026, 1, 1, 16, tzinfo=UTC) + day * DAY for day in range(400)]
    ends = {one: [deadline(at, one, zone, CN) for at in days] for one in lengths}
    wrong = []
    for first, second in product(lengths, repeat=2):
        always = all(one <= two for one, two in zip(ends[first], ends[second], strict=True))
        is_provable = Unit.business_days not in (first.unit, second.unit)
        if (at_most(first, second) and not always) or (is_provable and always and not at_most(first, second)):
            wrong.append(f"{first} at most {second}: {always}")

    assert wrong == []
