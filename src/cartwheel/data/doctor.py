"""Whether the database keeps its promises: each is a query over whole tables that finds what breaks it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.data.db import Database, migration_names
from cartwheel.data.erasures import WATCHED
from cartwheel.data.hookfeed import QUEUED
from cartwheel.hooks.envelope import TEST_LEAD
from cartwheel.leads.events import LeadCreated, LeadErased, MailSent
from cartwheel.leads.leadparts import ERASED, PROFILE_FIELDS, Gdpr, RunStatus, SuppressionReason
from cartwheel.leads.mails import MailState, WaitsFor
from cartwheel.times import to_micros

MOST_EXAMPLES = 5

LATE = timedelta(hours=1)
"""What a worker does within minutes, and has not done after so long, nobody does. Clocks differ by less."""


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
    mails_due: int
    """How many mails all runs of all accounts have put into the ledger."""
    mails: dict[str, int]
    """How many mails are in each state there."""
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
            "mails_due": self.mails_due,
            "mails": self.mails,
            "checks": [result._asdict() for result in self.results],
        }


def examine(database: Database, now: datetime) -> Report:
    """Look at everything. Each check sees the database at one moment, so a server may be at work."""
    ran, waiting = database.migrations()
    unknown = sorted(set(ran) - set(migration_names()))
    if waiting:
        return Report(waiting, unknown, {}, 0, {}, [])
    with database.read() as connection:
        counts = {
            name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for name, table in _COUNTED.items()
        }
        mails = _mails_by_state(connection)
        counts["mails"] = sum(mails.values())
        due = connection.execute(sa.select(sa.func.sum(schema.enrolments.c.mails_due))).scalar_one() or 0
        return Report(waiting, unknown, counts, int(due), mails, [_result(connection, check) for check in checks(now)])


_COUNTED = {
    "accounts": schema.accounts,
    "leads": schema.leads,
    "events": schema.events,
    "ledger rows": schema.points,
}


def _mails_by_state(connection: sa.Connection) -> dict[str, int]:
    """The ledger's side of its sum: each mail that was due is in one of these."""
    state = schema.mails.c.state
    found = connection.execute(sa.select(state, sa.func.count()).group_by(state))
    return dict.fromkeys(MailState, 0) | {name: count for name, count in found}  # noqa: C416 - rows are no pairs


def _result(connection: sa.Connection, check: Check) -> Result:
    query = check.findings.add_columns(sa.func.count().over().label("found")).limit(MOST_EXAMPLES)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    found = max((row.pop("found") for row in rows), default=0)
    return Result(check.name, check.promise, found, rows)


# -- the promises --


def checks(now: datetime) -> Iterator[Check]:
    """All of them."""
    yield from _of_leads()
    yield from _of_runs(now)
    yield from _of_mails(now)
    yield from _of_webhooks(now)
    yield Check("erased lead", "Nothing is left of an erased lead by which anybody could be known.", _rests_of_erased())
    for table in schema.metadata.sorted_tables:
        for column, holder in _HOLDERS.items():
            if column in table.c and not (column == "account_id" and "lead_id" in table.c):
                promise = f"Every row of {table.name} belongs to a row of {holder.name}."
                yield Check(f"{table.name}.{column}", promise, _orphans(table, column, holder))


def _of_leads() -> Iterator[Check]:
    yield Check("score", "A lead's score is the sum of its ledger rows that are not reversed.", _wrong_scores())
    yield Check("expiry", "A grant is taken back when its time is over, and not before.", _early_reversals())
    yield Check("first event", "Every lead has exactly one event of its creation.", _wrong_beginnings())
    yield Check("address form", "E-mail addresses are stored trimmed and in lower case.", _odd_addresses())
    yield Check("address", "No two leads of an account share an e-mail address.", _shared_addresses())
    yield Check("lead ids", "The next lead id is one that no lead has.", _spent_counter())


