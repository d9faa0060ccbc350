"""What happened to a lead, and its ledger of points, for those who look at them."""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.data.leadstore import LeadKey
from cartwheel.leads.events import KINDS, Event, by_automation
from cartwheel.leads.leadparts import Grant
from cartwheel.times import from_micros, moment_or_none

_READERS = {kind: msgspec.json.Decoder(event) for kind, event in KINDS.items()}
"""Made ahead: msgspec crashes when several threads are the first to read a type."""


def ledger(connection: sa.Connection, key: LeadKey) -> list[Grant]:
    """Every grant and deduction of the lead, oldest first."""
    table = schema.points
    columns = (table.c.id, table.c.points, table.c.given_at, table.c.expires_at, table.c.reversed_at)
    query = sa.select(*columns).where(table.c.account_id == key[0], table.c.lead_id == key[1]).order_by(table.c.id)
    return [
        Grant(
            row.id,
            row.points,
            from_micros(row.given_at),
            moment_or_none(row.expires_at),
            moment_or_none(row.reversed_at),
        )
        for row in connection.execute(query)
    ]


class Happened(NamedTuple):
    """An event as it was stored; `event` is None when this version of Cartwheel cannot read it."""

    at: datetime
    kind: str
    details: str
    event: Event | None
    origin: str


def feed(connection: sa.Connection, key: LeadKey, most: int | None) -> list[Happened]:
    """What happened to the lead, newest first; at the most the last `most`, if that is given."""
    table = schema.events
    columns = (table.c.at, table.c.kind, table.c.details, table.c.origin)
    query = sa.select(*columns).where(table.c.account_id == key[0], table.c.lead_id == key[1])
    rows = connection.execute(query.order_by(table.c.id.desc()).limit(most))
    return [happened(row) for row in rows]


def happened(row: Any) -> Happened:
    """A row of the table, read."""
    return Happened(from_micros(row.at), row.kind, row.details, event_of(row.kind, row.details), row.origin)


def runs_of_automation(connection: sa.Connection, account_id: int, number: int, most: int) -> list[sa.Row[Any]]:
    """Its last runs, newest first: the lead's id and address, and when."""
    table, leads = schema.events, schema.leads
    query = (
        sa.select(table.c.lead_id, leads.c.email, table.c.at)
        .join(leads, (leads.c.account_id == table.c.account_id) & (leads.c.id == table.c.lead_id))
        .where(table.c.account_id == account_id, table.c.origin == by_automation(number), schema.AUTOMATED)
        .order_by(table.c.at.desc())
        .limit(most)
    )
    return list(connection.execute(query))


def event_of(kind: str, details: str) -> Event | None:
    """None when this version of Cartwheel cannot read it."""
    try:
        return _READERS[kind].decode(details)
    except (KeyError, msgspec.ValidationError):
        return None
