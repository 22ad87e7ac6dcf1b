"""Import: payments as NDJSON, any number of them, a line at a time."""

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import Response

from service.api import answers
from service.api.bodies import RegisterPayment
from service.api.calls import Call
from service.api.payments import terms_of
from service.api.problems import RequestProblem, problem_detail
from service.api.queries import NoQuery
from service.api.reading import BODY_BYTES_MAX, NDJSON_TYPE, check_media_type, parse_body
from workflows.domain.errors import RefundryError, Unavailable

ERRORS_MAX = 1000
AT_ONCE = 8  # as many as the pool has connections, or nearly


class _Tally:
    def __init__(self) -> None:
        self.accepted = self.duplicates = self.rejected = 0
        self.errors: list[tuple[int, str, str]] = []

    def reject(self, line: int, code: str, detail: str) -> None:
        self.rejected += 1
        if len(self.errors) < ERRORS_MAX:
            self.errors.append((line, code, detail))


async def import_(call: Call) -> Response:
    """Each line is a payment of its own: a bad one never costs a good one. Stops only where the database is away."""
    check_media_type(call.request.headers, NDJSON_TYPE)
    call.query(NoQuery)
    tally = _Tally()
    lines = _lines(call.request.stream())
    gate = asyncio.Lock()

    async def work() -> None:
        while True:
            async with gate:
                found = await anext(lines, None)
            if found is None:
                return
            await _register(call, tally, *found)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from None
    tally.errors.sort()
    return call.json(
        answers.import_answer(accepted=tally.accepted, duplicates=tally.duplicates, rejected=tally.rejected, errors=tally.errors)
    )


async def _register(call: Call, tally: _Tally, number: int, line: bytes | None) -> None:
    try:
        if line is None:
            raise RequestProblem("body-too-large")
        terms = terms_of(parse_body(line, RegisterPayment), call)
        registered = await call.services.runner.register(terms, actor=call.actor(), request_id=call.trace_id)
    except Unavailable:
        raise
    except (RequestProblem, RefundryError) as error:
        tally.reject(number, *problem_detail(error, call.language))
        return
    if registered.new:
        tally.accepted += 1
    else:
        tally.duplicates += 1


async def _lines(stream: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes | None]]:
    """Numbered lines, empty ones left out; None in place of one that is longer than a body may be, which is never held."""
    rest = b""
    number, too_long = 1, False
    async for chunk in stream:
        *whole, tail = chunk.split(b"\n")
        for piece in whole:
            line, rest = rest + piece, b""
            if too_long or len(line) > BODY_BYTES_MAX:
                yield number, None
            elif line.strip():
                yield number, line
            number, too_long = number + 1, False
        rest += tail
        if len(rest) > BODY_BYTES_MAX:
            rest, too_long = b"", True
    if too_long:
        yield number, None
    elif rest.strip():
        yield number, rest
