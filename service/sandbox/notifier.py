"""Delivers the ledger's notifications, signed, and repeats each until the receiver answers 2xx."""

import asyncio
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from urllib.parse import urlsplit

from service.sandbox.ledger import OwedNotification
from service.sandbox.ledger_writer import LedgerWriter

SIGNATURE_HEADER = "Refundry-Sandbox-Signature"
DELIVERY_SECONDS_MAX = 5.0
EARLY_SECONDS_MAX = 1.0  # a reply waits no longer than that for its early notification
DELIVERIES_AT_ONCE = 16
IDLE_SECONDS_MAX = 0.5


class Notifier:
    """Delivers what is due, except about a key whose reply is not sent yet (`hold`); `deliver_early` does so before the reply."""

    def __init__(self, writer: LedgerWriter, url: str, secret: str, clock: Callable[[], datetime]) -> None:
        self._writer = writer
        self._post = WebhookClient(url).post
        self._secret = secret.encode()
        self._clock = clock
        self._held: Counter[str] = Counter()
        self._woken = asyncio.Event()
        self._slots = asyncio.Semaphore(DELIVERIES_AT_ONCE)

    @contextmanager
    def hold(self, rail_key: str) -> Iterator[None]:
        self._held[rail_key] += 1
        try:
            yield
        finally:
            self._held[rail_key] -= 1
            if self._held[rail_key] <= 0:
                del self._held[rail_key]
            self._woken.set()

    @contextmanager
    def release(self, rail_key: str) -> Iterator[None]:
        """Inside a hold: while this lasts, the notification may go, since the reply will not."""
        self._held[rail_key] -= 1
        self._woken.set()
        try:
            yield
        finally:
            self._held[rail_key] += 1

    def wake(self) -> None:
        self._woken.set()

    async def deliver_early(self, rail_key: str) -> None:
        """Deliver now what is owed about a key; what is not taken stays owed."""
        owed = await self._writer(lambda ledger: ledger.owed_for(rail_key))
        with suppress(TimeoutError):
            async with asyncio.timeout(EARLY_SECONDS_MAX):
                await self._deliver(owed)

    async def deliver_due(self) -> None:
        """One round: deliver what is due, or else wait for something to be."""
        self._woken.clear()
        now_ms = _milliseconds(self._clock())
        held = [key for key, times in self._held.items() if times > 0]
        owed = await self._writer(lambda ledger: ledger.owed(now_ms, held))
        if owed:
            await self._deliver(owed)
        else:
            await self._idle(now_ms)

    async def _deliver(self, owed: list[OwedNotification]) -> None:
        answers = await asyncio.gather(*(self._send(notification) for notification in owed))
        delivered = [notification for notification, taken in zip(owed, answers, strict=True) if taken]
        failed = [notification for notification, taken in zip(owed, answers, strict=True) if not taken]
        now_ms = _milliseconds(self._clock())
        await self._writer(lambda ledger: ledger.record_deliveries(delivered, failed, now_ms))

    async def _send(self, notification: OwedNotification) -> bool:
        async with self._slots:
            body = notification.body.encode()
            stamp = str(int(self._clock().timestamp()))
            return await self._post({SIGNATURE_HEADER: f"t={stamp},v1={sign(self._secret, stamp, body)}"}, body)

    async def _idle(self, now_ms: int) -> None:
        due_ms = await self._writer(lambda ledger: ledger.next_delivery_ms(now_ms))
        wait = IDLE_SECONDS_MAX if due_ms is None else min(IDLE_SECONDS_MAX, (due_ms - now_ms) / 1000)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._woken.wait()


class WebhookClient:
    """Posts JSON to one address, with a connection for each: a tenth of a full HTTP client's work, and only the status matters."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if parts.scheme not in ("http", "https") or parts.hostname is None or not re.fullmatch(r"[!-~]+", target):
            raise ValueError(f"{url!r} is not an address that notifications can be sent to")
        self._host = parts.hostname
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._head = f"POST {target} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\nConnection: close\r\n"

    async def post(self, headers: dict[str, str], body: bytes) -> bool:
        """Whether the receiver answered 2xx in time."""
        try:
            async with asyncio.timeout(DELIVERY_SECONDS_MAX):
                reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls or None)
                try:
                    told = {**headers, "Content-Type": "application/json", "Content-Length": str(len(body))}
                    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
                    writer.write(f"{self._head}{lines}\r\n".encode() + body)
                    answer = await reader.readuntil(b"\r\n\r\n")
                finally:
                    writer.close()
        except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError):
            return False
        return re.match(rb"HTTP/1\.[01] 2\d\d ", answer) is not None


def sign(secret: bytes, stamp: str, body: bytes) -> str:
    return hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
