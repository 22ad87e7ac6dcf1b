"""One API process on a PostgreSQL of its own, with nothing else beside them."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from service import migrations
from service.auth.keys import load_or_create_keys
from service.settings import environment_for_child
from service.up import embedded
from workflows.clock_and_ids import utc_now
from workflows.domain.enums import Role

READY_SECONDS_MAX = 60
_TOKEN_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Stage:
    directory: Path
    host: str
    port: int
    api: int  # process ids
    postmaster: int
    server: embedded.Server

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@contextmanager
def stage(directory: Path) -> Iterator[Stage]:
    """PostgreSQL as `up` starts it, fsync and all, and `refundry serve` upon it."""
    server = embedded.start(directory)
    try:
        server.ensure_database()
        migrations.upgrade(server.owner_url(), server.app_url())
        port = _free_port()
        command = [sys.executable, "-P", "-m", "service", "serve", "--data", str(directory), "--port", str(port)]
        with (directory / "api.log").open("wb") as log:
            api = subprocess.Popen(command, stdout=log, stderr=log, env=environment_for_child({}))
        try:
            _wait_until_alive(port, api, directory / "api.log")
            yield Stage(directory, "127.0.0.1", port, api.pid, postmaster_of(server), server)
        finally:
            api.terminate()
            api.wait()
    finally:
        server.stop()


def token(directory: Path, role: Role) -> str:
    """Signed with the key of the service that runs on this directory."""
    return load_or_create_keys(directory).sign_token(sub="bench", role=role, ttl_seconds=_TOKEN_SECONDS, now=utc_now())


def postmaster_of(server: embedded.Server) -> int:
    return int((server.home / "data" / "postmaster.pid").read_text().splitlines()[0])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _wait_until_alive(port: int, api: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline and api.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise RuntimeError(f"the API does not answer:\n{log.read_text()}")
