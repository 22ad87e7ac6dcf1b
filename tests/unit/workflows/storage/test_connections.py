"""What connections remember of a database that refused to write."""

import asyncio
from typing import Any

import asyncpg
import pytest

from workflows.storage.connections import Connections


async def test_a_database_without_space_is_remembered() -> None:
    class Full:
        def is_closed(self) -> bool:
            return False

        def is_in_transaction(self) -> bool:
            return False

        async def execute(self, _: str) -> None:
            raise asyncpg.DiskFullError("could not extend file")

    async def connect() -> Any:
        return Full()

    connections = Connections(connect, 1)
    before = connections.disk_full_at

    with pytest.raises(asyncpg.DiskFullError):
        await connections.execute("insert")

    assert before is None
    assert connections.disk_full_at is not None
    assert connections.disk_full_at <= asyncio.get_running_loop().time()
