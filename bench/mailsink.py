"""A mail server that takes everything, counts it and forgets it, as fast as Python can: what senders are measured with.

    python bench/mailsink.py [--port 2525] [--keep FILE]

Prints its port. To every line on its standard input, and to its end, it answers with one JSON object: connections,
messages, bytes, and how many different recipients there were. With a file, the first thousand messages go into it.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

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
MOST_KEPT = 1000


class Counts:
    """Over all connections."""

    def __init__(self) -> None:
        self.connections = 0
        self.messages = 0
        self.bytes = 0
        self.recipients: set[bytes] = set()
        self.kept: BinaryIO | None = None

    def __str__(self) -> str:
        return json.dumps(
            {
                "connections": self.connections,
                "messages": self.messages,
                "bytes": self.bytes,
                "recipients": len(self.recipients),
            }
        )


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
        if verb == b"RCPT":
            self._counts.recipients.add(bytes(line))
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
        if self._counts.kept is not None and self._counts.messages <= MOST_KEPT:
            self._counts.kept.write(self._buffer[2 : at + len(END)])
        del self._buffer[: at + len(END)]
        self._in_message = False
        return b"250 2.0.0 Ok: queued as %X\r\n" % self._counts.messages


async def main(port: int, keep: Path | None) -> None:
    counts = Counts()
    if keep is not None:
        counts.kept = keep.open("wb")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Session(counts), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    while True:
        asked = await loop.run_in_executor(None, sys.stdin.readline)
        if counts.kept is not None:
            counts.kept.flush()
        print(counts, flush=True)
        if not asked:
            break
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="any free one, if it is not given")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    uvloop.run(main(options.port, options.keep))
