"""The rail is killed with SIGKILL between effect and reply, and started again over the same ledger."""

import asyncio
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec.structs import asdict, replace

from service.sandbox.faults import KINDS_DEFAULT
from service.sandbox.ledger import Instruction, Ledger, SendResult
from tests.rails import Caller, RailProcess, Receiver, noticed, order, rail_caller
from workflows.domain.ports import Absent, Done, Order, Pending, ProviderUnavailable, Unknown


async def killed_in_silence(rail: RailProcess, caller: Caller, wanted: Order) -> object:
    """Send, and kill the rail as soon as it has written the attempt down; answers what the sender learnt."""
    sending = asyncio.create_task(caller.http.post("/sandbox/refunds", json=asdict(wanted)))
    await asyncio.to_thread(_until_written, rail.folder / "ledger.db", wanted.rail_key)
    await rail.kill()
    return (await asyncio.gather(sending, return_exceptions=True))[0]


def _until_written(path: Path, rail_key: str) -> None:
    ledger = Ledger(path, notifies=True)
    while ledger.find(rail_key) is None:
        pass
    ledger.close()


@pytest.mark.parametrize(("fault", "movements"), [("timeout_after_effect", 1), ("timeout_before_effect", 0)])
async def test_killed_before_the_reply(own_rail: RailProcess, own_caller: Caller, receiver: Receiver, fault: str, movements: int) -> None:
    wanted = order(fault)

    assert isinstance(await killed_in_silence(own_rail, own_caller, wanted), Exception)
    assert await own_caller.provider.refund(wanted) == ProviderUnavailable()
    await own_rail.start()

    async with rail_caller(own_rail) as again:
        assert len(await again.moved(wanted)) == movements
        assert isinstance(await again.provider.find(wanted), Done if movements else Absent)
        assert await again.provider.refund(replace(wanted, amount=1)) == Unknown("http_409")
        assert isinstance(await again.provider.refund(wanted), Done)
        assert [moved["amount"] for moved in await again.moved(wanted)] == [1250]
    assert set(await noticed(lambda: receiver.words(wanted.rail_key))) == {"succeeded"}


async def test_attempts_are_counted_over_a_crash(own_rail: RailProcess, own_caller: Caller) -> None:
    wanted = order("unavailable:2")

    assert await own_caller.provider.refund(wanted) == ProviderUnavailable(1.0)
    await own_rail.kill()
    await own_rail.start()

    async with rail_caller(own_rail) as again:
        assert await again.provider.refund(wanted) == ProviderUnavailable(1.0)
        assert isinstance(await again.provider.refund(wanted), Done)


async def test_what_is_due_and_what_is_owed_survives(own_rail: RailProcess, own_caller: Caller, receiver: Receiver) -> None:
    due, owed = order("pending:300ms,return_after:300ms"), order("ok")
    receiver.statuses[owed.rail_key] = [503]

    assert isinstance(await own_caller.provider.refund(due), Pending)
    assert isinstance(await own_caller.provider.refund(owed), Done)
    await noticed(lambda: receiver.words(owed.rail_key))
    await own_rail.kill()
    await own_rail.start()

    assert await noticed(lambda: receiver.words(due.rail_key), lambda words: len(words) == 2) == ["succeeded", "returned"]
    first, *more = await noticed(lambda: receiver.about(owed.rail_key), lambda seen: len(seen) >= 2)
    assert {delivery.body for delivery in more} == {first.body}
    async with rail_caller(own_rail) as again:
        assert len(await again.moved(due)) == 1


async def test_every_acknowledged_movement_survives_a_kill_under_load(own_rail: RailProcess, own_caller: Caller) -> None:
    acknowledged: list[Order] = []
    sent: list[Order] = []

    async def send_for_ever() -> None:
        while True:
            wanted = replace(order("drop_notification"), payment_reference="load")
            sent.append(wanted)
            if not isinstance(await own_caller.provider.refund(wanted), Done):
                return
            acknowledged.append(wanted)

    senders = [asyncio.create_task(send_for_ever()) for _ in range(16)]
    await noticed(lambda: len(acknowledged) > 200)
    await own_rail.kill()
    await asyncio.gather(*senders)
    await own_rail.start()

    async with rail_caller(own_rail) as again:
        moved = [movement["rail_key"] for movement in await again.moved(sent[0])]
        assert len(moved) == len(set(moved))
        assert {wanted.rail_key for wanted in acknowledged} <= set(moved) <= {wanted.rail_key for wanted in sent}


