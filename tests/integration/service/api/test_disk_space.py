"""What /readyz tells of the disk and of the keys."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from service.api import disk_space
from service.auth.jwks import FileKeys
from tests.harness import Api


def services(api: Api) -> Any:
    return api.http._transport.app.state.services  # type: ignore[attr-defined]  # the in-process transport's


async def checks(api: Api) -> tuple[int, dict[str, str]]:
    await api.worker.runtime.store.beat(api.worker.id, api.clock.now)
    answer = await api.http.get("/readyz")
    return answer.status_code, answer.json()["checks"]


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


async def test_a_key_source_that_is_gone_is_not_ready(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services(api).authenticator, "_keys", FileKeys(Path("missing.json")))

    status, found = await checks(api)

    assert (status, found["keys"], found["disk"]) == (503, "failed", "ok")
