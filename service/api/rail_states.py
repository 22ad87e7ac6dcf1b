"""How the rails stand, as the workers' heartbeats tell it: for /readyz and /metrics."""

from datetime import timedelta
from typing import Final

import asyncpg

from workflows.commands import TRANSIENT, Runtime
from workflows.domain.rail_states import RailState, worst_of_each

HEARTBEAT_AGE_MAX: Final = timedelta(seconds=10)  # a worker gives one each two seconds


async def current_states(runtime: Runtime) -> list[RailState]:
    """By rail the worst that a living worker tells of; nothing where the database does not answer."""
    try:
        return worst_of_each(await runtime.store.rail_states(runtime.clock() - HEARTBEAT_AGE_MAX))
    except (*TRANSIENT, asyncpg.UndefinedColumnError):  # before its migration the database has no such column
        return []
