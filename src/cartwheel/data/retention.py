"""What an account keeps for so many days only: wiped by age, slice by slice, in the order of the tables' keys.

An event that proves something stays (that a lead came, was erased, gave or took back its consent), and events of mails stay
for as long as mails do: the books are right at any moment (`doctor`).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from cartwheel.accounts import FOR_EVER, Retention
from cartwheel.data import schema
from cartwheel.data.db import Database
from cartwheel.data.erasures import WATCHED
from cartwheel.data.leadstore import LeadKey
from cartwheel.leads.events import ConsentChanged, LeadCreated, LeadErased, MailBounced, MailNotSent, MailSent
from cartwheel.leads.mails import MailState
from cartwheel.times import from_micros, to_micros

SLICE = 1000
"""Rows that are looked at in one transaction."""

MOST_ERASED = 50
"""Leads that are erased in one round."""

AGAIN = timedelta(hours=12)
"""Time between two walks through an account."""

PROOFS = frozenset({LeadCreated.kind, LeadErased.kind, ConsentChanged.kind})
_OF_MAILS = frozenset({MailSent.kind, MailNotSent.kind, MailBounced.kind})
_SEEN = ("opened_at", "clicked_at", "machine_opened_at", "machine_clicked_at")
_SETTLED = frozenset(state.value for state in MailState if state.settled) - {MailState.IN_DOUBT.value}

_ERASED = schema.leads.c.email.like("erased:%")


class Limits(NamedTuple):
    """What is older than this goes, in microseconds since 1970; None keeps all."""

    opens_and_clicks: int | None
    events: int | None
    mails: int | None
    deleted_leads: int | None


def limits(kept: Retention, now: datetime) -> Limits:
    days = (kept.opens_and_clicks, kept.events, kept.mails, kept.deleted_leads)
    return Limits(*(to_micros(now - timedelta(days=number)) if number else None for number in days))


def _older(at: int | None, limit: int | None) -> bool:
    return at is not None and limit is not None and at < limit


def _event_goes(row: Any, than: Limits) -> bool:
    if row.kind in PROOFS:
        return False
    if row.kind in _OF_MAILS:
        return _older(row.at, than.mails)
    return _older(row.at, than.events) or (row.kind in WATCHED and _older(row.at, than.opens_and_clicks))


def _mail_goes(row: Any, than: Limits) -> bool:
    return row.state in _SETTLED and _older(row.queued_at, than.mails)


def _is_seen(row: Any, than: Limits) -> bool:
    """Whether it holds an open or a click that is too old."""
    return any(_older(getattr(row, name), than.opens_and_clicks) for name in _SEEN)


# -- going through a table --


def _wipe_mails(connection: sa.Connection, account_id: int, rows: Sequence[Any], than: Limits) -> None:
    table, runs = schema.mails, schema.enrolments
    due = [(row.lead_id, row.id) for row in rows if _mail_goes(row, than)]
    _lock(connection, account_id, {lead_id for lead_id, _ in due})
    if due:
        gone = sa.delete(table).where(_those(table.c.id, account_id, due)).returning(table.c.lead_id, table.c.run)
        for (lead_id, run), count in Counter(map(tuple, connection.execute(gone))).items():
            here = (runs.c.account_id == account_id) & (runs.c.lead_id == lead_id) & (runs.c.id == run)
            connection.execute(sa.update(runs).where(here).values(mails_due=runs.c.mails_due - count))
    for column in (schema.clicks.c.mail, schema.test_mailbox.c.mail):
        _delete(connection, column, account_id, due)
    for row in rows:
        if _is_seen(row, than):
            here = (table.c.account_id == account_id) & (table.c.lead_id == row.lead_id) & (table.c.id == row.id)
            kept = {name: None for name in _SEEN if _older(getattr(row, name), than.opens_and_clicks)}
            connection.execute(sa.update(table).where(here).values(**kept))


def _lock(connection: sa.Connection, account_id: int, leads: set[int]) -> None:
    """Batches that have loaded these leads come first, and others wait: a run's count of its mails is written whole."""
    table = schema.leads
    query = sa.select(table.c.id).where(table.c.account_id == account_id, table.c.id.in_(leads)).order_by(table.c.id)
    connection.execute(query.with_for_update(key_share=True)).all()


def _wipe_clicks(connection: sa.Connection, account_id: int, rows: Sequence[Any], than: Limits) -> None:
    gone = [(row.lead_id, row.mail) for row in rows if _older(row.last_at, than.opens_and_clicks)]
    _delete(connection, schema.clicks.c.mail, account_id, gone)


def _wipe_events(connection: sa.Connection, account_id: int, rows: Sequence[Any], than: Limits) -> None:
    gone = [(row.lead_id, row.id) for row in rows if _event_goes(row, than)]
    _delete(connection, schema.events.c.id, account_id, gone)


def _delete(connection: sa.Connection, number: sa.Column[int], account_id: int, keys: Sequence[LeadKey]) -> None:
    if keys:
        connection.execute(sa.delete(number.table).where(_those(number, account_id, keys)))


def _those(number: sa.Column[int], account_id: int, keys: Sequence[LeadKey]) -> sa.ColumnElement[bool]:
    """The rows of these leads with these numbers; they are near each other, in the order of the key."""
    lead = number.table.c.lead_id
    near = (number.table.c.account_id == account_id) & lead.between(keys[0][0], keys[-1][0])
    return near & sa.tuple_(lead, number).in_(keys)