def _of_runs(now: datetime) -> Iterator[Check]:
    yield Check("sequence runs", "A lead is in a sequence once at a time.", _parallel_runs())
    yield Check(
        "latest run", "Of a lead's runs through a sequence the newest counts, and no other.", _not_latest_runs()
    )
    yield Check("waiting run", "A run under way has its time or says what it waits for; no other has.", _stuck_runs())
    yield Check("parked run", "A run that is parked says why.", _runs_parked_silently())
    yield Check("held run", "A pause that is over holds nobody.", _forgotten_runs(now))


def _of_mails(now: datetime) -> Iterator[Check]:
    states = f"{', '.join(list(MailState)[:-1])} or {list(MailState)[-1]}"
    yield Check("mail state", f"Every mail that was due is {states}.", _odd_states())
    yield Check("mails due", "Every mail that a run has counted is in the ledger, and no other.", _miscounted_mails())
    yield Check("mail time", "A mail has a time to be looked at until it is settled, and no longer.", _mistimed_mails())
    yield Check("waiting mail", "Only a mail that is queued waits for anything.", _odd_waits())
    yield Check("mail on its way", "Nobody forgets a mail that was handed over.", _forgotten_mails(now))
    yield Check("mail run", "Every mail belongs to a run that came to its step.", _mails_without_run())
    yield Check("mail event", "Every mail that a server has taken is told in its lead's feed.", _untold_mails())
    yield Check(
        "suppression", "Every address that is not mailed has a reason, in the form of addresses.", _odd_reasons()
    )
    yield Check(
        "suppressed mail",
        "No mail goes to an address that is not to be mailed, or to a lead that has declined it.",
        _mails_to_suppressed(),
    )


def _of_webhooks(now: datetime) -> Iterator[Check]:
    yield Check(
        "webhook time", "A delivery has a time to be tried as long as it waits, and no longer.", _mistimed_hooks()
    )
    yield Check(
        "late webhook", "A delivery that is due is tried, unless its endpoint does not answer.", _late_hooks(now)
    )


def _mistimed_hooks() -> sa.Select[Any]:
    table = schema.hook_deliveries
    waits = table.c.state == QUEUED
    return sa.select(*table.primary_key.columns).where(waits != table.c.next_at.is_not(None))


def _late_hooks(now: datetime) -> sa.Select[Any]:
    table, ends = schema.hook_deliveries, schema.hook_endpoints
    earlier = table.alias("earlier")
    well = ends.c.enabled & ends.c.paused_at.is_(None) & ends.c.failing_since.is_(None) & ends.c.deleted_at.is_(None)
    its = sa.exists().where(ends.c.account_id == table.c.account_id, ends.c.id == table.c.endpoint, well)
    behind = sa.exists().where(
        earlier.c.account_id == table.c.account_id,
        earlier.c.endpoint == table.c.endpoint,
        earlier.c.lead_id == table.c.lead_id,
        earlier.c.id < table.c.id,
        earlier.c.next_at.is_not(None),
    )
    late = table.c.next_at < to_micros(now - LATE)
    return sa.select(*table.primary_key.columns).where(late, its, ~behind)


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
    meant: sa.ColumnElement[bool] = table.c[column].is_not(None)
    if table is schema.hook_deliveries and column == "lead_id":
        meant = table.c.lead_id != TEST_LEAD
    return sa.select(*table.primary_key.columns).where(meant, ~sa.exists().where(same))


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


# -- runs --


def _not_latest_runs() -> sa.Select[Any]:
    runs = schema.enrolments
    keys = (runs.c.account_id, runs.c.lead_id, runs.c.sequence_id)
    latest = sa.func.sum(sa.case((runs.c.latest, 1), else_=0))
    newest_latest = sa.func.max(sa.case((runs.c.latest, runs.c.id)))
    query = sa.select(*keys, sa.func.count().label("runs"), latest.label("latest")).group_by(*keys)
    return query.having((latest != 1) | (newest_latest != sa.func.max(runs.c.id)))


def _stuck_runs() -> sa.Select[Any]:
    runs = schema.enrolments
    active = runs.c.status == RunStatus.ACTIVE.value
    lost = active & runs.c.due_at.is_(None) & (runs.c.reason == "") & ~runs.c.held
    return sa.select(*_RUN).where(lost | (~active & runs.c.due_at.is_not(None)) | (active & ~runs.c.latest))


