"""Finding leads among millions: a filter becomes SQL with parameters, and never looks at more rows than it may.

A page of leads is read in windows: so many leads, in the order in which they are shown, of which those are taken that the
filter wants. The windows follow an index that one of the filter's conditions has, if one has; and if a condition holds of
few leads only, these are all that is looked at, in whatever order they are wanted. So a rare lead is found at once where an
index leads to it; where none does, the page says how far it looked, and goes on from there.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.data.leadconditions import (
    INDEXED,
    REASONS,
    Order,
    Question,
    Where,
    begins,
    reason_of,
    wanted,
    ways_of,
    where_of,
)
from cartwheel.leads import filters
from cartwheel.times import from_micros, moment_or_none

FEW = 1000
"""A condition that so many leads meet at the most is looked at whole."""

WINDOWS = (200, 800, 3000)
"""How many leads a page looks at, one window after the other."""

MOST_COUNTED = 10_001

_LEADS, _TAGS, _LISTS, _FIELDS = schema.leads, schema.lead_tags, schema.lead_lists, schema.lead_fields
_RUNS, _MAILS, _SUPPRESSED = schema.enrolments, schema.mails, schema.suppressions


class LeadLine(NamedTuple):
    """A lead as lists show it."""

    id: int
    email: str
    name: str
    score: int
    created_at: datetime
    deleted_at: datetime | None
    test: bool
    tags: Sequence[int]
    suppressed: str
    """Why its address is not mailed; empty if it is."""


class Found(NamedTuple):
    """`after` is where the next page begins, None when there is none. `looked` is how many leads this one looked at in vain
    before it stopped; 0 if it is full, or all there is.
    """

    leads: Sequence[LeadLine]
    after: str | None
    looked: int


class Count(NamedTuple):
    """Exactly so many, or about so many; `among` the newest `MOST_COUNTED` only, if there are more."""

    leads: int
    exact: bool
    among: bool = False


# -- indexes that lead to a condition's leads --


@dataclass(frozen=True)
class _Index:
    """Ids of leads, among them all those of which a condition holds. `by_id` when its index has them in their order."""

    table: sa.Table
    id: sa.Column[int]
    where: Where
    by_id: bool = False


def _indexes(question: Question) -> Iterator[_Index]:
    for condition in filters.mandatory(question.tree):
        if isinstance(condition, filters.HasTag):
            yield _Index(_TAGS, _TAGS.c.lead_id, _TAGS.c.tag_id == condition.tag, by_id=True)
        elif isinstance(condition, filters.OnList):
            on = (_LISTS.c.list_id == condition.list) & _LISTS.c.left_at.is_(None)
            yield _Index(_LISTS, _LISTS.c.lead_id, on, by_id=True)
        elif isinstance(condition, filters.InSequence | filters.Seen) and condition.sequence:
            ran = sa.and_(_RUNS.c.sequence_id == condition.sequence, sa.text("enrolments.latest"))
            yield _Index(_RUNS, _RUNS.c.lead_id, ran, by_id=True)
        elif isinstance(condition, filters.Deleted):
            yield _Index(_LEADS, _LEADS.c.id, where_of(condition, question), by_id=True)
        elif isinstance(condition, filters.Field) and condition.custom is not None and condition.how != "empty":
            yield _Index(_FIELDS, _FIELDS.c.lead_id, _FIELDS.c.field_id == condition.custom, by_id=True)
        elif isinstance(condition, filters.Score | filters.Joined):
            yield _Index(_LEADS, _LEADS.c.id, where_of(condition, question))
        elif isinstance(condition, filters.Field) and condition.field in INDEXED and condition.how in {"is", "begins"}:
            yield _Index(_LEADS, _LEADS.c.id, begins(question, condition.field, condition.text))


def _few(connection: sa.Connection, question: Question) -> sa.Select[Any] | None:
    """The ids of not too many leads, among whom are all those that are looked for; None if there are too many."""
    account_id = question.account.id
    choices = [[_ids(index, account_id)] for index in _indexes(question)]
    if question.search.words:
        choices.append([_ids(_Index(_LEADS, _LEADS.c.id, way), account_id) for way in ways_of(question)])
    choices += [
        [_suppressed_ids(question, condition)]
        for condition in filters.mandatory(question.tree)
        if isinstance(condition, filters.MailStatus) and condition.status != "mailable"
    ]
    for choice in choices:
        limited = [query.limit(FEW + 1) for query in choice]
        if all(_size(connection, query.subquery()) <= FEW for query in limited):
            return limited[0] if len(limited) == 1 else sa.select(sa.union(*map(_inner, limited)).subquery())
    return None


def _inner(query: sa.Select[Any]) -> sa.Select[Any]:
    return sa.select(query.subquery())


def _ids(index: _Index, account_id: int) -> sa.Select[Any]:
    return sa.select(index.id.label("id")).where(index.table.c.account_id == account_id, index.where)


def _suppressed_ids(question: Question, condition: filters.MailStatus) -> sa.Select[Any]:
    same = (_LEADS.c.account_id == question.account.id) & (_LEADS.c.email == _SUPPRESSED.c.email)
    of = _SUPPRESSED.c.account_id == question.account.id
    told = sa.and_(of, sa.text("suppressions.reason <> ''"), reason_of(REASONS.get(condition.status, ())))
    return sa.select(_LEADS.c.id.label("id")).join_from(_SUPPRESSED, _LEADS, same).where(told)


# -- pages --


@dataclass(frozen=True)
class _Way:
    """An order of leads: what it sorts by, the last part of which is unique, each falling if `falls`."""

    keys: Sequence[sa.Column[Any]]
    falls: bool = True

    def after(self, place: Sequence[Any]) -> Where:
        if len(self.keys) == 1:
            key: sa.ColumnElement[Any] = self.keys[0]
            return key.__lt__(place[0]) if self.falls else key.__gt__(place[0])
        first, last = self.keys
        return sa.and_(first <= place[0], sa.or_(first < place[0], last < place[1]))

    def sorted(self, columns: Mapping[str, sa.ColumnElement[Any]] | None = None) -> Sequence[sa.ColumnElement[Any]]:
        keys = self.keys if columns is None else [columns[key.name] for key in self.keys]
        return [key.desc() if self.falls else key.asc() for key in keys]


_WAYS = {
    Order.NEWEST: _Way((_LEADS.c.id,)),
    Order.ADDRESS: _Way((_LEADS.c.email,), falls=False),
    Order.SCORE: _Way((_LEADS.c.score, _LEADS.c.id)),
}
_BY_DAY = _Way((_LEADS.c.created_at, _LEADS.c.id))


def _way(question: Question) -> _Way:
    by_day = any(isinstance(each, filters.Joined) for each in filters.mandatory(question.tree))
    return _BY_DAY if by_day and question.order is Order.NEWEST else _WAYS[question.order]


_SHOWN = ("id", "email", "first_name", "last_name", "score", "created_at", "deleted_at", "test")


def find(connection: sa.Connection, question: Question, after: str | None, most: int) -> tuple[Found, Count]:
    """A page of leads, and how many there are. Raises `ValueError` for an `after` that no page has given."""
    place = None if after is None else _place(_way(question), after)
    few = _few(connection, question)
    return _page(connection, question, few, place, most), _count(connection, question, few)


def _page(
    connection: sa.Connection,
    question: Question,
    few: sa.Select[Any] | None,
    place: Sequence[Any] | None,
    most: int,
) -> Found:
    way = _way(question)
    if few is not None:
        rows = _rows(connection, question, way, few.subquery("w"), place, most + 1)
        more = len(rows) > most
        return Found(_lines(connection, question, rows[:most]), _token(way, rows[most - 1]) if more else None, 0)
    rows, looked = [], 0
    for size in WINDOWS:
        window = _window(question, way, place, size)
        rows += _rows(connection, question, way, window, None, most + 1 - len(rows))
        if len(rows) > most:
            return Found(_lines(connection, question, rows[:most]), _token(way, rows[most - 1]), 0)
        ends = _end(connection, way, window, size)
        if ends is None:
            return Found(_lines(connection, question, rows), None, 0)
        place, looked = ends, looked + size
    return Found(_lines(connection, question, rows), json.dumps(place), looked)


def _window(question: Question, way: _Way, place: Sequence[Any] | None, size: int) -> sa.Subquery:
    """The next so many leads, by the index of a condition if one has them in this order."""
    index = None
    if way is _WAYS[Order.NEWEST]:
        index = next((index for index in _indexes(question) if index.by_id), None)
    if index is not None:
        query = _ids(index, question.account.id).order_by(index.id.desc())
        return query.where(*([] if place is None else [index.id < place[0]])).limit(size).subquery("w")
    columns = dict.fromkeys([*way.keys, _LEADS.c.id])
    query = sa.select(*columns).where(_LEADS.c.account_id == question.account.id, *_bounds(question, way))
    query = query.where(*([] if place is None else [way.after(place)]))
    return query.order_by(*way.sorted()).limit(size).subquery("w")


def _bounds(question: Question, way: _Way) -> Iterator[Where]:
    """Conditions on what it is sorted by: the index knows them."""
    for condition in filters.mandatory(question.tree):
        if (way is _BY_DAY and isinstance(condition, filters.Joined)) or (
            way is _WAYS[Order.SCORE] and isinstance(condition, filters.Score)
        ):
            yield where_of(condition, question)


def _rows(
    connection: sa.Connection,
    question: Question,
    way: _Way,
    window: sa.Subquery,
    place: Sequence[Any] | None,
    most: int,
) -> list[Any]:
    theirs = (_LEADS.c.account_id == question.account.id) & (_LEADS.c.id == window.c.id)
    columns = [_LEADS.c[name] for name in _SHOWN]
    query = sa.select(*columns).select_from(window.join(_LEADS, theirs)).where(wanted(question))
    if place is not None:
        query = query.where(way.after(place))
    return list(connection.execute(query.order_by(*way.sorted()).limit(most)))


def _end(connection: sa.Connection, way: _Way, window: sa.Subquery, size: int) -> list[Any] | None:
    """The place of a window's last lead; None if it is not full, so that there are no more."""
    if _size(connection, window) < size:
        return None
    columns = window.c
    last = [columns[key.name].asc() if way.falls else columns[key.name].desc() for key in way.keys]
    row = connection.execute(sa.select(*(columns[key.name] for key in way.keys)).order_by(*last).limit(1)).one()
    return list(row)


