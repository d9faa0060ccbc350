"""Opening the database: the engine for everything that is not hot, the lanes for what is, and the migrations.

Cold work (catalog, pages, command line) uses SQLAlchemy Core through `read` and `write`. Hot work uses a `Lane`.
"""

import importlib
import os
import pkgutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from cartwheel.data import migrations
from cartwheel.data.lanes import PATIENCE, Lane, SqliteFile, SqliteLane
from cartwheel.errors import BadSetting, Unavailable

EngineName = Literal["sqlite", "postgresql"]

COLD_LOCK_WAIT_S = 30
"""How long the command line and the pages wait for another writer."""

COLD_STATEMENT_S = 300
"""How long one statement of theirs may take: `doctor` reads whole tables."""

MIGRATION_LOCK = 0x63617274
"""The PostgreSQL advisory lock that a process holds while it migrates."""


class Database:
    """An open database. `url` is `sqlite:///file`, `sqlite:////absolute/file` or `postgresql://…`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.name: EngineName
        self.file: SqliteFile | None = None
        if url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
            self.name = "sqlite"
            self.file = SqliteFile(Path(url.removeprefix("sqlite:///")))
            self.engine = _sqlite_engine(self.file)
        elif url.startswith(("postgresql://", "postgres://")):
            self.name = "postgresql"
            self.engine = _postgresql_engine(url.partition("://")[2])
        else:
            raise BadSetting(_FORM)

    @property
    def path(self) -> Path | None:
        return self.file.path if self.file else None

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads."""
        self._check()
        with _trouble_told(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that commits when the block ends well."""
        self._check()
        with _trouble_told(), self.engine.connect() as connection:
            connection = connection.execution_options(cartwheel_write=True)
            with connection.begin():
                yield connection

    @contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """A transaction that reads everything as it was at its first look, for as long as that takes."""
        self._check()
        with _trouble_told(), self.engine.connect() as connection:
            if self.name == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                take_as_long_as_it_takes(connection)
            try:
                yield connection
            except BaseException:  # a query that was not read to its end would keep the old state in the pool
                connection.invalidate()
                raise

    def lane(self) -> Lane:
        """A connection for batches; the caller closes it. The schema has to be there."""
        if self.file is not None:
            return SqliteLane(self.file)
        from cartwheel.data.postgreslane import PostgresLane  # noqa: PLC0415 - with the driver: not on SQLite

        return PostgresLane(self.url)

    def close(self) -> None:
        self.engine.dispose()

    def _check(self) -> None:
        if self.file is not None:
            self.file.check()

    # -- migrations --

    def migrations(self) -> tuple[list[str], list[str]]:
        """Those that ran, and those that wait to be run, oldest first."""
        with self.read() as connection:
            applied = _applied(connection)
        return sorted(applied), [name for name in migration_names() if name not in applied]

    def migrate(self) -> list[str]:
        """Bring the tables up to date, each migration once, under a lock; returns the names of those that ran.

        On SQLite a database that holds data is copied first, to `FILE.before-NAME`.
        """
        if self.file is not None:
            self.file.create()
        ran_before, waiting = self.migrations()
        if not waiting:
            return []
        if ran_before and self.file is not None:
            _copy(self.file, f".before-{waiting[0]}")
        with self.write() as connection:
            return run_migrations(connection, migration_names())


def run_migrations(connection: sa.Connection, names: Sequence[str]) -> list[str]:
    """Run those of these that have not run yet, while no other process migrates; returns their names."""
    if connection.dialect.name == "postgresql":
        _migrate_alone(connection)
    applied = _applied(connection)
    ran = [name for name in names if name not in applied]
    for name in ran:
        importlib.import_module(f"{migrations.__name__}.{name}").up(connection)
        connection.execute(sa.text("INSERT INTO migrations VALUES (:name)"), {"name": name})
    return ran


def _migrate_alone(connection: sa.Connection) -> None:
    """Wait for other processes' migrations as long as they take, and take as long as it takes."""
    for sql in (
        "SET LOCAL statement_timeout = 0",
        "SET LOCAL lock_timeout = 0",
        f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})",
        f"SET LOCAL lock_timeout = {COLD_LOCK_WAIT_S * 1000}",
    ):
        connection.execute(sa.text(sql))


LONGEST_PAUSE_S = 600
"""So long whoever takes what is read from a snapshot may let it wait."""


def take_as_long_as_it_takes(connection: sa.Connection) -> None:
    """Nothing ends this transaction of PostgreSQL's, but that nobody goes on with it."""
    for name, seconds in {"statement_timeout": 0, "idle_in_transaction_session_timeout": LONGEST_PAUSE_S}.items():
        connection.execute(sa.text(f"SET LOCAL {name} = {seconds * 1000}"))


def _copy(file: SqliteFile, suffix: str) -> None:
    """Beside the file, under its name and the suffix; a copy under that name is a whole one."""
    unfinished = Path(f"{file.path}{suffix}.unfinished")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    with closing(file.connect(timeout_s=COLD_LOCK_WAIT_S)) as original:
        original.execute("VACUUM INTO ?", (str(unfinished),))
    unfinished.replace(f"{file.path}{suffix}")


def _applied(connection: sa.Connection) -> set[str]:
    if not sa.inspect(connection).has_table("migrations"):
        return set()
    return set(connection.execute(sa.text("SELECT name FROM migrations")).scalars())


def migration_names() -> list[str]:
    """Every migration, oldest first: `0001_start`, …."""
    return sorted(module.name for module in pkgutil.iter_modules(migrations.__path__))


_FORM = "CARTWHEEL_DATABASE: has to be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"


COLD_IDLE_S = 20
"""How long they may do something else in a transaction: on a busy machine, reading what was fetched takes its
time. Shorter than the wait for a lock: who is frozen makes nobody else give up."""

_COLD_OPTIONS = (
    f"-c statement_timeout={COLD_STATEMENT_S * 1000} -c lock_timeout={COLD_LOCK_WAIT_S * 1000} "
    f"-c idle_in_transaction_session_timeout={COLD_IDLE_S * 1000}"
)
"""Beside those of the hot path; where both say something, the last one counts."""


def _postgresql_engine(rest: str) -> sa.Engine:
    try:
        return sa.create_engine(
            f"postgresql+psycopg://{rest}",
            pool_pre_ping=True,
            connect_args=PATIENCE | {"options": f"{PATIENCE['options']} {_COLD_OPTIONS}"},
        )
    except (ValueError, ArgumentError):
        raise BadSetting(_FORM) from None


def _sqlite_engine(file: SqliteFile) -> sa.Engine:
    path = file.path
    folder = path.resolve().parent
    if not folder.is_dir():
        raise BadSetting(f"CARTWHEEL_DATABASE: there is no folder {folder}")
    if path.exists() and not os.access(path, os.W_OK):
        raise BadSetting(f"CARTWHEEL_DATABASE: {path} cannot be written")
    engine = sa.create_engine(f"sqlite:///{path}", creator=lambda: file.connect(timeout_s=COLD_LOCK_WAIT_S))

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        write = connection.get_execution_options().get("cartwheel_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


@contextmanager
def _trouble_told() -> Iterator[None]:
    """Say in one line what a person can mend: a server that is away, a lock, a full disk."""
    try:
        yield
    except OperationalError as error:
        raise Unavailable(str(error.orig).strip().splitlines()[0]) from error
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.DatabaseError) and "not a database" in str(error.orig):
            raise Unavailable("the file is not a database") from error
        raise
