"""The sandbox rail's own ledger, read over HTTP: what really moved there, for `refundry check` to compare."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import aiohttp

from workflows.flows.check_rail import Moved

PAGE_ROWS = 10_000
_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=30, sock_read=30)
_MOVED = frozenset({"succeeded", "returned"})


class SandboxLedger:
    """The rail's movements. Raises aiohttp.ClientError for whatever goes wrong with the rail."""

    def __init__(self, client: aiohttp.ClientSession, url: str) -> None:
        self._client = client
        self._movements = url.rstrip("/") + "/sandbox/movements"

    async def pages(self) -> AsyncIterator[list[Moved]]:
        """Every movement, oldest first."""
        after: int | None = 0
        while after is not None:
            page = await self._get(f"{self._movements}?after={after}&limit={PAGE_ROWS}")
            yield [_moved(line) for line in page["data"]]
            after = page["next_after"]

    async def moved(self, rail_key: str) -> bool:
        """Whether money moved under one key."""
        try:
            movement = await self._get(f"{self._movements}/{rail_key}")
        except aiohttp.ClientResponseError as error:
            if error.status == 404:
                return False
            raise
        return movement["status"] in _MOVED

    async def _get(self, url: str) -> dict[str, Any]:
        async with self._client.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise aiohttp.ClientResponseError(response.request_info, response.history, status=response.status)
            content: dict[str, Any] = json.loads(await response.read())
            return content


@asynccontextmanager
async def sandbox_ledger(url: str) -> AsyncIterator[SandboxLedger]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=_TIMEOUT, trust_env=False) as client:
        yield SandboxLedger(client, url)


def _moved(line: dict[str, Any]) -> Moved:
    returned = line["returned_at"]
    return Moved(
        rail_key=line["rail_key"],
        kind=line["kind"],
        amount=line["amount"],
        currency=line["currency"],
        returned_at=None if returned is None else datetime.fromisoformat(returned),
    )
