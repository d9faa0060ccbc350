"""The hot path's way to the database: statements about a set of rows at once, on the driver's own cursor.

A `Lane` is one connection with one transaction at a time. Its two implementations, here and in `postgreslane`, hide every
difference between the engines; the statements are derived from `schema`, once.
"""

import asyncio
import logging
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from sqlalchemy import BigInteger, Boolean, Integer, LargeBinary, Table, Text

from cartwheel.data.arrays import Array, bigint_array, boolean_array, bytes_array, int_array, text_array
from cartwheel.errors import Conflict, Unavailable

log = logging.getLogger(__name__)

Row = tuple[Any, ...]

LOCK_WAIT_S = 5.0
"""How long a batch waits for another process's transaction before its calls are refused."""

SLOTS = 16
"""Two lanes that happen to have the same wait for each other; more would be more rows to read."""

LANE_SLOTS: dict[str, Callable[[], int]] = {"sqlite": lambda: 0, "postgresql": lambda: secrets.randbelow(SLOTS)}
"""On SQLite there is one writer."""

_PACKERS: dict[type, Callable[[Sequence[Any]], Array]] = {
    BigInteger: bigint_array,
    Integer: int_array,
    Boolean: boolean_array,
    Text: text_array,
    LargeBinary: bytes_array,
}
_POSTGRESQL_TYPES = {BigInteger: "bigint", Integer: "int", Boolean: "boolean", Text: "text", LargeBinary: "bytea"}


class Statement:
    """A statement about many rows. `columns` are the parameters of one row, in order."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self.table = table
        self.columns = tuple(columns)

    @cached_property
    def arrays(self) -> str:
        """The rows as PostgreSQL takes them: one array a column."""
        types = (_POSTGRESQL_TYPES[type(self.table.c[name].type)] for name in self.columns)
        return f"unnest({', '.join(f'%b::{kind}[]' for kind in types)}) AS k({', '.join(self.columns)})"

    def packed(self, rows: Sequence[Row]) -> list[Array]:
        """The rows as the parameters of `arrays`."""
        return [pack(column) for pack, column in zip(self._packers, zip(*rows, strict=True), strict=True)]

    @cached_property
    def _packers(self) -> Sequence[Callable[[Sequence[Any]], Array]]:
        return [_PACKERS[type(self.table.c[name].type)] for name in self.columns]

    @cached_property
    def same(self) -> str:
        """The condition that joins a parameter row with the table's row of the same key."""
        return " AND ".join(f"t.{name} = k.{name}" for name in self.columns)


class Select(Statement):
    """Rows of a table by their key, or a leading part of it; with `upto`, those up to a value in that column.

    `lock` keeps other processes from changing them. `hint` is true of all rows, and shows SQLite the right index.
    """

    def __init__(
        self,
        table: Table,
        columns: Sequence[str],
        *,
        by: Sequence[str],
        upto: str = "",
        where: str = "",
        hint: str = "",
        lock: bool = False,
    ) -> None:
        super().__init__(table, [*by, upto] if upto else by)
        self.same = " AND ".join(
            [*(f"t.{name} = k.{name}" for name in by), *([f"t.{upto} <= k.{upto}"] if upto else [])]
        )
        self.wanted = ", ".join(f"t.{name}" for name in columns)
        self.where = f" AND {where}" if where else ""
        self.hint = f" AND {hint}" if hint else ""
        self.lock = lock

    @lru_cache(maxsize=16)  # noqa: B019 - statements are module constants
    def sqlite(self, count: int) -> str:
        row = f"({', '.join('?' * len(self.columns))})"
        return (
            f"WITH k({', '.join(self.columns)}) AS (VALUES {', '.join([row] * count)}) "
            f"SELECT {self.wanted} FROM k CROSS JOIN {self.table.name} t ON {self.same}{self.where}{self.hint}"
        )

    @cached_property
    def postgresql(self) -> bytes:
        order = ", ".join(f"t.{name}" for name in self.columns)
        lock = f" ORDER BY {order} FOR NO KEY UPDATE OF t" if self.lock else ""
        sql = f"SELECT {self.wanted} FROM {self.arrays} JOIN {self.table.name} t ON {self.same}{self.where}{lock}"
        return sql.encode()


class Write(Statement):
    """A statement that changes one row for each parameter row."""

    sqlite: str
    postgresql: bytes


