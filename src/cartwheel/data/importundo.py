"""Taking an import back, as SQL: the leads that it has made go with all that it said of them, unless something happened since."""

import json
from collections import Counter
from collections.abc import Collection
from datetime import tzinfo
from typing import Any

import msgspec
import sqlalchemy as sa

from cartwheel.data import dailycounts, schema
from cartwheel.data.importstore import Import, change
from cartwheel.data.importtables import import_leads, import_refusals, import_slices
from cartwheel.data.lanes import Delete
from cartwheel.leads.events import by_import
from cartwheel.leads.importing import Change
from cartwheel.times import from_micros, to_micros

EVENTS_GONE = Delete(schema.events, by=("account_id", "lead_id", "origin"))
LIST_GONE = Delete(schema.lead_lists)
ADDRESS_GONE = Delete(schema.suppressions)
NOTED_GONE = Delete(import_leads)

_OF_LEAD = (schema.lead_tags, schema.lead_lists, schema.lead_fields, schema.points, schema.enrolments, schema.events)


def take_back(connection: sa.Connection, found: Import, at: int, zone: tzinfo | None) -> tuple[int, int]:
    """Of a slice's new leads, how many are gone, and how many stay because something has happened with them since."""
    of_slice = {"account_id": found.account_id, "import_id": found.id, "number": at}
    row = connection.execute(sa.select(import_slices).filter_by(**of_slice)).one_or_none()
    if row is None or not row.made:
        return 0, 0
    leads, first, end = schema.leads, row.first_id, row.first_id + row.made
    here = (leads.c.account_id == found.account_id) & leads.c.id.between(first, end - 1)
    there = set(connection.execute(sa.select(leads.c.id).where(here).order_by(leads.c.id).with_for_update()).scalars())
    touched = there & _touched(connection, found, first, end)
    gone = sorted(there - touched)
    _lift(connection, found, gone)
    for table in (*_OF_LEAD, import_leads):
        of = (table.c.account_id == found.account_id) & table.c.lead_id.in_(gone)
        connection.execute(sa.delete(table).where(of))
    connection.execute(sa.delete(leads).where(leads.c.account_id == found.account_id, leads.c.id.in_(gone)))
    if gone:
        day = dailycounts.day_of(from_micros(row.at), zone)
        _uncount(connection, found.account_id, day, len(gone))
    return len(gone), len(touched)


def _touched(connection: sa.Connection, found: Import, first: int, end: int) -> set[int]:
    events, mails = schema.events, schema.mails
    happened = sa.select(events.c.lead_id).where(
        events.c.account_id == found.account_id,
        events.c.lead_id.between(first, end - 1),
        events.c.origin != by_import(found.id),
    )
    mailed = sa.select(mails.c.lead_id).where(
        mails.c.account_id == found.account_id, mails.c.lead_id.between(first, end - 1)
    )
    return {*connection.execute(happened).scalars(), *connection.execute(mailed).scalars()}


def _lift(connection: sa.Connection, found: Import, gone: Collection[int]) -> None:
    """What the import said of the addresses of leads that go: what was known before is so again."""
    noted = sa.select(import_leads.c.lead_id, import_leads.c.change).where(
        import_leads.c.account_id == found.account_id,
        import_leads.c.import_id == found.id,
        import_leads.c.lead_id.in_(gone),
        import_leads.c.change != "",
    )
    table = schema.suppressions
    for number, written in connection.execute(noted).all():
        before = msgspec.json.decode(written, type=Change).suppression
        here = (table.c.account_id == found.account_id) & (table.c.lead == number)
        if before is None or before[0].at is None:
            connection.execute(sa.delete(table).where(here))
        else:
            values = {"reason": before[0].reason, "details": before[0].details, "soft_bounces": before[0].soft_bounces}
            connection.execute(
                sa.update(table).where(here).values(values | {"at": to_micros(before[0].at), "lead": None})
            )


def _uncount(connection: sa.Connection, account_id: int, day: int, leads: int) -> None:
    table = schema.daily_counts
    there = sa.select(table.c.slot).filter_by(account_id=account_id, day=day, what=dailycounts.LEADS)
    slot = connection.execute(there.order_by(table.c.number.desc()).limit(1)).scalar_one_or_none() or 0
    dailycounts.add(connection, Counter({(account_id, day, dailycounts.LEADS): -leads}), slot)
    nothing = table.c.number == 0
    connection.execute(
        sa.delete(table).filter_by(account_id=account_id, day=day, what=dailycounts.LEADS).where(nothing)
    )


def noted(connection: sa.Connection, found: Import, most: int) -> list[tuple[int, str]]:
    """Some leads that there were before, and what was changed of them."""
    query = sa.select(import_leads.c.lead_id, import_leads.c.change)
    here = {"account_id": found.account_id, "import_id": found.id}
    rows = connection.execute(query.filter_by(**here).order_by(import_leads.c.lead_id).limit(most))
    return [(number, written) for number, written in rows]


_TABLES = {
    "tags": (schema.tags, schema.lead_tags.c.tag_id),
    "lists": (schema.lists, schema.lead_lists.c.list_id),
    "fields": (schema.custom_fields, schema.lead_fields.c.field_id),
}


def unmake(connection: sa.Connection, found: Import) -> None:
    """Away with what the import has made and nobody uses."""
    for kind, number, name in json.loads(found.named):
        table, column = _TABLES[kind]
        used = sa.select(column).where(column.table.c.account_id == found.account_id, column == number).limit(1)
        if connection.execute(used).first() is None and not _is_spoken_of(connection, found.account_id, name):
            here = (table.c.account_id == found.account_id) & (table.c.id == number)
            connection.execute(sa.delete(table).where(here))
            if table is schema.custom_fields:
                options = schema.custom_field_options
                of = (options.c.account_id == found.account_id) & (options.c.field_id == number)
                connection.execute(sa.delete(options).where(of))


def _is_spoken_of(connection: sa.Connection, account_id: int, name: str) -> bool:
    """By a sequence, or its draft."""
    said = json.dumps(name, ensure_ascii=False)
    return any(
        said in steps
        for table in (schema.flows, schema.drafts)
        for steps in connection.execute(sa.select(table.c.steps).filter_by(account_id=account_id)).scalars()
    )


def close(connection: sa.Connection, found: Import, **values: Any) -> None:
    """Nothing is kept of the import but that it was."""
    for table in (import_slices, import_refusals, import_leads):
        connection.execute(
            sa.delete(table).where(table.c.account_id == found.account_id, table.c.import_id == found.id)
        )
    change(connection, found.account_id, found.id, samples="[]", next_at=None, **values)
