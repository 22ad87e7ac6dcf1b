"""Agents, supervisors, merchants and clocks: two at once about one case, again and again. See `tests/crash/arena.py`."""

from datetime import timedelta
from functools import partial

from msgspec.structs import replace

from tests.crash.arena import AMOUNT, MICROSECOND, Arena, Outcome, spread, strikes, takes
from tests.crash.deciding import ABOVE, AGENT, APPROVE, DENY, OTHER_AGENT, SHIP, SUPERVISOR, by, received, take, wish
from workflows.domain.enums import Reason, ReturnCondition

UNAUTHORISED = wish(Reason.unauthorised)
SECOND_SUPERVISOR = replace(SUPERVISOR, id="supervisor-2")
EXECUTING, DECLINED = (200, "executing"), (200, "declined")


async def test_one_agent_approves_while_another_denies(arena: Arena, pairs: int) -> None:
    cases = await arena.open(pairs, UNAUTHORISED)

    told = await arena.race(cases, takes(APPROVE, "yes"), takes(by(OTHER_AGENT, DENY), "no"))

    await arena.assert_ended(
        told,
        {
            "one": Outcome(one=EXECUTING, other=(409, "executing"), state="completed", records=("approved",), refunded=AMOUNT),
            "other": Outcome(one=(409, "declined"), other=DECLINED, state="declined", records=("denied",)),
        },
    )


async def test_two_agents_approve(arena: Arena, pairs: int) -> None:
    cases = await arena.open(pairs, UNAUTHORISED)

    told = await arena.race(cases, takes(APPROVE, "one"), takes(by(OTHER_AGENT, APPROVE), "other"))

    lost = (409, "executing")
    await arena.assert_ended(
        told,
        {
            "one": Outcome(one=EXECUTING, other=lost, state="completed", records=("approved",), refunded=AMOUNT),
            "other": Outcome(one=lost, other=EXECUTING, state="completed", records=("approved",), refunded=AMOUNT),
        },
    )


async def test_two_supervisors_give_the_second_approval(arena: Arena, pairs: int) -> None:
    cases = await arena.open(pairs, UNAUTHORISED, amount=ABOVE)
    await spread([partial(take, arena.one, case, APPROVE, "first") for case in cases])

    told = await arena.race(cases, takes(by(SUPERVISOR, APPROVE), "one"), takes(by(SECOND_SUPERVISOR, APPROVE), "other"))

    lost, records = (409, "executing"), ("approved", "second_approval_awaited", "approved")
    await arena.assert_ended(
        told,
        {
            "one": Outcome(one=EXECUTING, other=lost, state="completed", records=records, refunded=ABOVE),
            "other": Outcome(one=lost, other=EXECUTING, state="completed", records=records, refunded=ABOVE),
        },
    )


async def test_the_second_approval_comes_as_its_clock_runs_out(arena: Arena, pairs: int) -> None:
    """By the supervisor's process there is a microsecond left; by the worker's there is none. Too late, it is a first approval."""
    cases = await arena.open(pairs, UNAUTHORISED, amount=ABOVE)
    await spread([partial(take, arena.one, case, by(AGENT, APPROVE), "first") for case in cases])
    arena.one.clock.advance(timedelta(hours=24))
    arena.other.clock.advance(timedelta(hours=24) - MICROSECOND)

    told = await arena.race(cases, strikes, takes(by(SUPERVISOR, APPROVE)), claims=await arena.claim_deadlines())

    begun = ("approved", "second_approval_awaited")
    await arena.assert_ended(
        told,
        {
            "one": Outcome(
                one=None,
                other=(200, "awaiting_second_approval"),
                state="awaiting_second_approval",
                records=(*begun, "timed_out by worker", *begun),
                reserved=ABOVE,
            ),
            "other": Outcome(one=None, other=EXECUTING, state="completed", records=(*begun, "approved"), refunded=ABOVE),
        },
    )


async def test_goods_are_received_as_the_inspection_runs_out(arena: Arena, pairs: int) -> None:
    cases = await arena.open(pairs, wish(), delivered=True)
    await spread([partial(take, arena.one, case, SHIP, "ship") for case in cases])
    arena.one.clock.advance(timedelta(days=7))
    arena.other.clock.advance(timedelta(days=7) - MICROSECOND)

    told = await arena.race(cases, strikes, takes(received(ReturnCondition.damaged)), claims=await arena.claim_deadlines())

    begun = ("return_awaited", "return_shipped")
    await arena.assert_ended(
        told,
        {
            "one": Outcome(
                one=None,
                other=(409, "executing"),
                state="completed",
                records=(*begun, "timed_out by worker"),
                refunded=AMOUNT,
            ),
            "other": Outcome(
                one=None, other=(200, "awaiting_agent"), state="awaiting_agent", records=(*begun, "return_received"), reserved=AMOUNT
            ),
        },
    )
