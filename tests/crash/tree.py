"""A whole `up` as a process tree that a test may kill, piece by piece, and start again on the same directory and port."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx

from service.auth.keys import load_or_create_keys
from service.settings import environment_for_child
from service.up import embedded
from workflows.clock_and_ids import utc_now
from workflows.domain.enums import Role

READY_SECONDS_MAX = 600  # a busy machine starts slowly, and `up` itself gives up after a minute
COMMAND_SECONDS_MAX = 600
_PROGRAM = (sys.executable, "-P", "-m", "service")


class Tree:
    """`refundry up` in a process group of its own; PostgreSQL lives in a session of its own beside it."""

    def __init__(self, directory: Path, *, workers: int) -> None:
        self.directory = directory
        self.workers = workers
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it is ready."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        self._begin()
        while not self._ready():
            assert time.monotonic() < deadline, self.output.read_text()[-1000:]
            assert self._process is not None
            if self._process.poll() is not None:
                self._begin()
            time.sleep(0.1)

    def _begin(self) -> None:
        command = [*_PROGRAM, "up", "--data", str(self.directory), "--port", str(self.port), "--workers", str(self.workers)]
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment_for_child({}), process_group=0
            )

    @property
    def output(self) -> Path:
        return self.directory.with_suffix(".txt")

    def token(self, role: Role) -> str:
        keys = load_or_create_keys(self.directory)
        return keys.sign_token(sub=f"test-{role.value}", role=role, ttl_seconds=3600, now=utc_now())

    def kill_worker(self, number: int) -> bool:
        """One of the workers that live now; False where none does."""
        found = sorted(process for process in self._group() if _command(process)[-1:] == ["worker"])
        if not found:
            return False
        _kill(found[number % len(found)])
        return True

    def kill_all(self, *, database: bool) -> None:
        """The supervisor and every child at a blow; PostgreSQL too, or else it is left behind to be adopted."""
        victims = self._postgres() if database else []
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for victim in victims:
            _kill(victim)
        self._process.wait()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of the terminal on the same directory."""
        command = [*_PROGRAM, *arguments, "--data", str(self.directory)]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment_for_child({}), timeout=COMMAND_SECONDS_MAX, check=False
        )

    def database_url(self) -> str:
        server = embedded.find(self.directory)
        assert server is not None
        return server.owner_url()

    def end(self) -> None:
        """Leave nothing behind, whatever has gone before."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(120)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if (server := embedded.find(self.directory)) is not None:
            server.stop()

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def _group(self) -> Iterator[int]:
        assert self._process is not None
        for process, fields in _processes():
            if int(fields[2]) == self._process.pid and fields[0] not in "ZX":
                yield process

    def _postgres(self) -> list[int]:
        postmaster = int((self.directory / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])
        return [postmaster, *(process for process, fields in _processes() if int(fields[1]) == postmaster)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Every process with its state, parent and group."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                yield int(entry.name), (entry / "stat").read_text().rpartition(")")[2].split()[:3]


def _command(process: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
    return []


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
