"""The sandbox rail: moves pretended money over HTTP, never twice under one key, with the faults that a payment's reference asks for.

    POST /sandbox/refunds, /sandbox/voids    {rail_key, payment_reference, provider_reference, amount, currency}
    GET  /sandbox/movements/{rail_key}       what became of a key; 404 when nothing did
    POST /sandbox/movements/{rail_key}/cancel  declines what waits for somebody; answers what is, or 404
    GET  /sandbox/movements                  ?payment_reference= &after= &limit=: every movement of money that really happened
    GET, POST /sandbox/faults                {rate, kinds, seed}: random faults on top, for all operations
    GET  /healthz

A key that is sent again is answered with what became of it, and moves nothing. What is cancelled is declined for good.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from service.sandbox.faults import UnreadableFault
from service.sandbox.ledger import Instruction, KeyReused, Kind, LedgerEntry, Movement, SendResult, describe, timestamp
from service.sandbox.ledger_writer import LedgerWriter
from service.sandbox.models import CancelBody, InstructionBody, MovementsQuery, RandomFaultsBody
from service.sandbox.notifier import IDLE_SECONDS_MAX, Notifier

BODY_BYTES_MAX = 16 * 1024
HANG_SECONDS_MAX = 30.0
RETRY_AFTER_SECONDS = 1
ROWS_AT_ONCE = 1_000
GARBAGE = b'\x00<html>502 {"status": "succ'

Clock = Callable[[], datetime]
Sleep = Callable[[float], Awaitable[None]]  # so many seconds
_log = logging.getLogger("sandbox")  # the name whose level `log_level` sets


def _system_clock() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 -- the rail stands outside the service and has a clock of its own


def create_app(ledger_path: Path, *, notify_url: str | None, secret: str, clock: Clock = _system_clock) -> Starlette:
    """The rail over the ledger at `ledger_path`, which is made if it is not there; one process at a time.

    Notifications go to `notify_url`, signed with `secret`; without a URL none are kept.
    """
    rail = Rail(LedgerWriter(ledger_path, notifies=notify_url is not None), clock)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await rail.writer.open()
        tasks = [asyncio.create_task(_repeat(rail.apply_due))]
        if notify_url is not None:
            rail.notifier = Notifier(rail.writer, notify_url, secret, clock)
            tasks.append(asyncio.create_task(_repeat(rail.notifier.deliver_due)))
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await rail.writer.close()

    return Starlette(
        lifespan=lifespan,
        exception_handlers={
            ValidationError: _invalid,
            UnreadableFault: _invalid,
            _BodyTooLarge: _too_large,
            HTTPException: _http_error,
            ClientDisconnect: _incomplete,
        },
        routes=[
            Route("/sandbox/refunds", rail.endpoint("refund"), methods=["POST"]),
            Route("/sandbox/voids", rail.endpoint("void"), methods=["POST"]),
            Route("/sandbox/movements", rail.movements),
            Route("/sandbox/movements/{rail_key}", rail.find),
            Route("/sandbox/movements/{rail_key}/cancel", rail.cancel_endpoint(), methods=["POST"]),
            Route("/sandbox/faults", rail.faults, methods=["GET", "POST"]),
            Route("/healthz", rail.health),
        ],
    )


class Rail:
    """What the routes do, over one ledger."""

    def __init__(self, writer: LedgerWriter, clock: Clock, sleep: Sleep = asyncio.sleep) -> None:
        self.writer = writer
        self.clock = clock
        self._sleep = sleep
        self.notifier: Notifier | None = None
        self._due = asyncio.Event()  # something was put on the clock

    def endpoint(self, kind: Kind) -> "_Endpoint":
        async def read(request: Request) -> tuple[str, _Answer]:
            instruction = InstructionBody.model_validate_json(await _body(request)).instruction(kind)
            return instruction.rail_key, lambda: self.execute(request, instruction)

        return _Endpoint(self, read)

    def cancel_endpoint(self) -> "_Endpoint":
        async def read(request: Request) -> tuple[str, _Answer]:
            CancelBody.model_validate_json(await _body(request) or b"{}")
            rail_key: str = request.path_params["rail_key"]
            return rail_key, lambda: self.cancel(request, rail_key)

        return _Endpoint(self, read)

    async def cancel(self, request: Request, key: str) -> Response:
        """Decline what waits for somebody, as the faults allow; the caller holds the key's notifications until the reply is sent."""
        faults, entry = await self.writer(lambda ledger: ledger.ask_to_cancel(key))
        if faults.unavailable:
            return _unavailable()
        if faults.timeout_before_effect:
            return await self._hang(request, key)
        await self._sleep(faults.slow_ms / 1000)
        if entry is not None:
            entry = await self.writer(lambda ledger: ledger.cancel(key, self._now_ms()))
            self._due.set()  # there may be something to notify
        if faults.timeout_after_effect:
            return await self._hang(request, key)
        return _garbage() if faults.garbage else _described(entry)

    async def execute(self, request: Request, instruction: Instruction) -> Response:
        """Carry one instruction out, as its faults allow; the caller holds the key's notifications until the reply is sent."""
        result = await self.writer(lambda ledger: ledger.send(instruction, self._now_ms()))
        if isinstance(result, KeyReused):
            return _problem(409, "key_reused", "This rail_key is bound to other content; nothing was moved.")
        faults, key = result.faults, instruction.rail_key
        if faults.unavailable:
            return _unavailable()
        if faults.timeout_before_effect:
            return await self._hang(request, key)
        if result.entry.status is None:
            self._due.set()  # it is at work, and will end by the clock if this call does not
            with self._release(key):
                await self._sleep(faults.slow_ms / 1000)
            result = SendResult(faults, await self.writer(lambda ledger: ledger.decide(key, faults, self._now_ms())))
        self._due.set()  # it may have been put on the clock
        if faults.early_notification and self.notifier is not None:
            await self.notifier.deliver_early(key)
        if faults.timeout_after_effect:
            return await self._hang(request, key)
        return _garbage() if faults.garbage else JSONResponse(describe(result.entry))

    async def find(self, request: Request) -> Response:
        key = request.path_params["rail_key"]
        faults, entry = await self.writer(lambda ledger: ledger.look_up(key))
        if faults.unavailable:
            return _unavailable()
        if faults.timeout_before_effect or faults.timeout_after_effect:
            return await self._hang(request, key)
        await self._sleep(faults.slow_ms / 1000)
        if faults.garbage:
            return _garbage()
        return _described(entry)

    async def movements(self, request: Request) -> Response:
        query = MovementsQuery.model_validate(dict(request.query_params))
        return StreamingResponse(self._listing(query.payment_reference, query.after, query.limit), media_type="application/json")

    async def faults(self, request: Request) -> Response:
        if request.method == "POST":
            requested = RandomFaultsBody.model_validate_json(await _body(request)).random_faults()
            await self.writer(lambda ledger: ledger.set_random_faults(requested))
        now = await self.writer(lambda ledger: ledger.random_faults)
        return JSONResponse({"rate": now.rate, "kinds": list(now.kinds), "seed": now.seed})

    async def health(self, _: Request) -> Response:
        await self.writer(lambda ledger: ledger.execute("select 1"))
        return JSONResponse({"status": "ok"})

    async def apply_due(self) -> None:
        """One round: apply what is due, or wait until something is."""
        self._due.clear()
        due_ms = await self.writer(lambda ledger: ledger.apply_due(self._now_ms()))
        if self.notifier is not None:
            self.notifier.wake()
        wait = IDLE_SECONDS_MAX if due_ms is None else min(IDLE_SECONDS_MAX, (due_ms - self._now_ms()) / 1000)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, wait)):
                await self._due.wait()

    async def _listing(self, reference: str | None, after: int, limit: int | None) -> AsyncIterator[str]:
        """All of it in constant memory, page by page."""
        left, separator, last = limit, "", None
        yield '{"data":['
        while left is None or left > 0:
            size = ROWS_AT_ONCE if left is None else min(left, ROWS_AT_ONCE)
            rows = await self.writer(lambda ledger, after=after, size=size: ledger.movements(reference, after, size))  # type: ignore[misc]  # mypy infers no lambda with defaults
            if rows:
                yield separator + ",".join(json.dumps(_listed(row)) for row in rows)
                separator, after = ",", rows[-1].seq
            if len(rows) < size:
                break
            left = None if left is None else left - len(rows)
        else:
            last = after
        yield f'],"next_after":{json.dumps(last)}}}'

    async def _hang(self, request: Request, rail_key: str) -> Response:
        """Do not answer until the caller has disconnected; notifications about the key are delivered meanwhile."""
        with self._release(rail_key), suppress(TimeoutError):
            async with asyncio.timeout(HANG_SECONDS_MAX):
                while (await request.receive())["type"] != "http.disconnect":
                    pass
        return _problem(504, "timeout", "The sandbox kept silent, as it was asked to.")

    def _release(self, rail_key: str) -> AbstractContextManager[None]:
        return nullcontext() if self.notifier is None else self.notifier.release(rail_key)

    def _now_ms(self) -> int:
        return int(self.clock().timestamp() * 1000)


