"""The reference "loop" of `mail.py`: sends the same bytes over a few connections, and nothing else.

    python bench/mailloop.py --port 2525 --mails 20000 --connections 10 --file mails.bin

No ledger, no database, no building: of each mail the envelope goes out together with the end of the one before it, as
PIPELINING allows. The file is what a sink was sent. Prints one JSON object: mails and seconds.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import uvloop

ENVELOPE = b"MAIL FROM:<hello@shop.example>\r\nRCPT TO:<ada@mail1.example>\r\nDATA\r\n"
END = b"\r\n.\r\n"


class Session(asyncio.Protocol):
    """One connection, which takes mails as long as there are any."""

    transport: asyncio.Transport

    def __init__(self, mails: Iterator[bytes], done: asyncio.Future[None]) -> None:
        self._mails = mails
        self._done = done
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if self._heard.startswith(b"220 ") and self._heard.endswith(b"\n"):
            self._heard = b""
            self.transport.write(b"EHLO bench\r\n")
        elif b"ENHANCEDSTATUSCODES\r\n" in self._heard:
            self._heard = b""
            self.transport.write(ENVELOPE)
        elif b"354 " in self._heard and self._heard.endswith(b"\n"):
            self._heard = b""
            mail = next(self._mails, None)
            if mail is None:
                self.transport.close()
            else:
                self.transport.write(mail + END + ENVELOPE)

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def main(options: argparse.Namespace) -> None:
    known = options.file.read_bytes().split(END)[:-1]
    mails = iter([known[number % len(known)] for number in range(options.mails)])
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    ends = []
    for _ in range(options.connections):
        done = loop.create_future()
        await loop.create_connection(lambda done=done: Session(mails, done), "127.0.0.1", options.port)  # type: ignore[misc]
        ends.append(done)
    await asyncio.gather(*ends)
    print(json.dumps({"mails": options.mails, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mails", type=int, required=True)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--file", type=Path, required=True)
    uvloop.run(main(parser.parse_args()))
