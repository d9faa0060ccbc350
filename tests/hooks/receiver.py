"""Another system, on a real socket: it answers as its script says, and keeps what it got."""

import json
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

DROP = "drop"
"""Hang up after the request, without an answer."""
STALL = "stall"
"""Never answer."""
ENDLESS = "endless"
"""200, and a body that does not end."""
BABBLE = "babble"
"""No HTTP."""


@dataclass(frozen=True)
class Got:
    """A request. Names of headers are in lower case."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def action(self) -> str:
        return str(self.json["action"])


class Receiver:
    """`script` has what is done for one request after the other: a status, or a deed; then it is always `usual`."""

    def __init__(self, script: Sequence[int | str] = (), usual: int | str = 200, head: str = "") -> None:
        self.script = list(script)
        self.usual = usual
        self.head = head
        self.got: list[Got] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listen()

    def _listen(self, port: int = 0) -> None:
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def url(self, path: str = "/hook?key=secret") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """Hang up on everybody, and listen no more."""
        if self._listening.fileno() < 0:
            return
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):  # the other side was quicker
                    connection.shutdown(socket.SHUT_RDWR)

    def revive(self) -> None:
        """Listen again, at the same place."""
        self._listen(self.port)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rwb") as stream:
                while self._one(stream):
                    pass
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)

    def _one(self, stream: Any) -> bool:
        first = stream.readline().decode()
        if not first:
            return False
        headers = {}
        while line := stream.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", 0)))
        with self._lock:
            self.got.append(Got(first.split()[1], headers, body))
            act = self.script.pop(0) if self.script else self.usual
        return self._answer(stream, act)

    def _answer(self, stream: Any, act: int | str) -> bool:
        if act == STALL:
            stream.read()
        elif act == BABBLE:
            stream.write(b"220 hello\r\n")
        elif act == ENDLESS:
            stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            while True:
                stream.write(b"x" * 65536)
        elif act != DROP:
            text = f'{{"status": {act}}}'
            stream.write(f"HTTP/1.1 {act} x\r\nContent-Length: {len(text)}\r\n{self.head}\r\n{text}".encode())
            stream.flush()
            return True
        return False
