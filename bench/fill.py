"""A database full of leads, made as fast as the engine takes them: in bulk, into the product's own schema."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from cartwheel import times
from cartwheel.accountfiles import accountfile
from cartwheel.data import schema
from cartwheel.data.db import Database

_FIRST = (
    "ada alan anita barbara bjarne carol dana dennis edsger eva frances grace guido hedy ivan joan john karen ken "
    "leslie linus lise margaret marie niklaus olga peter radia rosa sophie tim tony ursula vera vint wanda yann zoe"
)
_LAST = (
    "abbott baker castro dijkstra engel fischer gupta hopper ito jansen kovacs lovelace moreau novak olsen perez "
    "quinn rossi silva tanaka ueda vargas weber xu yilmaz zhang"
)
FIRST_NAMES, LAST_NAMES = _FIRST.split(), _LAST.split()
DOMAINS = 50

API_KEY = "the-key-of-the-benchmark"
API_PASSWORD = "the-password-of-the-benchmark"
APP_ID = "the-app-of-the-benchmark"
TAGS = [f"Trial user {number}" for number in range(1, 21)]
LISTS = [f"Monthly letter {number}" for number in range(1, 6)]

CHUNK = 20_000
DAY = 86_400 * 1_000_000

Row = tuple[Any, ...]


def email_of(number: int) -> str:
    """The address of the lead with this id; the load generator knows the same rule."""
    first = FIRST_NAMES[number % len(FIRST_NAMES)]
    last = LAST_NAMES[number // len(FIRST_NAMES) % len(LAST_NAMES)]
    return f"{first}.{last}.{number}@mail{number % DOMAINS}.example"


def row_of(table: sa.Table, **values: Any) -> Row:
    """A row of the table; a column that is not mentioned is null if it may be, else zero or empty."""
    return tuple({**_nothings(table), **values}.values())


@cache
def _nothings(table: sa.Table) -> dict[str, Any]:
    return {column.name: _nothing(column) for column in table.columns}


def _nothing(column: sa.Column[Any]) -> Any:
    if column.nullable:
        return None
    if isinstance(column.type, sa.Boolean):
        return False
    return "" if isinstance(column.type, sa.Text) else 0


def fill(database_url: str, leads: int) -> None:
    """Migrate an empty database and put an account and its leads into it."""
    database = Database(database_url)
    try:
        database.migrate()
        account_id = accountfile.apply(database, accountfile.read_text(account_file(), Path()), times.now())[
            "account_id"
        ]
        indexes = [index for table in _FILLED for index in table.indexes]
        with database.write() as connection:
            for index in indexes:
                index.drop(connection)
        copy = _copy_to_sqlite if database.name == "sqlite" else _copy_to_postgresql
        copy(database_url, account_id, leads)
        with database.write() as connection:
            for index in indexes:
                index.create(connection)
            counters = schema.counters
            after = sa.update(counters).where(counters.c.name == "leads").values(next=leads + 1)
            connection.execute(after)
        _settle(database)
    finally:
        database.close()


def account_file() -> str:
    """The account file."""
    parts = [
        f'[account]\nname = "Bench"\napi_key = "{API_KEY}"\napi_password = "{API_PASSWORD}"',
        f'[[apps]]\nname = "Bench"\napp_id = "{APP_ID}"\nrate_limit = 0',
        *(f'[[lists]]\nname = "{name}"' for name in LISTS),
        *(f'[[tags]]\nname = "{name}"' for name in TAGS),
        '[[custom_fields]]\nidentifier = "shoe_size"\ntype = "input_field"',
    ]
    return "\n\n".join(parts)


# -- the rows --

_FILLED = (schema.leads, schema.lead_tags, schema.lead_lists, schema.points, schema.events)


def _rows(account_id: int, numbers: range) -> dict[str, list[Row]]:
    """The rows of these leads by table: two tags, a list, for a third of them points, and the event of their making."""
    rows: dict[str, list[Row]] = {table.name: [] for table in _FILLED}
    now = time.time_ns() // 1000
    for number in numbers:
        at = now - (number * 7919 % 700) * DAY
        of = {"account_id": account_id, "lead_id": number}
        points = number % 50 if number % 3 == 0 else 0
        rows["leads"].append(_lead(account_id, number, at, points))
        details = '{"source":"api"}'
        event = row_of(schema.events, **of, id=at, kind="lead_created", details=details, origin="app:1/1", at=at)
        rows["events"].append(event)
        for step in (0, 7):
            tag_id = 1 + (number + step) % len(TAGS)
            rows["lead_tags"].append(row_of(schema.lead_tags, **of, tag_id=tag_id, assigned_at=at))
        rows["lead_lists"].append(row_of(schema.lead_lists, **of, list_id=1 + number % len(LISTS), joined_at=at))
        if points:
            expires_at = now + 90 * DAY + number if number % 2 else None
            ledger = row_of(schema.points, **of, id=at, points=points, given_at=at, expires_at=expires_at)
            rows["points"].append(ledger)
    return rows


def _lead(account_id: int, number: int, at: int, score: int) -> Row:
    first = FIRST_NAMES[number % len(FIRST_NAMES)]
    last = LAST_NAMES[number // len(FIRST_NAMES) % len(LAST_NAMES)]
    return row_of(
        schema.leads,
        account_id=account_id,
        id=number,
        email=email_of(number),
        score=score,
        source="api",
        created_at=at,
        first_name=first.title(),
        last_name=last.title(),
        phone=f"555{number:08}",
        city="Springfield",
        country="United States",
        first_key=first,
        last_key=last,
    )


def _chunks(account_id: int, leads: int) -> Iterator[dict[str, list[Row]]]:
    for first in range(1, leads + 1, CHUNK):
        yield _rows(account_id, range(first, min(first + CHUNK, leads + 1)))


def _column_names(table: str) -> Sequence[str]:
    return schema.metadata.tables[table].c.keys()


# -- into the engines --


def _copy_to_sqlite(url: str, account_id: int, leads: int) -> None:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-262144")
    for chunk in _chunks(account_id, leads):
        connection.execute("BEGIN")
        for table, rows in chunk.items():
            places = ", ".join("?" * len(_column_names(table)))
            connection.executemany(f"INSERT INTO {table} VALUES ({places})", rows)
        connection.execute("COMMIT")
    connection.close()


def _copy_to_postgresql(url: str, account_id: int, leads: int) -> None:
    with psycopg.connect(url) as connection:
        for chunk in _chunks(account_id, leads):
            for table, rows in chunk.items():
                columns = ", ".join(_column_names(table))
                with connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
            connection.commit()


def _settle(database: Database) -> None:
    """Statistics, and everything in its place on the disk, so that a run does not pay for the filling."""
    if database.name == "sqlite":
        with database.write() as connection:
            connection.exec_driver_sql("ANALYZE")
        assert database.path is not None
        connection_ = sqlite3.connect(database.path)
        connection_.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection_.close()
    else:
        with psycopg.connect(database.url, autocommit=True) as connection_pg:
            connection_pg.execute("VACUUM (ANALYZE)")
            connection_pg.execute("CHECKPOINT")
