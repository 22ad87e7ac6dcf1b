"""Cancelling a movement that waits for somebody: what the adapter learns, and that it never moves afterwards."""

import asyncio
from hashlib import sha256

import pytest
from msgspec.structs import replace

from service.providers.sandbox import SandboxProvider
from tests.integration.raw_server import answering, http, raw_server
from tests.integration.service.providers.test_sandbox import WANTED, provider, said
from tests.rails import Caller, RailProcess, Receiver, noticed, order, rail_caller
from workflows.domain.ports import Absent, Declined, Done, NeedsAction, Order, Outcome, Pending, ProviderUnavailable, Settled, Unknown

pytestmark = pytest.mark.slow

CANCELLED = Declined("cancelled")


async def waiting(caller: Caller, reference: str = "requires_action") -> Order:
    wanted = order(reference)
    assert isinstance(await caller.provider.refund(wanted), NeedsAction)
    return wanted


async def test_what_waits_is_declined_for_good(caller: Caller, receiver: Receiver) -> None:
    wanted = await waiting(caller)

    answers = [await caller.provider.cancel(wanted) for _ in range(2)]

    assert answers == [CANCELLED, CANCELLED]
    assert await caller.provider.find(wanted) == CANCELLED
    assert await caller.provider.refund(wanted) == CANCELLED
    assert await caller.moved(wanted) == []
    words = await noticed(lambda: receiver.words(wanted.rail_key), lambda words: len(words) == 2)
    assert words == ["requires_action", "failed"], "told once, however often it is cancelled"
    assert receiver.about(wanted.rail_key)[1].said["failure_code"] == "cancelled"


async def test_ten_at_once_cancel_once(caller: Caller, receiver: Receiver) -> None:
    wanted = await waiting(caller, "requires_action")

    answers = await asyncio.gather(*(caller.provider.cancel(wanted) for _ in range(10)))

    assert answers == [CANCELLED] * 10
    assert await noticed(lambda: receiver.words(wanted.rail_key), lambda words: len(words) >= 2) == ["requires_action", "failed"]


@pytest.mark.parametrize(("reference", "kind"), [("ok", Done), ("pending:60s", Pending), ("decline:account_closed", Declined)])
async def test_what_does_not_wait_is_answered_as_it_is(caller: Caller, reference: str, kind: type[Outcome]) -> None:
    wanted = order(reference)
    sending = asyncio.create_task(caller.provider.refund(wanted))
    await noticed_heard(caller, wanted)

    before = await caller.provider.find(wanted)
    outcome = await caller.provider.cancel(wanted)

    assert isinstance(outcome, kind)
    assert outcome != CANCELLED
    assert outcome == before
    await sending
    assert len(await caller.moved(wanted)) == (1 if reference == "ok" else 0)


async def noticed_heard(caller: Caller, wanted: Order) -> None:
    while isinstance(await caller.provider.find(wanted), Absent):
        await asyncio.sleep(0.01)


async def test_a_settled_void_stays_settled(caller: Caller) -> None:
    wanted = order("captured_meanwhile")
    await caller.provider.void(wanted)

    assert await caller.provider.cancel(wanted) == Settled()


@pytest.mark.parametrize("turned_away", [0, 1])
async def test_of_what_the_rail_never_heard_there_is_nothing_to_cancel(caller: Caller, turned_away: int) -> None:
    wanted = order("unavailable:1")
    for _ in range(turned_away):
        assert isinstance(await caller.provider.refund(wanted), ProviderUnavailable)

    assert await caller.provider.cancel(wanted) == Absent()

    assert isinstance(await caller.provider.find(wanted), Absent)


async def test_it_can_be_cancelled_after_the_rail_was_killed_and_stays_so(own_rail: RailProcess, own_caller: Caller) -> None:
    wanted = await waiting(own_caller)
    await own_rail.kill()
    assert await own_caller.provider.cancel(wanted) == ProviderUnavailable()
    await own_rail.start()
    async with rail_caller(own_rail) as again:
        assert isinstance(await again.provider.find(wanted), NeedsAction)
        assert await again.provider.cancel(wanted) == CANCELLED
    await own_rail.kill()
    await own_rail.start()

    async with rail_caller(own_rail) as again:
        assert await again.provider.find(wanted) == await again.provider.refund(wanted) == CANCELLED


# -- faults -------------------------------------------------------------------------------------------------------------


async def test_the_answer_is_lost_after_it_was_cancelled(caller: Caller) -> None:
    wanted = order("requires_action,timeout_after_effect")
    assert await caller.impatient.refund(wanted) == Unknown("timeout")

    assert await caller.impatient.cancel(wanted) == Unknown("timeout")

    assert await caller.provider.find(wanted) == CANCELLED
    assert await caller.provider.cancel(wanted) == CANCELLED


