"""How much happened on each day, kept in rows of counts, so that nobody has to count what there is
(docs/decisions/0018-daily-counts.md).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, date, datetime, tzinfo

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from cartwheel.data import schema
from cartwheel.data.lanes import Insert, Lane, Row
from cartwheel.leads.events import (
    LeadCreated,
    LeadDeleted,
    LeadErased,
    LeadRestored,
    MailBounced,
    MailClicked,
    MailNotSent,
    MailOpened,
    MailSent,
)
from cartwheel.leads.lead import Lead

LEADS = LeadCreated.kind
LEADS_GONE = "lead_gone"
"""Deleted or erased; one that is restored is taken off again."""

SENT, NOT_SENT, BOUNCED = MailSent.kind, MailNotSent.kind, MailBounced.kind
OPENED, CLICKED = MailOpened.kind, MailClicked.kind
CALLS, CALLS_FAILED = "call", "call_failed"

EVENTS = frozenset({LEADS, SENT, NOT_SENT, BOUNCED, OPENED, CLICKED})
"""Kinds of events that are counted as they are."""

_ADDED = Insert(schema.daily_counts, add=("number",))


def day_of(at: datetime, zone: tzinfo | None) -> int:
    """The number of the day on which it is in the zone."""
    return at.astimezone(zone or UTC).toordinal()


LOOKED_AT = EVENTS | {LeadDeleted.kind, LeadErased.kind, LeadRestored.kind}
"""Kinds of events that may be counted: most of what happens is not."""


def counted(kind: str, lead: Lead, now: datetime) -> tuple[str, int] | None:
    """What an event adds to, and how much; None for those that are not counted."""
    if kind in EVENTS:
        return kind, 1
    if kind == LeadDeleted.kind or (kind == LeadErased.kind and lead.deleted_at == now):
        return LEADS_GONE, 1
    return (LEADS_GONE, -1) if kind == LeadRestored.kind else None


Key = tuple[int, int, str]
"""(account, day, what)"""


def of(happened: Iterable[tuple[Lead, str]], now: datetime, zone_of: Callable[[int], tzinfo | None]) -> Counter[Key]:
    """What these events, each of a lead and of a kind, add."""
    days: dict[int, int] = {}
    counts: Counter[Key] = Counter()
    for lead, kind in happened:
        found = counted(kind, lead, now)
        if found is not None:
            number = lead.account_id
            if number not in days:
                days[number] = day_of(now, zone_of(number))
            counts[number, days[number], found[0]] += found[1]
    return counts


async def write(lane: Lane, counts: Mapping[Key, int]) -> None:
    """Add these, in the order in which every process adds them: nobody waits for who waits for him."""
    rows: list[Row] = [(*key, lane.slot, number) for key, number in sorted(counts.items())]
    await lane.write(_ADDED, rows)


def add(connection: sa.Connection, counts: Mapping[Key, int], slot: int) -> None:
    """The same, of what is no part of a batch."""
    table = schema.daily_counts
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    more = insert.on_conflict_do_update(
        index_elements=list(table.primary_key), set_={"number": table.c.number + insert.excluded.number}
    )
    names = ("account_id", "day", "what", "slot", "number")
    connection.execute(
        more, [dict(zip(names, (*key, slot, number), strict=True)) for key, number in sorted(counts.items())]
    )


def by_day(
    connection: sa.Connection, account_id: int, first: date, last: date, whats: Collection[str]
) -> dict[str, Counter[date]]:
    """How much of each of these happened on each of the days."""
    table = schema.daily_counts
    query = (
        sa.select(table.c.what, table.c.day, sa.func.sum(table.c.number))
        .where(table.c.account_id == account_id, table.c.day.between(first.toordinal(), last.toordinal()))
        .where(table.c.what.in_(whats))
        .group_by(table.c.what, table.c.day)
    )
    found: dict[str, Counter[date]] = {what: Counter() for what in whats}
    for what, day, number in connection.execute(query):
        found[what][date.fromordinal(day)] = int(number)
    return found


def total(connection: sa.Connection, account_id: int, whats: Iterable[str]) -> dict[str, int]:
    """How much of each there ever was."""
    table = schema.daily_counts
    query = (
        sa.select(table.c.what, sa.func.sum(table.c.number))
        .where(table.c.account_id == account_id, table.c.what.in_(list(whats)))
        .group_by(table.c.what)
    )
    return dict.fromkeys(whats, 0) | {what: int(number) for what, number in connection.execute(query)}
