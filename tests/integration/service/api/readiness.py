"""What /readyz tells, for tests."""

from typing import Any

from tests.harness import Api


def services(api: Api) -> Any:
    return api.http._transport.app.state.services  # type: ignore[attr-defined]  # the in-process transport's


async def checks(api: Api) -> tuple[int, dict[str, str]]:
    await api.worker.runtime.store.beat(api.worker.id, api.clock.now)
    answer = await api.http.get("/readyz")
    return answer.status_code, answer.json()["checks"]
