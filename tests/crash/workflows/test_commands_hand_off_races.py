"""A merchant, a customer, a clock: two at once about one hand-off, again and again. See `tests/crash/arena.py`."""

from datetime import timedelta
from functools import partial

from tests.crash.arena import AMOUNT, FEW, MICROSECOND, OFFER, Arena, Outcome, spread, strikes, takes
from tests.crash.deciding import ABOVE, ACCEPT, ACCEPT_OFFER, AGENT, DECLINE, ESCALATE, WITHDRAW, answer, by, take
from workflows.domain.enums import MerchantDecision


async def test_the_merchant_accepts_while_the_customer_withdraws(arena: Arena, pairs: int) -> None:
    told = await arena.race(await arena.hand_off(pairs), takes(ACCEPT), takes(WITHDRAW))

    await arena.assert_ended(
        told,
        {
            "one": Outcome(
                one=(200, "executing"), other=(409, "executing"), state="completed", records=("merchant_accepted",), refunded=AMOUNT
            ),
            "other": Outcome(one=(409, "withdrawn"), other=(200, "withdrawn"), state="withdrawn", records=("withdrawn",)),
        },
    )


async def test_what_awaits_a_second_person_may_be_withdrawn_after_the_merchant_accepted(arena: Arena) -> None:
    told = await arena.race(await arena.hand_off(FEW, amount=ABOVE, actor=AGENT), takes(ACCEPT), takes(by(AGENT, WITHDRAW)))

    await arena.assert_ended(
        told,
        {
            "one": Outcome(
                one=(200, "awaiting_second_approval"),
                other=(200, "withdrawn"),
                state="withdrawn",
                records=("merchant_accepted", "second_approval_awaited", "withdrawn"),
            ),
            "other": Outcome(one=(409, "withdrawn"), other=(200, "withdrawn"), state="withdrawn", records=("withdrawn",)),
        },
    )


async def test_the_deadline_strikes_while_the_merchant_declines(arena: Arena, pairs: int) -> None:
    """By the merchant's process there is a microsecond left; by the worker's there is none."""
    payments = await arena.hand_off(pairs)
    arena.one.clock.advance(timedelta(hours=48))
    arena.other.clock.advance(timedelta(hours=48) - MICROSECOND)

    told = await arena.race(payments, strikes, takes(DECLINE), claims=await arena.claim_deadlines())

    await arena.assert_ended(
        told,
        {
            "one": Outcome(
                one=None, other=(409, "awaiting_agent"), state="awaiting_agent", records=("timed_out by worker",), reserved=AMOUNT
            ),
            "other": Outcome(one=None, other=(200, "declined"), state="declined", records=("merchant_declined",)),
        },
    )


async def test_the_deadline_strikes_once_while_the_merchant_is_too_late(arena: Arena, pairs: int) -> None:
    """Worker and command both strike: one of them does."""
    payments = await arena.hand_off(pairs)
    for core in (arena.one, arena.other):
        core.clock.advance(timedelta(hours=48))

    told = await arena.race(payments, strikes, takes(DECLINE), claims=await arena.claim_deadlines())

    lost = (409, "awaiting_agent")
    await arena.assert_ended(
        told,
        {
            who: Outcome(one=None, other=lost, state="awaiting_agent", records=(f"timed_out by {actor}",), reserved=AMOUNT)
            for who, actor in (("one", "worker"), ("other", "service"))
        },
    )


async def test_an_offer_is_accepted_twice(arena: Arena, pairs: int) -> None:
    """By the customer in the app, and by an agent to whom the customer spoke."""
    payments = await arena.hand_off(pairs)
    offer = answer(MerchantDecision.offer, OFFER)
    await spread([partial(take, arena.one, payment, offer, "offer") for payment in payments])

    told = await arena.race(payments, takes(ACCEPT_OFFER, "app"), takes(by(AGENT, ACCEPT_OFFER), "hotline"))

    won, lost = (200, "executing"), (409, "executing")
    records = ("offered", "offer_accepted")
    await arena.assert_ended(
        told,
        {
            "one": Outcome(one=won, other=lost, state="completed", records=records, refunded=OFFER),
            "other": Outcome(one=lost, other=won, state="completed", records=records, refunded=OFFER),
        },
    )


async def test_the_customer_turns_to_an_agent_while_the_merchant_accepts(arena: Arena, pairs: int) -> None:
    told = await arena.race(await arena.hand_off(pairs), takes(ESCALATE), takes(ACCEPT))

    await arena.assert_ended(
        told,
        {
            "one": Outcome(
                one=(200, "awaiting_agent"),
                other=(409, "awaiting_agent"),
                state="awaiting_agent",
                records=("escalated",),
                reserved=AMOUNT,
            ),
            "other": Outcome(
                one=(409, "executing"), other=(200, "executing"), state="completed", records=("merchant_accepted",), refunded=AMOUNT
            ),
        },
    )


async def test_the_customer_may_turn_to_an_agent_after_the_merchant_declined(arena: Arena) -> None:
    told = await arena.race(await arena.hand_off(FEW), takes(ESCALATE), takes(DECLINE))

    await arena.assert_ended(
        told,
        {
            "one": Outcome(
                one=(200, "awaiting_agent"),
                other=(409, "awaiting_agent"),
                state="awaiting_agent",
                records=("escalated",),
                reserved=AMOUNT,
            ),
            "other": Outcome(
                one=(200, "awaiting_agent"),
                other=(200, "declined"),
                state="awaiting_agent",
                records=("merchant_declined", "escalated"),
                reserved=AMOUNT,
            ),
        },
    )
