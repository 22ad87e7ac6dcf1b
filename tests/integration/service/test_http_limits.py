"""Slow and greedy connections end, and shut nobody out."""

import asyncio
import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
from uvicorn.server import ServerState

from service.http_limits import ConnectionTable, HttpLimits
from service.http_protocol import Http11Protocol, http11_protocol
from service.settings import load
from service.up import serving
from tests import ROOT
from tests.integration.http_server import GET, POST, WAIT_SECONDS, Application, Client, clients, served

pytestmark = pytest.mark.slow

HALF = b"GET /a HTTP/1.1\r\nHost: a.te"
SLOW = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
SHORT = HttpLimits(head_seconds=0.2, body_grace_seconds=0.2, pause_seconds_max=0.2)


# Slow ones.


@pytest.mark.parametrize("sent", [b"G", HALF, GET + HALF], ids=["one byte", "half a head", "half of a second head"])
async def test_half_a_head_is_timed_out(sent: bytes) -> None:
    async with served(Application(), SHORT) as port, clients(port) as (client,):
        await client.send(sent)

        if sent.startswith(GET):
            assert (await client.answer())[0] == 200
        assert await client.problem() == "408 request-timeout"


async def test_a_head_that_comes_by_bytes_is_timed_out() -> None:
    async with served(Application(), SHORT) as port, clients(port) as (client,):
        await client.send(HALF)
        await client.flood(b"a", 1_000, pause_seconds=0.02)

        assert await client.problem() == "408 request-timeout"


async def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
    async with served(Application(), SHORT) as port, clients(port) as (client,):
        assert await client.ended() == b""


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    limits = HttpLimits(head_seconds=0.2, keep_alive_seconds=0.3)
    async with served(Application(), limits) as port, clients(port) as (client,):
        await client.send(GET)

        assert (await client.answer())[0] == 200
        assert await client.ended() == b""


