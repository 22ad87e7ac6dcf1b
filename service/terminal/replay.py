"""Sends payments, and a folder of real cancellations, to a running service, and says what came of them."""

import asyncio
import gzip
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import httpx
from rich.console import Console
from rich.progress import DownloadColumn
from rich.table import Table
from rich.text import Text

from service.auth.keys import LocalKeys
from service.terminal.api_client import ApiClient, Pause, Reply
from service.terminal.failure import UserError
from service.terminal.replay_plan import Case, ReplayPlan, Run, Wish, read_plan
from service.terminal.replay_progress import Advance, progress_bar
from service.terminal.replay_table import Timing, print_result
from service.terminal.replay_tally import Outcome, ReplayResult, Step, Tally, checks, hand_off, judge, step_after
from workflows.clock_and_ids import utc_now
from workflows.domain.enums import Role
from workflows.domain.ports import Clock

CONCURRENCY = 24
FOLLOW_SECONDS_MAX = 180.0  # a refund that has not come to its end by then is told as an error
IMPORT_ATTEMPTS_MAX = 5
CHUNK_BYTES = 256 * 1024
STDIN = "-"
_SUB = "terminal"
_TOKEN_SECONDS = 12 * 3600
_FIRST_LOOK_SECONDS, _LOOKS_SECONDS_MAX = 0.05, 1.0
_ERRORS_SHOWN_MAX = 20
_GZIP_START = b"\x1f\x8b"
_IMPORT = "/v1/payments/import"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a command meets outside of itself; tests bring their own."""

    clock: Clock = utc_now
    transport: httpx.AsyncBaseTransport | None = None
    pause: Pause = asyncio.sleep


def run_import(url: str, token: str, file: str, *, console: Console, around: Surroundings | None = None) -> int:
    """Register the payments of `file` (`.ndjson`, `.ndjson.gz`, `-`) at the service. 0: all are there. 1: some were rejected."""
    answer = _run(_import(file, url, token, console, around or Surroundings()))
    _print_import(console, answer)
    return 1 if answer["rejected"] else 0


def run_replay(  # noqa: PLR0913 -- each is an option of the command
    url: str,
    keys: LocalKeys,
    folder: Path,
    *,
    console: Console,
    limit: int | None = None,
    run: str | None = None,
    around: Surroundings | None = None,
) -> int:
    """Replay a folder through the API and print what came of it. 0: every invariant holds. 1: one does not.

    `run` names an earlier replay, which is then sent again, the very same: it goes on where it broke off, and nothing happens twice.
    """
    around = around or Surroundings()
    now = around.clock()
    plan = read_plan(folder, Run.starting(now) if run is None else Run.named(run), limit)
    token = keys.sign_token(sub=_SUB, role=Role.wallet, ttl_seconds=_TOKEN_SECONDS, now=now)
    tally, timing = _run(_replay(plan, url, token, console, around))
    found = checks(tally)
    print_result(console, tally, found, timing)
    return 0 if all(check.holds for check in found) else 1


async def _import(file: str, url: str, token: str, console: Console, around: Surroundings) -> dict[str, Any]:
    async with ApiClient(url, token, transport=around.transport, pause=around.pause) as reach:
        await reach.greet()
        with _opened(file) as (raw, size), progress_bar(console, "payments", size, DownloadColumn()) as advance:
            reply = await reach.upload(_IMPORT, lambda: _streamed(_chunks(raw, file, advance)))
    return _imported(reply)


async def _replay(plan: ReplayPlan, url: str, token: str, console: Console, around: Surroundings) -> tuple[Tally, Timing]:
    async with ApiClient(url, token, transport=around.transport, pause=around.pause) as reach:
        await reach.greet()
        begun = time.monotonic()
        with progress_bar(console, "registering payments", plan.payments) as advance:
            tally = Tally(plan, _imported(await reach.upload(_IMPORT, _again(plan, advance), attempts_max=IMPORT_ATTEMPTS_MAX)))
        imported, before = time.monotonic(), reach.requests
        with progress_bar(console, "cancelling", plan.requests) as advance:

            async def play(case: Case) -> None:
                for wish in case.wishes:  # one after the other: the next may come when the last is over
                    tally.results.append(await _ask(reach, case, wish, plan.run, around.pause))
                    advance(1)

            await _each(plan.cases, play)
        done, requests = time.monotonic(), reach.requests - before
        with progress_bar(console, "reading payments", len(plan.cases)) as advance:

            async def look(case: Case) -> None:
                reply = await reach.get(f"/v1/payments/{case.payment_id}")
                if reply.status == httpx.codes.OK:
                    tally.payments[case.reference] = reply.body
                advance(1)

            await _each(plan.cases, look)
        timing = Timing(importing=imported - begun, cancelling=done - imported, requests=requests, repeated=reach.repeated)
        return tally, timing


async def _ask(reach: ApiClient, case: Case, wish: Wish, run: Run, pause: Pause) -> ReplayResult:
    """Ask, carry it to its end, and book what went back in the case's ledger."""
    key = f"{run.name}:{wish.invoice}"
    body: dict[str, object] = {"reason": "changed_mind", "client_reference": wish.invoice}
    if not case.ledger.wants_all(wish):
        body["items"] = [{"reference": reference, "quantity": quantity} for reference, quantity in wish.items]
    begun = time.monotonic()
    reply = await reach.post(f"/v1/payments/{case.payment_id}/cancellations", body, key=key)
    asked_seconds = time.monotonic() - begun
    fault, handed_to = "", None
    match step_after(reply):
        case Step.follow:
            reply, fault = await _follow(reach, reply, pause)
        case Step.withdraw:
            handed_to = hand_off(reply)
            reply = await reach.post(f"/v1/cancellations/{reply.body['id']}/withdraw", {}, key=f"{key}:withdraw")
        case Step.over:
            pass
    result = judge(case, wish, reply, asked_seconds=asked_seconds, handed_to=handed_to, fault=fault)
    if result.outcome is Outcome.refunded:
        case.ledger.grant(wish)
    return result


