"""The arena in which two processes decide at once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service import wiring
from tests.crash.arena import AT_ONCE, Arena
from tests.crash.rail import Clock, in_process_rail
from tests.crash.world import Ids, World
from tests.database import Database


@pytest.fixture
async def arena(database: Database, tmp_path: Path) -> AsyncIterator[Arena]:
    rail_clock = Clock()
    async with (
        wiring.database(database.app_url, size=8) as pool,
        wiring.database(database.app_url, size=8) as second,
        in_process_rail(tmp_path, rail_clock) as rail,
    ):
        ids = Ids()
        made = Arena(World(pool, rail, ids, Clock()), World(second, rail, ids, Clock()))
        for world in (made.one, made.other):
            world.start(concurrency=AT_ONCE)
        yield made