class _BodyTooLarge(Exception):
    """More bytes than a body may have."""


_Answer = Callable[[], Awaitable[Response]]
_Read = Callable[[Request], Awaitable[tuple[str, _Answer]]]  # the key that a request is about, and what carries it out


class _Endpoint:
    """An endpoint about one key, as an ASGI application of its own: it must know when its reply has been sent."""

    def __init__(self, rail: Rail, read: _Read) -> None:
        self._rail = rail
        self._read = read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        rail_key, answer = await self._read(Request(scope, receive, send))
        notifier = self._rail.notifier
        with nullcontext() if notifier is None else notifier.hold(rail_key):
            response = await answer()
            await response(scope, receive, send)


async def _repeat(work: Callable[[], Awaitable[None]]) -> None:
    """Repeat the work, also after an error: a full disk now must not stop it for good."""
    while True:
        try:
            await work()
        except Exception:
            _log.exception("background_work_failed")
            await asyncio.sleep(IDLE_SECONDS_MAX)


def _listed(movement: Movement) -> dict[str, str | int | None]:
    return {
        "rail_key": movement.rail_key,
        "kind": movement.kind,
        "amount": movement.amount,
        "currency": movement.currency,
        "at": timestamp(movement.at_ms),
        "payment_reference": movement.payment_reference,
        "returned_at": None if movement.returned_ms is None else timestamp(movement.returned_ms),
    }


def _problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"code": code, "detail": detail}, status, headers)


def _described(entry: LedgerEntry | None) -> Response:
    return _problem(404, "absent", "Nothing was done under this rail_key.") if entry is None else JSONResponse(describe(entry))


def _unavailable() -> Response:
    return _problem(503, "unavailable", "Nothing was done; ask again later.", {"Retry-After": str(RETRY_AFTER_SECONDS)})


def _garbage() -> Response:
    return Response(GARBAGE, 200, media_type="application/json")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise _BodyTooLarge
    return bytes(body)


async def _too_large(_: Request, __: Exception) -> Response:
    return _problem(413, "body_too_large", f"A body may have {BODY_BYTES_MAX} bytes.")


async def _invalid(_: Request, error: Exception) -> Response:
    """Nothing was done; the sentence is for a person."""
    sentence = str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        sentence = ": ".join([*map(str, first["loc"]), first["msg"]]) + "."
    return _problem(400, "invalid_request", sentence)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 -- what it is registered for
    return _problem(error.status_code, "http_error", error.detail)


async def _incomplete(_: Request, __: Exception) -> Response:
    return _problem(400, "incomplete", "The body ended too early; nothing was done.")
