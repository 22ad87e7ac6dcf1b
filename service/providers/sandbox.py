"""The sandbox rail as a Provider.

| the rail says                                             | outcome                                                    |
|-----------------------------------------------------------|------------------------------------------------------------|
| 200 `succeeded`                                           | Done, with the amount and currency that it says            |
| 200 `pending`                                             | Pending                                                    |
| 200 `declined`                                            | Declined, with its failure code                            |
| 200 `requires_action`                                     | NeedsAction                                                |
| 200 `settled` (a void of a captured payment)              | Settled                                                    |
| 200 `returned`                                            | Returned                                                   |
| 400 `invalid_request`, in so many words, to a send        | Declined(`invalid_request`): the same order can never move |
| 404 `absent`, in so many words, to a question or a cancel | Absent                                                     |
| 503 to a send or a cancel                                 | Unavailable, with its Retry-After                          |
| no connection was made (refused, timed out, none free)    | Unavailable to a send or a cancel: not a byte left         |
| the answer did not come in time                           | Unknown(`timeout`)                                         |
| the connection broke                                      | Unknown(`connection`)                                      |
| a reply that cannot be read, or that is of another key    | Unknown(`unreadable`)                                      |
| any other status, 409 `key_reused` among them             | Unknown(`http_<status>`)                                   |
| 503, or no connection, to a question                      | Unknown(`unavailable`): what became of it is not known     |

A cancel that comes in time is answered `declined`, with the failure code `cancelled`; one that comes too late with what is.
"""

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import aiohttp

from workflows.domain.money import AMOUNT_MAX
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

if TYPE_CHECKING:  # what the connector below takes and gives; aiohttp offers these names for types alone
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

_Call = Literal["send", "find", "cancel"]

SIGNATURE_HEADER = "Refundry-Sandbox-Signature"
REPLY_BYTES_MAX = 64 * 1024
RETRY_AFTER_SECONDS_MAX = 3600.0
TEXT_LENGTH_MAX = 255
CALL_TIMEOUTS_MAX = 2  # a call lasts no longer than so many time-outs, however the rail drips its reply
KEEPALIVE_SECONDS = 4.0  # far less than the rail's own 75: it must not close a connection just as an order is sent on it
# What aiohttp raises only before it writes to a connection. It sends no POST a second time, whatever befalls the first.
_NOTHING_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)
_JSON = {"Content-Type": "application/json"}
_SIGNATURE_PART = re.compile(r"(t|v1)=([0-9a-f]{1,64})", re.ASCII)
_STAMP = re.compile(r"[0-9]{1,12}")


class _Unreadable(Exception):
    """The rail's answer or notification cannot be read."""


@dataclass(frozen=True, slots=True)
class Notification:
    """What the rail notified about one key; `id` is the same at every delivery, `at` is when it happened at the rail."""

    id: str
    rail_key: str
    outcome: Outcome
    at: datetime


class _Connector(aiohttp.TCPConnector):
    """Gives no kept connection on which the rail has spoken unasked: its word would pass for the answer to the next order."""

    async def _get(self, key: "ConnectionKey", traces: "list[Trace]") -> "Connection | None":
        while (connection := await super()._get(key, traces)) is not None:
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        return None


