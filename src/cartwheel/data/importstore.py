"""Imports as they are stored: the file's rows while they wait, how far it has come, what it has done to whom.

What it does to leads is written with how far it has come, in one transaction: a slice is imported once or not at all.
"""

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from cartwheel.accounts import name_key
from cartwheel.data import catalog, dailycounts, schema
from cartwheel.data.catalogchanges import add_named
from cartwheel.data.db import Database
from cartwheel.data.importtables import import_leads, import_refusals, import_slices, import_templates, imports
from cartwheel.data.lanes import Insert, Lane, Row, Select, Update, Write
from cartwheel.data.leadstore import FIELD_SET, NEW_LEAD, Flush, Recorded, RowIds, found_by
from cartwheel.errors import AccountFull
from cartwheel.leads.importing import Joint, Wish
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import PROFILE_FIELDS
from cartwheel.times import moment_or_none, to_micros

TAKEN_FOR = timedelta(seconds=60)
"""So long nobody else does what somebody has begun."""

KEPT = timedelta(days=14)
"""So long it can be taken back."""

WAITS = timedelta(days=1)
"""So long a file is kept that nobody imports."""

MOST_FORGOTTEN = 1000
MOST_TEMPLATES = 100
SHOWN = 10


class State(StrEnum):
    DRAFT = "draft"
    """The file is there, and nobody has said what to do with it."""
    CHECKING = "checking"
    RUNNING = "running"
    MOVING = "moving"
    """Its leads come from another account, by whoever has the credentials: the command line, no worker."""
    STOPPED = "stopped"
    FINISHED = "finished"
    UNDOING = "undoing"
    UNDONE = "undone"


AT_WORK = (State.CHECKING, State.RUNNING, State.UNDOING)


@dataclass(frozen=True, slots=True)
class Import:
    """One import; its columns are those of the table."""

    account_id: int
    id: int
    user_id: int | None
    file: str
    dialect: str
    columns: str
    samples: str
    plan: str
    state: State
    slices: int
    done: int
    rows: int
    made: int
    changed: int
    same: int
    refused: int
    repeated: int
    undone: int
    kept: int
    named: str
    report: str
    told: str
    created_at: datetime
    ended_at: datetime | None
    next_at: datetime | None

    @property
    def headers(self) -> list[str]:
        return list(json.loads(self.columns))

    @property
    def looked(self) -> int:
        return self.made + self.changed + self.same + self.refused + self.repeated


_NAMES = tuple(field.name for field in fields(Import))


def _import(row: Sequence[Any]) -> Import:
    values = dict(zip(_NAMES, row, strict=True))
    for name in ("created_at", "ended_at", "next_at"):
        values[name] = moment_or_none(values[name])
    values["state"] = State(values["state"])
    return Import(**values)


_ALL = [imports.c[name] for name in _NAMES]


def _this(account_id: int, number: int) -> sa.ColumnElement[bool]:
    return (imports.c.account_id == account_id) & (imports.c.id == number)


# -- the file --


def pack(lines: object) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(lines), 1)


def unpack(packed: bytes) -> Any:
    return msgspec.msgpack.decode(zlib.decompress(packed))


def begin(
    connection: sa.Connection, account_id: int, user_id: int | None, file: str, now: datetime, **told: str
) -> int:
    """A new import of this file, whose rows are put beside it; returns its number."""
    catalog.lock_account(connection, account_id)
    number = catalog.next_id(connection, imports, account_id)
    row: dict[str, Any] = {column.name: None if column.nullable else 0 for column in imports.c}
    row |= {column.name: "" for column in imports.c if isinstance(column.type, sa.Text)}
    row |= {"account_id": account_id, "id": number, "user_id": user_id, "file": file, "created_at": to_micros(now)}
    row |= {"state": State.DRAFT.value, "named": "[]", "plan": "{}", **told}
    connection.execute(sa.insert(imports), row)
    return number


def put_slices(connection: sa.Connection, account_id: int, number: int, first: int, packed: Sequence[bytes]) -> None:
    of = {"account_id": account_id, "import_id": number, "first_id": 0, "made": 0, "at": 0}
    connection.execute(
        sa.insert(import_slices), [{**of, "number": at, "rows": rows} for at, rows in enumerate(packed, first)]
    )


def change(
    connection: sa.Connection, account_id: int, number: int, *, only: Iterable[State] = (), **values: Any
) -> bool:
    """Whether it was in one of these states, if any are given."""
    where = _this(account_id, number)
    if states := [state.value for state in only]:
        where &= imports.c.state.in_(states)
    return connection.execute(sa.update(imports).where(where).values(values)).rowcount == 1


