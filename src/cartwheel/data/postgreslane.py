"""The lane to PostgreSQL. Whoever is on SQLite never loads it, nor the driver."""

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Buffer, Dumper
from psycopg.types.numeric import Int8BinaryDumper

from cartwheel.data.arrays import Array, BigIntArray, BooleanArray, BytesArray, IntArray, TextArray
from cartwheel.data.lanes import GIVE_BACK, LANE_SLOTS, PATIENCE, TAKE, Row, Select, Write
from cartwheel.errors import Conflict, Unavailable


class PostgresLane:
    """Connects when it is first needed, and anew when the server was away."""

    def __init__(self, url: str) -> None:
        self.slot = LANE_SLOTS["postgresql"]()
        self._url = url
        self._connection: psycopg.AsyncConnection[Row] | None = None

    async def begin(self) -> None:
        await self._connect()
        try:
            await self._execute(b"BEGIN")
        except Unavailable:
            # The server may have been restarted since the last batch: nothing has begun, so once more.
            await self._connect()
            await self._execute(b"BEGIN")

    async def commit(self) -> None:
        await self._execute(b"COMMIT")

    async def rollback(self) -> None:
        if self._connection is not None and not self._connection.closed:
            await self._execute(b"ROLLBACK")

    async def fetch(self, select: Select, keys: Sequence[Row]) -> list[Row]:
        if not keys:
            return []
        cursor = await self._execute(select.postgresql, select.packed(keys))
        return await cursor.fetchall()

    async def write(self, statement: Write, rows: Sequence[Row]) -> None:
        if rows:
            await self._execute(statement.postgresql, statement.packed(rows))

    async def take(self, counter: str, count: int) -> int:
        await self._connect()
        cursor = await self._execute(TAKE.format("%b", "%b").encode(), (count, counter))
        [(after,)] = await cursor.fetchall()
        return int(after) - count

    async def give_back(self, counter: str, first: int, end: int) -> None:
        await self._connect()
        await self._execute(GIVE_BACK.format("%b", "%b", "%b").encode(), (first, counter, end))

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def _execute(self, sql: bytes, parameters: Sequence[object] = ()) -> psycopg.AsyncCursor[Row]:
        if self._connection is None:  # so nothing can have begun
            await self._connect()
        assert self._connection is not None
        try:
            return await self._connection.cursor(binary=True).execute(sql, parameters, prepare=True)
        except psycopg.Error as error:
            raise _trouble(error) from error

    async def _connect(self) -> None:
        """Only where nothing has begun: a new connection knows nothing of the old one's transaction."""
        if self._connection is not None and not self._connection.closed:
            return
        try:
            options = {**PATIENCE, "options": f"{PATIENCE['options']} {_BY_KEYS}"}
            self._connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True, **options)
        except psycopg.Error as error:
            raise _trouble(error) from error
        self._connection.adapters.register_dumper(int, Int8BinaryDumper)
        for kind, dumper in dumpers():
            self._connection.adapters.register_dumper(kind, dumper)


_BY_KEYS = "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
"""All statements here look few rows up by their keys. Where the statistics are old, as after an import, the planner reads
whole tables instead, and keeps that plan: finding 200 due runs took 30 ms then, and takes 1 ms."""


def _trouble(error: psycopg.Error) -> Exception:
    if isinstance(
        error,
        psycopg.errors.UniqueViolation | psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected,
    ):
        return Conflict(str(error))
    # The latter when this process was frozen in a transaction, see PATIENCE.
    if isinstance(error, psycopg.OperationalError | psycopg.errors.IdleInTransactionSessionTimeout):
        return Unavailable(str(error))
    return error


class _ArrayDumper(Dumper):
    """An array is dumped already."""

    format = pq.Format.BINARY

    def dump(self, obj: Any) -> Buffer:
        return bytes(obj)


def dumpers() -> Iterable[tuple[type[Array], type[Dumper]]]:
    """What a connection has to know to take these arrays."""
    for kind in (BigIntArray, IntArray, BooleanArray, TextArray, BytesArray):
        yield kind, type(f"{kind.__name__}Dumper", (_ArrayDumper,), {"oid": kind.oid})
