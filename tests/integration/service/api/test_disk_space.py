"""What /readyz tells of the disk and of the keys."""

import asyncio

import pytest

from service.api import disk_space
from tests.harness import Api
from tests.integration.service.api.readiness import checks, services


async def test_a_full_disk_and_a_database_without_space_are_not_ready(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    well = await checks(api)
    with monkeypatch.context() as patched:
        patched.setattr(disk_space, "free_megabytes", lambda _: 1.0)
        full = await checks(api)
    with monkeypatch.context() as patched:
        patched.setattr(services(api).store.pool, "disk_full_at", asyncio.get_running_loop().time())
        refused = await checks(api)

    good = dict.fromkeys(("database", "migrations", "worker", "disk", "keys"), "ok")
    assert well == (200, good)
    assert full == refused == (503, good | {"disk": "failed"})
