"""What /readyz and /metrics tell of the rails."""

from datetime import timedelta

import pytest

from service.app import create_app
from tests.harness import Api, calling
from workflows.clock_and_ids import new_id
from workflows.domain.rail_states import BreakerState, RailState


@pytest.fixture(autouse=True)
async def _alone(api: Api) -> None:
    await api.owner.execute("delete from worker")


def told(api: Api, name: str, state: str, *, minutes: int) -> RailState:
    return RailState(name, BreakerState(state), api.clock.now - timedelta(minutes=minutes))


async def beat(api: Api, *rails: RailState, seconds_ago: int = 0) -> None:
    await api.worker.runtime.store.beat(new_id(), api.clock.now - timedelta(seconds=seconds_ago), rails)


async def gauge(api: Api) -> dict[str, float]:
    async with calling(create_app(api.settings, clock=api.clock)) as http:  # another process: a page is shown for a second
        lines = (await http.get("/metrics")).text.splitlines()
    found = [line.removeprefix("refundry_rail_breaker_state").split() for line in lines if line.startswith("refundry_rail_breaker_state{")]
    return {label: float(value) for label, value in found}


async def test_the_worst_that_a_living_worker_tells_of(api: Api) -> None:
    await beat(api, told(api, "sandbox", "closed", minutes=9), told(api, "other", "closed", minutes=8))
    await beat(api, told(api, "sandbox", "open", minutes=1), told(api, "other", "half_open", minutes=2))
    await beat(api, told(api, "sandbox", "half_open", minutes=3), told(api, "other", "open", minutes=5), seconds_ago=16)

    response = await api.http.get("/readyz")

    assert response.status_code == 200, "an open breaker makes nothing unready"
    said = response.json()
    assert said["status"] == "ok"
    assert [(rail["name"], rail["state"]) for rail in said["rails"]] == [("other", "half_open"), ("sandbox", "open")]
    assert said["rails"][1]["since"] == (api.clock.now - timedelta(minutes=1)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert await gauge(api) == {'{rail="other"}': 1, '{rail="sandbox"}': 2}


@pytest.mark.slow
async def test_what_nobody_tells_of_any_more_is_gone(api: Api) -> None:
    await beat(api, told(api, "sandbox", "open", minutes=1))
    assert await gauge(api) == {'{rail="sandbox"}': 2}
    await api.owner.execute("delete from worker")
    await beat(api)

    assert (await api.http.get("/readyz")).json()["rails"] == []
    assert await gauge(api) == {}


async def test_a_worker_of_before_tells_of_none(api: Api) -> None:
    """It writes its beat without the column, as the version before did."""
    await api.owner.execute("insert into worker (id, beat_at) values ($1, $2)", new_id(), api.clock.now)

    response = await api.http.get("/readyz")

    assert (response.status_code, response.json()["rails"]) == (200, [])


async def test_the_workers_own_heartbeat(api: Api) -> None:
    now = api.clock.now
    await api.worker.runtime.store.beat(api.worker.id, now, api.worker.rails.states(now))

    [rail] = (await api.http.get("/readyz")).json()["rails"]

    assert (rail["name"], rail["state"]) == ("sandbox", "closed")


@pytest.mark.parametrize(("seconds_ago", "status"), [(9, 200), (11, 503), (-3600, 503)])
async def test_a_sign_of_life_counts_for_ten_seconds_and_one_in_the_future_never(api: Api, seconds_ago: int, status: int) -> None:
    await beat(api, seconds_ago=seconds_ago)

    response = await api.http.get("/readyz")

    assert (response.status_code, response.json()["checks"]["worker"]) == (status, "ok" if status == 200 else "failed")
