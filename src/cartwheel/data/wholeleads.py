"""All leads of an account with everything of them, as lines that `wholeimport` takes into another installation.

The first line says of what account they are, and holds what the rows speak of by number; then comes a line for each lead,
with its rows by table; then the account's suppressed addresses and its counts of days; and at last how many leads there
were. Times are microseconds since 1970. Hashes of erased addresses stay behind: only this installation's key makes them.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from cartwheel.accounts import Account
from cartwheel.data import schema
from cartwheel.data.bulkrows import read
from cartwheel.data.db import migration_names

FORMAT = 1
PORTION = 500
"""Leads, or rows that belong to none, that are in memory at a time."""

OF_LEADS = (
    schema.lead_tags,
    schema.lead_lists,
    schema.lead_fields,
    schema.points,
    schema.enrolments,
    schema.mails,
    schema.clicks,
    schema.events,
)
OF_ACCOUNT = (schema.suppressions, schema.daily_counts)
CATALOG = (
    schema.lists,
    schema.tags,
    schema.custom_fields,
    schema.custom_field_options,
    schema.sequences,
    schema.flows,
)

Row = dict[str, Any]
Rows = dict[str, list[Row]]
"""By the name of their table."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line. `first` and `last` are numbers of leads; `apps` and `people` are told by their origins in events."""

    cartwheel: Literal["whole leads"] = "whole leads"
    format: int = FORMAT
    migration: str
    account: str
    account_id: int
    first: int
    last: int
    apps: dict[str, str]
    people: dict[str, str]
    erased_addresses: int
    """How many hashes stay behind."""
    catalog: Rows


def columns_of(table: sa.Table) -> list[str]:
    """What a row of the file has: whose it is stands around it."""
    return [str(each.name) for each in table.c if each.name not in {"account_id", "lead_id"}]


def lines(connection: sa.Connection, account: Account) -> Iterator[bytes]:
    encode, number, leads = msgspec.json.Encoder().encode, account.id, 0
    yield encode(_head(connection, account)) + b"\n"
    for portion in _portions(connection, number):
        leads += len(portion)
        for rows in portion.values():
            yield encode(rows) + b"\n"
    for table in OF_ACCOUNT:
        query = sa.select(*(table.c[name] for name in columns_of(table))).where(table.c.account_id == number)
        found = read(connection, query.order_by(*table.primary_key))
        for row in found:
            yield encode({table.name: [dict(row._mapping)]}) + b"\n"  # noqa: SLF001 - SQLAlchemy's way to say it
    yield encode({"leads in all": leads}) + b"\n"


def _head(connection: sa.Connection, account: Account) -> Head:
    leads, users, apps = schema.leads, schema.users, schema.apps
    ids = sa.select(sa.func.min(leads.c.id), sa.func.max(leads.c.id)).where(leads.c.account_id == account.id)
    first, last = connection.execute(ids).one()
    known = sa.select(apps.c.id, apps.c.name).where(apps.c.account_id == account.id)
    erased = schema.erased_addresses
    hashes = sa.select(sa.func.count()).where(erased.c.account_id == account.id)
    return Head(
        migration=migration_names()[-1],
        account=account.name,
        account_id=account.id,
        first=first or 0,
        last=last or 0,
        apps={f"app:{account.id}/{row.id}": row.name for row in connection.execute(known)},
        people={f"user:{row.id}": row.email for row in connection.execute(sa.select(users.c.id, users.c.email))},
        erased_addresses=connection.execute(hashes).scalar_one(),
        catalog={table.name: _all_of(connection, table, account.id) for table in CATALOG},
    )


def _all_of(connection: sa.Connection, table: sa.Table, account_id: int) -> list[Row]:
    query = sa.select(*(table.c[name] for name in columns_of(table))).where(table.c.account_id == account_id)
    return [dict(row) for row in connection.execute(query.order_by(*table.primary_key)).mappings()]


def _portions(connection: sa.Connection, account_id: int) -> Iterator[dict[int, Rows]]:
    """The rows of some leads at a time, by the leads' numbers."""
    after: int | None = 0
    while after is not None:
        table = schema.leads
        here = (table.c.account_id == account_id) & (table.c.id > after)
        query = sa.select(*(table.c[name] for name in columns_of(table))).where(here).order_by(table.c.id)
        found = {row["id"]: {table.name: [dict(row)]} for row in connection.execute(query.limit(PORTION)).mappings()}
        for each in OF_LEADS:
            _add(connection, each, account_id, found)
        after = max(found) if len(found) == PORTION else None
        yield found


def _add(connection: sa.Connection, table: sa.Table, account_id: int, found: dict[int, Rows]) -> None:
    names = columns_of(table)
    theirs = (table.c.account_id == account_id) & table.c.lead_id.in_(list(found))
    query = sa.select(table.c.lead_id, *(table.c[name] for name in names)).where(theirs)
    for lead_id, *values in read(connection, query.order_by(*table.primary_key)):
        found[lead_id].setdefault(table.name, []).append(_row(names, values))


def _row(names: Sequence[str], values: Sequence[Any]) -> Row:
    return dict(zip(names, values, strict=True))
