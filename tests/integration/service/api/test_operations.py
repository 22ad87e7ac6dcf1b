"""What the service tells of itself: what it is, and whether it is ready."""

from pathlib import Path

import pytest

from service.auth.jwks import FileKeys
from tests.harness import Api
from tests.integration.service.api.readiness import checks, services


async def test_a_key_source_that_is_gone_is_not_ready(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services(api).authenticator, "_keys", FileKeys(Path("missing.json")))

    status, found = await checks(api)

    assert (status, found["keys"], found["disk"]) == (503, "failed", "ok")


async def test_the_service_tells_what_it_is(api: Api) -> None:
    meta = (await api.get("/v1/meta", "operator")).json()
    health, ready, metrics = [await api.http.get(path) for path in ("/healthz", "/readyz", "/metrics")]
    policies = (await api.get("/v1/policies", "merchant")).json()
    policy = (await api.get("/v1/policies/2026-11-a", "auditor")).json()

    assert (meta["providers"], meta["sandbox_url"]) == (["sandbox"], api.settings.sandbox_url)
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert ready.json()["checks"]["database"] == ready.json()["checks"]["migrations"] == "ok"
    assert metrics.headers["content-type"].startswith("text/plain")
    assert policies["next_cursor"] is None
    assert set(policy) == {"policy", "published_at", "published_by"}
    assert (policy["policy"]["version"], policy["published_by"]) == ("2026-11-a", "refundry")
    [entry] = [one for one in policies["data"] if one["version"] == "2026-11-a"]
    assert (entry["version"], entry["effective_from"]) == ("2026-11-a", policy["policy"]["effective_from"])
    assert (entry["published_at"], entry["published_by"]) == (policy["published_at"], policy["published_by"])


async def test_readiness_follows_the_workers_heart(api: Api) -> None:
    await api.owner.execute("delete from worker")
    assert (await api.http.get("/readyz")).status_code == 503

    await api.worker.runtime.store.beat(api.worker.id, api.clock.now)

    assert (await api.http.get("/readyz")).status_code == 200
