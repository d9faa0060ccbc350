"""A mail server that takes everything, counts it and forgets it, as fast as Python can: what senders are measured with.

    python bench/mailsink.py [--port 2525]

Prints its port; when its standard input ends, one JSON object: connections, messages and bytes.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from typing import cast

import uvloop

EXTENSIONS = b"250-sink\r\n250-PIPELINING\r\n250-SIZE 50000000\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
REPLIES = {
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RCPT": b"250 2.1.5 Ok\r\n",
    b"DATA": b"354 End data with <CR><LF>.<CR><LF>\r\n",
    b"RSET": b"250 2.0.0 Ok\r\n",
    b"NOOP": b"250 2.0.0 Ok\r\n",
    b"EHLO": EXTENSIONS,
    b"HELO": b"250 sink\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}
END = b"\r\n.\r\n"


class Counts:
    """Over all connections."""

    def __init__(self) -> None:
        self.connections = 0
        self.messages = 0
        self.bytes = 0


class Session(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._buffer = bytearray()
        self._in_message = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._counts.connections += 1
        self.transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        answers: list[bytes] = []
        step: Callable[[], bytes | None] = self._message if self._in_message else self._command
        while (answer := step()) is not None:
            answers.append(answer)
            step = self._message if self._in_message else self._command
        if answers:
            self.transport.write(b"".join(answers))
            if answers[-1].startswith(b"221"):
                self.transport.close()

    def _command(self) -> bytes | None:
        line, end, _ = self._buffer.partition(b"\r\n")
        if not end:
            return None
        del self._buffer[: len(line) + 2]
        verb = bytes(line[:4]).upper()
        # The line end before an empty message's dot is DATA's own.
        self._in_message = verb == b"DATA"
        if self._in_message:
            self._buffer[:0] = b"\r\n"
        return REPLIES.get(verb, b"502 5.5.2 Not here\r\n")

    def _message(self) -> bytes | None:
        at = self._buffer.find(END)
        if at < 0:
            return None
        self._counts.messages += 1
        self._counts.bytes += max(0, at - 2)
        del self._buffer[: at + len(END)]
        self._in_message = False
        return b"250 2.0.0 Ok: queued as %X\r\n" % self._counts.messages


async def main(port: int) -> None:
    counts = Counts()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Session(counts), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()
    print(json.dumps(vars(counts)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="any free one, if it is not given")
    uvloop.run(main(parser.parse_args().port))
