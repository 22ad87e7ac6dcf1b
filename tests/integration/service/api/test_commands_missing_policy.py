"""What was answered once is answered again, also where the policy that it was decided by cannot be found."""

from pathlib import Path

import pytest

from tests.database import Cluster
from tests.harness import running
from tests.rails import RailProcess


@pytest.mark.slow
async def test_a_kept_reply_needs_no_policy(cluster: Cluster, rail: RailProcess, tmp_path: Path) -> None:
    async with cluster.clone() as database:
        async with running(database, tmp_path, rail.url) as api:
            payment = await api.register()
            first = await api.requested(payment, key="once")
            await api.owner.execute("alter table payment disable trigger all")
            await api.owner.execute("update payment set policy_version = 'gone'")
        async with running(database, tmp_path, rail.url) as api:
            again = await api.requested(payment, key="once")
            reused = await api.requested(payment, "duplicate", key="once")
            new = await api.requested(payment, key="another")

    assert (again.status_code, again.content, again.headers["idempotent-replayed"]) == (first.status_code, first.content, "true")
    assert (reused.status_code, new.status_code) == (422, 503)
