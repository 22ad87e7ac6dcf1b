"""The lists as a caller sees them: each filter narrows, and who follows along misses nothing."""

from datetime import timedelta
from uuid import uuid4

from tests.api.world import World, assert_problem
from workflows.domain.times import rfc3339


async def test_lists_by_wallet_and_by_time(world: World) -> None:
    wallet, other = f"w-{uuid4().hex}", f"w-{uuid4().hex}"
    payments = [await world.register(wallet_id=wallet) for _ in range(2)]
    for payment in [*payments, await world.register(wallet_id=other)]:
        assert (await world.requested(payment)).status_code == 201
    now = rfc3339(world.clock.now)

    for path in ("cancellations", "refunds"):
        mine = (await world.get(f"/v1/{path}?wallet_id={wallet}")).json()["data"]
        assert {one["payment_id"] for one in mine} == {payment["id"] for payment in payments}
        assert (await world.get(f"/v1/{path}?wallet_id=w-nobody")).json()["data"] == []
        assert (await world.get(f"/v1/{path}?wallet_id={wallet}&created_from={now}")).json()["data"] == mine
        assert (await world.get(f"/v1/{path}?wallet_id={wallet}&created_to={now}")).json()["data"] == []


async def test_who_follows_along_sees_the_oldest_change_first(world: World) -> None:
    world.clock.now += timedelta(seconds=10)
    start = rfc3339(world.clock.now)
    wallet = f"w-{uuid4().hex}"
    payments = []
    for _ in range(3):
        payments.append(await world.register(wallet_id=wallet, completed_at=None))
        world.clock.now += timedelta(seconds=1)
    assert (await world.post(f"/v1/payments/{payments[0]['id']}/complete")).status_code == 200

    first = (await world.get(f"/v1/payments?wallet_id={wallet}&sort=updated&limit=2")).json()
    world.clock.now += timedelta(seconds=1)
    assert (await world.post(f"/v1/payments/{payments[2]['id']}/complete")).status_code == 200  # between two pages
    rest = (await world.get(f"/v1/payments?wallet_id={wallet}&sort=updated&cursor={first['next_cursor']}")).json()
    all_of_them = (await world.get(f"/v1/payments?wallet_id={wallet}&updated_from={start}")).json()["data"]

    ids = [payment["id"] for payment in payments]
    assert [one["id"] for one in first["data"]] == [ids[1], ids[2]]
    assert [one["id"] for one in rest["data"]] == [ids[0], ids[2]]
    assert [one["id"] for one in all_of_them] == [ids[1], ids[0], ids[2]]
    assert [one["updated_at"] for one in all_of_them] == sorted(one["updated_at"] for one in all_of_them)


async def test_cancellations_and_refunds_can_be_followed_too(world: World) -> None:
    wallet = f"w-{uuid4().hex}"
    start = rfc3339(world.clock.now)
    asked = []
    for _ in range(3):
        payment = await world.register(wallet_id=wallet)
        asked.append((await world.requested(payment)).json()["payment_id"])
        world.clock.now += timedelta(seconds=1)

    for path in ("cancellations", "refunds"):
        query = f"/v1/{path}?wallet_id={wallet}&updated_from={start}&limit=2"
        first = (await world.get(query)).json()
        rest = (await world.get(f"{query}&cursor={first['next_cursor']}")).json()
        assert [one["payment_id"] for one in first["data"] + rest["data"]] == asked
        assert rest["next_cursor"] is None


async def test_a_cursor_of_the_other_order_is_refused(world: World) -> None:
    for _ in range(2):
        await world.register()
    newest = (await world.get("/v1/payments?limit=1")).json()["next_cursor"]
    oldest_change = (await world.get("/v1/payments?limit=1&sort=updated")).json()["next_cursor"]

    for query in (f"sort=updated&cursor={newest}", f"cursor={oldest_change}", "sort=created"):
        assert_problem(await world.get(f"/v1/payments?{query}"), 422, "validation-failed")
