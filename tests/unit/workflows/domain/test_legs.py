"""A leg remembers what the rail said of it, within bounds, and has one rail key for ever."""

from msgspec.structs import replace

from tests import factories as make
from tests.factories import NOW, SOON
from workflows.domain import ids
from workflows.domain.enums import RailCall
from workflows.domain.legs import ANSWERS_MAX, FIRST_ANSWERS, Leg


def unasked() -> Leg:
    return replace(make.asked(make.completed()).legs[0], answers=())


def test_of_many_answers_the_first_and_the_last_are_kept() -> None:
    leg = unasked()
    for number in range(ANSWERS_MAX + 50):
        leg = leg.with_answer(SOON, RailCall.ask, f"unknown:{number}")
        assert len(leg.answers) == min(number + 1, ANSWERS_MAX)

    told = [int(one.answer.partition(":")[2]) for one in leg.answers]
    assert told == [*range(FIRST_ANSWERS), *range(ANSWERS_MAX + 50 - (ANSWERS_MAX - FIRST_ANSWERS), ANSWERS_MAX + 50)]


def test_how_many_times_in_a_row_nothing_was_answered() -> None:
    leg = unasked()
    assert leg.unanswered(RailCall.ask) == 0
    for call in (RailCall.ask, RailCall.send, RailCall.ask, RailCall.ask):
        leg = leg.with_answer(NOW, call, "unknown:timeout")

    assert (leg.unanswered(RailCall.ask), leg.unanswered(RailCall.send), leg.unanswered(RailCall.cancel)) == (2, 0, 0)
    assert leg.with_answer(NOW, RailCall.cancel, "absent").unanswered(RailCall.cancel) == 1


def test_each_leg_has_its_own_rail_key_that_leads_back_to_it() -> None:
    first, second = make.asked(make.completed(funding=make.BOTH)).legs

    assert first.rail_key != second.rail_key
    assert ids.from_rail_key(second.rail_key) == (second.payment_id, second.id)
    assert replace(first, attempts=9, answers=(), provider="another").rail_key == first.rail_key
