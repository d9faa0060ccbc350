"""Another system that takes every webhook and counts it, as fast as Python can: what deliveries are measured with.

    python bench/hooksink.py

Prints its port. To every line on its standard input it answers with the number of calls so far.
"""

import asyncio
import sys
from typing import cast

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
_LENGTH = b"content-length:"


class Sink(asyncio.Protocol):
    """One connection."""

    calls = 0

    def __init__(self) -> None:
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is of no class of asyncio's

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            at = head.index(_LENGTH) + len(_LENGTH)
            whole = end + 4 + int(head[at:].split(b"\r\n")[0])
            if len(self._data) < whole:
                return
            self._data = self._data[whole:]
            Sink.calls += 1
            assert self._transport is not None
            self._transport.write(ANSWER)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(Sink.calls, flush=True)


if __name__ == "__main__":
    uvloop.run(main())
