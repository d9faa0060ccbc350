"""Changes of an account that people make one by one, beside those of account files."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import sqlalchemy as sa

from cartwheel import accounts
from cartwheel.accounts import Account, MailSettings, name_key
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
        name_column(table).name: name,
        "name_key": name_key(name),
        "created_at": to_micros(now),
    }
    connection.execute(sa.insert(table), row | values)
    return number


def rename(connection: sa.Connection, table: sa.Table, account_id: int, number: int, name: str, **values: Any) -> None:
    """Raises `NameTaken`."""
    check_free(connection, table, account_id, name, but=number)
    here = (table.c.account_id == account_id) & (table.c.id == number)
    named = {name_column(table).name: name, "name_key": name_key(name)}
    connection.execute(sa.update(table).where(here).values(**named, **values))


def name_column(table: sa.Table) -> sa.Column[str]:
    return table.c.identifier if "identifier" in table.c else table.c.name


def check_free(connection: sa.Connection, table: sa.Table, account_id: int, name: str, but: int | None = None) -> None:
    """Raises `NameTaken` if another row has this name that was not deleted."""
    same = (table.c.account_id == account_id) & (table.c.name_key == name_key(name))
    query = sa.select(table.c.id).where(same, catalog.alive(table))
    holder = connection.execute(query).scalar_one_or_none()
    if holder not in {None, but}:
        raise NameTaken(f"there is one called {name} already")


def change_account(
    connection: sa.Connection, account: Account, *, name: str, zone: str, gdpr: bool, mail: MailSettings
) -> None:
    """Raises `NameTaken` if another account has this name."""
    table = schema.accounts
    others = sa.select(table.c.id).where(table.c.name_key == name_key(name), table.c.id != account.id)
    if connection.execute(others).first() is not None:
        raise NameTaken(f"there is an account called {name} already")
    values = {"name": name, "name_key": name_key(name), "timezone": zone, "gdpr": gdpr}
    values["mail"] = msgspec.json.encode(mail).decode()
    connection.execute(sa.update(table).where(table.c.id == account.id).values(values))
