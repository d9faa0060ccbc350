"""Taking in what `wholeleads` wrote, in one transaction, into an account that has no leads yet.

What the rows speak of is there under the same names, because the account's file was applied; it may have other numbers. What
was deleted, and older versions of sequences, are put beside it. Leads keep their numbers unless this installation has given
such numbers away already.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import msgspec
import sqlalchemy as sa

from cartwheel.accounts import Account, name_key
from cartwheel.data import bulkrows, catalog, schema
from cartwheel.data.db import Database, migration_names, take_as_long_as_it_takes
from cartwheel.data.renumbering import Numbers, Row
from cartwheel.data.wholeleads import FORMAT, OF_ACCOUNT, OF_LEADS, PORTION, Head, Rows, columns_of
from cartwheel.errors import CartwheelError

_TABLES = {table.name: table for table in (schema.leads, *OF_LEADS, *OF_ACCOUNT)}
_KINDS = {sa.BigInteger: int, sa.Integer: int, sa.Boolean: bool, sa.Text: str}


class BadWhole(CartwheelError):
    """A file with whole leads cannot be taken in."""


class NotEmpty(CartwheelError):
    """The account has leads already."""


def take_in(database: Database, account: Account, path: Path) -> Head:
    """Raises `BadWhole` or `NotEmpty`; then nothing was changed."""
    try:
        with path.open("rb") as file:
            head = _look_through(file)
        with database.write() as connection, path.open("rb") as file:
            if database.name == "postgresql":
                take_as_long_as_it_takes(connection)
            catalog.lock(connection)
            _take_in(connection, account, head, islice(file, 1, None))
            catalog.touch(connection, account.id)
    except OSError as error:
        raise BadWhole(f"{path} cannot be read: {error.strerror}") from error
    except bulkrows.DoesNotFit as error:
        raise BadWhole(f"{path}: the database does not take it: {error}") from error
    return head


def _look_through(file: IO[bytes]) -> Head:
    """The first line of a file that has its last."""
    try:
        head = msgspec.json.decode(file.readline(), type=Head)
    except msgspec.DecodeError:
        raise BadWhole("the file does not begin as `export leads --whole` writes it") from None
    if head.format != FORMAT or head.migration != migration_names()[-1]:
        raise BadWhole("another version of Cartwheel has written the file: both have to be the same")
    leads, last = 0, b""
    for line in file:
        leads += line.startswith(b'{"leads":')
        last = line
    if last.strip() != msgspec.json.encode({"leads in all": leads}):
        raise BadWhole("the file was cut off")
    return head


def _take_in(connection: sa.Connection, account: Account, head: Head, lines: Iterable[bytes]) -> None:
    here = schema.leads.c.account_id == account.id
    if connection.execute(sa.select(schema.leads.c.id).where(here).limit(1)).first() is not None:
        raise NotEmpty(f"the account {account.name} has leads already: take them into a new one")
    offset = _room_for_leads(connection, head)
    numbers = _Catalog(connection, account.id, head).numbers(offset)
    left = _read(lines)
    while portion := list(islice(left, PORTION)):
        _put(connection, account.id, numbers, portion)


def _room_for_leads(connection: sa.Connection, head: Head) -> int:
    """What to add to each lead's number: nothing, unless such numbers were given away here."""
    table = schema.counters
    leads = table.c.name == "leads"
    following = connection.execute(sa.select(table.c.next).where(leads).with_for_update()).scalar_one()
    offset = 0 if head.first >= following else following - head.first
    if head.last:
        connection.execute(sa.update(table).where(leads).values(next=max(following, head.last + offset + 1)))
    return int(offset)


def _read(lines: Iterable[bytes]) -> Iterator[Rows]:
    for line in lines:
        try:
            read = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            raise BadWhole(f"a line cannot be read: {error}") from error
        if "leads in all" not in read:
            yield read


def _put(connection: sa.Connection, account_id: int, numbers: Numbers, portion: Iterable[Rows]) -> None:
    """Rows of some leads, or of none, under their numbers here."""
    put: dict[str, list[list[Any]]] = {}
    for rows in portion:
        lead = rows["leads"][0]["id"] + numbers.leads if "leads" in rows else 0
        for name, each in rows.items():
            if name not in _TABLES:
                raise BadWhole(f"there is no table {name} of leads")
            put.setdefault(name, []).extend(_values(account_id, lead, name, numbers, row) for row in each)
    for name, values in put.items():
        table = _TABLES[name]
        if table is schema.daily_counts:
            _add_counts(connection, values)
        else:
            bulkrows.put(connection, name, _columns(table), values)


def _columns(table: sa.Table) -> list[str]:
    of_lead = ["lead_id"] if table in OF_LEADS else []
    return ["account_id", *of_lead, *columns_of(table)]


def _values(account_id: int, lead: int, name: str, numbers: Numbers, row: Row) -> list[Any]:
    table = _TABLES[name]
    columns = columns_of(table)
    if row.keys() != set(columns):
        raise BadWhole(f"a row of {name} has other columns")
    for column in columns:
        value, what = row[column], table.c[column]
        if not isinstance(value, _KINDS[type(what.type)]) and not (value is None and what.nullable):
            raise BadWhole(f"a row of {name} has a {column} of another kind")
    try:
        numbers.renumber(name, row)
    except ValueError as error:
        raise BadWhole(f"a row of {name} cannot be read: {error}") from error
    return [account_id, *([lead] if table in OF_LEADS else []), *(row[column] for column in columns)]


