"""The addresses that are not to be mailed, as people look through them and change them.

What concerns an address that a lead has is changed through the lead, like everything about leads.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from cartwheel.data import mailledger, schema
from cartwheel.times import from_micros, to_micros

_TABLE = schema.suppressions

MOST_SCANNED = 5000


class Suppressed(NamedTuple):
    """An address that is not mailed, and who had it."""

    email: str
    reason: str
    at: datetime
    details: str
    lead: int | None


_COLUMNS = (_TABLE.c.email, _TABLE.c.reason, _TABLE.c.at, _TABLE.c.details, _TABLE.c.lead)

Place = tuple[int, str]
"""(microseconds, address)"""


def newest(
    connection: sa.Connection, account_id: int, *, reason: str, after: Place | None, most: int
) -> tuple[list[Suppressed], Place | None]:
    """The newest first, and where the next page begins."""
    place = (_TABLE.c.at, _TABLE.c.email)
    where: list[Any] = [_TABLE.c.account_id == account_id, schema.SUPPRESSED]
    if after is not None:
        where.append(sa.tuple_(*place) < after)
    down = [column.desc() for column in place]
    near = sa.select(*_COLUMNS).where(*where).order_by(*down).limit(MOST_SCANNED if reason else most + 1).subquery()
    query = sa.select(near).order_by(near.c.at.desc(), near.c.email.desc()).limit(most + 1)
    if reason:
        query = query.where(near.c.reason == reason)
    rows = [_suppressed(row) for row in connection.execute(query)]
    if len(rows) <= most:
        return rows, None
    return rows[:most], (to_micros(rows[most - 1].at), rows[most - 1].email)


def starting(connection: sa.Connection, account_id: int, prefix: str, *, reason: str, most: int) -> list[Suppressed]:
    """The first addresses of those that begin so."""
    where: list[Any] = [_TABLE.c.account_id == account_id, mailledger.starts(connection, _TABLE.c.email, prefix)]
    where.append(_TABLE.c.reason == reason if reason else schema.SUPPRESSED)
    query = sa.select(*_COLUMNS).where(*where).order_by(_TABLE.c.email).limit(most)
    return [_suppressed(row) for row in connection.execute(query)]


def of(connection: sa.Connection, account_id: int, email: str) -> Suppressed | None:
    """None if it may be mailed."""
    query = sa.select(*_COLUMNS).where(_TABLE.c.account_id == account_id, _TABLE.c.email == email, schema.SUPPRESSED)
    row = connection.execute(query).one_or_none()
    return None if row is None else _suppressed(row)


def _suppressed(row: Sequence[object]) -> Suppressed:
    email, reason, at, details, lead = row
    assert isinstance(at, int)
    return Suppressed(str(email), str(reason), from_micros(at), str(details), lead if isinstance(lead, int) else None)


def put(connection: sa.Connection, account_id: int, email: str, reason: str, details: str, now: datetime) -> None:
    """An address that no lead has is not to be mailed; nothing is changed of one that is not mailed already."""
    here = (_TABLE.c.account_id == account_id) & (_TABLE.c.email == email)
    connection.execute(sa.delete(_TABLE).where(here, _TABLE.c.reason == ""))
    if connection.execute(sa.select(_TABLE.c.email).where(here)).first() is None:
        values = {"account_id": account_id, "email": email, "reason": reason, "at": to_micros(now), "details": details}
        connection.execute(sa.insert(_TABLE).values(values | {"soft_bounces": 0, "lead": None}))


def lift(connection: sa.Connection, account_id: int, email: str) -> None:
    """An address that no lead has may be mailed."""
    connection.execute(sa.delete(_TABLE).where(_TABLE.c.account_id == account_id, _TABLE.c.email == email))


def erased(connection: sa.Connection, account_id: int, most: int) -> int:
    """How many addresses of erased leads are not to be mailed, up to so many."""
    table = schema.erased_addresses
    near = sa.select(table.c.digest).where(table.c.account_id == account_id).limit(most).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(near)).scalar_one())
