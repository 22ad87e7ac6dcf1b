"""The limits of HTTP connections, and the table of a server's connections that keeps to them."""

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Protocol

Network = IPv4Network | IPv6Network
Refusal = Callable[[str, str | None], bytes]  # a problem's slug and the Accept-Language sent, if any -> the whole HTTP answer

_LINGERING_MAX: Final = 64  # refused connections that may stay for a moment, so that their client can read why
_EVICTED_SHARE: Final = 20  # one in so many waiting connections is closed at once: looking for them costs a walk over all
_IPV6_HOST_BITS: Final = 64  # whoever has one IPv6 address has all of its /64
_CHECK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What one connection, one address and all connections of a process may take.

    `bytes_per_second_min` holds for bodies received and answers sent, on average: bytes beyond it buy pauses of up to
    `pause_seconds_max`. It is as low as that of Kestrel and IIS, since an import may come line by line as its source makes them.
    """

    head_seconds: float = 10  # for a request's line and headers, from their first byte or from the connection's beginning
    head_bytes_max: int = 32 * 1024
    head_fields_max: int = 100
    url_bytes_max: int = 8 * 1024
    body_grace_seconds: float = 10  # before the least rate counts
    bytes_per_second_min: int = 240
    pause_seconds_max: float = 60
    keep_alive_seconds: float = 75
    pipelined_max: int = 16  # requests of a connection that wait for the answer to an earlier one
    connections_max: int = 1_000
    connections_per_address_max: int = 250
    # Their connections carry many clients, and are not counted by address. A proxy on this machine is the usual one.
    trusted_proxies: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))

    @property
    def check_seconds(self) -> float:
        """How often the connections are looked at."""
        return min(_CHECK_SECONDS, self.head_seconds / 4, self.body_grace_seconds / 4, self.pause_seconds_max / 4)


class Connection(Protocol):
    """What the table knows of a connection."""

    waiting_since: float  # of the loop's time: when it was accepted, or had its latest answer

    @property
    def is_waiting(self) -> bool:
        """Whether no request of it is under way."""

    def check(self, now: float) -> None:
        """End it if it is over its time."""

    def evict(self) -> None:
        """End it at once, in favour of a new one."""


class ConnectionTable:
    """The connections of one server, bounded in all and by address.

    At a bound, those that have waited longest without a request make room, so that connections that only wait shut nobody out.
    """

    def __init__(self, limits: HttpLimits, refusal: Refusal) -> None:
        self.limits = limits
        self.refusal = refusal
        self._addresses: dict[Connection, str | None] = {}
        self._by_address: Counter[str] = Counter()
        self._lingering: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None

    def admit(self, connection: Connection, host: str | None, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether there is room for it. `host`: the remote address, if there is one."""
        address = self._counted_address(host)
        if address is not None and self._by_address[address] >= self.limits.connections_per_address_max and not self._make_room(address):
            return False
        if len(self._addresses) >= self.limits.connections_max and not self._make_room(None):
            return False
        self._addresses[connection] = address
        if address is not None:
            self._by_address[address] += 1
        self._watch(loop)
        return True

    def linger(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether a connection that was not admitted may stay until its client has read why."""
        if len(self._lingering) >= _LINGERING_MAX:
            return False
        self._lingering.add(connection)
        self._watch(loop)
        return True

    def remove(self, connection: Connection) -> None:
        self._lingering.discard(connection)
        address = self._addresses.pop(connection, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def _make_room(self, address: str | None) -> bool:
        waiting = [one for one, its in self._addresses.items() if one.is_waiting and (address is None or its == address)]
        oldest = heapq.nsmallest(1 + len(waiting) // _EVICTED_SHARE, waiting, key=lambda one: one.waiting_since)
        for one in oldest:
            self.remove(one)
            one.evict()
        return bool(oldest)

    def _counted_address(self, host: str | None) -> str | None:
        if host is None:
            return None
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return host
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self.limits.trusted_proxies):
            return None
        if isinstance(address, IPv6Address):
            return str(IPv6Network((int(address) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS, _IPV6_HOST_BITS)))
        return str(address)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None:
            self._timer = loop.call_later(self.limits.check_seconds, self._check, loop)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for one in (*self._addresses, *self._lingering):
            one.check(now)
        if self._addresses or self._lingering:
            self._watch(loop)
