"""The API's last calls, as the inspector shows them: written many at a time, found page by page, forgotten after a while.

A row is written after its call was answered, in a transaction of its own. A crash can lose those of the last seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.leads.leadparts import nobody
from cartwheel.times import from_micros, to_micros

KEPT = timedelta(days=7)

MOST_FORGOTTEN = 1000
"""Rows that are deleted in one transaction."""

_T = schema.api_calls


@dataclass(frozen=True, slots=True)
class Call:
    """A call without its long parts. `told` and `tree` are JSON; what may be missing is empty."""

    request_id: str
    at: datetime
    app: str
    admitted: bool
    ok: bool
    refused: str
    told: str
    email: str
    client: str
    status: int
    micros: int


@dataclass(frozen=True, slots=True)
class WholeCall(Call):
    content_type: str
    query: str
    body: str
    tree: str
    answer: str
    lead: int | None


_SHORT = [_T.c[name] for name in Call.__dataclass_fields__]
_LONG = [_T.c[name] for name in WholeCall.__dataclass_fields__]


# -- writing --


def write(connection: sa.Connection, rows: Sequence[Mapping[str, Any]], used: Mapping[str, int], most: int) -> None:
    """Add these rows, and away with what is then too much; `used` says when which key was used last."""
    erased = _erased(connection, rows)
    kept = [row for row in rows if not {(row["account_id"], row[name]) for name in ("lead", "other_lead")} & erased]
    if kept:
        connection.execute(sa.insert(_T), kept)
    for bucket in sorted({(row["account_id"], row["app"], row["admitted"]) for row in kept}):
        _shorten(connection, *bucket, most)
    for digest, at in used.items():
        keys = schema.api_keys
        connection.execute(sa.update(keys).where(keys.c.key_digest == digest).values(used_at=at))


def _erased(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> set[tuple[int, int]]:
    """Leads that were erased between their call and this moment: nothing is to be stored of them again.

    They keep their addresses until the rows are there: whoever erases one of them then finds its rows. Whoever changes
    something else of them need not wait, and a worker does not pass them by.
    """
    leads = schema.leads
    named = {(row["account_id"], row[name]) for row in rows for name in ("lead", "other_lead") if row[name] is not None}
    found: set[tuple[int, int]] = set()
    for account_id in sorted({account for account, _ in named}):
        numbers = [number for account, number in named if account == account_id]
        here = (leads.c.account_id == account_id) & leads.c.id.in_(numbers)
        query = sa.select(leads.c.id, leads.c.email).where(here).order_by(leads.c.id)
        query = query.with_for_update(read=True, key_share=True)
        found |= {(account_id, row.id) for row in connection.execute(query) if row.email == nobody(row.id)}
    return found


def _shorten(connection: sa.Connection, account_id: int, app: str, admitted: bool, most: int) -> None:  # noqa: FBT001
    here = (_T.c.account_id == account_id) & (_T.c.app == app) & (_T.c.admitted == admitted)
    oldest = sa.select(_T.c.at).where(here).order_by(_T.c.at.desc()).limit(1).offset(most - 1)
    at = connection.execute(oldest).scalar_one_or_none()
    if at is not None:
        connection.execute(sa.delete(_T).where(here, _T.c.at < at))


def forget(connection: sa.Connection, now: datetime) -> int:
    """Away with those that are too old; returns how many, `MOST_FORGOTTEN` if there may be more."""
    old = sa.select(*_T.primary_key).where(_T.c.at < to_micros(now - KEPT)).limit(MOST_FORGOTTEN)
    free = old.with_for_update(skip_locked=True)  # another process may be at it
    return connection.execute(sa.delete(_T).where(sa.tuple_(*_T.primary_key).in_(free))).rowcount


def has_old(connection: sa.Connection, now: datetime) -> bool:
    return connection.execute(sa.select(_T.c.at).where(_T.c.at < to_micros(now - KEPT)).limit(1)).first() is not None


# -- finding --


@dataclass(frozen=True, slots=True)
class Filter:
    """What is looked for; empty is anything. `app` is an origin, or `UNKNOWN_APP`."""

    app: str = ""
    command: str = ""
    result: str = ""
    email: str = ""


NOT_ADMITTED = "not let in"
"""In place of an App: calls of whom nobody let in."""


def newest(
    connection: sa.Connection, account_id: int, wanted: Filter, before: tuple[int, str] | None, most: int
) -> list[Call]:
    """So many calls, newest first, from before (time, request id)."""
    query = sa.select(*_SHORT).where(_T.c.account_id == account_id)
    if wanted.app == NOT_ADMITTED:
        query = query.where(_T.c.admitted.is_(False))
    elif wanted.app:
        query = query.where(_T.c.app == wanted.app)
    if wanted.command:
        query = query.where(_T.c.told.contains(f'["{wanted.command}"', autoescape=True))
    if wanted.result:
        query = query.where(_T.c.ok.is_(wanted.result == "ok"))
    if wanted.email:
        query = query.where(_T.c.email.contains(wanted.email.lower(), autoescape=True))
    if before is not None:
        query = query.where(sa.tuple_(_T.c.at, _T.c.request_id) < sa.tuple_(*map(sa.literal, before)))
    query = query.order_by(_T.c.at.desc(), _T.c.request_id.desc()).limit(most)
    return [Call(**_values(row)) for row in connection.execute(query).mappings()]


def one(connection: sa.Connection, account_id: int, request_id: str) -> WholeCall | None:
    query = sa.select(*_LONG).where(_T.c.account_id == account_id, _T.c.request_id == request_id)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else WholeCall(**_values(row))


def last_calls(connection: sa.Connection, account_id: int) -> dict[str, datetime]:
    """When each App was let in last, by its origin."""
    query = (
        sa.select(_T.c.app, sa.func.max(_T.c.at))
        .where(_T.c.account_id == account_id, _T.c.admitted.is_(True))
        .group_by(_T.c.app)
    )
    return {row[0]: from_micros(row[1]) for row in connection.execute(query)}


def _values(row: Any) -> dict[str, Any]:
    values = dict(row)
    return {**values, "at": from_micros(values["at"]), "admitted": bool(values["admitted"]), "ok": bool(values["ok"])}