def _add_counts(connection: sa.Connection, rows: list[list[Any]]) -> None:
    """Something may have been counted here already, such as calls."""
    columns = _columns(schema.daily_counts)
    marks = ", ".join(f":{name}" for name in columns)
    sql = (
        f"INSERT INTO daily_counts ({', '.join(columns)}) VALUES ({marks}) "
        "ON CONFLICT (account_id, day, what, slot) DO UPDATE SET number = daily_counts.number + excluded.number"
    )
    connection.execute(sa.text(sql), [dict(zip(columns, row, strict=True)) for row in rows])


class _Catalog:
    """What the rows speak of, there and here."""

    def __init__(self, connection: sa.Connection, account_id: int, head: Head) -> None:
        self._connection = connection
        self._account_id = account_id
        self._head = head

    def numbers(self, offset: int) -> Numbers:
        fields = self._named(schema.custom_fields)
        sequences = self._named(schema.sequences)
        self._flows(sequences)
        return Numbers(
            lists=self._named(schema.lists),
            tags=self._named(schema.tags),
            fields=fields,
            options=self._options(fields),
            sequences=sequences,
            origins=self._origins(),
            leads=offset,
        )

    def _rows(self, table: sa.Table) -> list[Row]:
        query = sa.select(table).where(table.c.account_id == self._account_id)
        return [dict(row) for row in self._connection.execute(query).mappings()]

    def _update(self, table: sa.Table, number: int, **values: Any) -> None:
        here = (table.c.account_id == self._account_id) & (table.c.id == number)
        self._connection.execute(sa.update(table).where(here).values(**values))

    def _insert(self, table: sa.Table, row: Row, taken: set[int]) -> int:
        """Under its own number, if that is free; returns the one that it got."""
        number: int = row["id"] if row["id"] not in taken else 1 + max(taken)
        taken.add(number)
        self._connection.execute(sa.insert(table).values(**row | {"account_id": self._account_id, "id": number}))
        return number

    def _named(self, table: sa.Table) -> dict[int, int]:
        """By name; what was deleted there is put beside what is here."""
        rows = self._rows(table)
        known = {row["name_key"]: row for row in rows if row.get("deleted_at") is None}
        taken, found = {row["id"] for row in rows}, dict[int, int]()
        for row in self._head.catalog[table.name]:
            here = known.get(row["name_key"])
            if row.get("deleted_at") is not None:
                found[row["id"]] = self._insert(table, row, taken)
            elif here is None or here.get("type") != row.get("type"):
                called = row.get("name") or row["identifier"]
                raise BadWhole(f"the account has no such {called} ({table.name}): apply the file of the account first")
            else:
                found[row["id"]] = here["id"]
                self._update(table, here["id"], created_at=row["created_at"])
        return found

    def _options(self, fields: dict[int, int]) -> dict[int, int]:
        table = schema.custom_field_options
        rows = self._rows(table)
        known = {(row["field_id"], row["id"]) for row in rows}
        named = {(row["field_id"], name_key(row["name"])): row["id"] for row in rows}
        taken, found = {row["id"] for row in rows}, dict[int, int]()
        deleted = {row["id"] for row in self._head.catalog["custom_fields"] if row["deleted_at"] is not None}
        for row in self._head.catalog[table.name]:
            field = fields[row["field_id"]]
            if row["field_id"] in deleted:
                found[row["id"]] = self._insert(table, row | {"field_id": field}, taken)
            elif (field, row["id"]) in known:
                found[row["id"]] = row["id"]
            elif (field, name_key(row["name"])) in named:
                found[row["id"]] = named[field, name_key(row["name"])]
            else:
                raise BadWhole(f"there is no such option {row['name']}: apply the file of the account first")
        return found

    def _flows(self, sequences: dict[int, int]) -> None:
        """All versions, so that runs go on with the one that they began with."""
        table = schema.flows
        versions = {(row["sequence_id"], row["version"]): row for row in self._head.catalog[table.name]}
        here = {(row["sequence_id"], row["version"]): row["steps"] for row in self._rows(table)}
        newest = {row["id"]: row["version"] for row in self._rows(schema.sequences)}
        for row in self._head.catalog["sequences"]:
            number = sequences[row["id"]]
            there = versions.get((row["id"], row["version"]))
            mine = here.get((number, newest[number]))
            if (json.loads(there["steps"]) if there else []) != (json.loads(mine) if mine else []):
                raise BadWhole(f"the sequence {row['name']} has other steps here: apply the file of the account first")
            values = ("version", "hears", "resumed_at", "archived_at")
            self._update(schema.sequences, number, **{name: row[name] for name in values})
        mine_all = table.c.account_id == self._account_id
        self._connection.execute(sa.delete(table).where(mine_all, table.c.sequence_id.in_(sequences.values())))
        for row in versions.values():
            values_of = row | {"account_id": self._account_id, "sequence_id": sequences[row["sequence_id"]]}
            self._connection.execute(sa.insert(table).values(**values_of))

    def _origins(self) -> dict[str, str]:
        """Apps and people are known by their names."""
        apps, users = schema.apps, schema.users
        mine = sa.select(apps.c.id, apps.c.name_key).where(apps.c.account_id == self._account_id)
        by_name = {row.name_key: f"app:{self._account_id}/{row.id}" for row in self._connection.execute(mine)}
        people = sa.select(users.c.id, users.c.email).where(users.c.email.in_(self._head.people.values()))
        by_email = {row.email: f"user:{row.id}" for row in self._connection.execute(people)}
        found = {origin: by_name.get(name_key(name)) for origin, name in self._head.apps.items()}
        found |= {origin: by_email.get(email) for origin, email in self._head.people.items()}
        return {origin: known for origin, known in found.items() if known is not None}
