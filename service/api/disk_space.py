"""Whether there is room to write, as far as this process can know: for /readyz."""

import asyncio
from typing import Final

from service.api.context import RequestContext
from service.disk_space import free_megabytes

REMEMBERED_SECONDS: Final = 60.0  # an instance that is sent no changes meanwhile learns nothing new, and is tried again


def has_space(context: RequestContext) -> bool:
    """False under the bound on this machine's disk, or where PostgreSQL, wherever it is, has lately had no space for something."""
    settings = context.services.settings
    try:
        return not _refused_lately(context) and free_megabytes(settings.data_dir) >= settings.disk_free_megabytes_min
    except OSError:
        return False


def _refused_lately(context: RequestContext) -> bool:
    """Its refusal to write (SQLSTATE 53100) ends with the statement, so that it has to be remembered."""
    now = asyncio.get_running_loop().time()
    pools = (context.store.pool, context.store.side)
    return any(pool.disk_full_at is not None and now - pool.disk_full_at < REMEMBERED_SECONDS for pool in pools)
