"""What a request costs does not depend on how full the tables were when its connection planned."""

from pathlib import Path

import asyncpg

from tests.api.world import World, running
from tests.database import Cluster
from tests.sandbox.conftest import RailProcess

PAYMENTS = 12  # more than the five that PostgreSQL plans each for itself
WATCHED = ["payment", "cancellation", "leg", "record", "job", "kept_reply", "personal_text", "anomaly", "notification"]
_WHOLE = "select relname, seq_scan from pg_stat_user_tables where relname = any($1) and seq_scan > 0"


async def test_no_request_reads_a_whole_table_however_empty_it_was_once(cluster: Cluster, rail: RailProcess, tmp_path: Path) -> None:
    async with cluster.clone() as database:
        async with running(database, tmp_path, rail.url) as world:
            await _life(world)
        owner = await asyncpg.connect(database.owner_url, ssl=False)
        try:
            await owner.execute("vacuum analyze")  # a table of one page looks cheapest when it is read whole
            await owner.fetchval("select pg_stat_reset()")
            async with running(database, tmp_path, rail.url) as world:
                for _ in range(PAYMENTS):
                    await _life(world)

            # The service's sessions have ended, and with that all that they did is counted.
            assert [dict(row) for row in await owner.fetch(_WHOLE, WATCHED)] == []
            assert await owner.fetchval("select idx_scan from pg_stat_user_tables where relname = 'payment'") > PAYMENTS
        finally:
            await owner.close()


async def _life(world: World) -> None:
    payment = await world.register()
    assert (await world.get(f"/v1/payments/{payment['id']}/eligibility")).status_code == 200
    cancellation = (await world.requested(payment)).json()
    await world.worker.drain()
    assert (await world.payment(payment))["state"] == "refunded"
    assert (await world.cancellation(cancellation))["state"] == "completed"
    assert len(await world.records(payment)) > 3