@dataclass(frozen=True)
class _Walk:
    """A table in the order of its key, of which `number` is the part behind the lead."""

    table: sa.Table
    number: str
    columns: Sequence[str]
    wipe: Callable[[sa.Connection, int, Sequence[Any], Limits], None]

    def rows(self, connection: sa.Connection, account_id: int, after: LeadKey, most: int) -> Sequence[Any]:
        table = self.table
        place = (table.c.lead_id, table.c[self.number])
        wanted = [*place, *(table.c[name] for name in self.columns)]
        query = sa.select(*wanted).where(table.c.account_id == account_id, sa.tuple_(*place) > after)
        return connection.execute(query.order_by(*place).limit(most)).all()


_WALKS = (
    _Walk(schema.mails, "id", ("run", "state", "queued_at", *_SEEN), _wipe_mails),
    _Walk(schema.clicks, "mail", ("last_at",), _wipe_clicks),
    _Walk(schema.events, "id", ("kind", "at"), _wipe_events),
)
"""Events come last: what a mail says of itself goes after the mail."""

_BEGINNING = (-1, -1)


class Wearing:
    """Goes through the accounts that keep something for a while only; who begins again loses nothing but time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next: dict[int, datetime] = {}
        self._place: tuple[int, int, LeadKey] | None = None
        """Account, walk, and the row after which it goes on."""

    def round(self, now: datetime) -> bool:
        """One slice; false if nothing has to be looked at now."""
        with self._database.read() as connection:
            kept = dict(_keeping(connection))
        if self._place is None or self._place[0] not in kept:
            due = next((number for number in kept if self._next.get(number, now) <= now), None)
            self._place = None if due is None else (due, 0, _BEGINNING)
        if self._place is None:
            return False
        account_id, number, after = self._place
        walk, than = _WALKS[number], limits(kept[account_id], now)
        with self._database.write() as connection:
            rows = walk.rows(connection, account_id, after, SLICE)
            walk.wipe(connection, account_id, rows, than)
        if len(rows) == SLICE:
            self._place = (account_id, number, (rows[-1][0], rows[-1][1]))
        elif number + 1 < len(_WALKS):
            self._place = (account_id, number + 1, _BEGINNING)
        else:
            self._place, self._next[account_id] = None, now + AGAIN
        return True


def _keeping(connection: sa.Connection) -> Iterator[tuple[int, Retention]]:
    """The accounts that do not keep all for ever."""
    table = schema.accounts
    for row in connection.execute(sa.select(table.c.id, table.c.retention).where(table.c.retention != "{}")):
        yield row.id, msgspec.json.decode(row.retention, type=Retention)


def leads_to_erase(connection: sa.Connection, now: datetime) -> list[LeadKey]:
    """Some of those that were deleted long enough ago."""
    found: list[LeadKey] = []
    for account_id, kept in _keeping(connection):
        than = limits(kept, now).deleted_leads
        if than is not None and len(found) < MOST_ERASED:
            query = sa.select(schema.leads.c.id).where(_deleted(account_id, than)).order_by(schema.leads.c.id)
            ids = connection.execute(query.limit(MOST_ERASED - len(found))).scalars()
            found += [(account_id, number) for number in ids]
    return found


def _deleted(account_id: int, than: int) -> sa.ColumnElement[bool]:
    table = schema.leads
    return sa.and_(
        table.c.account_id == account_id, table.c.deleted_at.is_not(None), table.c.deleted_at < than, ~_ERASED
    )


# -- told before --


class Going(NamedTuple):
    """How much would go now. Not `whole`: at the least, for only so many rows were looked at."""

    opens_and_clicks: int
    events: int
    mails: int
    deleted_leads: int
    whole: bool
    since: datetime | None
    """The oldest of it."""

    @property
    def anything(self) -> bool:
        return any((self.opens_and_clicks, self.events, self.mails, self.deleted_leads))


def going(connection: sa.Connection, account_id: int, kept: Retention, now: datetime, most: int | None = None) -> Going:
    """What these periods would take, among the first `most` rows of each table."""
    if kept == FOR_EVER:
        return Going(0, 0, 0, 0, whole=True, since=None)
    than, counts, whole = limits(kept, now), Counter[str](), True
    oldest: int | None = None
    for walk in _WALKS:
        looked, after = 0, _BEGINNING
        while rows := walk.rows(connection, account_id, after, SLICE):
            for row in rows:
                if (what := _what_goes(walk.table, row, than)) is not None:
                    counts[what[0]] += 1
                    oldest = what[1] if oldest is None else min(oldest, what[1])
            looked, after = looked + len(rows), (rows[-1][0], rows[-1][1])
            if most is not None and looked >= most:
                whole = False
                break
    if than.deleted_leads is not None:
        here = _deleted(account_id, than.deleted_leads)
        counts["deleted_leads"] = connection.execute(sa.select(sa.func.count()).where(here)).scalar_one()
    return Going(
        counts["opens_and_clicks"],
        counts["events"],
        counts["mails"],
        counts["deleted_leads"],
        whole=whole,
        since=from_micros(oldest) if oldest is not None else None,
    )


def _what_goes(table: sa.Table, row: Any, than: Limits) -> tuple[str, int] | None:
    """Under which name a row is counted, and its time."""
    if table is schema.mails:
        if _mail_goes(row, than):
            return "mails", row.queued_at
        return ("opens_and_clicks", row.queued_at) if _is_seen(row, than) else None
    if table is schema.events and _event_goes(row, than):
        kind = "opens_and_clicks" if row.kind in WATCHED else "mails" if row.kind in _OF_MAILS else "events"
        return (kind, row.at) if kind != "mails" else None  # it was counted with its mail
    return None
