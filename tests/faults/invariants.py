"""What must be true of a database after any fault, read with SQL of our own."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from callers import Attempt, Book, Outcome

from cartwheel import times
from cartwheel.data import doctor, schema
from cartwheel.data.db import Database


@dataclass
class StoredLead:
    """A lead with all its rows."""

    id: int
    email: str
    score: int
    tags: set[str] = field(default_factory=set)
    lists: set[str] = field(default_factory=set)
    """Those that it is on."""
    ledger: list[int] = field(default_factory=list)
    """Every amount booked, oldest first."""
    open_sum: int = 0
    """What is not taken back."""
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


@dataclass
class Stored:
    """The leads of a database, and the names of its tags and lists."""

    leads: dict[str, StoredLead]
    tags: dict[int, str]
    lists: dict[int, str]


def read(url: str) -> Stored:
    """Everything about leads. Cartwheel's own examination has to find nothing, and every row has to have its lead."""
    database = Database(url)
    try:
        report = doctor.examine(database, times.now())
        assert report.healthy, [result for result in report.results if result.found]
        with database.read() as connection:
            return _read(connection)
    finally:
        database.close()


def _read(connection: sa.Connection) -> Stored:
    tags = {row.id: row.name for row in connection.execute(sa.select(schema.tags))}
    lists = {row.id: row.name for row in connection.execute(sa.select(schema.lists))}
    rows = connection.execute(sa.select(schema.leads.c.id, schema.leads.c.email, schema.leads.c.score))
    leads = {row.id: StoredLead(row.id, row.email, row.score) for row in rows}
    for row in connection.execute(sa.select(schema.lead_tags)):
        leads[row.lead_id].tags.add(tags[row.tag_id])
    for row in connection.execute(sa.select(schema.lead_lists)):
        if row.left_at is None:
            leads[row.lead_id].lists.add(lists[row.list_id])
    for row in connection.execute(sa.select(schema.points).order_by(schema.points.c.lead_id, schema.points.c.id)):
        leads[row.lead_id].ledger.append(row.points)
        leads[row.lead_id].open_sum += row.points if row.reversed_at is None else 0
    for row in connection.execute(sa.select(schema.events).order_by(schema.events.c.lead_id, schema.events.c.id)):
        leads[row.lead_id].events.append((row.kind, json.loads(row.details)))
    return Stored({lead.email: lead for lead in leads.values()}, tags, lists)


def check(url: str, book: Book, *, failed_did_nothing: bool = False, unanswered_did_nothing: bool = False) -> Stored:
    """Every acknowledged call is there, every other one is there as a whole or not at all, nothing else is there."""
    stored = read(url)
    for lead in stored.leads.values():
        check_lead(lead, stored)
    made = {attempt.email: attempt for attempt in book.attempts if attempt.creates}
    assert stored.leads.keys() <= made.keys(), "there is a lead that nobody made"
    bookings: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in book.attempts:
        if not attempt.creates:
            bookings[attempt.email].append(attempt)
    for email, attempt in made.items():
        applied = _check_attempts(stored.leads.get(email), attempt, bookings[email])
        for call in applied:
            assert not (failed_did_nothing and call.outcome is Outcome.FAILED), f"told of failure, yet done: {call}"
            assert not (unanswered_did_nothing and call.outcome is Outcome.UNANSWERED), f"unanswered, yet done: {call}"
    return stored


def check_lead(lead: StoredLead, stored: Stored) -> None:
    """The feed tells exactly how the lead became what it is, and the score is the sum of the ledger."""
    tags: set[str] = set()
    lists: set[str] = set()
    amounts: list[int] = []
    assert lead.events, f"{lead} has no events"
    assert [kind for kind, _ in lead.events].index("lead_created") == 0, lead
    for kind, details in lead.events[1:]:
        if kind == "tag_assigned":
            assert stored.tags[details["tag_id"]] not in tags, lead
            tags.add(stored.tags[details["tag_id"]])
        elif kind == "tag_unassigned":
            tags.remove(stored.tags[details["tag_id"]])
        elif kind == "list_joined":
            assert stored.lists[details["list_id"]] not in lists, lead
            lists.add(stored.lists[details["list_id"]])
        elif kind == "points_given":
            amounts.append(details["points"])
        elif kind == "points_removed":
            amounts.append(-details["points"])
        else:
            assert kind == "points_expired", f"{lead} has an event {kind}"
    assert (tags, lists) == (lead.tags, lead.lists), lead
    assert amounts == lead.ledger, lead
    assert lead.score == lead.open_sum, lead


def _check_attempts(lead: StoredLead | None, made: Attempt, bookings: Sequence[Attempt]) -> list[Attempt]:
    """Returns the attempts that were applied to this lead."""
    if lead is None:
        assert made.outcome is not Outcome.DONE, f"acknowledged and lost: {made}"
        return []
    assert made.outcome is not Outcome.DONE or made.lead_id == lead.id, f"another lead than the one told of: {made}"
    assert "Trial user" in lead.tags, lead
    assert lead.lists == {"Newsletter"}, lead
    assert lead.ledger[:1] == [made.given], lead
    assert len(set(lead.ledger)) == len(lead.ledger), f"a call was applied twice: {lead}"
    booked = set(lead.ledger[1:])
    applied = [made]
    for attempt in bookings:
        there = {attempt.given, -attempt.taken} & booked
        assert len(there) != 1, f"half of a call: {attempt}"
        assert there or attempt.outcome is not Outcome.DONE, f"acknowledged and lost: {attempt}"
        booked -= there
        if there:
            applied.append(attempt)
    assert not booked, f"{booked} came from nowhere: {lead}"
    return applied