def _runs_parked_silently() -> sa.Select[Any]:
    runs = schema.enrolments
    return sa.select(*_RUN).where(runs.c.status == RunStatus.PARKED.value, runs.c.reason == "")


def _forgotten_runs(now: datetime) -> sa.Select[Any]:
    runs, sequences = schema.enrolments, schema.sequences
    same = (sequences.c.account_id == runs.c.account_id) & (sequences.c.id == runs.c.sequence_id)
    held = runs.c.held & runs.c.due_at.is_(None)
    over = ~sequences.c.paused & sequences.c.archived_at.is_(None)
    over &= sa.func.coalesce(sequences.c.resumed_at, 0) < to_micros(now - LATE)
    of_active = runs.c.account_id.in_(sa.select(schema.accounts.c.id).where(schema.accounts.c.active))
    return sa.select(*_RUN).select_from(runs.join(sequences, same)).where(held, over, of_active)


_RUN = [
    schema.enrolments.c[name] for name in ("account_id", "lead_id", "id", "sequence_id", "step", "status", "due_at")
]


# -- mails --

_MAIL = [schema.mails.c[name] for name in ("account_id", "lead_id", "id", "run", "box", "state", "next_at")]


def _miscounted_mails() -> sa.Select[Any]:
    """Lost rows, and rows that are too many."""
    mails, runs = schema.mails, schema.enrolments
    of_run = (
        (mails.c.account_id == runs.c.account_id) & (mails.c.lead_id == runs.c.lead_id) & (mails.c.run == runs.c.id)
    )
    kept = sa.select(sa.func.count()).select_from(mails).where(of_run).scalar_subquery()  # an index has them
    columns = (runs.c.account_id, runs.c.lead_id, runs.c.id, runs.c.sequence_id, runs.c.mails_due, kept.label("kept"))
    return sa.select(*columns).where(runs.c.mails_due != kept)


def _odd_states() -> sa.Select[Any]:
    return sa.select(*_MAIL).where(schema.mails.c.state.not_in([state.value for state in MailState]))


def _mistimed_mails() -> sa.Select[Any]:
    mails = schema.mails
    settled = mails.c.state.in_([state.value for state in MailState if state.settled])
    return sa.select(*_MAIL).where(settled == mails.c.next_at.is_not(None))


def _odd_waits() -> sa.Select[Any]:
    mails = schema.mails
    known = mails.c.waits_for.in_([cause.value for cause in WaitsFor]) & (mails.c.state == MailState.QUEUED.value)
    return sa.select(*_MAIL, mails.c.waits_for).where(mails.c.waits_for != "", ~known)


def _forgotten_mails(now: datetime) -> sa.Select[Any]:
    mails = schema.mails
    return sa.select(*_MAIL).where(
        mails.c.state == MailState.HANDED_OVER.value,
        mails.c.next_at.is_not(None),  # which the index has
        mails.c.next_at < to_micros(now - LATE),
    )


def _mails_without_run() -> sa.Select[Any]:
    mails, runs = schema.mails, schema.enrolments
    same = (runs.c.account_id == mails.c.account_id) & (runs.c.lead_id == mails.c.lead_id) & (runs.c.id == mails.c.run)
    came = (runs.c.sequence_id == mails.c.sequence_id) & (runs.c.moves >= mails.c.move)
    return sa.select(*_MAIL).where(~sa.exists().where(same, came))


def _untold_mails() -> sa.Select[Any]:
    mails, events = schema.mails, schema.events
    told = (
        sa.select(events.c.account_id, events.c.lead_id, sa.func.count().label("times"))
        .where(events.c.kind == MailSent.kind)
        .group_by(events.c.account_id, events.c.lead_id)
        .subquery()
    )
    sent = (
        sa.select(mails.c.account_id, mails.c.lead_id, sa.func.count().label("sent"))
        .where(mails.c.sent_at.is_not(None) | (mails.c.state == MailState.ACCEPTED.value))
        .group_by(mails.c.account_id, mails.c.lead_id)
        .subquery()
    )
    same = (told.c.account_id == sent.c.account_id) & (told.c.lead_id == sent.c.lead_id)
    times = sa.func.coalesce(told.c.times, 0)
    columns = (sent.c.account_id, sent.c.lead_id, sent.c.sent, times.label("told"))
    return sa.select(*columns).select_from(sent.outerjoin(told, same)).where(sent.c.sent > times)