def get(connection: sa.Connection, account_id: int, number: int) -> Import | None:
    row = connection.execute(sa.select(*_ALL).where(_this(account_id, number))).one_or_none()
    return None if row is None else _import(row)


def newest(connection: sa.Connection, account_id: int, most: int) -> list[Import]:
    query = sa.select(*_ALL).where(imports.c.account_id == account_id).order_by(imports.c.id.desc()).limit(most)
    return [_import(row) for row in connection.execute(query)]


def of_state(connection: sa.Connection, account_id: int, state: State, most: int) -> list[Import]:
    """The newest first."""
    here = (imports.c.account_id == account_id) & (imports.c.state == state.value)
    query = sa.select(*_ALL).where(here).order_by(imports.c.id.desc()).limit(most)
    return [_import(row) for row in connection.execute(query)]


def take(database: Database, now: datetime) -> Import | None:
    """One that is due, which is this process's for a while."""
    due = sa.select(*_ALL).where(imports.c.next_at.is_not(None), imports.c.next_at <= to_micros(now))
    due = due.where(imports.c.state != State.MOVING.value)
    due = due.order_by(imports.c.next_at).limit(1)
    with database.read() as connection:
        if connection.execute(due).first() is None:
            return None
    with database.write() as connection:
        row = connection.execute(due.with_for_update(skip_locked=True)).one_or_none()
        if row is None:
            return None
        found = _import(row)
        change(connection, found.account_id, found.id, next_at=to_micros(now + TAKEN_FOR))
        return found


def packed_slice(connection: sa.Connection, account_id: int, number: int, at: int) -> bytes:
    query = sa.select(import_slices.c.rows).filter_by(account_id=account_id, import_id=number, number=at)
    return bytes(connection.execute(query).scalar_one())


def drop(connection: sa.Connection, account_id: int, number: int) -> None:
    """Away with an import that was not begun."""
    for table in (import_slices, import_refusals):
        connection.execute(sa.delete(table).where(table.c.account_id == account_id, table.c.import_id == number))
    connection.execute(sa.delete(imports).where(_this(account_id, number)))


# -- what it makes --


def make_named(
    connection: sa.Connection, found: Import, kind: str, name: str, now: datetime, field_type: str = "input_field"
) -> None:
    """A tag, list or field that the file names; written down, so that it can go again. Raises `AccountFull`."""
    table = {"tags": schema.tags, "lists": schema.lists, "fields": schema.custom_fields}[kind]
    values = {"lists": {"public_name": name}, "fields": {"type": field_type}}.get(kind, {})
    same = (table.c.account_id == found.account_id) & (table.c.name_key == name_key(name)) & catalog.alive(table)
    if connection.execute(sa.select(table.c.id).where(same)).first() is not None:
        return
    number = add_named(connection, table, found.account_id, name, now, **values)
    here = _this(found.account_id, found.id)
    known = json.loads(connection.execute(sa.select(imports.c.named).where(here)).scalar_one())
    connection.execute(sa.update(imports).where(here).values(named=json.dumps([*known, [kind, number, name]])))


# -- a slice, inside the transaction of its leads --

PLACE = Select(imports, ("state", "done"), by=("account_id", "id"), lock=True)
SEEN = Select(import_leads, ("lead_id",), by=("account_id", "import_id", "lead_id"))
SLICES_MADE = Select(import_slices, ("first_id", "made"), by=("account_id", "import_id"), where="t.made > 0")
NAMED = Insert(import_leads)
REFUSED = Insert(import_refusals, update=("email", "reason", "cells"))
SLICE_DONE = Update(import_slices, ("rows", "first_id", "made", "at"))
REPORTED = Update(imports, ("report",))

_NEXT_ID = Select(schema.counters, ("next",), by=("name",), lock=True)
_IDS_TAKEN = Update(schema.counters, ("next",))


class Advance(Write):
    """Adds to the counts of an import, and moves it on by a slice."""

    COUNTS = ("made", "changed", "same", "refused", "repeated")

    def __init__(self) -> None:
        super().__init__(imports, (*self.COUNTS, "done", "next_at", "account_id", "id"))
        sets = ", ".join(f"{name} = {name} + ?" for name in self.COUNTS)
        self.sqlite = f"UPDATE imports SET {sets}, done = ?, next_at = ? WHERE account_id = ? AND id = ?"
        sets = ", ".join(f"{name} = t.{name} + k.{name}" for name in self.COUNTS)
        same = "t.account_id = k.account_id AND t.id = k.id"
        self.postgresql = (
            f"UPDATE imports t SET {sets}, done = k.done, next_at = k.next_at FROM {self.arrays} WHERE {same}".encode()
        )


