"""The parts put together: what is there before anything is asked."""

import pytest

from service import calendars, wiring
from service.default_policy import default_policy
from tests.api.world import MovableClock
from tests.database import Database
from workflows.clock_and_ids import new_id
from workflows.domain.ports import Calendar
from workflows.storage.policies import publish_first


async def test_policies_and_their_calendars_are_read_before_anything_is_decided(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def look(name: str) -> Calendar:
        looked.append(name)
        return calendars.calendar(name)

    monkeypatch.setattr(wiring, "calendar", look)
    async with wiring.database(database.app_url, size=2) as pool:
        await publish_first(pool, default_policy(), now=MovableClock()(), new_id=new_id)
        runtime = wiring.runtime(pool, clock=MovableClock())

        await wiring.read_policies(runtime)

        await pool.close()
        found = await runtime.store.policies.get(default_policy().version)
    assert looked == ["CN"]
    assert found is not None, "no connection is needed any more"


async def test_a_database_without_tables_is_no_reason_not_to_start(empty_database: Database) -> None:
    async with wiring.database(empty_database.owner_url, size=1) as pool:
        await wiring.read_policies(wiring.runtime(pool, clock=MovableClock()))