def _odd_reasons() -> sa.Select[Any]:
    table = schema.suppressions
    known = table.c.reason.in_(["", *(reason.value for reason in SuppressionReason)])
    formed = table.c.email == sa.func.lower(sa.func.trim(table.c.email))
    return sa.select(table.c.account_id, table.c.email, table.c.reason).where(~(known & formed))


def _mails_to_suppressed() -> sa.Select[Any]:
    """What was on its way when the address was suppressed, or commercial mail declined, may still arrive."""
    mails, table, leads = schema.mails, schema.suppressions, schema.leads
    address = (table.c.account_id == mails.c.account_id) & (table.c.email == mails.c.address)
    lead = (leads.c.account_id == mails.c.account_id) & (leads.c.id == mails.c.lead_id)
    no = leads.c.gdpr_status == Gdpr.NOT_ACCEPTED.value
    columns = (*_MAIL, mails.c.address)
    said_no = sa.literal("commercial mail declined").label("reason")
    suppressed = sa.select(*columns, table.c.reason).select_from(mails.join(table, address))
    declined = sa.select(*columns, said_no).select_from(mails.join(leads, lead))
    found = sa.union_all(
        suppressed.where(table.c.reason != "", _goes_after(table.c.at)),
        declined.where(no, _goes_after(leads.c.gdpr_status_at)),
    )
    return sa.select(found.subquery())


def _goes_after(at: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    mails = schema.mails
    by_then = at + int(LATE.total_seconds() * 1_000_000)
    return (mails.c.sent_at > by_then) | ((mails.c.state == MailState.HANDED_OVER.value) & (mails.c.next_at > by_then))


# -- what was erased --


def _rests_of_erased() -> sa.Select[Any]:
    """Rows in which something is still told of somebody, each with its table."""
    found = [_rests(table, by, rest) for table, by, rest in _RESTS]
    return sa.select(sa.union_all(*found).subquery())


def _rests(table: sa.Table, by: str, rest: sa.ColumnElement[bool]) -> sa.Select[Any]:
    proof = schema.events.alias()
    same = (proof.c.account_id == table.c.account_id) & (proof.c.lead_id == table.c[by])
    erased = sa.exists().where(same, proof.c.kind == LeadErased.kind)
    lead = table.c[by].label("lead_id")
    return sa.select(table.c.account_id, lead, sa.literal(table.name).label("rest_in")).where(erased, rest)


_WORDS = ("notes", "ip_country", "gdpr_status_ip", *PROFILE_FIELDS)
_SEEN = ("opened_at", "clicked_at", "machine_opened_at", "machine_clicked_at")

_RESTS: Sequence[tuple[sa.Table, str, sa.ColumnElement[bool]]] = (
    (schema.leads, "id", schema.leads.c.email.not_like(f"{ERASED}:%")),
    (schema.leads, "id", sa.or_(*(schema.leads.c[name] != "" for name in _WORDS))),
    (schema.lead_tags, "lead_id", sa.true()),
    (schema.lead_lists, "lead_id", sa.true()),
    (schema.lead_fields, "lead_id", sa.true()),
    (schema.points, "lead_id", sa.true()),
    (schema.test_mailbox, "lead_id", sa.true()),
    (schema.suppressions, "lead", sa.true()),
    (schema.idempotent_calls, "lead", schema.idempotent_calls.c.answer != ""),
    (schema.enrolments, "lead_id", schema.enrolments.c.reason != ""),
    (schema.mails, "lead_id", schema.mails.c.address != ""),
    (schema.mails, "lead_id", sa.or_(*(schema.mails.c[name].is_not(None) for name in _SEEN))),
    (schema.events, "lead_id", schema.events.c.kind.in_(sorted(WATCHED))),
)
"""Tables, their column with the lead, and which rows must not be there of one that was erased."""
