"""What happened in an account, lead by lead, in the order in which it happened: for those who read on and on."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.data.leadfeed import event_of
from cartwheel.leads.events import Event
from cartwheel.times import from_micros, to_micros

SETTLED = {"sqlite": timedelta(seconds=2), "postgresql": timedelta(seconds=30)}
"""So old an event has to be, so that none can still be stored that has a lower number: on PostgreSQL, others may be at
work whose clocks differ, and whose transactions take their time. See `RowIds`."""

MOST_SCANNED = 5000
"""Events that are looked at for one page."""

_EVENTS = schema.events

Place = tuple[int, int]
"""(number, lead) of an event."""


class Row(NamedTuple):
    id: int
    lead_id: int
    at: datetime
    kind: str
    details: str
    event: Event | None
    origin: str


class Page(NamedTuple):
    rows: list[Row]
    after: Place
    more: bool


def page(
    connection: sa.Connection,
    account_id: int,
    *,
    after: Place,
    kinds: Collection[str],
    lead_id: int | None,
    most: int,
    now: datetime,
) -> Page:
    """The next events after the place, of these kinds if any are given, and where the next page begins."""
    place = (_EVENTS.c.id, _EVENTS.c.lead_id)
    settled = to_micros(now - SETTLED[connection.dialect.name])
    where = [_EVENTS.c.account_id == account_id, sa.tuple_(*place) > after, _EVENTS.c.id <= settled]
    if lead_id is not None:
        where.append(_EVENTS.c.lead_id == lead_id)
    bound = MOST_SCANNED if kinds else most
    near = sa.select(*place, _EVENTS.c.kind).where(*where).order_by(*place).limit(bound + 1)
    seen = [tuple(row) for row in connection.execute(near)]
    hits = [row[:2] for row in seen[:bound] if not kinds or row[2] in kinds]
    more = len(seen) > bound or len(hits) > most
    last = hits[most - 1] if len(hits) > most else seen[:bound][-1][:2] if seen else after
    return Page(_rows(connection, account_id, hits[:most]), last, more)


def _rows(connection: sa.Connection, account_id: int, places: list[Any]) -> list[Row]:
    if not places:
        return []
    mine = sa.tuple_(_EVENTS.c.lead_id, _EVENTS.c.id).in_([(lead_id, number) for number, lead_id in places])
    query = sa.select(_EVENTS).where(_EVENTS.c.account_id == account_id, mine).order_by(_EVENTS.c.id, _EVENTS.c.lead_id)
    return [
        Row(
            row.id, row.lead_id, from_micros(row.at), row.kind, row.details, event_of(row.kind, row.details), row.origin
        )
        for row in connection.execute(query)
    ]
