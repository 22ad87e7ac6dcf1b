"""What was answered once is answered again, also where the policy that it was decided by cannot be found."""

from pathlib import Path

from tests.api.world import running
from tests.database import Cluster
from tests.sandbox.conftest import RailProcess


async def test_a_kept_reply_needs_no_policy(cluster: Cluster, rail: RailProcess, tmp_path: Path) -> None:
    async with cluster.clone() as database:
        async with running(database, tmp_path, rail.url) as world:
            payment = await world.register()
            first = await world.requested(payment, key="once")
            await world.owner.execute("alter table payment disable trigger all")
            await world.owner.execute("update payment set policy_version = 'gone'")
        async with running(database, tmp_path, rail.url) as world:
            again = await world.requested(payment, key="once")
            reused = await world.requested(payment, "duplicate", key="once")
            new = await world.requested(payment, key="another")

    assert (again.status_code, again.content, again.headers["idempotent-replayed"]) == (first.status_code, first.content, "true")
    assert (reused.status_code, new.status_code) == (422, 503)
