"""Exports that nobody reads: they take no place from anybody else, and end by themselves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from tests.harness import Api, assert_problem, calling

pytestmark = pytest.mark.slow

EXPORTS_MAX = 2
HANG_SECONDS_MAX = 20  # only bounds a hang


class UnreadExport:
    """One call of an export whose caller takes the head of the answer, and nothing of its body."""

    def __init__(self, app: FastAPI, token: str) -> None:
        self.begun = asyncio.Event()
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/v1/records/export",
            "raw_path": b"/v1/records/export",
            "query_string": b"",
            "headers": [(b"host", b"service.test"), (b"authorization", f"Bearer {token}".encode())],
            "client": ("127.0.0.1", 1),
            "server": ("service.test", 80),
            "root_path": "",
        }
        self.task = asyncio.create_task(app(self._scope, self._never, self._send))

    async def _never(self) -> Any:
        await asyncio.Event().wait()

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self.begun.set()
            await asyncio.Event().wait()


@asynccontextmanager
async def unread(api: Api, *, stall_seconds: float) -> AsyncIterator[tuple[httpx.AsyncClient, list[UnreadExport]]]:
    """A service all of whose exports have begun, and are not read."""
    more = {"exports_max": EXPORTS_MAX, "stream_stall_seconds": stall_seconds, "database_pool_size": 2, "reads_pool_size": 1}
    app = create_app(api.settings.model_copy(update=more), clock=api.clock)
    async with calling(app) as http:
        exports = [UnreadExport(app, api.token("auditor")) for _ in range(EXPORTS_MAX)]
        try:
            async with asyncio.timeout(HANG_SECONDS_MAX):
                await asyncio.gather(*(one.begun.wait() for one in exports))
            yield http, exports
        finally:
            for one in exports:
                one.task.cancel()
            await asyncio.gather(*(one.task for one in exports), return_exceptions=True)


async def test_unread_exports_take_no_place_from_others_and_the_next_is_told_when_to_come(api: Api) -> None:
    await api.register()
    wallet = {"authorization": f"Bearer {api.token('wallet')}"}
    auditor = {"authorization": f"Bearer {api.token('auditor')}"}
    await api.worker.runtime.store.beat(api.worker.id, api.clock.now)

    async with unread(api, stall_seconds=600) as (http, _), asyncio.timeout(HANG_SECONDS_MAX):
        registered = await http.post("/v1/payments", json=api.terms(), headers=wallet)
        lists = await asyncio.gather(*(http.get("/v1/records", headers=auditor) for _ in range(4)))
        ready = await http.get("/readyz")
        next_one = await http.get("/v1/records/export", headers=auditor)

    assert registered.status_code == 201
    assert [answer.status_code for answer in lists] == [200] * 4
    assert ready.status_code == 200
    said = assert_problem(next_one, 503, "unavailable")
    assert "nothing was done" in said["detail"]
    assert int(next_one.headers["retry-after"]) >= 1


@pytest.mark.parametrize("format_", ["ndjson", "csv"])
async def test_a_reader_who_takes_nothing_is_cut_off_and_his_place_is_free(api: Api, format_: str) -> None:
    await api.register()

    async with unread(api, stall_seconds=0.2) as (http, exports), asyncio.timeout(HANG_SECONDS_MAX):
        await asyncio.gather(*(one.task for one in exports))
        path, headers = f"/v1/records/export?format={format_}", {"authorization": f"Bearer {api.token('auditor')}"}
        statuses: list[int] = []
        while statuses != [200] * EXPORTS_MAX:  # soon: their connections are ended first
            statuses = [
                answer.status_code for answer in await asyncio.gather(*(http.get(path, headers=headers) for _ in range(EXPORTS_MAX)))
            ]
