"""The calendars that a policy may name."""

import json
from collections.abc import Callable
from datetime import date, timedelta

import pytest
from msgspec.structs import replace

from service.calendars import calendar, calendar_exists
from service.shipped_policies import default_policy
from tests import factories as make
from tests.factories import FACTS
from workflows.domain.enums import Anchor
from workflows.domain.faults import Fault, FaultCode
from workflows.domain.policies.calendar import business_days, with_calendar
from workflows.domain.policies.document import policy_data
from workflows.domain.policies.form import PolicyInvalid, parse_policy
from workflows.domain.policies.policy import Policy
from workflows.domain.policies.verdicts import decide_route
from workflows.domain.ports import Calendar
from workflows.domain.windows import deadline

HANGZHOU = {"name": "hangzhou", "holidays": ["2026-11-02", "2026-11-03"], "working_weekends": ["2026-11-07"]}


class Upgraded:
    """A later version of the library, in which no day is a business day any more."""

    def is_business_day(self, day: date) -> bool:  # noqa: ARG002 -- it is the calendar's own signature
        return False


def upgraded(name: str) -> Calendar:
    return Upgraded()


def test_the_days_of_a_published_policy_are_those_of_the_library() -> None:
    dated = with_calendar(default_policy(), calendar, make.NOW)

    days = business_days(dated, upgraded)
    for day in (date(2024, 1, 1) + timedelta(days=count) for count in range(365 * 12)):
        assert days.is_business_day(day) is calendar("CN").is_business_day(day), day
    assert dated.calendar.days is not None
    assert date(2026, 10, 1) in dated.calendar.days.holidays
    assert date(2026, 10, 10) in dated.calendar.days.working_weekends
    assert with_calendar(dated, upgraded, make.NOW) == dated, "once written they stay"


def test_beyond_its_days_monday_to_friday_count() -> None:
    days = business_days(with_calendar(default_policy(), calendar, make.NOW), upgraded)

    assert [days.is_business_day(date(2040, 10, day)) for day in (1, 5, 6)] == [True, True, False]


@pytest.mark.parametrize("effective_from", ["1950-01-01T00:00:00Z", "2035-06-01T00:00:00Z", "8999-01-01T00:00:00Z"])
def test_the_days_cover_the_years_in_which_it_decides(effective_from: str) -> None:
    policy = make.policy(calendar="CN", effective_from=effective_from)
    days = with_calendar(policy, calendar, make.NOW).calendar.days

    assert days is not None
    assert min(days.holidays) == date(2024, 1, 1)
    assert max(days.holidays).year == min(max(2026, policy.effective_from.year), 2036) + 10


def test_a_policy_is_decided_alike_under_another_version_of_the_library() -> None:
    """Every decision of a year: windows and deadlines that are counted in business days."""
    window = {"anchor": "completed_at", "length": "5 business_days"}
    policy = with_calendar(
        make.policy(calendar="CN", timezone="Asia/Shanghai", rules=[{"name": "a", "route": "agent", "window": window}]), calendar, make.NOW
    )
    read_again = parse_policy(json.loads(json.dumps(policy_data(policy))), calendar_exists=calendar_exists, new=True)
    moments = [make.NOW + timedelta(days=count) for count in range(-300, 65)]

    def decided(read: Policy, library: Callable[[str], Calendar]) -> list[object]:
        days = business_days(read, library)
        facts = [replace(FACTS, anchors={Anchor.completed_at: at}) for at in moments]
        verdicts = [decide_route(read, one, at, days) for one, at in zip(facts, moments, strict=True)]
        return [
            (verdict.window, deadline(at, read.deadlines.agent, read.zone, days)) for verdict, at in zip(verdicts, moments, strict=True)
        ]

    assert decided(read_again, upgraded) == decided(policy, calendar)
    never_written = make.policy(calendar="CN", timezone="Asia/Shanghai", rules=[{"name": "a", "route": "agent", "window": window}])
    assert decided(never_written, lambda _: make.Weekdays()) != decided(policy, calendar), "the year has holidays"


def test_days_of_ones_own() -> None:
    policy = make.policy(calendar=HANGZHOU)

    assert with_calendar(policy, upgraded, make.NOW) is policy
    days = business_days(policy, upgraded)
    assert [days.is_business_day(date(2026, 11, day)) for day in (2, 3, 4, 7, 8)] == [False, False, True, True, False]
    assert policy_data(policy)["calendar"] == HANGZHOU
    assert make.policy(calendar={**HANGZHOU, "holidays": [date(2026, 11, 2), date(2026, 11, 3)]}) == policy, "as YAML reads them"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"holidays": ["2026-11-31"]}, Fault("/calendar/holidays/0", FaultCode.invalid_date)),
        ({"holidays": ["20261102"]}, Fault("/calendar/holidays/0", FaultCode.invalid_date)),
        ({"holidays": [make.NOW]}, Fault("/calendar/holidays/0", FaultCode.invalid_date)),
        ({"holidays": 3}, Fault("/calendar/holidays", FaultCode.array_too_long, {"maximum": 5000})),
        ({"working_weekends": ["2026-11-02"]}, Fault("/calendar/working_weekends/0", FaultCode.not_a_weekend)),
        ({"name": "a b"}, Fault("/calendar/name", FaultCode.invalid_calendar_name)),
    ],
)
def test_days_that_are_none_are_told(changed: dict[str, object], expected: Fault) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        make.policy(calendar={**HANGZHOU, **changed})
    assert caught.value.faults == (expected,)
