"""A database that dies between commit and answer, and stays away: nobody is told that nothing was done."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from service.app import create_app
from tests.harness import Api, assert_problem, calling
from workflows.commands import Runner
from workflows.domain.changes import Change
from workflows.domain.model import Snapshot
from workflows.storage.apply import ApplyResult, Fence, NotificationMark
from workflows.storage.mapping import ResponseToKeep
from workflows.storage.snapshot import SnapshotQuery
from workflows.storage.store import Store


class Dying(Store):
    """Commits one change, and is gone from the very next line on, before `Runner._once` hears of it."""

    gone = False

    async def apply(
        self,
        change: Change,
        *,
        keep: ResponseToKeep | None = None,
        scope_id: UUID | None = None,
        fence: Fence | None = None,
        mark: NotificationMark | None = None,
    ) -> ApplyResult:
        await super().apply(change, keep=keep, scope_id=scope_id, fence=fence, mark=mark)
        self.gone = True
        raise ConnectionResetError

    async def load(self, wanted: SnapshotQuery) -> Snapshot | None:
        if self.gone:
            raise ConnectionRefusedError
        return await super().load(wanted)


@pytest.mark.slow
async def test_a_503_after_the_commit_says_that_it_is_not_certain_and_the_same_request_tells(api: Api) -> None:
    payment = await api.register(completed_at=None)
    path = f"/v1/payments/{payment['id']}/complete"
    app = create_app(api.settings, clock=api.clock)

    async with calling(app) as http:
        services: Any = app.state.services
        runtime = services.runner.runtime
        app.state.services = replace(services, runner=Runner(replace(runtime, store=Dying(runtime.store.pool))))
        english = await api.post(path, {}, key="uncertain", http=http)
        chinese = await api.post(path, {}, key="uncertain", headers={"accept-language": "zh-CN"}, http=http)
    told = await api.post(path, {}, key="uncertain")

    for response, words in ((english, ("not certain", "same request again", "safe")), (chinese, ("尚不确定", "相同的请求", "安全"))):
        said = assert_problem(response, 503, "unavailable")
        assert all(word in said["detail"] for word in words), said
        assert "nothing was done" not in said["detail"]
        assert response.headers["retry-after"]
    assert (told.status_code, told.json()["state"], told.headers["idempotent-replayed"]) == (200, "completed", "true")