ADVANCE = Advance()


async def take_ids(lane: Lane, count: int) -> int:
    """The first of so many ids for leads; if the transaction comes to nothing, nobody has taken them."""
    if not count:
        return 0
    [(first,)] = await lane.fetch(_NEXT_ID, [("leads",)])
    await lane.write(_IDS_TAKEN, [(first + count, "leads")])
    return int(first)


# -- new leads, many at once --

_quoted: Callable[[str], str] = getattr(json.encoder, "encode_basestring")  # noqa: B009 - what `dumps` does to a text

_PLAIN: dict[str, Write] = {}


def _plain(statement: Write) -> Write:
    """As rows of leads that there were not are written: none can be there already."""
    return _PLAIN.setdefault(statement.table.name, Insert(statement.table))


_FIELD = _plain(FIELD_SET)

Template = list[tuple[Write, tuple[Any, ...]]]
"""Rows of a lead, without the account and the lead's id with which they begin."""

_COLUMNS = schema.leads.c.keys()
_EMAIL_AT = _COLUMNS.index("email")
_JOINED_AT = _COLUMNS.index("created_at")
_PROFILE_AT = _COLUMNS.index(PROFILE_FIELDS[0])
_PROFILE_END = _PROFILE_AT + len(PROFILE_FIELDS)
_NOTES_AT = _COLUMNS.index("notes")
_KEYS_AT = _COLUMNS.index("email_key")
_NO_PROFILE = ("",) * len(PROFILE_FIELDS)


class NewLeads:
    """The rows of new leads about whom there is nothing to decide: those with the same `Joint` differ in their fields only.

    One of each kind is made as every lead is, and its rows are those of the others.
    """

    def __init__(self, account_id: int, origin: str, now: datetime, sample: Any) -> None:
        self._account_id = account_id
        self._origin = origin
        self._now = now
        self._sample = sample
        self._templates: dict[Joint, tuple[Row, Template]] = {}
        self.rows: dict[Write, list[Row]] = {NEW_LEAD: [], _FIELD: []}

    def add(self, wish: Wish, number: int) -> None:
        known = self._templates.get(wish.joint)
        if known is None:
            known = self._templates[wish.joint] = self._template(wish.joint)
        row, template = known
        profile = tuple(map(wish.profile.get, PROFILE_FIELDS, _NO_PROFILE)) if wish.profile else _NO_PROFILE
        joined = row[_JOINED_AT] if wish.joined is None else to_micros(wish.joined)
        key = (self._account_id, number)
        between = row[_JOINED_AT + 1 : _PROFILE_AT]
        self.rows[NEW_LEAD].append(
            (
                *key,
                wish.email,
                *row[_EMAIL_AT + 1 : _JOINED_AT],
                joined,
                *between,
                *profile,
                wish.notes,
                *row[_NOTES_AT + 1 : _KEYS_AT],
                *found_by(wish.email, wish.profile),
            )
        )
        rows, fields = self.rows, self.rows[_FIELD]
        for statement, rest in template:
            rows[statement].append(key + rest)
        for field, value in wish.custom.items():
            fields.append((*key, field, _quoted(value) if value.__class__ is str else json.dumps(value)))

    def _template(self, joint: Joint) -> tuple[Row, Template]:
        lead: Lead = self._sample(joint)
        flush = Flush(self._now, RowIds(), lambda _: None)
        flush.lead(lead)
        for event in lead.events:
            flush.event(Recorded(lead, event, event.kind, self._origin))
        rows = flush.prepare()
        [row] = rows.pop(NEW_LEAD)
        template = [(_plain(statement), each[2:]) for statement, some in rows.items() for each in some]
        for statement, _ in template:
            self.rows.setdefault(statement, [])
        return row, template

    async def write(self, lane: Lane, zone: tzinfo | None) -> None:
        for statement, rows in self.rows.items():
            await lane.write(statement, rows)
        count = len(self.rows[NEW_LEAD])
        if count:
            day = dailycounts.day_of(self._now, zone)
            await dailycounts.write(lane, Counter({(self._account_id, day, dailycounts.LEADS): count}))


# -- what people look at --


class Refusal(NamedTuple):
    line: int
    reason: str
    cells: list[str]


