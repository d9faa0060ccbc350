"""Events: what happened, in order, for those who keep up with it."""

import json
from typing import Annotated

from msgspec import Meta

from cartwheel.data import eventfeed
from cartwheel.data.eventfeed import Row
from cartwheel.leads.events import KINDS, Names
from cartwheel.people import Right
from cartwheel.rest.calls import Call
from cartwheel.rest.cursors import Cursor, Rows, read_cursor, written_cursor
from cartwheel.rest.operations import operation
from cartwheel.rest.problems import INVALID, Refusal
from cartwheel.rest.records import EventPage, EventRecord, Number

Kinds = Annotated[
    str, Meta(max_length=1000, description="Which kinds only, separated by commas: `tag_assigned,lead_created`.")
]


@operation(
    "GET",
    "/v1/events",
    scope=Right.LEADS_READ,
    example={"kind": "lead_created,tag_assigned", "limit": 10},
)
def read_events(
    call: Call, *, kind: Kinds = "", lead: Number | None = None, after: Cursor = "", limit: Rows = 50
) -> EventPage:
    """What happened, oldest first, from `after` on. Keep the last `after` and come again with it: nothing is missed.

    An event is told when no earlier one can appear any more: two seconds after it happened on SQLite, 30 on PostgreSQL.
    """
    kinds = {one.strip() for one in kind.split(",") if one.strip()}
    unknown = sorted(kinds - set(KINDS))
    if unknown:
        told = f"There is no kind {unknown[0]}; there are: {', '.join(KINDS)}."
        raise Refusal(INVALID, told, places={"?kind": f"{unknown[0]} is no kind of event"})
    place = read_cursor(after, (int, int)) or [0, 0]
    with call.database.read() as connection:
        page = eventfeed.page(
            connection,
            call.account.id,
            after=(place[0], place[1]),
            kinds=kinds,
            lead_id=lead,
            most=limit,
            now=call.now,
        )
    rows = [_record(row, call.account.names) for row in page.rows]
    return EventPage(events=rows, after=written_cursor(page.after), more=page.more)


def _record(row: Row, names: Names) -> EventRecord:
    text = row.event.told(names) if row.event else row.kind.replace("_", " ")
    return EventRecord(
        id=row.id,
        lead=row.lead_id,
        at=row.at,
        kind=row.kind,
        details=json.loads(row.details),
        text=text,
        origin=row.origin,
    )
