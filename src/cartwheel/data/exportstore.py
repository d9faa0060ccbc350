"""What exports read: leads, what happened to them, and mails; portion by portion, so that millions need no memory."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from cartwheel.data import mailledger, schema
from cartwheel.data.bulkrows import read
from cartwheel.data.leadconditions import Question, wanted
from cartwheel.data.leadfeed import Happened, happened
from cartwheel.data.mailledger import Wish
from cartwheel.data.mailstore import Listed

PORTION = 500
"""Leads, or mails, that are in memory at a time."""

_LEADS = schema.leads


class Exported(NamedTuple):
    """A lead's row with what stands in other tables: its tags, the lists that it is on, its custom values as JSON."""

    row: Any
    tags: Sequence[int]
    lists: Sequence[int]
    fields: dict[int, str]
    suppression: str


def _portions(
    connection: sa.Connection, question: Question, columns: Sequence[sa.Column[Any]]
) -> Iterator[Sequence[Any]]:
    """Rows of those who are asked for, in the order of their ids."""
    after = 0
    while True:
        here = (_LEADS.c.account_id == question.account.id) & (_LEADS.c.id > after)
        query = sa.select(*columns).where(here, wanted(question)).order_by(_LEADS.c.id).limit(PORTION)
        rows = connection.execute(query).all()
        if rows:
            yield rows
        if len(rows) < PORTION:
            return
        after = rows[-1].id


def leads(connection: sa.Connection, question: Question) -> Iterator[Exported]:
    account_id = question.account.id
    for rows in _portions(connection, question, list(_LEADS.c)):
        ids = [row.id for row in rows]
        tags = _numbers(connection, account_id, schema.lead_tags.c.tag_id, ids)
        lists = _numbers(
            connection, account_id, schema.lead_lists.c.list_id, ids, schema.lead_lists.c.left_at.is_(None)
        )
        table, values = schema.lead_fields, dict[int, dict[int, str]]()
        query = sa.select(table.c.lead_id, table.c.field_id, table.c.value)
        for lead_id, field_id, value in connection.execute(query.where(_of(table, account_id, ids))):
            values.setdefault(lead_id, {})[field_id] = value
        told = _suppressions(connection, account_id, [row.email for row in rows])
        for row in rows:
            number = row.id
            yield Exported(
                row, tags.get(number, ()), lists.get(number, ()), values.get(number, {}), told.get(row.email, "")
            )


def _of(table: sa.Table, account_id: int, ids: Sequence[int]) -> sa.ColumnElement[bool]:
    return (table.c.account_id == account_id) & table.c.lead_id.in_(ids)


def _numbers(
    connection: sa.Connection, account_id: int, column: sa.Column[int], ids: Sequence[int], *where: Any
) -> dict[int, list[int]]:
    """What each lead has in this column, by its id."""
    table, found = column.table, dict[int, list[int]]()
    query = sa.select(table.c.lead_id, column).where(_of(table, account_id, ids), *where).order_by(column)
    for lead_id, number in connection.execute(query):
        found.setdefault(lead_id, []).append(number)
    return found


def _suppressions(connection: sa.Connection, account_id: int, emails: Sequence[str]) -> dict[str, str]:
    table = schema.suppressions
    here = (table.c.account_id == account_id) & table.c.email.in_(emails) & schema.SUPPRESSED
    return {row.email: row.reason for row in connection.execute(sa.select(table.c.email, table.c.reason).where(here))}


class Event(NamedTuple):
    """What happened, and to whom."""

    lead_id: int
    email: str
    happened: Happened


def events(connection: sa.Connection, question: Question) -> Iterator[Event]:
    """Of those who are asked for, one lead after the other, oldest first."""
    table = schema.events
    for rows in _portions(connection, question, [_LEADS.c.id, _LEADS.c.email]):
        emails = {row.id: row.email for row in rows}
        query = sa.select(table).where(_of(table, question.account.id, list(emails)))
        for row in read(connection, query.order_by(table.c.lead_id, table.c.id)):
            yield Event(row.lead_id, emails[row.lead_id], happened(row))


def mails(connection: sa.Connection, account_id: int, wish: Wish) -> Iterator[Listed]:
    """Those that are as wished, newest first."""
    after = None
    while True:
        found = mailledger.page(connection, account_id, wish, after=after, most=PORTION)
        yield from found.mails
        after = found.after
        if after is None:
            return
