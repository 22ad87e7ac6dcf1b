"""Every fault, over a real connection: what the adapter learns, and what really moved."""

import asyncio
import json
import socket
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec.structs import asdict, replace

from service.providers.sandbox import SandboxProvider, rail_client
from service.sandbox.ledger import Instruction, Ledger
from service.sandbox.server import ROWS_AT_ONCE
from tests.rails import PATIENCE_SECONDS, Caller, RailProcess, Receiver, eventually, noticed, order, rail_caller
from workflows.domain.ports import Absent, Declined, Done, NeedsAction, Order, Pending, ProviderUnavailable, Returned, Settled, Unknown

pytestmark = pytest.mark.slow

QUIET_SECONDS = 0.4  # the forbidden thing would have happened by then


def assert_done(outcome: object, wanted: Order) -> None:
    assert isinstance(outcome, Done)
    assert (outcome.amount, outcome.currency) == (wanted.amount, wanted.currency)
    assert outcome.provider_refund_id is not None
    assert outcome.provider_refund_id.startswith("sbx_")
    assert outcome.rail_reference is not None
    assert (len(outcome.rail_reference), outcome.rail_reference.isdigit()) == (23, True)


@pytest.mark.parametrize("reference", ["", "ok", "ok|ch_123", "acct-778"])
async def test_a_refund_moves_once_and_is_found(caller: Caller, receiver: Receiver, reference: str) -> None:
    wanted = order(reference)

    assert await caller.provider.find(wanted) == Absent()
    outcome = await caller.provider.refund(wanted)

    assert_done(outcome, wanted)
    assert await caller.provider.find(wanted) == outcome
    assert await caller.provider.refund(wanted) == outcome
    [moved] = await caller.moved(wanted)
    assert (moved["rail_key"], moved["kind"], moved["amount"], moved["currency"]) == (wanted.rail_key, "refund", 1250, "CNY")
    assert moved["at"].endswith("Z")
    assert moved["returned_at"] is None
    assert await noticed(lambda: receiver.words(wanted.rail_key)) == ["succeeded"]


async def test_a_void_is_listed_as_a_void(caller: Caller) -> None:
    wanted = order("ok")

    assert_done(await caller.provider.void(wanted), wanted)

    assert [moved["kind"] for moved in await caller.moved(wanted)] == ["void"]


@pytest.mark.parametrize(
    "changed", [{"amount": 1}, {"currency": "JPY"}, {"provider_reference": "ok|other"}, {"payment_reference": "other"}]
)
async def test_a_key_with_other_content_moves_nothing(caller: Caller, changed: dict[str, str]) -> None:
    wanted = order("ok")
    await caller.provider.refund(wanted)
    other = replace(wanted, **changed)

    assert await caller.provider.refund(other) == Unknown("http_409")
    response = await caller.http.post("/sandbox/voids", json=asdict(wanted))

    assert (response.status_code, response.json()["code"]) == (409, "key_reused")
    assert [moved["amount"] for moved in await caller.moved(wanted)] == [1250]


@pytest.mark.parametrize(
    "reference", ["ok", "unavailable:10", "timeout_before_effect", "timeout_after_effect", "slow:200ms", "pending:100ms"]
)
async def test_fifty_at_once_under_one_key_move_once(caller: Caller, receiver: Receiver, reference: str) -> None:
    wanted = order(reference)

    outcomes = await asyncio.gather(*(caller.impatient.refund(wanted) for _ in range(50)))

    await eventually(lambda: caller.provider.find(wanted), lambda outcome: isinstance(outcome, Done))
    assert len(await caller.moved(wanted)) == 1
    assert {type(outcome) for outcome in outcomes} <= {Done, Pending, ProviderUnavailable, Unknown}
    assert await noticed(lambda: receiver.words(wanted.rail_key)) == ["succeeded"]


async def test_slow_is_slow_and_then_done(caller: Caller) -> None:
    wanted = order("slow:200ms")
    begun = time.monotonic()

    assert_done(await caller.provider.refund(wanted), wanted)

    assert time.monotonic() - begun >= 0.2


async def test_slower_than_the_caller_waits_moves_after_he_has_gone(caller: Caller) -> None:
    wanted = order("slow:4s")

    assert await caller.impatient.refund(wanted) == Unknown("timeout")
    # What it is at work on it never denies: whoever took that for lost would send something else.
    assert isinstance(await caller.provider.find(wanted), Pending | Done)

    await eventually(lambda: caller.provider.find(wanted), lambda outcome: isinstance(outcome, Done))
    assert len(await caller.moved(wanted)) == 1


async def test_pending_moves_when_it_is_confirmed(caller: Caller, receiver: Receiver) -> None:
    wanted = order("pending:4s")

    outcome = await caller.provider.refund(wanted)

    assert isinstance(outcome, Pending)
    assert await caller.provider.refund(wanted) == outcome == await caller.provider.find(wanted)
    assert await caller.moved(wanted) == []
    assert receiver.words(wanted.rail_key) == []
    assert await noticed(lambda: receiver.words(wanted.rail_key)) == ["succeeded"]
    assert_done(await caller.provider.find(wanted), wanted)
    assert len(await caller.moved(wanted)) == 1


