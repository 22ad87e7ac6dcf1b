"""Adding a word to an enum type is an ordinary migration: the service that runs meanwhile does not notice it."""

from pathlib import Path

import asyncpg
import pytest

from tests.database import Cluster
from tests.harness import Api, running
from tests.rails import RailProcess

_ENUMS = "select t.oid::regtype::text from pg_type t where t.typtype = 'e' and t.typnamespace = 'public'::regnamespace order by 1"


@pytest.mark.slow
async def test_a_running_service_goes_on_when_every_enum_gets_another_word(cluster: Cluster, rail: RailProcess, tmp_path: Path) -> None:
    async with cluster.clone() as database, running(database, tmp_path, rail.url) as api:
        await _life(api)  # its connections know their statements, and the types in them
        before = (await api.requested(await api.register())).json()

        owner = await asyncpg.connect(database.owner_url, ssl=False)
        try:
            enums = [row[0] for row in await owner.fetch(_ENUMS)]
            for name in enums:
                await owner.execute(f"alter type {name} add value 'of_tomorrow'")
        finally:
            await owner.close()

        assert len(enums) > 10
        await api.worker.drain()
        assert (await api.cancellation(before))["state"] == "completed"
        await _life(api)


async def _life(api: Api) -> None:
    payment = await api.register()
    cancellation = (await api.requested(payment)).json()
    await api.worker.drain()
    assert (await api.payment(payment))["state"] == "refunded"
    assert (await api.cancellation(cancellation))["state"] == "completed"