def rail_client(*, connections: int) -> aiohttp.ClientSession:
    """A client to one rail, with at most so many connections: no cookies, no proxy of the environment, no compression."""
    return aiohttp.ClientSession(
        connector=_Connector(limit=connections, keepalive_timeout=KEEPALIVE_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
        read_bufsize=REPLY_BYTES_MAX,
        trust_env=False,
    )


SCHEDULE = RailSchedule(
    enquiries=(timedelta(minutes=1),), sends_again=True, unknown_max=timedelta(hours=1), processing_max=timedelta(days=3)
)


class SandboxProvider:
    """Speaks to the rail at `url` through a `rail_client`; nothing that the rail or the network does raises."""

    name = "sandbox"

    def __init__(self, client: aiohttp.ClientSession, url: str, *, timeout_seconds: float, schedule: RailSchedule = SCHEDULE) -> None:
        self.schedule = schedule
        self._client = client
        self._url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        # `connect` includes the wait for a free connection; `sock_read` counts anew with every byte that arrives.
        self._timeout = aiohttp.ClientTimeout(total=None, connect=timeout_seconds, sock_read=timeout_seconds)

    async def refund(self, order: Order) -> Outcome:
        return await self._send("/sandbox/refunds", order)

    async def void(self, order: Order) -> Outcome:
        return await self._send("/sandbox/voids", order)

    async def find(self, order: Order) -> Outcome:
        outcome = await self._call("find", f"/sandbox/movements/{quote(order.rail_key, safe='')}", order)
        return Unknown("unavailable") if isinstance(outcome, ProviderUnavailable) else outcome

    async def cancel(self, order: Order) -> Outcome:
        return await self._call("cancel", f"/sandbox/movements/{quote(order.rail_key, safe='')}/cancel", order, {})

    def successor_reference(self, provider_reference: str) -> str:  # noqa: ARG002 -- the faults that it asks for are the failed leg's
        return "ok"

    @staticmethod
    def read(body: bytes) -> ProviderNotification | None:
        """What a stored notification says; Unknown(`unreadable`) where it names a key and the rest cannot be understood."""
        try:
            content = _object(body)
            rail_key = _text(content, "rail_key")
        except _Unreadable:
            return None
        try:
            return ProviderNotification(rail_key, _outcome_of(content))
        except _Unreadable:
            return ProviderNotification(rail_key, Unknown("unreadable"))

    async def _send(self, path: str, order: Order) -> Outcome:
        content: dict[str, str | int] = {
            "rail_key": order.rail_key,
            "payment_reference": order.payment_reference,
            "provider_reference": order.provider_reference,
            "amount": order.amount,
            "currency": order.currency,
        }
        return await self._call("send", path, order, content)

    async def _call(self, call: _Call, path: str, order: Order, content: dict[str, str | int] | None = None) -> Outcome:
        body = None if content is None else json.dumps(content).encode()
        try:
            # The client's own limit is per read: a rail that drips its reply byte by byte would never meet it.
            async with (
                asyncio.timeout(CALL_TIMEOUTS_MAX * self._timeout_seconds),
                # A redirect that is followed would send the order a second time, and a refused connection then says nothing of the first.
                self._client.request(
                    "GET" if body is None else "POST",
                    self._url + path,
                    data=body,
                    headers=None if body is None else _JSON,
                    allow_redirects=False,
                    timeout=self._timeout,
                ) as response,
            ):
                reply = await _read(response)
        except _NOTHING_SENT:
            return ProviderUnavailable()
        except TimeoutError:
            return Unknown("timeout")
        except (aiohttp.ClientResponseError, _Unreadable):
            return Unknown("unreadable")
        except (aiohttp.ClientError, OSError):
            return Unknown("connection")
        return _outcome_of_response(call, response, reply, order)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > REPLY_BYTES_MAX:
            raise _Unreadable
    return bytes(body)


def _outcome_of_response(call: _Call, response: aiohttp.ClientResponse, body: bytes, order: Order) -> Outcome:
    try:
        match response.status:
            case 200:
                content = _object(body)
                if content.get("rail_key") != order.rail_key:
                    raise _Unreadable
                return _outcome_of(content)
            case 503:
                return ProviderUnavailable(_retry_after(response))
            # A proxy's 400 or 404 is not the rail's: only the rail knows these codes.
            # That a cancel was malformed says nothing of what it was to cancel.
            case 400 if call == "send" and _object(body).get("code") == "invalid_request":
                return Declined("invalid_request")
            case 404 if call != "send" and _object(body).get("code") == "absent":
                return Absent()
            case other:
                return Unknown(f"http_{other}")
    except _Unreadable:
        return Unknown("unreadable")


def _outcome_of(content: dict[str, Any]) -> Outcome:
    match content.get("status"):
        case "succeeded":
            amount = content.get("amount")
            if type(amount) is not int or not 1 <= amount <= AMOUNT_MAX:
                raise _Unreadable
            return Done(
                amount, _text(content, "currency"), _optional_text(content, "provider_refund_id"), _optional_text(content, "rail_reference")
            )
        case "pending":
            return Pending(_optional_text(content, "provider_refund_id"))
        case "declined" | "failed":
            return Declined(_text(content, "failure_code"))
        case "requires_action":
            return NeedsAction(_optional_text(content, "provider_refund_id"))
        case "settled":
            return Settled()
        case "returned":
            return Returned(_optional_text(content, "failure_code"))
        case _:
            raise _Unreadable


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as why:
        raise _Unreadable from why
    if not isinstance(content, dict):
        raise _Unreadable
    return content


def _text(content: dict[str, Any], name: str) -> str:
    value = content.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= TEXT_LENGTH_MAX or not value.isprintable():
        raise _Unreadable
    return value


def _optional_text(content: dict[str, Any], name: str) -> str | None:
    return None if content.get(name) is None else _text(content, name)


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    text = response.headers.get("Retry-After", "")
    return min(float(text), RETRY_AFTER_SECONDS_MAX) if re.fullmatch(r"[0-9]{1,9}", text) else None


def verify_notification(
    headers: Mapping[str, str], body: bytes, secret: str, now: datetime, tolerance_seconds: int = 300
) -> Notification | None:
    """The notification, or None where it is not signed by the rail, is too old or too new, or names no key.

    A signed notification that cannot be read is Unknown(`unreadable`): it must be kept, and the rail be asked.
    """
    if not _is_signed(headers, body, secret.encode(), now, tolerance_seconds):
        return None
    notification = SandboxProvider.read(body)
    if notification is None:
        return None
    content = _object(body)
    try:
        return Notification(_text(content, "id"), notification.rail_key, notification.outcome, _timestamp(_text(content, "at")))
    except _Unreadable:
        return Notification(hashlib.sha256(body).hexdigest(), notification.rail_key, Unknown("unreadable"), now)


def _is_signed(headers: Mapping[str, str], body: bytes, secret: bytes, now: datetime, tolerance_seconds: int) -> bool:
    value = next((value for name, value in headers.items() if name.lower() == SIGNATURE_HEADER.lower()), "")
    parts = [match.groups() for part in value.split(",")[:8] if (match := _SIGNATURE_PART.fullmatch(part.strip()))]
    stamps = [text for name, text in parts if name == "t" and _STAMP.fullmatch(text)]
    if not secret or len(stamps) != 1 or abs(now.timestamp() - int(stamps[0])) > tolerance_seconds:
        return False
    expected = hmac.new(secret, stamps[0].encode() + b"." + body, hashlib.sha256).hexdigest()
    return any([hmac.compare_digest(expected, text) for name, text in parts if name == "v1"])  # noqa: C419 -- all are compared, in equal time


def _timestamp(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as why:
        raise _Unreadable from why
    if at.tzinfo is None:
        raise _Unreadable
    return at
