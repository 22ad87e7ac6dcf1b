"""Adding a word to an enum type is an ordinary migration: the service that runs meanwhile does not notice it."""

from pathlib import Path

import asyncpg

from tests.api.world import World, running
from tests.database import Cluster
from tests.sandbox.conftest import RailProcess

_ENUMS = "select t.oid::regtype::text from pg_type t where t.typtype = 'e' and t.typnamespace = 'public'::regnamespace order by 1"


async def test_a_running_service_goes_on_when_every_enum_gets_another_word(cluster: Cluster, rail: RailProcess, tmp_path: Path) -> None:
    async with cluster.clone() as database, running(database, tmp_path, rail.url) as world:
        await _life(world)  # its connections know their statements, and the types in them
        before = (await world.requested(await world.register())).json()

        owner = await asyncpg.connect(database.owner_url, ssl=False)
        try:
            enums = [row[0] for row in await owner.fetch(_ENUMS)]
            for name in enums:
                await owner.execute(f"alter type {name} add value 'of_tomorrow'")
        finally:
            await owner.close()

        assert len(enums) > 10
        await world.worker.drain()
        assert (await world.cancellation(before))["state"] == "completed"
        await _life(world)


async def _life(world: World) -> None:
    payment = await world.register()
    cancellation = (await world.requested(payment)).json()
    await world.worker.drain()
    assert (await world.payment(payment))["state"] == "refunded"
    assert (await world.cancellation(cancellation))["state"] == "completed"
