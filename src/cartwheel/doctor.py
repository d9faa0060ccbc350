"""Whether the database keeps its promises: each is a query over whole tables that finds what breaks it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from cartwheel import schema
from cartwheel.db import Database, migration_names
from cartwheel.events import LeadCreated
from cartwheel.leadparts import RunStatus

MOST_EXAMPLES = 5


class Check(NamedTuple):
    """A promise, and the rows that break it."""

    name: str
    promise: str
    findings: sa.Select[Any]


class Result(NamedTuple):
    """What a check found: how many rows, and some of them."""

    name: str
    promise: str
    found: int
    examples: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Report:
    """The state of a database. Nothing else was looked at while migrations are `waiting`."""

    waiting: Sequence[str]
    unknown: Sequence[str]
    """Migrations that ran, and that this version of Cartwheel has never heard of."""
    counts: dict[str, int]
    results: Sequence[Result]

    @property
    def healthy(self) -> bool:
        return not (self.waiting or self.unknown or any(result.found for result in self.results))

    def as_data(self) -> dict[str, Any]:
        return {
            "healthy": self.healthy,
            "migrations_waiting": list(self.waiting),
            "migrations_unknown": list(self.unknown),
            "counts": self.counts,
            "checks": [result._asdict() for result in self.results],
        }


def examine(database: Database) -> Report:
    """Look at everything. Each check sees the database at one moment, so a server may be at work."""
    ran, waiting = database.migrations()
    unknown = sorted(set(ran) - set(migration_names()))
    if waiting:
        return Report(waiting, unknown, {}, [])
    with database.read() as connection:
        counts = {
            name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for name, table in _COUNTED.items()
        }
        return Report(waiting, unknown, counts, [_result(connection, check) for check in CHECKS])


_COUNTED = {
    "accounts": schema.accounts,
    "leads": schema.leads,
    "events": schema.events,
    "ledger rows": schema.points,
}


def _result(connection: sa.Connection, check: Check) -> Result:
    query = check.findings.add_columns(sa.func.count().over().label("found")).limit(MOST_EXAMPLES)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    found = max((row.pop("found") for row in rows), default=0)
    return Result(check.name, check.promise, found, rows)


# -- the promises --


def _checks() -> Iterator[Check]:
    yield Check("score", "A lead's score is the sum of its ledger rows that are not reversed.", _wrong_scores())
    yield Check("expiry", "A grant is taken back when its time is over, and not before.", _early_reversals())
    yield Check("first event", "Every lead has exactly one event of its creation.", _wrong_beginnings())
    yield Check("address form", "E-mail addresses are stored trimmed and in lower case.", _odd_addresses())
    yield Check("address", "No two leads of an account share an e-mail address.", _shared_addresses())
    yield Check("sequence runs", "A lead is in a sequence once at a time.", _parallel_runs())
    yield Check("lead ids", "The next lead id is one that no lead has.", _spent_counter())
    for table in schema.metadata.sorted_tables:
        for column, holder in _HOLDERS.items():
            if column in table.c and not (column == "account_id" and "lead_id" in table.c):
                promise = f"Every row of {table.name} belongs to a row of {holder.name}."
                yield Check(f"{table.name}.{column}", promise, _orphans(table, column, holder))


_HOLDERS = {
    "account_id": schema.accounts,
    "lead_id": schema.leads,
    "tag_id": schema.tags,
    "list_id": schema.lists,
    "sequence_id": schema.sequences,
    "field_id": schema.custom_fields,
}
"""What a column of this name refers to, in whichever table it stands."""


def _orphans(table: sa.Table, column: str, holder: sa.Table) -> sa.Select[Any]:
    same = holder.c.id == table.c[column]
    if "account_id" in holder.c:
        same &= holder.c.account_id == table.c.account_id
    return sa.select(*table.primary_key.columns).where(~sa.exists().where(same))


def _wrong_scores() -> sa.Select[Any]:
    leads, points = schema.leads, schema.points
    sums = (
        sa.select(points.c.account_id, points.c.lead_id, sa.func.sum(points.c.points).label("total"))
        .where(points.c.reversed_at.is_(None))
        .group_by(points.c.account_id, points.c.lead_id)
        .subquery()
    )
    total = sa.cast(sa.func.coalesce(sums.c.total, 0), sa.BigInteger)
    same = (sums.c.account_id == leads.c.account_id) & (sums.c.lead_id == leads.c.id)
    columns = (leads.c.account_id, leads.c.id, leads.c.score, total.label("ledger"))
    return sa.select(*columns).select_from(leads.outerjoin(sums, same)).where(leads.c.score != total)


def _early_reversals() -> sa.Select[Any]:
    points = schema.points
    early = points.c.expires_at.is_(None) | (points.c.reversed_at < points.c.expires_at)
    return sa.select(*points.primary_key.columns).where(points.c.reversed_at.is_not(None) & early)


def _wrong_beginnings() -> sa.Select[Any]:
    leads, events = schema.leads, schema.events
    births = (
        sa.select(events.c.account_id, events.c.lead_id, sa.func.count().label("times"))
        .where(events.c.kind == LeadCreated.kind)
        .group_by(events.c.account_id, events.c.lead_id)
        .subquery()
    )
    times = sa.func.coalesce(births.c.times, 0)
    same = (births.c.account_id == leads.c.account_id) & (births.c.lead_id == leads.c.id)
    columns = (leads.c.account_id, leads.c.id, times.label("times_created"))
    return sa.select(*columns).select_from(leads.outerjoin(births, same)).where(times != 1)


def _odd_addresses() -> sa.Select[Any]:
    leads = schema.leads
    plain = sa.func.lower(sa.func.trim(leads.c.email))
    return sa.select(leads.c.account_id, leads.c.id, leads.c.email).where(leads.c.email != plain)


def _shared_addresses() -> sa.Select[Any]:
    leads = schema.leads
    plain = sa.func.lower(sa.func.trim(leads.c.email))
    columns = (leads.c.account_id, plain.label("email"), sa.func.count().label("leads"))
    return sa.select(*columns).group_by(leads.c.account_id, plain).having(sa.func.count() > 1)


def _parallel_runs() -> sa.Select[Any]:
    runs = schema.enrolments
    keys = (runs.c.account_id, runs.c.lead_id, runs.c.sequence_id)
    query = sa.select(*keys, sa.func.count().label("runs")).where(runs.c.status != RunStatus.UNSUBSCRIBED.value)
    return query.group_by(*keys).having(sa.func.count() > 1)


def _spent_counter() -> sa.Select[Any]:
    counters = schema.counters
    highest = sa.func.coalesce(sa.func.max(schema.leads.c.id), 0)
    following = sa.select(sa.func.coalesce(sa.func.max(counters.c.next), 0)).where(counters.c.name == "leads")
    number = following.scalar_subquery()
    return sa.select(highest.label("highest"), number.label("next")).having(highest >= number)


CHECKS = tuple(_checks())
