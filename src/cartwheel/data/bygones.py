"""Lists, tags and custom fields that were deleted: kept for a while to be taken back, then wiped from the leads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.data.catalogchanges import check_free, name_column
from cartwheel.data.db import Database
from cartwheel.times import from_micros, to_micros

KEPT = timedelta(days=30)

SLICE = 2000
"""Rows of leads that are looked at in one transaction."""

_COLUMNS = {
    schema.lists: schema.lead_lists.c.list_id,
    schema.tags: schema.lead_tags.c.tag_id,
    schema.custom_fields: schema.lead_fields.c.field_id,
}


@dataclass(frozen=True, slots=True)
class Bygone:
    """One that can be taken back."""

    id: int
    name: str
    deleted_at: datetime


def delete(connection: sa.Connection, table: sa.Table, account_id: int, number: int, now: datetime) -> None:
    """Nobody finds it by its name any more; the name is free at once."""
    connection.execute(sa.update(table).where(*_here(table, account_id, number)).values(deleted_at=to_micros(now)))


def restore(connection: sa.Connection, table: sa.Table, account_id: int, bygone: Bygone) -> None:
    """Raises `NameTaken`."""
    check_free(connection, table, account_id, bygone.name, but=bygone.id)
    connection.execute(sa.update(table).where(*_here(table, account_id, bygone.id)).values(deleted_at=None))


def _here(table: sa.Table, account_id: int, number: int) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.account_id == account_id, table.c.id == number


def those_of(connection: sa.Connection, table: sa.Table, account_id: int, now: datetime, most: int) -> Sequence[Bygone]:
    """Those that can be taken back, the last one first."""
    query = (
        sa.select(table.c.id, name_column(table), table.c.deleted_at)
        .where(table.c.account_id == account_id, table.c.deleted_at > to_micros(now - KEPT))
        .order_by(table.c.deleted_at.desc(), table.c.id.desc())
        .limit(most)
    )
    return [Bygone(number, name, from_micros(at)) for number, name, at in connection.execute(query)]


class Wiping:
    """Goes through the leads of one account at a time, slice by slice; who begins again loses nothing but time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reached: dict[tuple[str, int], int] = {}
        """The last lead that was looked at, by table and account."""

    def round(self, now: datetime) -> bool:
        """One slice; false if nothing has to be wiped."""
        for table, column in _COLUMNS.items():
            due = (table.c.deleted_at <= to_micros(now - KEPT)) & table.c.wiped_at.is_(None)
            with self._database.read() as connection:
                first = connection.execute(sa.select(table.c.account_id).where(due).limit(1)).scalar_one_or_none()
                if first is None:
                    continue
                query = sa.select(table.c.id).where(table.c.account_id == first, due).order_by(table.c.id)
                numbers = connection.execute(query).scalars().all()
            self._slice(table, column, first, numbers, now)
            return True
        return False

    def _slice(
        self, table: sa.Table, column: sa.Column[int], account_id: int, numbers: Sequence[int], now: datetime
    ) -> None:
        key, rows = (table.name, account_id), column.table
        after = self._reached.get(key, 0)
        with self._database.write() as connection:
            ahead = sa.select(rows.c.lead_id).where(rows.c.account_id == account_id, rows.c.lead_id > after)
            part = ahead.order_by(rows.c.lead_id).limit(SLICE).subquery()
            last = connection.execute(sa.select(sa.func.max(part.c.lead_id))).scalar_one()
            if last is None:
                done = (table.c.account_id == account_id) & table.c.id.in_(numbers)
                connection.execute(sa.update(table).where(done).values(wiped_at=to_micros(now)))
                self._reached.pop(key, None)
                return
            slice_ = (rows.c.account_id == account_id) & (rows.c.lead_id > after) & (rows.c.lead_id <= last)
            connection.execute(sa.delete(rows).where(slice_, column.in_(numbers)))
            self._reached[key] = last
