"""Answers of any length, made while they are sent; whoever does not take them is not waited for without end."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping

import anyio
import anyio.to_thread
from starlette.responses import StreamingResponse
from starlette.types import Send

PATIENCE_S = 60
"""So long a browser may take nothing; then it gets no more, and sees that the file is not whole."""


class Stream(StreamingResponse):
    """The parts are made on threads, and given up when nobody wants them any more."""

    def __init__(self, parts: Iterator[bytes], media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(_on_threads(parts), headers=dict(headers), media_type=media_type)

    async def stream_response(self, send: Send) -> None:
        async def in_time(message: object) -> None:
            async with asyncio.timeout(PATIENCE_S):
                await send(message)  # type: ignore[arg-type]

        await super().stream_response(in_time)


async def _on_threads(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    try:
        while (part := await anyio.to_thread.run_sync(next, parts, None)) is not None:
            yield part
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(parts.close)  # type: ignore[attr-defined] # a generator's
