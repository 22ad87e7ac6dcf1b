"""What /readyz tells of the disk and of the keys."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from service.api import disk_space
from service.auth.jwks import FileKeys
from tests.api.world import World


def services(world: World) -> Any:
    return world.http._transport.app.state.services  # type: ignore[attr-defined]  # the in-process transport's


async def checks(world: World) -> tuple[int, dict[str, str]]:
    await world.worker.runtime.store.beat(world.worker.id, world.clock.now)
    answer = await world.http.get("/readyz")
    return answer.status_code, answer.json()["checks"]


async def test_a_full_disk_and_a_database_without_space_are_not_ready(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    well = await checks(world)
    with monkeypatch.context() as patched:
        patched.setattr(disk_space, "free_megabytes", lambda _: 1.0)
        full = await checks(world)
    with monkeypatch.context() as patched:
        patched.setattr(services(world).store.pool, "disk_full_at", asyncio.get_running_loop().time())
        refused = await checks(world)

    good = dict.fromkeys(("database", "migrations", "worker", "disk", "keys"), "ok")
    assert well == (200, good)
    assert full == refused == (503, good | {"disk": "failed"})


async def test_a_key_source_that_is_gone_is_not_ready(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services(world).authenticator, "_keys", FileKeys(Path("missing.json")))

    status, found = await checks(world)

    assert (status, found["keys"], found["disk"]) == (503, "failed", "ok")