async def test_empty_lines_and_dropped_bodies_keep_no_connection_open() -> None:
    limits = HttpLimits(head_seconds=0.2, keep_alive_seconds=0.3)
    async with served(Application(), limits) as port, clients(port, 2) as (lines, late):
        await lines.send(GET)
        await lines.answer()
        await lines.send(b"\r\n")
        await late.send(b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
        await late.answer()
        await late.send(b"a")

        assert await lines.ended() == await late.ended() == b""


async def test_a_body_that_stops_is_timed_out_and_its_application_is_told() -> None:
    for head in (b"Content-Length: 10\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n"):
        app = Application()
        async with served(app, SHORT) as port, clients(port) as (client,):
            await client.send(POST + head + b"abc")

            assert await client.problem() == "408 request-timeout"
            await asyncio.wait_for(app.disconnected.wait(), WAIT_SECONDS)


async def test_a_body_slower_than_the_least_rate_is_timed_out() -> None:
    limits = HttpLimits(body_grace_seconds=0.4, bytes_per_second_min=1_000_000)
    async with served(Application(), limits) as port, clients(port) as (client,):
        await client.send(POST + b"Content-Length: 100000\r\n\r\n")
        await client.flood(b"a", 1_000, pause_seconds=0.02)

        assert await client.problem() == "408 request-timeout"


async def test_a_slow_but_living_body_is_read_to_its_end() -> None:
    # 40 bytes each time buy 4 seconds, of which the pause takes some hundredths.
    limits = HttpLimits(body_grace_seconds=4, pause_seconds_max=8, bytes_per_second_min=10)
    async with served(Application(), limits) as port, clients(port) as (client,):
        await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            await client.send(b"28\r\n" + b"a" * 40 + b"\r\n")
            await asyncio.sleep(0.05)
        await client.send(b"0\r\n\r\n")

        assert (await client.answer())[2] == b"800"


async def test_time_that_the_application_takes_is_not_the_clients() -> None:
    app = Application()
    async with served(app, SHORT) as port, clients(port, 2) as (slow, ahead):
        await slow.send(SLOW)
        await ahead.send(SLOW + GET + HALF)
        await asyncio.sleep(0.6)  # three times what a client may take
        app.go.set()

        assert (await slow.answer())[0] == 200
        assert [(await ahead.answer())[0] for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("ahead", [1, 5])
async def test_an_answer_that_nobody_takes_ends_the_connection(ahead: int) -> None:
    app = Application()
    async with served(app, SHORT) as port, clients(port) as (client,):
        client.read_nothing()
        await client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" * ahead)

        await asyncio.wait_for(app.ended.wait(), WAIT_SECONDS)


async def test_a_connection_that_is_closed_does_not_wait_for_a_client_that_reads_nothing() -> None:
    app = Application()
    async with served(app, SHORT) as port, clients(port) as (client,):
        client.read_nothing()
        await client.send(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")

        await asyncio.wait_for(app.ended.wait(), WAIT_SECONDS)


# Many.


async def test_half_open_connections_make_room_for_those_that_ask() -> None:
    limits = HttpLimits(connections_max=20)
    async with served(Application(), limits) as port, clients(port, 20) as many:
        for one in many:
            await one.send(HALF)
        for _ in range(10):
            async with clients(port) as (client,):
                await client.send(GET)
                assert (await client.answer())[0] == 200

        ended = [one for one in many if one.has_word]
        assert [await one.problem() for one in ended] == ["503 too-many-connections"] * len(ended)
        assert ended


async def test_connections_at_work_are_not_ended_for_others_which_are_told_to_come_again() -> None:
    app = Application()
    async with served(app, HttpLimits(connections_max=3)) as port, clients(port, 3) as busy:
        for one in busy:
            await one.send(SLOW)
        while len(app.paths) < 3:
            await asyncio.sleep(0.01)

        async with clients(port) as (client,):
            status, headers, _ = await client.answer()
            assert (status, headers["retry-after"], await client.ended()) == (503, "2", b"")
        app.go.set()

        assert [(await one.answer())[0] for one in busy] == [200] * 3
        async with clients(port) as (client,):
            await client.send(GET)
            assert (await client.answer())[0] == 200


class Transport:
    """What a protocol writes to; `unsent` bytes of it nobody has taken."""

    def __init__(self, unsent: int) -> None:
        self.unsent, self.ends = unsent, list[str]()

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def close(self) -> None:
        self.ends.append("close")

    def abort(self) -> None:
        self.ends.append("abort")


@pytest.mark.parametrize(("unsent", "end"), [(0, "close"), (1, "abort")])
def test_who_makes_room_while_nobody_takes_his_answer_is_gone_at_once(unsent: int, end: str) -> None:
    """It is not counted any more: closing would let it stay for as long as its client likes."""
    protocol = Http11Protocol.__new__(Http11Protocol)
    protocol.transport = transport = Transport(unsent)  # type: ignore[assignment] # as much of one as is needed

    protocol.evict()

    assert transport.ends == [end]


class Gone(Transport):
    """One whose other side has reset the connection."""

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.unsent = len(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))


async def test_a_refusal_of_which_nobody_hears_ends_the_connection_at_once(loop: asyncio.AbstractEventLoop) -> None:
    configured = serving.configuration(Application())
    configured.load()
    protocol = http11_protocol(HttpLimits())(configured, ServerState(), {}, loop)
    protocol.transport = transport = Gone(0)  # type: ignore[assignment] # as much of one as is needed

    protocol._refuse("request-timeout")

    assert transport.unsent
    assert transport.ends == ["close"]
    assert not protocol._is_lingering


class Stub:
    """A connection as the table sees it."""

    def __init__(self, since: float = 0, *, is_waiting: bool = False) -> None:
        self.waiting_since, self.is_waiting, self.evicted = since, is_waiting, False

    def check(self, now: float) -> None:
        pass

    def evict(self) -> None:
        self.evicted = True


@pytest.fixture
async def loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def table(**limits: object) -> ConnectionTable:
    return ConnectionTable(HttpLimits(**limits), lambda _slug, _language: b"")  # type: ignore[arg-type] # each test names its own limits


async def test_an_address_has_its_own_bound(loop: asyncio.AbstractEventLoop) -> None:
    found = table(connections_per_address_max=2, trusted_proxies=(ip_network("10.0.0.0/8"),))

    def admitted(host: str | None) -> list[bool]:
        return [found.admit(Stub(), host, loop) for _ in range(3)]

    assert admitted("192.0.2.1") == admitted("192.0.2.2") == [True, True, False]
    assert found.admit(Stub(), "::ffff:192.0.2.1", loop) is False
    assert [found.admit(Stub(), f"2001:db8::{n}", loop) for n in range(3)] == [True, True, False]
    assert found.admit(Stub(), "2001:db8:0:1::1", loop) is True
    assert admitted("10.1.2.3") == admitted(None) == [True, True, True]


async def test_an_address_makes_room_among_its_own(loop: asyncio.AbstractEventLoop) -> None:
    found = table(connections_per_address_max=2)
    other, oldest, newer = Stub(1, is_waiting=True), Stub(2, is_waiting=True), Stub(3, is_waiting=True)
    for one, host in ((other, "192.0.2.2"), (newer, "192.0.2.1"), (oldest, "192.0.2.1")):
        found.admit(one, host, loop)

    assert found.admit(Stub(4), "192.0.2.1", loop) is True
    assert [one.evicted for one in (other, oldest, newer)] == [False, True, False]


async def test_places_are_free_again(loop: asyncio.AbstractEventLoop) -> None:
    found = table(connections_max=1, connections_per_address_max=1)
    for _ in range(3):
        one = Stub()
        assert found.admit(one, "192.0.2.1", loop) is True
        assert found.admit(Stub(), "192.0.2.1", loop) is False
        found.remove(one)
        found.remove(one)


# The process.


def test_the_limits_are_settings() -> None:
    given = {"head_seconds": 3, "keep_alive_seconds": 60, "connections_max": 7, "connections_per_address_max": 5}
    limits = serving.limits_from(load(trusted_proxies="10.0.0.0/8, ::1", **given))

    assert {name: getattr(limits, name) for name in given} == given
    assert limits.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert serving.limits_from(load()) == HttpLimits()
    assert serving.limits_for_few(load()).connections_per_address_max == HttpLimits().connections_max


@pytest.mark.parametrize("refusal", [ValueError("not allowed to raise maximum limit"), PermissionError(errno.EPERM, "not permitted")])
def test_a_system_that_lets_no_more_files_be_opened_is_lived_with(monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    def refuse(*_: object) -> None:
        raise refusal

    monkeypatch.setattr(resource, "setrlimit", refuse)

    assert serving.raise_open_files_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


_SERVER = """
import resource, sys
from service.up import serving
from tests.integration.http_server import Application
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 120))
serving.serve(Application(), serving.inherited_socket(int(sys.argv[1])))
"""


@contextmanager
def process() -> Iterator[tuple[int, int]]:
    """The port and process id of a server that may open 64 files, or 120 if it asks."""
    listening = serving.listen("127.0.0.1", 0)
    command = [sys.executable, "-c", _SERVER, str(listening.fileno())]
    root = ROOT
    with listening, subprocess.Popen(command, pass_fds=[listening.fileno()], cwd=root) as running:
        try:
            yield listening.getsockname()[1], running.pid
        finally:
            running.kill()


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


async def answered(port: int) -> bool:
    async with clients(port) as (client,):
        await client.send(GET)
        return (await client.answer())[0] == 200


async def test_more_half_open_connections_than_files_shut_nobody_out() -> None:
    with process() as (port, _):
        assert await answered(port)
        async with clients(port, 200) as many:
            for one in many:
                await one.send(HALF)

            assert [await answered(port) for _ in range(20)] == [True] * 20


@pytest.mark.parametrize(
    ("begin", "more"),
    [(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: ", b"a" * 65_536), (b"GET / HTTP/1.1\r\nHost: a\r\n", b"a:b\r\n" * 13_000)],
    ids=["one header", "many headers"],
)
async def test_endless_heads_take_no_memory(begin: bytes, more: bytes) -> None:
    with process() as (port, pid):
        assert await answered(port)
        before = resident_bytes(pid)
        for _ in range(4):
            async with clients(port, 8) as many:
                for one in many:
                    await one.send(begin)
                await asyncio.gather(*(_flood(one, more) for one in many))

        assert resident_bytes(pid) - before < 64 * 1024 * 1024
        assert await answered(port)


async def _flood(client: Client, more: bytes) -> None:
    """Up to 16 MiB, whether it is answered or not."""
    for _ in range(256):
        await client.send(more)
        if client.writer.transport.is_closing():
            return
