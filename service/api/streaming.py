"""Answers of any length, as their readers take them."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import structlog
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

log = structlog.get_logger("api")


class _ReaderStalled(Exception):
    """Nothing was taken for too long."""


class Stream(StreamingResponse):
    """What `chunks` yields, which is closed when the answer is over, however it ends, even before its first byte.

    A reader who takes nothing for `stall_seconds` is cut off: what stands behind the chunks is others' too.
    """

    def __init__(
        self,
        first: bytes,
        chunks: AsyncGenerator[bytes],
        *,
        media_type: str,
        stall_seconds: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(_after(first, chunks), headers=headers, media_type=media_type)
        self._chunks = chunks
        self._stall_seconds = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(self._stall_seconds):
                    await send(message)
            except TimeoutError:
                raise _ReaderStalled from None

        async with aclosing(self._chunks):
            try:
                await super().__call__(scope, receive, send_in_time)
            except _ReaderStalled:  # the server closes what was begun and is not whole
                log.warning("reader_stalled", path=scope["path"], seconds=self._stall_seconds)


async def begun(chunks: AsyncGenerator[bytes]) -> bytes:
    """The first chunk, before the status is sent: what is refused there is a problem, not a stream cut short."""
    return await anext(chunks)


async def _after(first: bytes, chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk
