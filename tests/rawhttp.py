"""HTTP by hand: bytes as they stand go out, and what comes back is taken apart."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from harness import Server


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def request(body: bytes, *headers: str, path: str = "/api", method: str = "POST", version: str = "1.1") -> bytes:
    """A whole request, its length told."""
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(chunks: Iterable[bytes], *headers: str, path: str = "/api") -> bytes:
    """A whole request, its length not told."""
    head = "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked", *headers, "", ""])
    return head.encode() + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


class Line:
    """One connection to the server."""

    def __init__(self, server: Server) -> None:
        where = urlsplit(server.url)
        self.socket = socket.create_connection((where.hostname or "", where.port or 0), timeout=20)
        self._incoming = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._incoming.close()
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)

    def answer(self) -> Answer:
        """The next answer."""
        [_version, status, *_reason] = self._incoming.readline().decode().split()
        headers = {}
        while line := self._incoming.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return Answer(int(status), headers, self._incoming.read(int(headers.get("content-length", 0))))

    @property
    def ended(self) -> bool:
        """Whether the server has closed the connection; waits for what it does next."""
        return self._incoming.read(1) == b""


def say(url: str, sent: bytes) -> bytes:
    """Send bytes to a server, and hear it out."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=20) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65_536), b""))
