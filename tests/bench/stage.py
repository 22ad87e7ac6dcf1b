"""Some API processes on a PostgreSQL of their own, with nothing else beside them."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import httpx

from service import migrations
from service.auth.keys import load_or_create_keys
from service.settings import environment_for_child
from service.up import embedded
from tests.bench import client
from tests.bench.usage import Reading, cpu_seconds, read_postgres
from workflows.clock_and_ids import utc_now
from workflows.domain import ids
from workflows.domain.enums import Role
from workflows.storage.app_role import APP_ROLE

READY_SECONDS_MAX = 60
_TOKEN_SECONDS = 6 * 3600


@dataclass(slots=True)
class Stage:
    directory: Path
    host: str
    ports: tuple[int, ...]
    apis: tuple[int, ...]  # process ids
    postmaster: int
    server: embedded.Server
    next_number: int = field(default=1)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.ports[0]}"

    def take(self, count: int) -> int:
        """The first of so many numbers that no payment has yet."""
        first, self.next_number = self.next_number, self.next_number + count
        return first

    def token(self, role: Role) -> str:
        return token(self.directory, role)

    def api_cpu(self) -> float:
        return sum(map(cpu_seconds, self.apis))

    def postgres(self) -> Reading:
        return read_postgres(self.postmaster, APP_ROLE)

    def client(
        self, request: client.Request, subjects: Sequence[str], callers: int, *, ports: Sequence[int] | None = None
    ) -> client.Client:
        return client.Client(request, subjects, host=self.host, ports=ports or self.ports, token=self.token(Role.wallet), callers=callers)

    def register(self, reference: str) -> UUID:
        """One payment, completed just now, from one balance source."""
        return register(self.url, self.token(Role.wallet), reference)


@contextmanager
def stage(directory: Path, apis: int = 1) -> Iterator[Stage]:
    """PostgreSQL as `up` starts it, fsync and all, and `refundry serve` upon it, each on a port of its own."""
    server = embedded.start(directory)
    try:
        server.ensure_database()
        migrations.upgrade(server.owner_url(), server.app_url())
        with ExitStack() as running:
            started = [running.enter_context(api_process(directory, str(number))) for number in range(apis)]
            ports, processes = zip(*started, strict=True)
            yield Stage(directory, "127.0.0.1", ports, processes, postmaster_of(server), server)
    finally:
        server.stop()


@contextmanager
def api_process(directory: Path, name: str) -> Iterator[tuple[int, int]]:
    """Its port and its process."""
    port, log = _free_port(), directory / f"api-{name}.log"
    command = [sys.executable, "-P", "-m", "service", "serve", "--data", str(directory), "--port", str(port)]
    with log.open("wb") as written:
        api = subprocess.Popen(command, stdout=written, stderr=written, env=environment_for_child({}))
    try:
        _wait_until_alive(port, api, log)
        yield port, api.pid
    finally:
        api.terminate()
        api.wait()


def register(url: str, signed: str, reference: str, *, age: timedelta = timedelta(minutes=1)) -> UUID:
    """A payment that was completed so long ago."""
    completed = (utc_now() - age).isoformat().replace("+00:00", "Z")
    body = {"reference": reference, "wallet_id": "wallet-1", "merchant_id": "merchant-1", "amount": 4200, "currency": "CNY"}
    headers = {"authorization": f"Bearer {signed}"}
    answer = httpx.post(f"{url}/v1/payments", json={**body, "completed_at": completed}, headers=headers, trust_env=False, timeout=30)
    assert answer.status_code == 201, answer.text
    made = ids.parse("pay", answer.json()["id"])
    assert made is not None
    return made


def cancel(url: str, signed: str, payment: UUID) -> None:
    headers = {"authorization": f"Bearer {signed}", "idempotency-key": "original"}
    path = f"{url}/v1/payments/{ids.public('pay', payment)}/cancellations"
    answer = httpx.post(path, json={"reason": "changed_mind"}, headers=headers, trust_env=False, timeout=30)
    assert answer.status_code == 201, answer.text


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
