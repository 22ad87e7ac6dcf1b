"""What /readyz and /metrics tell of the rails."""

from datetime import timedelta

import pytest

from service.app import create_app
from tests.api.world import World, calling
from workflows.clock_and_ids import new_id
from workflows.domain.rail_states import BreakerState, RailState, worst_of_each


@pytest.fixture(autouse=True)
async def _alone(world: World) -> None:
    await world.owner.execute("delete from worker")


def told(world: World, name: str, state: str, *, minutes: int) -> RailState:
    return RailState(name, BreakerState(state), world.clock.now - timedelta(minutes=minutes))


async def beat(world: World, *rails: RailState, seconds_ago: int = 0) -> None:
    await world.worker.runtime.store.beat(new_id(), world.clock.now - timedelta(seconds=seconds_ago), rails)


async def gauge(world: World) -> dict[str, float]:
    async with calling(create_app(world.settings, clock=world.clock)) as http:  # another process: a page is shown for a second
        lines = (await http.get("/metrics")).text.splitlines()
    found = [line.removeprefix("refundry_rail_breaker_state").split() for line in lines if line.startswith("refundry_rail_breaker_state{")]
    return {label: float(value) for label, value in found}


async def test_the_worst_that_a_living_worker_tells_of(world: World) -> None:
    await beat(world, told(world, "sandbox", "closed", minutes=9), told(world, "other", "closed", minutes=8))
    await beat(world, told(world, "sandbox", "open", minutes=1), told(world, "other", "half_open", minutes=2))
    await beat(world, told(world, "sandbox", "half_open", minutes=3), told(world, "other", "open", minutes=5), seconds_ago=16)

    response = await world.http.get("/readyz")

    assert response.status_code == 200, "an open breaker makes nothing unready"
    said = response.json()
    assert said["status"] == "ok"
    assert [(rail["name"], rail["state"]) for rail in said["rails"]] == [("other", "half_open"), ("sandbox", "open")]
    assert said["rails"][1]["since"] == (world.clock.now - timedelta(minutes=1)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert await gauge(world) == {'{rail="other"}': 1, '{rail="sandbox"}': 2}


async def test_what_nobody_tells_of_any_more_is_gone(world: World) -> None:
    await beat(world, told(world, "sandbox", "open", minutes=1))
    assert await gauge(world) == {'{rail="sandbox"}': 2}
    await world.owner.execute("delete from worker")
    await beat(world)

    assert (await world.http.get("/readyz")).json()["rails"] == []
    assert await gauge(world) == {}


async def test_a_worker_of_before_tells_of_none(world: World) -> None:
    """It writes its beat without the column, as the version before did."""
    await world.owner.execute("insert into worker (id, beat_at) values ($1, $2)", new_id(), world.clock.now)

    response = await world.http.get("/readyz")

    assert (response.status_code, response.json()["rails"]) == (200, [])


async def test_the_workers_own_heartbeat(world: World) -> None:
    now = world.clock.now
    await world.worker.runtime.store.beat(world.worker.id, now, world.worker.rails.states(now))

    [rail] = (await world.http.get("/readyz")).json()["rails"]

    assert (rail["name"], rail["state"]) == ("sandbox", "closed")


def test_of_two_in_the_same_state_the_earlier_one_counts(world: World) -> None:
    early, late = told(world, "sandbox", "open", minutes=5), told(world, "sandbox", "open", minutes=1)

    assert worst_of_each([late, told(world, "sandbox", "closed", minutes=9), early]) == [early]


@pytest.mark.parametrize(("seconds_ago", "status"), [(9, 200), (11, 503), (-3600, 503)])
async def test_a_sign_of_life_counts_for_ten_seconds_and_one_in_the_future_never(world: World, seconds_ago: int, status: int) -> None:
    await beat(world, seconds_ago=seconds_ago)

    response = await world.http.get("/readyz")

    assert (response.status_code, response.json()["checks"]["worker"]) == (status, "ok" if status == 200 else "failed")
