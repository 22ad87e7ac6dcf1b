"""The running service, once for all tests of one worker."""

from collections.abc import AsyncIterator

import pytest

from service.auth.keys import Verifier
from tests.database import Cluster
from tests.harness import Api, running
from tests.rails import RailProcess
from workflows.domain.verifying import VerificationStatus, verify_export


@pytest.fixture(scope="session")
async def rail(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RailProcess]:
    """A rail that tells nothing by itself: the tests say its words."""
    process = RailProcess(tmp_path_factory.mktemp("api-rail"))
    await process.start()
    yield process
    await process.stop()


@pytest.fixture(scope="session")
async def api(cluster: Cluster, rail: RailProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """The service; when all is over, every record that the tests left must verify."""
    async with cluster.clone() as database, running(database, tmp_path_factory.mktemp("api"), rail.url) as made:
        yield made
        exported = (await made.get("/v1/records/export", "auditor")).content
        key = made.keys.evidence.verifier_key()
        checked = verify_export(
            exported.splitlines(keepends=True),
            check_signature=lambda text, signature, data: Verifier.parse(text).verify(signature, data),
            trusted_key=key,
        )
        assert checked.status is VerificationStatus.verified, checked
        rows = await made.owner.fetch("select version from policy where effective_from < '2900-01-01'")  # no clock comes so far
        versions = [row["version"] for row in rows]
        assert len(versions) == 1, f"a test that publishes a policy needs a service of its own: {versions}"
