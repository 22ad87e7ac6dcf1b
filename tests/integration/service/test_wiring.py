"""The parts put together: what is there before anything is asked."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from service import calendars, wiring
from service.settings import Settings
from service.shipped_policies import default_policy
from tests.database import Database
from tests.factories import Clock
from workflows.clock_and_ids import new_id
from workflows.commands import SERVICE
from workflows.domain.changes import Context
from workflows.domain.ports import Calendar
from workflows.storage.apply import Applied
from workflows.storage.policies import PublicationQuery, publication


async def test_policies_and_their_calendars_are_read_before_anything_is_decided(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def look(name: str) -> Calendar:
        looked.append(name)
        return calendars.calendar(name)

    monkeypatch.setattr(wiring, "calendar", look)
    async with wiring.database(database.app_url, size=2) as pool:
        # Published before days were published with a policy: its calendar is the library's for ever.
        runtime = wiring.runtime(pool, clock=Clock())
        found = await runtime.store.load_for_publication(PublicationQuery(version="undated"))
        context = Context(actor=SERVICE, now=Clock()(), new_id=new_id, new_salt=lambda: b"")
        assert (
            await runtime.store.apply_service_change(publication(replace(default_policy(), version="undated"), found, context=context))
            is Applied
        )

        await wiring.read_policies(runtime)

        await pool.close()
        read = await runtime.store.policies.get("undated")
    assert looked == ["CN"]
    assert read is not None, "no connection is needed any more"


async def test_a_rail_is_asked_again_in_order_however_the_times_are_given() -> None:
    async with wiring.rails(Settings(sandbox_url="http://127.0.0.1:1", recheck_seconds=(300, 60, 120))) as ready:
        schedule = ready.providers["sandbox"].schedule
    confirmed, minute = Clock()(), timedelta(minutes=1)

    assert schedule.rechecks == (minute, 2 * minute, 5 * minute)
    assert [schedule.next_recheck(confirmed, confirmed + minute * passed) for passed in (0, 1, 3, 5)] == [
        *(confirmed + minute * due for due in (1, 2, 5)),
        None,
    ]


async def test_a_database_without_tables_is_no_reason_not_to_start(empty_database: Database) -> None:
    async with wiring.database(empty_database.owner_url, size=1) as pool:
        await wiring.read_policies(wiring.runtime(pool, clock=Clock()))
