"""What automations have to say to people: claimed, and settled."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.data.db import Database
from cartwheel.times import to_micros

KEPT = timedelta(days=30)
"""So long it is told that one could not be sent."""

_TABLE = schema.notices


class Notice(NamedTuple):
    """A mail to somebody about a lead; `email` is None when the lead is not there any more."""

    account_id: int
    lead_id: int
    id: int
    automation_id: int
    recipient: str
    event: str
    text: str
    attempts: int
    email: str | None


def claim(database: Database, now: datetime, until: datetime, most: int) -> list[Notice]:
    """Those that are due, longest first; until then nobody else has them, and if nothing is heard of them they are due again."""
    with database.read() as connection:
        due = connection.execute(sa.select(_TABLE.c.id).where(_TABLE.c.next_at <= to_micros(now)).limit(1)).first()
    if due is None:
        return []
    leads = schema.leads
    lead = (leads.c.account_id == _TABLE.c.account_id) & (leads.c.id == _TABLE.c.lead_id) & leads.c.deleted_at.is_(None)
    key = (_TABLE.c.account_id, _TABLE.c.lead_id, _TABLE.c.id)
    query = (
        sa.select(*key, _TABLE.c.automation_id, _TABLE.c.recipient, _TABLE.c.event, _TABLE.c.text, _TABLE.c.attempts)
        .where(_TABLE.c.next_at <= to_micros(now))
        .order_by(_TABLE.c.next_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    with database.write() as connection:
        rows = connection.execute(query).all()
        for row in rows:
            values = {"next_at": to_micros(until), "attempts": row.attempts + 1}
            connection.execute(sa.update(_TABLE).where(*_here(row[:3])).values(**values))
        emails = sa.select(*key, leads.c.email).join(leads, lead).where(sa.tuple_(*key).in_([row[:3] for row in rows]))
        known = {row[:3]: row.email for row in connection.execute(emails)}
    return [Notice(*row, known.get(row[:3])) for row in rows]


def _here(key: Sequence[Any]) -> tuple[sa.ColumnElement[bool], ...]:
    return _TABLE.c.account_id == key[0], _TABLE.c.lead_id == key[1], _TABLE.c.id == key[2]


def sent(connection: sa.Connection, notice: Notice) -> None:
    connection.execute(sa.delete(_TABLE).where(*_here(notice)))


def failed(connection: sa.Connection, notice: Notice, reply: str, next_at: datetime | None) -> None:
    """It is tried again at `next_at`, or never."""
    values = {"reply": reply, "next_at": to_micros(next_at) if next_at else None}
    connection.execute(sa.update(_TABLE).where(*_here(notice)).values(**values))


def given_up(
    connection: sa.Connection, account_id: int, automation_id: int, now: datetime, most: int
) -> list[sa.Row[Any]]:
    """The last that could not be sent: to whom, why and of when."""
    here = (_TABLE.c.account_id == account_id) & (_TABLE.c.automation_id == automation_id)
    recent = _TABLE.c.next_at.is_(None) & (_TABLE.c.at > to_micros(now - KEPT))
    query = sa.select(_TABLE.c.recipient, _TABLE.c.reply, _TABLE.c.at).where(here, recent)
    return list(connection.execute(query.order_by(_TABLE.c.at.desc()).limit(most)))


def forget(connection: sa.Connection, now: datetime) -> None:
    """Away with what could not be sent long ago."""
    old = _TABLE.c.next_at.is_(None) & (_TABLE.c.at <= to_micros(now - KEPT))
    connection.execute(sa.delete(_TABLE).where(old))
