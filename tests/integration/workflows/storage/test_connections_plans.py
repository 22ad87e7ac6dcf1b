"""What a request costs does not depend on how full the tables were when its connection planned."""

from pathlib import Path

import asyncpg
import pytest

from tests.database import Cluster
from tests.harness import Api, running
from tests.rails import RailProcess

PAYMENTS = 12  # more than the five that PostgreSQL plans each for itself
WATCHED = ["payment", "cancellation", "leg", "record", "job", "kept_reply", "personal_text", "anomaly", "notification"]
_WHOLE = "select relname, seq_scan from pg_stat_user_tables where relname = any($1) and seq_scan > 0"


@pytest.mark.slow
async def test_no_request_reads_a_whole_table_however_empty_it_was_once(cluster: Cluster, rail: RailProcess, tmp_path: Path) -> None:
    async with cluster.clone() as database:
        async with running(database, tmp_path, rail.url) as api:
            await _life(api)
        owner = await asyncpg.connect(database.owner_url, ssl=False)
        try:
            await owner.execute("vacuum analyze")  # a table of one page looks cheapest when it is read whole
            await owner.fetchval("select pg_stat_reset()")
            async with running(database, tmp_path, rail.url) as api:
                for _ in range(PAYMENTS):
                    await _life(api)

            # The service's sessions have ended, and with that all that they did is counted.
            assert [dict(row) for row in await owner.fetch(_WHOLE, WATCHED)] == []
            assert await owner.fetchval("select idx_scan from pg_stat_user_tables where relname = 'payment'") > PAYMENTS
        finally:
            await owner.close()


async def _life(api: Api) -> None:
    payment = await api.register()
    assert (await api.get(f"/v1/payments/{payment['id']}/eligibility")).status_code == 200
    cancellation = (await api.requested(payment)).json()
    await api.worker.drain()
    assert (await api.payment(payment))["state"] == "refunded"
    assert (await api.cancellation(cancellation))["state"] == "completed"
    assert len(await api.records(payment)) > 3
