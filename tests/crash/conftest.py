"""The arena in which two processes decide at once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service import wiring
from tests.crash.arena import AT_ONCE, FEW, PAIRS, Arena
from tests.crash.mortal import Ids, MortalCore
from tests.database import Database
from tests.factories import Clock
from tests.rail_in_process import in_process_rail


@pytest.fixture
async def arena(database: Database, tmp_path: Path) -> AsyncIterator[Arena]:
    rail_clock = Clock()
    async with (
        wiring.database(database.app_url, size=8) as pool,
        wiring.database(database.app_url, size=8) as second,
        in_process_rail(tmp_path, rail_clock) as rail,
    ):
        ids = Ids()
        made = Arena(MortalCore(pool, rail, ids, Clock()), MortalCore(second, rail, ids, Clock()))
        for core in (made.one, made.other):
            core.start(concurrency=AT_ONCE)
        yield made


@pytest.fixture(params=[pytest.param(FEW, id="few"), pytest.param(PAIRS, id="many", marks=pytest.mark.long)])
def pairs(request: pytest.FixtureRequest) -> int:
    """How many pairs are let loose."""
    return int(request.param)
