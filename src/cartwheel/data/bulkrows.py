"""Many rows of one table, read and written as fast as the engine can: for backups and for moving an account."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa

from cartwheel.errors import CartwheelError

AT_ONCE = 2000

Row = Sequence[Any]


class DoesNotFit(CartwheelError):
    """The table does not take a row."""


def read(connection: sa.Connection, query: sa.Select[Any]) -> Iterator[Any]:
    """The rows of a query that may have millions, few at a time in memory."""
    result = connection.execute(query, execution_options={"stream_results": True, "yield_per": AT_ONCE})
    yield from result


def put(connection: sa.Connection, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """New rows. Their values have the types of the columns. Raises `DoesNotFit`, and what `rows` raises."""
    write = _copy if connection.dialect.name == "postgresql" else _insert
    driver = connection.dialect.loaded_dbapi
    try:
        write(connection.connection.cursor(), table, columns, rows)
    except (driver.Error, OverflowError) as error:
        raise DoesNotFit(f"{table}: {str(error).splitlines()[0]}") from error


def _copy(cursor: Any, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    with cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _insert(cursor: Any, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    left = iter(rows)
    while part := list(islice(left, AT_ONCE)):
        cursor.executemany(sql, part)