def _token(way: _Way, row: Any) -> str:
    return json.dumps([getattr(row, key.name) for key in way.keys])


def _place(way: _Way, token: str) -> list[Any]:
    place = json.loads(token[:500])
    kinds = [str if isinstance(key.type, sa.Text) else int for key in way.keys]
    if not isinstance(place, list) or [type(part) for part in place] != kinds:
        raise ValueError("there is no such page")
    return place


def _lines(connection: sa.Connection, question: Question, rows: Sequence[Any]) -> list[LeadLine]:
    """With what stands in other tables, in a query for each."""
    account_id = question.account.id
    tags: dict[int, list[int]] = {}
    if rows:
        of = (_TAGS.c.account_id == account_id) & _TAGS.c.lead_id.in_([row.id for row in rows])
        for lead_id, tag_id in connection.execute(sa.select(_TAGS.c.lead_id, _TAGS.c.tag_id).where(of)):
            tags.setdefault(lead_id, []).append(tag_id)
    suppressed = suppressions_of(connection, account_id, [row.email for row in rows])
    return [
        LeadLine(
            row.id,
            row.email,
            f"{row.first_name} {row.last_name}".strip(),
            row.score,
            from_micros(row.created_at),
            moment_or_none(row.deleted_at),
            bool(row.test),
            sorted(tags.get(row.id, ())),
            suppressed.get(row.email, ""),
        )
        for row in rows
    ]