async def test_a_cancel_that_does_not_arrive_changes_nothing(caller: Caller) -> None:
    wanted = order("requires_action,timeout_before_effect")
    assert await caller.impatient.refund(wanted) == Unknown("timeout")
    assert isinstance(await caller.provider.refund(wanted), NeedsAction)

    assert await caller.impatient.cancel(wanted) == Unknown("timeout")
    assert isinstance(await caller.provider.find(wanted), NeedsAction)
    assert await caller.provider.cancel(wanted) == CANCELLED


async def test_the_first_cancels_are_turned_away(caller: Caller) -> None:
    wanted = order("requires_action,unavailable:2")
    for _ in range(2):
        await caller.provider.refund(wanted)
    assert isinstance(await caller.provider.refund(wanted), NeedsAction)

    assert [await caller.provider.cancel(wanted) for _ in range(2)] == [ProviderUnavailable(1.0)] * 2
    assert isinstance(await caller.provider.find(wanted), NeedsAction)
    assert await caller.provider.cancel(wanted) == CANCELLED


async def test_cancels_have_random_faults_of_their_own(own_caller: Caller) -> None:
    wanted = await waiting(own_caller)

    await own_caller.http.post("/sandbox/faults", json={"rate": 1, "kinds": ["unavailable"]})
    assert await own_caller.provider.cancel(wanted) == ProviderUnavailable(1.0)
    await own_caller.http.post("/sandbox/faults", json={"rate": 1, "kinds": ["garbage"]})
    assert await own_caller.provider.cancel(wanted) == Unknown("unreadable")
    await own_caller.http.post("/sandbox/faults", json={"rate": 0})
    assert await own_caller.provider.find(wanted) == CANCELLED, "garbage comes after the effect"


async def test_random_faults_fall_otherwise_on_cancels_than_on_questions(own_caller: Caller) -> None:
    """The same keys at every run, so that chance decides nothing."""
    wanted = [replace(order("requires_action"), rail_key=sha256(str(number).encode()).hexdigest()) for number in range(30)]
    for each in wanted:
        assert isinstance(await own_caller.provider.refund(each), NeedsAction)
    await own_caller.http.post("/sandbox/faults", json={"rate": 0.5, "kinds": ["unavailable"], "seed": 3})

    cancelled = [isinstance(await own_caller.provider.cancel(each), Declined) for each in wanted]
    found = [await own_caller.provider.find(each) != Unknown("unavailable") for each in wanted]

    assert 5 < sum(cancelled) < 25
    assert cancelled != found


# -- the adapter --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (http(200, said(status="declined", failure_code="cancelled")), CANCELLED),
        (http(200, said(status="requires_action")), NeedsAction("sbx_1")),
        (http(200, said(status="succeeded")), Done(7, "JPY", "sbx_1", "7" * 23)),
        (http(200, said(status="declined", failure_code="cancelled", rail_key="another")), Unknown("unreadable")),
        (http(404, {"code": "absent"}), Absent()),
        (http(404, {"detail": "Not Found"}), Unknown("http_404")),
        (http(400, {"code": "invalid_request"}), Unknown("http_400")),
        (http(409, b""), Unknown("http_409")),
        (http(500, b""), Unknown("http_500")),
        (http(503, b"", {"Retry-After": "3"}), ProviderUnavailable(3.0)),
    ],
)
async def test_every_answer_to_a_cancel_has_its_outcome(reply: bytes, outcome: Outcome) -> None:
    async with raw_server(answering(reply)) as rail, provider(rail.url) as adapter:
        assert await adapter.cancel(WANTED) == outcome

    [request] = rail.requests
    assert (request.method, request.path, request.body) == ("POST", f"/sandbox/movements/{WANTED.rail_key}/cancel", b"{}")


async def test_without_a_connection_nothing_was_cancelled() -> None:
    async with provider("http://127.0.0.1:1") as adapter:
        assert await adapter.cancel(WANTED) == ProviderUnavailable()


@pytest.mark.parametrize("body", [b"[]", b'{"more": 1}', b"?", b'"'])
async def test_a_cancel_says_nothing_but_its_key(caller: Caller, body: bytes) -> None:
    wanted = await waiting(caller)

    response = await caller.http.post(f"/sandbox/movements/{wanted.rail_key}/cancel", content=body)

    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert isinstance(await caller.provider.find(wanted), NeedsAction)


async def test_the_successor_of_a_failed_leg_is_sent_without_its_faults(caller: Caller) -> None:
    adapter: SandboxProvider = caller.provider
    for reference in ("requires_action", "decline:account_closed|ch_1", "ch_1"):
        assert adapter.successor_reference(reference) == "ok"
    successor = order(adapter.successor_reference("requires_action"))
    assert isinstance(await adapter.refund(successor), Done)