class Insert(Write):
    """New rows; a row that exists gets the columns `update`, and more in the columns `add`, instead of being an error."""

    def __init__(self, table: Table, *, update: Sequence[str] = (), add: Sequence[str] = ()) -> None:
        super().__init__(table, table.c.keys())
        keys = ", ".join(column.name for column in table.primary_key)
        added = (f"{name} = {table.name}.{name} + excluded.{name}" for name in add)
        sets = ", ".join([*(f"{name} = excluded.{name}" for name in update), *added])
        conflict = f" ON CONFLICT ({keys}) DO UPDATE SET {sets}" if sets else ""
        into = f"INSERT INTO {table.name} ({', '.join(self.columns)})"
        self.sqlite = f"{into} VALUES ({', '.join('?' * len(self.columns))}){conflict}"
        self.postgresql = f"{into} SELECT * FROM {self.arrays}{conflict}".encode()


class Update(Write):
    """New values for `columns` of the rows with the key that follows them in each parameter row."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        keys = [column.name for column in table.primary_key]
        super().__init__(table, [*columns, *keys])
        here = " AND ".join(f"{name} = ?" for name in keys)
        self.sqlite = f"UPDATE {table.name} SET {', '.join(f'{name} = ?' for name in columns)} WHERE {here}"
        sets = ", ".join(f"{name} = k.{name}" for name in columns)
        same = " AND ".join(f"t.{name} = k.{name}" for name in keys)
        self.postgresql = f"UPDATE {table.name} t SET {sets} FROM {self.arrays} WHERE {same}".encode()


class Delete(Write):
    """Away with the rows of these keys; with `by`, with those that have these values in these columns."""

    def __init__(self, table: Table, *, by: Sequence[str] = ()) -> None:
        super().__init__(table, by or [column.name for column in table.primary_key])
        here = " AND ".join(f"{name} = ?" for name in self.columns)
        self.sqlite = f"DELETE FROM {table.name} WHERE {here}"
        self.postgresql = f"DELETE FROM {table.name} t USING {self.arrays} WHERE {self.same}".encode()


class Change(Write):
    """Sets that SQL works out itself (`version = version + 1`), for the rows of these keys, or found `by` other columns."""

    def __init__(self, table: Table, sets: str, *, by: Sequence[str] = ()) -> None:
        super().__init__(table, by or [column.name for column in table.primary_key])
        here = " AND ".join(f"{name} = ?" for name in self.columns)
        self.sqlite = f"UPDATE {table.name} SET {sets} WHERE {here}"
        self.postgresql = f"UPDATE {table.name} t SET {sets} FROM {self.arrays} WHERE {self.same}".encode()


class Lane(Protocol):
    """One connection. Raises `Unavailable` when the database cannot be used, `Conflict` when another process won."""

    slot: int
    """Where it adds to counts that others add to at the same time."""

    async def begin(self) -> None: ...
    async def commit(self) -> None: ...
    async def rollback(self) -> None: ...
    async def fetch(self, select: Select, keys: Sequence[Row]) -> list[Row]: ...
    async def write(self, statement: Write, rows: Sequence[Row]) -> None: ...
    async def take(self, counter: str, count: int) -> int:
        """Take `count` numbers from a counter, outside of any transaction; the first of them is returned."""
        ...

    async def give_back(self, counter: str, first: int, end: int) -> None:
        """Return the numbers from `first` to before `end`, if nobody has taken any since."""
        ...

    async def close(self) -> None: ...


async def roll_back(lane: Lane) -> None:
    """Leave the transaction; a connection that is gone has left it already."""
    try:
        await lane.rollback()
    except Unavailable as trouble:
        log.warning("while rolling back: %s", trouble)


GIVE_BACK = "UPDATE counters SET next = {} WHERE name = {} AND next = {}"
TAKE = "UPDATE counters SET next = next + {} WHERE name = {} RETURNING next"


class SqliteFile:
    """The database file, which has to stay where it is.

    Two traps lie around a file that was moved away: who has it open goes on writing into it, and who opens its name
    makes an empty file, whereupon SQLite deletes the log beside it with all that was committed last.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path.with_name(path.name + "-wal")
        self._inode: int | None = None

    def create(self) -> None:
        """Make an empty file, if there is none."""
        if not self.path.exists():
            if self.log.exists() and self.log.stat().st_size:
                raise Unavailable(f"{self.log} is there, but not the database file that it belongs to")
            self.path.touch(mode=0o600)  # all leads are in it; the log beside it gets the same rights

    def connect(self, *, timeout_s: float) -> sqlite3.Connection:
        """A connection to the file as it is, whose commits are durable; raises `Unavailable` rather than to make one."""
        self.check()
        uri = f"file:{quote(str(self.path))}?mode=rw"
        connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, timeout=timeout_s, cached_statements=512
        )
        _keep_log(connection)
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def check(self) -> None:
        """Raise `Unavailable` unless this is still the file that it was at the first look."""
        inode = inode_of(self.path)
        self._inode = self._inode or inode
        if inode != self._inode:
            raise Unavailable(f"{self.path} was replaced by another file")