async def _follow(reach: ApiClient, reply: Reply, pause: Pause) -> tuple[Reply, str]:
    """Read the cancellation until it is over; what stopped us, if it is not."""
    path, waited, wait = f"/v1/cancellations/{reply.body['id']}", 0.0, _FIRST_LOOK_SECONDS
    while step_after(reply) is Step.follow:
        if waited >= FOLLOW_SECONDS_MAX:
            return reply, f"still {reply.body.get('state')} after {waited:.0f} s: is a worker running?"
        await pause(wait)
        waited, wait = waited + wait, min(wait * 1.5, _LOOKS_SECONDS_MAX)
        reply = await reach.get(path)
    return reply, ""


async def _each(cases: tuple[Case, ...], do: Callable[[Case], Coroutine[Any, Any, None]]) -> None:
    """All cases, CONCURRENCY at a time."""
    waiting = iter(cases)

    async def work() -> None:
        for case in waiting:
            await do(case)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(CONCURRENCY, len(cases))):
            group.create_task(work())


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run it; of the failures of tasks that ran side by side the first is told."""
    try:
        return asyncio.run(work)
    except BaseExceptionGroup as group:
        told: BaseException = group.subgroup(UserError) or group
        while isinstance(told, BaseExceptionGroup):
            told = told.exceptions[0]
        raise told from None


def _imported(reply: Reply) -> dict[str, Any]:
    if reply.status != httpx.codes.OK:
        raise UserError(f"The service refused the import: {reply.told()}")
    return reply.body


def _again(plan: ReplayPlan, advance: Advance) -> Callable[[], AsyncIterator[bytes]]:
    """The plan's payments as a stream that can begin again; the bar shows how far the first one came."""
    shown = 0

    def chunks() -> Iterator[bytes]:
        nonlocal shown
        chunk, count = bytearray(), 0
        for count, line in enumerate(plan.lines(), 1):
            chunk += line
            if len(chunk) >= CHUNK_BYTES:
                yield bytes(chunk)
                chunk.clear()
                advance(max(0, count - shown))
                shown = max(shown, count)
        yield bytes(chunk)
        advance(max(0, count - shown))
        shown = max(shown, count)

    return lambda: _streamed(chunks())


async def _streamed(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@contextmanager
def _opened(file: str) -> Iterator[tuple[IO[bytes], int | None]]:
    """The file as it lies there, and its size where that is known."""
    if file == STDIN:
        yield sys.stdin.buffer, None
        return
    path = Path(file)
    try:
        raw = path.open("rb")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from error
    with raw:
        yield raw, path.stat().st_size


def _chunks(raw: IO[bytes], name: str, advance: Advance) -> Iterator[bytes]:
    """The content, unpacked where it is packed; the bar moves by what was read of the file itself."""
    counted = _Counted(raw, advance)
    start = counted.read(len(_GZIP_START))
    counted.put_back(start)
    content: IO[bytes] | gzip.GzipFile | _Counted = counted
    if start == _GZIP_START:
        content = gzip.GzipFile(fileobj=counted)  # type: ignore[call-overload]  # it only reads
    try:
        while chunk := content.read(CHUNK_BYTES):
            yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{name} is damaged ({error}); what came before may be registered, and may be sent again.") from error


class _Counted:
    """A file that tells how much of it was read, and can be asked for its first bytes twice; standard input cannot be rewound."""

    def __init__(self, raw: IO[bytes], advance: Advance) -> None:
        self._raw = raw
        self._advance = advance
        self._first = b""

    def put_back(self, first: bytes) -> None:
        self._first = first

    def read(self, size: int = -1) -> bytes:
        first, self._first = self._first, b""
        more = self._raw.read(size - len(first)) if size < 0 or size > len(first) else b""
        self._advance(len(more))
        return first + more


def _print_import(console: Console, answer: dict[str, Any]) -> None:
    table = Table("accepted", "duplicates", "rejected", header_style="bold")
    table.add_row(*(f"{answer[name]:,}" for name in ("accepted", "duplicates", "rejected")))
    console.print(table)
    errors = answer.get("errors") or []
    if errors:
        listed = Table("line", "code", "what", header_style="bold")
        for error in errors[:_ERRORS_SHOWN_MAX]:
            listed.add_row(str(error["line"]), Text(error["code"]), Text(error["detail"], overflow="fold"))
        console.print(listed)
    if int(answer["rejected"]) > _ERRORS_SHOWN_MAX:
        console.print(f"and {int(answer['rejected']) - _ERRORS_SHOWN_MAX:,} more", highlight=False)
