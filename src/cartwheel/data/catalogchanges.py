"""Changes of an account that people make one by one, beside those of account files."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from cartwheel import accounts
from cartwheel.accounts import name_key
from cartwheel.data import catalog, schema
from cartwheel.data.db import Database
from cartwheel.errors import NameTaken
from cartwheel.times import to_micros


@contextmanager
def changing(database: Database, account_id: int) -> Iterator[sa.Connection]:
    """A transaction that changes an account; every process knows of it afterwards. Raises `AccountFull` at its end."""
    with database.write() as connection:
        catalog.lock(connection)
        yield connection
        catalog.touch(connection, account_id)
        account = catalog.of(connection, account_id)
        accounts.check_room(account.accounts[account_id], account.apps_of(account_id))


def add_named(connection: sa.Connection, table: sa.Table, account_id: int, name: str, now: Any, **values: Any) -> int:
    """A new row under a name that no other has; returns its id. Raises `NameTaken`."""
    check_free(connection, table, account_id, name)
    number = catalog.next_id(connection, table, account_id)
    row = {
        "account_id": account_id,
        "id": number,
        "name": name,
        "name_key": name_key(name),
        "created_at": to_micros(now),
    }
    connection.execute(sa.insert(table), row | values)
    return number


def rename(connection: sa.Connection, table: sa.Table, account_id: int, number: int, name: str, **values: Any) -> None:
    """Raises `NameTaken`."""
    check_free(connection, table, account_id, name, but=number)
    here = (table.c.account_id == account_id) & (table.c.id == number)
    connection.execute(sa.update(table).where(here).values(name=name, name_key=name_key(name), **values))


def check_free(connection: sa.Connection, table: sa.Table, account_id: int, name: str, but: int | None = None) -> None:
    """Raises `NameTaken` if another row has this name."""
    query = sa.select(table.c.id).where(table.c.account_id == account_id, table.c.name_key == name_key(name))
    holder = connection.execute(query).scalar_one_or_none()
    if holder not in {None, but}:
        raise NameTaken(f"there is one called {name} already")


def member_counts(connection: sa.Connection, account_id: int) -> dict[int, int]:
    """How many leads are on each list."""
    table = schema.lead_lists
    query = (
        sa.select(table.c.list_id, sa.func.count())
        .where(table.c.account_id == account_id, table.c.left_at.is_(None))
        .group_by(table.c.list_id)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def delete_sequence(connection: sa.Connection, account_id: int, number: int) -> None:
    """With its versions and its draft; nobody may ever have been in it."""
    for table, column in ((schema.flows, "sequence_id"), (schema.drafts, "sequence_id"), (schema.sequences, "id")):
        connection.execute(sa.delete(table).where(table.c.account_id == account_id, table.c[column] == number))