@pytest.mark.parametrize("reference", ["decline:account_closed", "pending:100ms,decline:account_closed"])
async def test_a_decline_moves_nothing(caller: Caller, receiver: Receiver, reference: str) -> None:
    wanted = order(reference)

    first = await caller.provider.refund(wanted)

    assert isinstance(first, Pending if reference.startswith("pending") else Declined)
    assert await noticed(lambda: receiver.words(wanted.rail_key)) == ["failed"]
    assert await caller.provider.find(wanted) == await caller.provider.refund(wanted) == Declined("account_closed")
    assert receiver.about(wanted.rail_key)[0].said["failure_code"] == "account_closed"
    assert await caller.moved(wanted) == []


async def test_timeout_before_effect_did_nothing_and_the_next_send_does(caller: Caller) -> None:
    wanted = order("timeout_before_effect")

    assert await caller.impatient.refund(wanted) == Unknown("timeout")
    assert await caller.provider.find(wanted) == Absent()
    assert await caller.moved(wanted) == []

    assert_done(await caller.provider.refund(wanted), wanted)
    assert len(await caller.moved(wanted)) == 1


@pytest.mark.parametrize(("reference", "why"), [("timeout_after_effect", "timeout"), ("garbage", "unreadable")])
async def test_the_answer_is_lost_after_the_effect(caller: Caller, receiver: Receiver, reference: str, why: str) -> None:
    wanted = order(reference)

    sender = caller.impatient if why == "timeout" else caller.provider
    assert await sender.refund(wanted) == Unknown(why)

    assert await noticed(lambda: receiver.words(wanted.rail_key)) == ["succeeded"]
    assert_done(await caller.provider.find(wanted), wanted)
    assert_done(await caller.provider.refund(wanted), wanted)
    assert len(await caller.moved(wanted)) == 1


async def test_unavailable_turns_the_first_calls_away(caller: Caller) -> None:
    wanted = order("unavailable:3")

    turned_away = [await caller.provider.refund(wanted) for _ in range(3)]

    assert turned_away == [ProviderUnavailable(1.0)] * 3
    assert await caller.provider.find(wanted) == Absent()
    assert await caller.moved(wanted) == []
    assert_done(await caller.provider.refund(wanted), wanted)


async def test_faults_combine(caller: Caller) -> None:
    wanted = order("unavailable:1,timeout_after_effect,pending:100ms,duplicate_notification")

    assert await caller.provider.refund(wanted) == ProviderUnavailable(1.0)
    assert await caller.impatient.refund(wanted) == Unknown("timeout")
    await eventually(lambda: caller.provider.find(wanted), lambda outcome: isinstance(outcome, Done))

    assert len(await caller.moved(wanted)) == 1


async def test_requires_action_moves_nothing(caller: Caller, receiver: Receiver) -> None:
    wanted = order("requires_action")

    outcome = await caller.provider.refund(wanted)

    assert isinstance(outcome, NeedsAction)
    assert await caller.provider.find(wanted) == outcome
    assert await noticed(lambda: receiver.words(wanted.rail_key)) == ["requires_action"]
    assert await caller.moved(wanted) == []


async def test_a_refund_comes_back(caller: Caller, receiver: Receiver) -> None:
    wanted = order("return_after:300ms")

    assert_done(await caller.provider.refund(wanted), wanted)

    assert await noticed(lambda: receiver.words(wanted.rail_key), lambda words: len(words) == 2) == ["succeeded", "returned"]
    assert await caller.provider.find(wanted) == Returned("account_closed")
    [moved] = await caller.moved(wanted)
    assert moved["returned_at"] > moved["at"]


async def test_a_void_finds_the_payment_captured(caller: Caller) -> None:
    voided, refunded = order("captured_meanwhile"), order("captured_meanwhile")

    assert await caller.provider.void(voided) == Settled() == await caller.provider.find(voided)
    assert await caller.moved(voided) == []

    assert_done(await caller.provider.refund(refunded), refunded)


async def test_an_early_notification_arrives_before_the_reply(caller: Caller, receiver: Receiver) -> None:
    wanted = order("early_notification")

    await caller.provider.refund(wanted)

    assert receiver.words(wanted.rail_key) == ["succeeded"]
    await asyncio.sleep(QUIET_SECONDS)
    assert receiver.words(wanted.rail_key) == ["succeeded"]


async def test_notifications_are_dropped_and_doubled(caller: Caller, receiver: Receiver) -> None:
    dropped, doubled = order("drop_notification"), order("duplicate_notification")

    await caller.provider.refund(dropped)
    await caller.provider.refund(doubled)

    first, second = await noticed(lambda: receiver.about(doubled.rail_key), lambda seen: len(seen) == 2)
    assert first.body == second.body
    await asyncio.sleep(QUIET_SECONDS)
    assert receiver.words(dropped.rail_key) == []
    assert len(await caller.moved(dropped)) == 1