def _keep_log(connection: sqlite3.Connection) -> None:
    """Who gives a new file its log has it alone for a moment, and another who tries just then is not made to wait."""
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                connection.close()
                raise
            time.sleep(0.005)
        else:
            return


def inode_of(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        raise Unavailable(f"there is no file {path}") from None


def connect_sqlite(file: SqliteFile) -> sqlite3.Connection:
    """A connection which never waits for a lock and leaves checkpoints to `checkpoints`."""
    connection = file.connect(timeout_s=0)
    for pragma in ("wal_autocheckpoint=0", "cache_size=-32768"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


class SqliteLane:
    """Statements run where they are called (they are short); only the commit, which waits for the disk, has a thread."""

    slot = LANE_SLOTS["sqlite"]()

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._connection = connect_sqlite(file)
        self._log_inode: int | None = None
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="commit")

    async def begin(self) -> None:
        deadline = time.monotonic() + LOCK_WAIT_S
        self._check_files()
        while True:
            try:
                self._run("BEGIN IMMEDIATE")
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.002)
            else:
                return

    async def commit(self) -> None:
        committing = asyncio.get_running_loop().run_in_executor(self._disk, self._run, "COMMIT")
        try:
            await asyncio.shield(committing)
        except asyncio.CancelledError:  # whoever rolls back now must not meet a commit that goes on
            await asyncio.wait([committing])
            raise

    async def rollback(self) -> None:
        if self._connection.in_transaction:
            self._run("ROLLBACK")

    async def fetch(self, select: Select, keys: Sequence[Row]) -> list[Row]:
        if not keys:
            return []
        # Few sizes, so that the driver's cache of compiled statements holds them all; NULL keys find nothing.
        room = 1 << (len(keys) - 1).bit_length()
        missing = (None,) * (len(select.columns) * (room - len(keys)))
        return self._run(select.sqlite(room), (*chain.from_iterable(keys), *missing)).fetchall()

    async def write(self, statement: Write, rows: Sequence[Row]) -> None:
        if rows:
            try:
                self._connection.executemany(statement.sqlite, rows)
            except sqlite3.Error as error:
                raise _sqlite_trouble(error) from error

    async def take(self, counter: str, count: int) -> int:
        [(after,)] = await self._alone(TAKE.format("?", "?"), (count, counter))
        return int(after) - count

    async def give_back(self, counter: str, first: int, end: int) -> None:
        await self._alone(GIVE_BACK.format("?", "?", "?"), (first, counter, end))

    async def close(self) -> None:
        self._disk.shutdown()
        self._connection.close()

    async def _alone(self, sql: str, parameters: Sequence[object]) -> list[Row]:
        """One statement in a transaction of its own."""
        await self.begin()
        try:
            rows = self._run(sql, parameters).fetchall()
            await self.commit()
        except BaseException:
            await self.rollback()
            raise
        return rows

    def _run(self, sql: str, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, parameters)
        except sqlite3.Error as error:
            raise _sqlite_trouble(error) from error

    def _check_files(self) -> None:
        """Writing goes on happily in files that somebody has moved or deleted: refuse to lose that work."""
        self._file.check()
        log_inode = inode_of(self._file.log)
        self._log_inode = self._log_inode or log_inode
        if log_inode != self._log_inode:
            raise Unavailable(f"{self._file.log} was deleted while the database was in use: restart")


def _sqlite_trouble(error: sqlite3.Error) -> Exception:
    """Which of our errors it is. A full or failing disk, a lock and a vanished file mean that nothing can be written."""
    code: int = getattr(error, "sqlite_errorcode", 0)  # what the driver itself objects to has none
    if code in {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY}:
        return Conflict(str(error))
    if code & 0xFF in {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    }:
        return Unavailable(str(error))
    return error


_LOCK_WAIT_MS = int(LOCK_WAIT_S * 1000)

PATIENCE: dict[str, Any] = {
    "connect_timeout": 3,
    # A process that was frozen in a transaction does not keep its locks from the others.
    "options": f"-c statement_timeout={_LOCK_WAIT_MS} -c idle_in_transaction_session_timeout={_LOCK_WAIT_MS} "
    "-c synchronous_commit=on",
    # Nor does a server that vanished without a word keep its callers waiting.
    "tcp_user_timeout": 2 * _LOCK_WAIT_MS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
