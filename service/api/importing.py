"""Import: payments as NDJSON, any number of them, a line at a time."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from service.api.context import RequestContext
from service.api.conversion import payment_details
from service.api.i18n import Language
from service.api.models.payments import ImportErrorOut, ImportOut, RegisterPayment
from service.api.problems import RequestProblem, problem_detail
from service.api.queries import check_query
from service.api.reading import BYTE_ORDER_MARK, NDJSON_TYPE, check_arrived, check_media_type, parse_body
from service.api.types import BODY_BYTES_MAX
from workflows.domain.decisions.payments import PaymentDetails
from workflows.domain.errors import RefundryError, Unavailable

_EXAMPLE: Final = (
    '{"reference":"order-1","wallet_id":"wallet-17850","merchant_id":"north-bakery","amount":1250,"currency":"CNY"}\n'
    '{"reference":"order-2","wallet_id":"wallet-17850","merchant_id":"north-bakery","amount":800,"currency":"CNY"}\n'
)
NDJSON_BODY: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {NDJSON_TYPE: {"schema": {"type": "string"}, "example": _EXAMPLE}}}
}

IMPORT_ERRORS_MAX = 1000
WORK_SECONDS_MAX = 0.005  # at a stretch
AT_ONCE = 8  # of one import
LANE_LINES_MAX = 4  # read ahead for each


_Line = tuple[int, PaymentDetails]


class _Arrived:
    """How many bytes came."""

    def __init__(self) -> None:
        self.length_bytes = 0

    async def counted(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in stream:
            self.length_bytes += len(chunk)
            yield chunk


class _Tally:
    def __init__(self) -> None:
        self.accepted = self.duplicates = self.rejected = 0
        self.errors: list[tuple[int, str, str]] = []

    def reject(self, line: int, error: Exception, language: Language) -> None:
        self.rejected += 1
        if len(self.errors) < IMPORT_ERRORS_MAX:
            self.errors.append((line, *problem_detail(error, language)))


class _Breath:
    """Lets others have their turn now and then: a line that is no payment is waited for nowhere."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def take(self) -> None:
        if time.perf_counter() - self._since > WORK_SECONDS_MAX:
            await asyncio.sleep(0)
            self._since = time.perf_counter()


async def import_lines(context: RequestContext) -> ImportOut:
    """Each line is a payment of its own: a bad one never costs a good one. Stops only where the database is away.

    Lines of one reference go through one lane, one after the other, so that the file's order decides which of them is kept.
    """
    check_media_type(context.headers, NDJSON_TYPE)
    check_query(context.scope["query_string"], known=False)
    tally = _Tally()
    lanes: list[asyncio.Queue[_Line | None]] = [asyncio.Queue(LANE_LINES_MAX) for _ in range(AT_ONCE)]
    try:
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                group.create_task(_work(context, tally, lane))
            await _read(context, tally, lanes)
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from None
    errors = [ImportErrorOut(line=line, code=code, detail=detail) for line, code, detail in sorted(tally.errors)]
    return ImportOut(accepted=tally.accepted, duplicates=tally.duplicates, rejected=tally.rejected, errors=errors)


async def _read(context: RequestContext, tally: _Tally, lanes: Sequence[asyncio.Queue[_Line | None]]) -> None:
    """Every line into its reference's lane; what is no payment is rejected here, and holds up nothing."""
    arrived, breath = _Arrived(), _Breath()
    async for number, line in _lines(_without_mark(arrived.counted(context.stream()))):
        try:
            if line is None:
                raise RequestProblem("body-too-large")
            terms = payment_details(parse_body(line, RegisterPayment), providers=context.services.rails.providers, now=context.now())
        except (RequestProblem, RefundryError) as error:
            tally.reject(number, error, context.language)
        else:
            await lanes[hash(terms.reference) % len(lanes)].put((number, terms))
        await breath.take()
    if not arrived.length_bytes:
        check_arrived(context.headers, 0)
    for lane in lanes:
        await lane.put(None)


async def _work(context: RequestContext, tally: _Tally, lane: asyncio.Queue[_Line | None]) -> None:
    while (line := await lane.get()) is not None:
        await _register(context, tally, *line)


async def _register(context: RequestContext, tally: _Tally, number: int, terms: PaymentDetails) -> None:
    try:
        async with context.services.imports:  # the other calls' connections are not all theirs
            registered = await context.services.runner.register(terms, actor=context.actor(), request_id=context.trace_id)
    except Unavailable:
        raise
    except RefundryError as error:
        tally.reject(number, error, context.language)
        return
    if registered.new:
        tally.accepted += 1
    else:
        tally.duplicates += 1


async def _lines(stream: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes | None]]:
    """Numbered lines, empty ones left out; None in place of one that is longer than a body may be, which is never held."""
    rest = bytearray()
    number, too_long = 1, False
    async for chunk in stream:
        *whole, tail = chunk.split(b"\n")
        for piece in whole:
            line = bytes(rest + piece) if rest else piece
            rest.clear()
            if too_long or len(line) > BODY_BYTES_MAX:
                yield number, None
            elif line.strip():
                yield number, line
            number, too_long = number + 1, False
        rest += tail
        if len(rest) > BODY_BYTES_MAX:
            rest, too_long = bytearray(), True
    if too_long:
        yield number, None
    elif rest.strip():
        yield number, bytes(rest)


async def _without_mark(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The stream without a byte order mark at its very beginning."""
    start: bytes | None = b""  # None once it is behind us
    async for chunk in stream:
        if start is None:
            yield chunk
            continue
        start += chunk
        if len(start) >= len(BYTE_ORDER_MARK) or not BYTE_ORDER_MARK.startswith(start):
            yield start.removeprefix(BYTE_ORDER_MARK)
            start = None
    if start:
        yield start
