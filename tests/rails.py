"""Rails: the sandbox in a process of its own with a receiver of its notifications and the adapter between them, and one in memory."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx

from service.providers.sandbox import SandboxProvider, rail_client
from workflows.domain.ports import (
    Absent,
    Declined,
    Done,
    NeedsAction,
    Order,
    Outcome,
    Pending,
    ProviderNotification,
    ProviderUnavailable,
    RailSchedule,
    Returned,
    Settled,
    Unknown,
)

SECRET = "a secret of the tests"
# What is answered is waited for however busy the machine is: these only bound a hang.
PATIENCE_SECONDS = 120.0
# For calls that are never answered, or too late: how long the sender waits for nothing.
GIVEN_UP_SECONDS = 0.5
T = TypeVar("T")


@dataclass
class Delivery:
    """One notification as it arrived."""

    headers: dict[str, str]
    body: bytes
    said: dict[str, Any]


@dataclass
class Receiver:
    """Keeps what arrives, and answers with the next scripted status of that key, or 204."""

    url: str = ""
    deliveries: list[Delivery] = field(default_factory=list)
    statuses: dict[str, list[int]] = field(default_factory=dict)

    def about(self, rail_key: str) -> list[Delivery]:
        return [delivery for delivery in self.deliveries if delivery.said["rail_key"] == rail_key]

    def words(self, rail_key: str) -> list[str]:
        return [delivery.said["status"] for delivery in self.about(rail_key)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:-2]
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                delivery = Delivery(headers, body, json.loads(body))
                self.deliveries.append(delivery)
                scripted = self.statuses.get(delivery.said["rail_key"], [])
                writer.write(f"HTTP/1.1 {scripted.pop(0) if scripted else 204} x\r\ncontent-length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@dataclass
class RailProcess:
    """`python -m service.sandbox` over one ledger; started, killed and started again on the same port."""

    folder: Path
    notify_url: str | None = None
    process: asyncio.subprocess.Process | None = None
    url: str = ""
    port: int = 0

    async def start(self) -> None:
        secret = self.folder / "secret"
        secret.write_text(SECRET)
        arguments = ["-m", "service.sandbox", "--ledger", str(self.folder / "ledger.db"), "--port", str(self.port)]
        if self.notify_url:
            arguments += ["--notify-url", self.notify_url, "--secret-file", str(secret)]
        self.process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
        assert self.process.stdout is not None
        self.url = (await self.process.stdout.readline()).decode().strip()
        self.port = int(self.url.rpartition(":")[2])

    async def kill(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()


@dataclass
class Caller:
    """The adapter, once patient and once not, and a bare client at one rail."""

    provider: SandboxProvider
    impatient: SandboxProvider
    http: httpx.AsyncClient

    async def moved(self, order: Order) -> list[dict[str, Any]]:
        response = await self.http.get("/sandbox/movements", params={"payment_reference": order.payment_reference})
        data: list[dict[str, Any]] = response.json()["data"]
        return data


def order(provider_reference: str, *, amount: int = 1250, currency: str = "CNY") -> Order:
    payment, leg = uuid4().hex, uuid4().hex
    return Order(
        rail_key=payment + leg,
        payment_reference=f"ref-{payment}",
        provider_reference=provider_reference,
        amount=amount,
        currency=currency,
    )


@asynccontextmanager
async def rail_caller(rail: RailProcess) -> AsyncIterator[Caller]:
    async with (
        rail_client(connections=100) as client,
        httpx.AsyncClient(base_url=rail.url, timeout=PATIENCE_SECONDS, trust_env=False) as http,
    ):
        patient, impatient = (SandboxProvider(client, rail.url, timeout_seconds=each) for each in (PATIENCE_SECONDS, GIVEN_UP_SECONDS))
        yield Caller(patient, impatient, http)


async def eventually(look: Callable[[], Awaitable[T]], wanted: Callable[[T], bool] = bool) -> T:
    """What `look` sees as soon as it is wanted; fails when that takes longer than anybody would wait."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not wanted(seen := await look()):
            await asyncio.sleep(0.01)
    return seen


async def noticed(look: Callable[[], T], wanted: Callable[[T], bool] = bool) -> T:
    """As `eventually`, of what lies in this process."""

    async def looked() -> T:
        return look()

    return await eventually(looked, wanted)


# -- in memory -----------------------------------------------------------------------------------------------------------

WORDS = ("ok", "pending", "decline", "unknown", "action", "settled", "mismatch", "unavailable", "absent", "returned")


def outcome(word: str, amount: int, currency: str) -> Outcome:
    """What a word of a script stands for; any other word is `ok`."""
    others: dict[str, Outcome] = {
        "pending": Pending("r-1"),
        "decline": Declined("account_closed"),
        "unknown": Unknown("timeout"),
        "action": NeedsAction("r-1"),
        "settled": Settled(),
        "mismatch": Done(amount + 1, currency),
        "unavailable": ProviderUnavailable(),
        "absent": Absent(),
        "returned": Returned("account_closed"),
    }
    return others.get(word, Done(amount, currency, provider_refund_id="r-1"))


SCHEDULE = RailSchedule(
    enquiries=(timedelta(seconds=1),), sends_again=True, unknown_max=timedelta(hours=1), processing_max=timedelta(days=3)
)


@dataclass
class ScriptedRail:
    """Answers by the provider reference: words parted by slashes, one for each call under a key, the last for all that follow."""

    name: str = "sandbox"
    schedule: RailSchedule = SCHEDULE
    calls: dict[str, int] = field(default_factory=dict)

    async def refund(self, order: Order) -> Outcome:
        return self._answer(order)

    async def void(self, order: Order) -> Outcome:
        return self._answer(order)

    async def find(self, order: Order) -> Outcome:
        return self._answer(order) if order.rail_key in self.calls else Absent()

    async def cancel(self, order: Order) -> Outcome:
        return self._answer(order)

    def successor_reference(self, provider_reference: str) -> str:
        return provider_reference.partition("|")[2] or "done"

    def read(self, body: bytes) -> ProviderNotification | None:
        said = json.loads(body)
        return ProviderNotification(said["rail_key"], outcome(said["word"], said["amount"], said["currency"]))

    def _answer(self, order: Order) -> Outcome:
        words = order.provider_reference.partition("|")[0].split("/")
        call = self.calls.get(order.rail_key, 0)
        self.calls[order.rail_key] = call + 1
        return outcome(words[min(call, len(words) - 1)], order.amount, order.currency)
