"""How many leads are on each list, have each tag and have filled each custom field.

In an account of a usual size they are counted when somebody looks. In a larger one that would take seconds, so that they
are counted in the background, when somebody wants to see them and the last numbers are old; the page says when it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.data.db import Database
from cartwheel.times import moment_or_none, to_micros

FEW = 20_000
"""So many rows are counted each time that somebody looks."""

FRESH = timedelta(minutes=5)


class What(StrEnum):
    """What is counted."""

    LISTS = "lists"
    TAGS = "tags"
    FIELDS = "custom_fields"


_COLUMNS = {
    What.LISTS: schema.lead_lists.c.list_id,
    What.TAGS: schema.lead_tags.c.tag_id,
    What.FIELDS: schema.lead_fields.c.field_id,
}

_COUNTS, _COUNTINGS = schema.member_counts, schema.member_countings


@dataclass(frozen=True, slots=True)
class Counts:
    """`at` is None for numbers of now; `waiting` says that the first ones, or newer ones, are under way."""

    leads: Mapping[int, int]
    at: datetime | None = None
    waiting: bool = False

    @property
    def known(self) -> bool:
        return not self.waiting or self.at is not None


def read(database: Database, account_id: int, what: What, now: datetime) -> Counts:
    """The numbers; asks for newer ones where these are old."""
    with database.read() as connection:
        here = (_COUNTINGS.c.account_id == account_id) & (_COUNTINGS.c.what == what)
        row = connection.execute(sa.select(_COUNTINGS).where(here)).one_or_none()
        at = moment_or_none(row.counted_at) if row else None
        old = at is None or at < now - FRESH
        if old and _is_small(connection, account_id, what):
            return Counts(_counted(connection, account_id, what))
        query = sa.select(_COUNTS.c.id, _COUNTS.c.leads).where(
            _COUNTS.c.account_id == account_id, _COUNTS.c.what == what
        )
        leads = {count.id: count.leads for count in connection.execute(query)}
    if old and (row is None or row.wanted_at is None):
        with database.write() as connection:
            _want(connection, account_id, what, now)
    return Counts(leads, at, waiting=old)


def _is_small(connection: sa.Connection, account_id: int, what: What) -> bool:
    table = _COLUMNS[what].table
    first = sa.select(table.c.lead_id).where(table.c.account_id == account_id).limit(FEW + 1).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(first)).scalar_one()) <= FEW


def _counted(connection: sa.Connection, account_id: int, what: What) -> dict[int, int]:
    """Leads that were deleted do not count, nor who has left the list."""
    column, leads = _COLUMNS[what], schema.leads
    table = column.table
    same = (leads.c.account_id == table.c.account_id) & (leads.c.id == table.c.lead_id)
    query = (
        sa.select(column, sa.func.count())
        .join_from(table, leads, same)
        .where(table.c.account_id == account_id, leads.c.deleted_at.is_(None))
        .group_by(column)
    )
    if what is What.LISTS:
        query = query.where(table.c.left_at.is_(None))
    return {row[0]: row[1] for row in connection.execute(query)}


def _want(connection: sa.Connection, account_id: int, what: What, now: datetime) -> None:
    here = (_COUNTINGS.c.account_id == account_id) & (_COUNTINGS.c.what == what)
    if not connection.execute(sa.update(_COUNTINGS).where(here).values(wanted_at=to_micros(now))).rowcount:
        row = {"account_id": account_id, "what": what.value, "counted_at": None, "wanted_at": to_micros(now)}
        connection.execute(sa.insert(_COUNTINGS), row)


def count_wanted(database: Database, now: datetime) -> bool:
    """Count what somebody wants to see, of one account; false if nobody wants anything."""
    with database.read() as connection:
        wanted = sa.select(_COUNTINGS).where(_COUNTINGS.c.wanted_at.is_not(None))
        row = connection.execute(wanted.order_by(_COUNTINGS.c.wanted_at).limit(1)).one_or_none()
    if row is None:
        return False
    here = (_COUNTINGS.c.account_id == row.account_id) & (_COUNTINGS.c.what == row.what)
    with database.write() as connection:  # so that no other process counts the same
        mine = connection.execute(
            sa.update(_COUNTINGS).where(here, _COUNTINGS.c.wanted_at == row.wanted_at).values(wanted_at=None)
        ).rowcount
    if mine:
        with database.read() as connection:
            leads = _counted(connection, row.account_id, What(row.what))
        rows = [
            {"account_id": row.account_id, "what": row.what, "id": number, "leads": count}
            for number, count in leads.items()
        ]
        with database.write() as connection:
            old = (_COUNTS.c.account_id == row.account_id) & (_COUNTS.c.what == row.what)
            connection.execute(sa.delete(_COUNTS).where(old))
            if rows:
                connection.execute(sa.insert(_COUNTS), rows)
            connection.execute(sa.update(_COUNTINGS).where(here).values(counted_at=to_micros(now), wanted_at=None))
    return True