async def test_a_notification_is_repeated_until_it_is_taken(caller: Caller, receiver: Receiver) -> None:
    wanted = order("ok")
    receiver.statuses[wanted.rail_key] = [302]

    await caller.provider.refund(wanted)

    seen = await noticed(lambda: receiver.about(wanted.rail_key), lambda seen: len(seen) == 2)
    assert len({delivery.body for delivery in seen}) == 1


@pytest.mark.parametrize("reference", ["ok,nonsense", "slow:soon"])
async def test_an_unknown_fault_is_refused_with_a_sentence(caller: Caller, reference: str) -> None:
    wanted = order(reference)

    assert await caller.provider.refund(wanted) == Declined("invalid_request")
    response = await caller.http.post("/sandbox/refunds", json=asdict(wanted))

    assert response.status_code == 400
    assert response.json()["detail"].endswith(".")
    assert await caller.provider.find(wanted) == Absent()


@pytest.mark.parametrize(
    "change",
    [{"amount": 0}, {"amount": -1}, {"amount": 1.0}, {"amount": True}, {"amount": "1"}, {"amount": 10**15 + 1}, {"currency": "cny"},
     {"currency": None}, {"rail_key": ""}, {"rail_key": "a" * 65}, {"rail_key": "a/b"}, {"payment_reference": ""},
     {"payment_reference": "x" * 513}, {"provider_reference": "a\nb"}, {"provider_reference": "\ud800"}, {"more": 1}],
)  # fmt: skip
async def test_what_is_not_well_formed_is_refused(caller: Caller, change: dict[str, object]) -> None:
    wanted = order("ok")
    body = asdict(wanted) | change

    response = await caller.http.post("/sandbox/refunds", content=json.dumps(body))

    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert await caller.moved(wanted) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"[]", 400), (b"{", 400), (b"\xff", 400), (b"[" * 16_000, 400), (b" " * 20_000, 413), (b"1" * 9000, 400)],
)
async def test_odd_bodies_are_refused(caller: Caller, body: bytes, status: int) -> None:
    for path in ("/sandbox/refunds", "/sandbox/voids", "/sandbox/faults"):
        assert (await caller.http.post(path, content=body)).status_code == status


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=10001", "after=-1", "after=9223372036854775808", "unknown=1"])
async def test_odd_queries_are_refused(caller: Caller, query: str) -> None:
    assert (await caller.http.get(f"/sandbox/movements?{query}")).status_code == 400


async def test_the_whole_ledger_can_be_read_at_once_or_in_pages(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db", notifies=False)
    ledger.execute("begin")
    keys = [f"key-{number}" for number in range(2 * ROWS_AT_ONCE + 1)]
    for key in keys:
        asked = Instruction(kind="refund", rail_key=key, payment_reference="p", provider_reference="", amount=5, currency="CNY")
        ledger.send(asked, 1_700_000_000_000)
    ledger.execute("commit")
    ledger.close()
    rail = RailProcess(tmp_path)
    await rail.start()

    async with rail_caller(rail) as caller:
        whole = (await caller.http.get("/sandbox/movements")).json()
        parts = [(await caller.http.get("/sandbox/movements", params={"limit": 1500})).json()]
        while (after := parts[-1]["next_after"]) is not None:
            parts.append((await caller.http.get("/sandbox/movements", params={"limit": 1500, "after": after})).json())
    await rail.stop()

    assert [moved["rail_key"] for moved in whole["data"]] == keys
    assert whole["next_after"] is None
    assert [len(part["data"]) for part in parts] == [1500, 501]
    assert parts[0]["data"] + parts[1]["data"] == whole["data"]


async def test_health_and_unknown_paths(caller: Caller) -> None:
    assert (await caller.http.get("/healthz")).json() == {"status": "ok"}
    assert (await caller.http.get("/sandbox/nothing")).status_code == 404
    assert (await caller.http.put("/sandbox/refunds")).status_code == 405
    assert (await caller.http.get("/sandbox/refunds")).status_code == 405


async def test_a_rail_that_is_not_there_did_nothing() -> None:
    async with AsyncExitStack() as stack:
        held = stack.enter_context(socket.socket())
        held.bind(("127.0.0.1", 0))  # held, so that nobody else can begin to listen there
        address = f"http://127.0.0.1:{held.getsockname()[1]}"
        client = await stack.enter_async_context(rail_client(connections=1))
        provider = SandboxProvider(client, address, timeout_seconds=PATIENCE_SECONDS)
        wanted = order("ok")

        assert await provider.refund(wanted) == ProviderUnavailable()
        assert await provider.void(wanted) == ProviderUnavailable()
        assert await provider.find(wanted) == Unknown("unavailable")


async def test_what_it_is_at_work_on_is_done_though_it_was_killed_meanwhile(own_caller: Caller, own_rail: RailProcess) -> None:
    wanted = order("slow:2s")
    assert await own_caller.impatient.refund(wanted) == Unknown("timeout")

    await own_rail.kill()
    await own_rail.start()

    await eventually(lambda: own_caller.provider.find(wanted), lambda outcome: isinstance(outcome, Done))
    assert len(await own_caller.moved(wanted)) == 1
