"""Segments: filters for leads that were given a name."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from cartwheel.accounts import name_key
from cartwheel.data import catalogchanges, schema
from cartwheel.errors import AccountFull
from cartwheel.leads import filters
from cartwheel.leads.filters import BadFilter, Group

MOST = 500

_TABLE = schema.segments


@dataclass(frozen=True, slots=True)
class Segment:
    """`tree` is None when this version of Cartwheel cannot read it."""

    id: int
    name: str
    filter: str
    tree: Group | None


def listed(connection: sa.Connection, account_id: int) -> Sequence[Segment]:
    """All of an account, by name."""
    rows = connection.execute(sa.select(_TABLE).where(_TABLE.c.account_id == account_id).order_by(_TABLE.c.name_key))
    return [Segment(row.id, row.name, row.filter, _tree(row.filter)) for row in rows]


def _tree(text: str) -> Group | None:
    try:
        return filters.read(text)
    except BadFilter:
        return None


def save(connection: sa.Connection, account_id: int, name: str, tree: Group, now: datetime) -> int:
    """A new one under the name, or the one of this name with this filter; returns its number. Raises `AccountFull`."""
    table, written = _TABLE, filters.written(tree)
    here = (table.c.account_id == account_id) & (table.c.name_key == name_key(name))
    known = connection.execute(sa.update(table).where(here).values(filter=written).returning(table.c.id)).scalar()
    if known is not None:
        return int(known)
    count = sa.select(sa.func.count()).where(table.c.account_id == account_id)
    if connection.execute(count).scalar_one() >= MOST:
        raise AccountFull(f"segments: {MOST} at most")
    return catalogchanges.add_named(connection, table, account_id, name, now, filter=written)


def remove(connection: sa.Connection, account_id: int, number: int) -> bool:
    """Whether it was there."""
    here = (_TABLE.c.account_id == account_id) & (_TABLE.c.id == number)
    return connection.execute(sa.delete(_TABLE).where(here)).rowcount > 0