async def test_random_faults_survive_a_crash_and_never_move_twice(own_rail: RailProcess, own_caller: Caller) -> None:
    wish = {"rate": 0.4, "kinds": ["pending:100ms" if kind.startswith("pending") else kind for kind in KINDS_DEFAULT], "seed": 11}
    assert (await own_caller.http.post("/sandbox/faults", json=wish)).json() == wish
    await own_rail.kill()
    await own_rail.start()

    async with rail_caller(own_rail) as again:
        assert (await again.http.get("/sandbox/faults")).json() == wish
        # The faults are chosen by the key: the same keys at every run, so that chance decides nothing.
        made = [replace(order("ok"), rail_key=sha256(str(number).encode()).hexdigest()) for number in range(40)]

        async def carry(wanted: Order) -> int:
            attempts = 0
            while not isinstance(await again.impatient.refund(wanted), Done):
                attempts += 1
                await asyncio.sleep(0.02)
            return attempts

        assert sum(await asyncio.gather(*(carry(wanted) for wanted in made))) > 0
        assert [len(await again.moved(wanted)) for wanted in made] == [1] * len(made)
        assert (await again.http.post("/sandbox/faults", json={"rate": 0})).json()["rate"] == 0
        assert isinstance(await again.provider.refund(order("ok")), Done)


async def test_questions_have_random_faults_too(own_caller: Caller) -> None:
    wanted = order("ok")
    await own_caller.provider.refund(wanted)

    await own_caller.http.post("/sandbox/faults", json={"rate": 1, "kinds": ["garbage"]})
    assert await own_caller.provider.find(wanted) == Unknown("unreadable")
    await own_caller.http.post("/sandbox/faults", json={"rate": 1, "kinds": ["unavailable"]})
    assert await own_caller.provider.find(wanted) == Unknown("unavailable")
    await own_caller.http.post("/sandbox/faults", json={"rate": 1, "kinds": ["timeout_before_effect"]})
    assert await own_caller.impatient.find(wanted) == Unknown("timeout")


@pytest.mark.parametrize(
    "wish",
    [{}, {"rate": 1.1}, {"rate": -0.1}, {"rate": "1"}, {"rate": True}, {"rate": None}, {"rate": 1, "kinds": ["nonsense"]},
     {"rate": 1, "kinds": "slow"}, {"rate": 1, "kinds": [1]}, {"rate": 1, "seed": 1.5}, {"rate": 1, "seed": 2**63}, {"rate": 1, "more": 1}],
)  # fmt: skip
async def test_odd_wishes_for_chance_change_nothing(caller: Caller, wish: dict[str, object]) -> None:
    assert (await caller.http.post("/sandbox/faults", json=wish)).status_code == 400
    assert (await caller.http.get("/sandbox/faults")).json()["rate"] == 0


def test_the_ledger_refuses_a_second_movement_under_one_key(tmp_path: Path) -> None:
    import sqlite3

    ledger = Ledger(tmp_path / "ledger.db", notifies=True)
    asked = Instruction(kind="refund", rail_key="a", payment_reference="p", provider_reference="ok", amount=5, currency="CNY")
    assert isinstance(ledger.send(asked, 1), SendResult)

    with pytest.raises(sqlite3.IntegrityError, match=r"movements\.rail_key"):
        ledger.execute(
            "insert into movements (rail_key, kind, payment_reference, amount, currency, at_ms) values ('a', 'refund', 'p', 5, 'CNY', 2)"
        )
    assert [movement.amount for movement in ledger.movements("p", 0, 10)] == [5]
    ledger.close()
