"""A line to PostgreSQL that can be cut at the moment of a message, before or after it has arrived."""

import select
import socket
import threading
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit


class Exchange:
    """A TCP port in front of a server's Unix socket; every connection to it is a line."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = str(Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432")
        self._incoming = socket.create_server(("127.0.0.1", 0))
        self._cuts: dict[int, bool] = {}
        self._lines: list[threading.Thread] = []
        port = self._incoming.getsockname()[1]
        self.url = f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}"
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def cut(self, line: socket.socket, *, delivered: bool) -> None:
        """At the next message on the client's end of this line; its answer is lost in either case."""
        self._cuts[line.getsockname()[1]] = delivered

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_failure: object) -> None:
        self._incoming.shutdown(socket.SHUT_RDWR)
        self._incoming.close()
        for thread in (self._accepting, *self._lines):
            thread.join(20)
            assert not thread.is_alive(), "somebody keeps a line open"

    def _accept(self) -> None:
        while True:
            try:
                client, address = self._incoming.accept()
            except OSError:
                return
            line = threading.Thread(target=self._carry, args=(client, address[1]))
            self._lines.append(line)
            line.start()

    def _carry(self, client: socket.socket, number: int) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            other = {client: server, server: client}
            while True:
                for end in select.select([client, server], [], [])[0]:
                    message = end.recv(65_536)
                    if end is client and number in self._cuts:
                        if self._cuts[number]:
                            server.sendall(message)
                            server.recv(65_536)
                        return
                    if not message:
                        return
                    other[end].sendall(message)
