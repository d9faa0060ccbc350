"""Changes of an account that people make one by one, beside those of account files."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from cartwheel import accounts
from cartwheel.accounts import Account, MailSettings, Retention, name_key
from cartwheel.data import catalog, schema
from cartwheel.data.db import Database
from cartwheel.errors import NameTaken
from cartwheel.times import moment_or_none, to_micros


class _NotKept(Exception):
    """A transaction was tried, and is rolled back."""


@contextmanager
def trying(database: Database, *, keep: bool) -> Iterator[sa.Connection]:
    """A transaction; without `keep`, nothing is stored of what is done in it."""
    with suppress(_NotKept), database.write() as connection:
        yield connection
        if not keep:
            raise _NotKept


@contextmanager
def changing(database: Database, account_id: int, *, keep: bool = True) -> Iterator[sa.Connection]:
    """A transaction that changes an account; every process knows of it afterwards. Raises `AccountFull` at its end.

    Without `keep`, it only finds out whether that could be done: nothing is stored.
    """
    with trying(database, keep=keep) as connection:
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


def change_retention(connection: sa.Connection, account_id: int, kept: Retention) -> None:
    """For how many days the account keeps what happened."""
    table, text = schema.accounts, msgspec.json.encode(kept).decode()
    connection.execute(sa.update(table).where(table.c.id == account_id).values(retention=text))


# -- keys --


def put_key(connection: sa.Connection, account_id: int, digest: str, password_hash: str, now: int) -> None:
    """A key that is good until somebody changes that. Those that have expired go."""
    table = schema.api_keys
    over = (table.c.expires_at <= now) | (table.c.revoked_at <= now)
    gone = (table.c.account_id == account_id) & ((table.c.key_digest == digest) | over)
    connection.execute(sa.delete(table).where(gone))
    row = {"account_id": account_id, "key_digest": digest, "password_hash": password_hash, "created_at": now}
    connection.execute(sa.insert(table).values(row))


def limit_keys(connection: sa.Connection, account_id: int, until: datetime) -> None:
    """The account's keys are good until then, if not for less."""
    table = schema.api_keys
    longer = table.c.expires_at.is_(None) | (table.c.expires_at > to_micros(until))
    here = (table.c.account_id == account_id) & longer
    connection.execute(sa.update(table).where(here).values(expires_at=to_micros(until)))


def revoke_key(connection: sa.Connection, account_id: int, digest: str, now: datetime) -> bool:
    """Whether the account has such a key, and it was good. When it would have expired is kept."""
    table = schema.api_keys
    good = table.c.revoked_at.is_(None) & (table.c.expires_at.is_(None) | (table.c.expires_at > to_micros(now)))
    here = (table.c.account_id == account_id) & (table.c.key_digest == digest) & good
    return connection.execute(sa.update(table).where(here).values(revoked_at=to_micros(now))).rowcount == 1


def restore_key(connection: sa.Connection, account_id: int, digest: str, since: datetime) -> bool:
    """Whether there is such a key that was revoked since then. It expires when it would have."""
    table = schema.api_keys
    here = (table.c.account_id == account_id) & (table.c.key_digest == digest)
    values = sa.update(table).where(here, table.c.revoked_at >= to_micros(since)).values(revoked_at=None)
    return connection.execute(values).rowcount == 1


def keys_used(connection: sa.Connection, account_id: int) -> dict[str, datetime | None]:
    """When each key was last used, by its digest."""
    table = schema.api_keys
    query = sa.select(table.c.key_digest, table.c.used_at).where(table.c.account_id == account_id)
    return {row.key_digest: moment_or_none(row.used_at) for row in connection.execute(query)}


# -- sequences --


def delete_sequence(connection: sa.Connection, account_id: int, number: int) -> None:
    """With its versions and its draft; nobody may ever have been in it."""
    for table, column in ((schema.flows, "sequence_id"), (schema.drafts, "sequence_id"), (schema.sequences, "id")):
        connection.execute(sa.delete(table).where(table.c.account_id == account_id, table.c[column] == number))