def refusals(
    connection: sa.Connection, account_id: int, number: int, *, after: int = -1, most: int = SHOWN
) -> list[Refusal]:
    """In the order of the file, from the one after the line `after`."""
    table = import_refusals
    query = sa.select(table.c.line, table.c.reason, table.c.cells).filter_by(account_id=account_id, import_id=number)
    rows = connection.execute(query.where(table.c.line > after).order_by(table.c.line).limit(most))
    return [Refusal(line, reason, json.loads(cells)) for line, reason, cells in rows]


def refusal_reasons(connection: sa.Connection, account_id: int, number: int, most: int) -> list[tuple[str, int, int]]:
    """(reason, rows, the first line): the most frequent first."""
    table = import_refusals
    count = sa.func.count()
    query = sa.select(table.c.reason, count, sa.func.min(table.c.line))
    query = query.filter_by(account_id=account_id, import_id=number).group_by(table.c.reason)
    rows = connection.execute(query.order_by(count.desc(), table.c.reason).limit(most))
    return [(reason, rows, line) for reason, rows, line in rows]


def known_addresses(connection: sa.Connection, account_id: int, emails: Iterable[str]) -> int:
    """How many of these some leads have."""
    leads = schema.leads
    query = sa.select(sa.func.count()).where(leads.c.account_id == account_id, leads.c.email.in_(list(emails)))
    return int(connection.execute(query).scalar_one())


def templates(connection: sa.Connection, account_id: int) -> dict[str, Mapping[str, str]]:
    """What columns are about, by the names of the templates."""
    query = sa.select(import_templates).filter_by(account_id=account_id).order_by(import_templates.c.name_key)
    return {row.name: json.loads(row.columns) for row in connection.execute(query.limit(MOST_TEMPLATES))}


def save_template(
    connection: sa.Connection, account_id: int, name: str, columns: Mapping[str, str], now: datetime
) -> None:
    """Under this name; one that there is gets these. Raises `AccountFull`."""
    catalog.lock_account(connection, account_id)
    table = import_templates
    here = (table.c.account_id == account_id) & (table.c.name_key == name_key(name))
    written = json.dumps(columns, ensure_ascii=False)
    if connection.execute(sa.update(table).where(here).values(columns=written)).rowcount:
        return
    count = sa.select(sa.func.count()).select_from(table).where(table.c.account_id == account_id)
    if connection.execute(count).scalar_one() >= MOST_TEMPLATES:
        raise AccountFull(f"templates of imports: {MOST_TEMPLATES} at most")
    add_named(connection, table, account_id, name, now, columns=written)


def remove_template(connection: sa.Connection, account_id: int, name: str) -> None:
    table = import_templates
    here = (table.c.account_id == account_id) & (table.c.name_key == name_key(name))
    connection.execute(sa.delete(table).where(here))


def given_up(connection: sa.Connection, account_id: int, most: int) -> list[tuple[int, str]]:
    """Number and file of the newest that stopped by themselves, and wait for somebody to go on with them."""
    here = (imports.c.account_id == account_id) & (imports.c.state == State.STOPPED.value) & (imports.c.told != "")
    query = sa.select(imports.c.id, imports.c.file).where(here, imports.c.samples != "")
    return [tuple(row) for row in connection.execute(query.order_by(imports.c.id.desc()).limit(most))]


def forget(database: Database, now: datetime) -> int:
    """Away with files that nobody has imported, and with what old imports did to whom, a few at a time; how many rows."""
    old = sa.or_(
        (imports.c.state.in_([State.DRAFT.value])) & (imports.c.created_at < to_micros(now - WAITS)),
        (imports.c.ended_at < to_micros(now - KEPT)) & (imports.c.samples != ""),
    )
    with database.read() as connection:
        found = connection.execute(sa.select(imports.c.account_id, imports.c.id).where(old)).all()
    whole = 0
    for account_id, number in found:
        count = 0
        with database.write() as connection:
            for table in (import_slices, import_refusals, import_leads):
                last = list(table.primary_key)[-1]
                here = (table.c.account_id == account_id) & (table.c.import_id == number)
                some = sa.select(last).where(here).limit(MOST_FORGOTTEN)
                count += connection.execute(sa.delete(table).where(here, last.in_(some))).rowcount
            if not count:
                drafts = (imports.c.state == State.DRAFT.value) & _this(account_id, number)
                connection.execute(sa.delete(imports).where(drafts))
                change(connection, account_id, number, samples="", report="")
        whole += count
    return whole
