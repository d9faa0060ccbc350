"""A line between two servers on which everything goes wrong that can: a proxy on a real socket."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import urlsplit

FAULTS = ("429 at once", "500", "cut off", "503", "hung up", "garbage", "stall", "429")
"""In turn."""


class BadLine:
    """Hands requests on to `url`; what `fault` says of the n-th and its body goes wrong with it."""

    def __init__(
        self, url: str, fault: Callable[[int, bytes], str] = lambda _number, _body: "", stall_s: float = 1.0
    ) -> None:
        self._target = (urlsplit(url).hostname, urlsplit(url).port)
        self._fault = fault
        self._stall_s = stall_s
        self._lock = threading.Lock()
        self.requests = 0
        self.faults: dict[str, int] = {}
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            reader = connection.makefile("rb")
            while request := _message(reader):
                with self._lock:
                    self.requests += 1
                    fault = self._fault(self.requests, request.partition(b"\r\n\r\n")[2])
                    if fault:
                        self.faults[fault] = self.faults.get(fault, 0) + 1
                if not self._answer(connection, request, fault):
                    return

    def _answer(self, connection: socket.socket, request: bytes, fault: str) -> bool:
        """Whether the connection can be used again."""
        if fault == "stall":
            time.sleep(self._stall_s)
            return False
        if fault == "hung up":
            return False
        if fault in {"429 at once", "429", "500", "503"}:
            again = b"Retry-After: 0\r\n" if fault == "429 at once" else b""
            status = HTTPStatus(int(fault[:3]))
            connection.sendall(
                f"HTTP/1.1 {status} {status.phrase}\r\nContent-Length: 2\r\n".encode() + again + b"\r\n{}"
            )
            return True
        if fault == "garbage":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<h1>Busy</h1>")
            return True
        with socket.create_connection(self._target) as there:
            there.sendall(request)
            answer = _message(there.makefile("rb"))
        connection.sendall(answer[: len(answer) * 2 // 3] if fault == "cut off" else answer)
        return fault != "cut off"


def _message(reader: BinaryIO) -> bytes:
    """One HTTP message, empty at the end."""
    head = b""
    while line := reader.readline():
        head += line
        if line == b"\r\n":
            break
    length = next(
        (int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length:")), 0
    )
    return head + reader.read(length) if head else b""
