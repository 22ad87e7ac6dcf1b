"""A rail's schedule: when a confirmed refund is asked after again."""

from datetime import timedelta

from tests.factories import DAY, NOW
from workflows.domain.ports import RailSchedule


def test_a_recheck_is_the_first_that_is_still_ahead() -> None:
    schedule = RailSchedule(enquiries=(DAY,), sends_again=True, unknown_max=DAY, processing_max=DAY, rechecks=(DAY, 3 * DAY, 7 * DAY))
    just_before = timedelta(microseconds=1)

    found = [schedule.next_recheck(NOW, NOW + late) for late in (-DAY, DAY - just_before, DAY, 3 * DAY, 7 * DAY - just_before, 7 * DAY)]

    assert found == [NOW + DAY, NOW + DAY, NOW + 3 * DAY, NOW + 7 * DAY, NOW + 7 * DAY, None]
