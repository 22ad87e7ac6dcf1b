"""A stand-in for `refundry` in the supervisor's tests: `up DIR PORT [API]` runs the real supervisor, whose parts are this file again.

Its API answers every request with its process id, its worker and its rail only live; none of them needs a schema.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from service.up import serving
from service.up.die_with_parent import die_with_parent


async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/die":
        os._exit(7)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})


async def live(stop: asyncio.Event) -> None:
    await stop.wait()


def no_migration(owner_url: str, app_url: str | None) -> None:
    assert owner_url.startswith("postgresql://")


def run_up(directory: Path, port: int, apis: int) -> None:
    from rich.console import Console

    from service.settings import load
    from service.terminal.failure import UserError
    from service.up.supervisor import StartPlan, up

    read = load(data_dir=directory, port=port)
    plan = StartPlan(read, api=apis, workers=1, program=(sys.executable, __file__), migrate=no_migration)
    try:
        up(plan, Console())
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


def main(arguments: list[str]) -> None:
    if arguments[0] == "up":
        run_up(Path(arguments[1]), int(arguments[2]), int(arguments[3]))
        return
    die_with_parent(int(arguments[1]))
    if arguments[2] == "worker":
        serving.run_until_signalled(live, interruptible=False)
    else:
        descriptor = int(arguments[arguments.index("--descriptor") + 1])
        serving.serve(answer, serving.inherited_socket(descriptor), interruptible=False)


if __name__ == "__main__":
    main(sys.argv[1:])