def lines(connection: sa.Connection, question: Question, ids: Sequence[int]) -> list[LeadLine]:
    """These leads, the newest first; erased ones are not among them."""
    of = (_LEADS.c.account_id == question.account.id) & _LEADS.c.id.in_(ids) & ~_LEADS.c.email.startswith("erased:")
    query = sa.select(*(_LEADS.c[name] for name in _SHOWN)).where(of).order_by(_LEADS.c.id.desc())
    return _lines(connection, question, list(connection.execute(query)))


def suppressions_of(connection: sa.Connection, account_id: int, emails: Sequence[str]) -> dict[str, str]:
    """Why these addresses are not mailed, those that are not."""
    if not emails:
        return {}
    query = sa.select(_SUPPRESSED.c.email, _SUPPRESSED.c.reason).where(
        _SUPPRESSED.c.account_id == account_id, _SUPPRESSED.c.email.in_(emails), _SUPPRESSED.c.reason != ""
    )
    return {row.email: row.reason for row in connection.execute(query)}


# -- how many --


def _count(connection: sa.Connection, question: Question, few: sa.Select[Any] | None) -> Count:
    """When they are many, as the share among the first that are looked at lets one expect."""
    way = _way(replace(question, order=Order.NEWEST))
    window = few.subquery("w") if few is not None else _window(question, way, None, FEW)
    theirs = (_LEADS.c.account_id == question.account.id) & (_LEADS.c.id == window.c.id)
    those = sa.select(sa.func.count()).select_from(window.join(_LEADS, theirs)).where(wanted(question))
    found = int(connection.execute(those).scalar_one())
    if few is not None or _size(connection, window) < FEW:
        return Count(found, exact=True)
    most = _size(connection, _window(question, way, None, MOST_COUNTED))
    return Count(found * most // FEW, exact=False, among=most == MOST_COUNTED)


def _size(connection: sa.Connection, window: sa.Subquery) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(window)).scalar_one())


# -- all of them, slice by slice --


class Slice(NamedTuple):
    """`before` is where the next slice begins; None after the last one."""

    ids: Sequence[int]
    looked: int
    before: int | None


def next_slice(connection: sa.Connection, question: Question, before: int | None, size: int) -> Slice:
    """Those that are found among the next so many, the newest first: the ids below `before`."""
    way = _WAYS[Order.NEWEST]
    window = _window(question, way, None if before is None else [before], size)
    theirs = (_LEADS.c.account_id == question.account.id) & (_LEADS.c.id == window.c.id)
    query = sa.select(_LEADS.c.id).select_from(window.join(_LEADS, theirs)).where(wanted(question))
    ids = list(connection.execute(query.order_by(_LEADS.c.id.desc())).scalars())
    looked, lowest = connection.execute(sa.select(sa.func.count(), sa.func.min(window.c.id))).one()
    return Slice(ids, looked, lowest if looked == size else None)
