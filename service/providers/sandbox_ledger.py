"""The sandbox rail's own ledger, read over HTTP: what really moved there, for `refundry check` to compare."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import httpx

from workflows.flows.check_rail import Moved

PAGE_ROWS = 10_000
_MOVED = frozenset({"succeeded", "returned"})


class SandboxLedger:
    """The rail's movements. Raises httpx.HTTPError for whatever goes wrong with the rail."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def pages(self) -> AsyncIterator[list[Moved]]:
        """Every movement, oldest first."""
        after: int | None = 0
        while after is not None:
            page = await self._get("/sandbox/movements", after=after, limit=PAGE_ROWS)
            yield [_moved(line) for line in page["data"]]
            after = page["next_after"]

    async def moved(self, rail_key: str) -> bool:
        """Whether money moved under one key."""
        response = await self._client.get(f"/sandbox/movements/{rail_key}")
        if response.status_code == 404:
            return False
        return response.raise_for_status().json()["status"] in _MOVED

    async def _get(self, path: str, **query: int) -> dict[str, Any]:
        response = await self._client.get(path, params=query)
        page: dict[str, Any] = response.raise_for_status().json()
        return page


@asynccontextmanager
async def sandbox_ledger(url: str) -> AsyncIterator[SandboxLedger]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        yield SandboxLedger(client)


def _moved(line: dict[str, Any]) -> Moved:
    returned = line["returned_at"]
    return Moved(
        rail_key=line["rail_key"],
        kind=line["kind"],
        amount=line["amount"],
        currency=line["currency"],
        returned_at=None if returned is None else datetime.fromisoformat(returned),
    )
