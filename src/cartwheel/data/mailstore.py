"""The ledger of mail and the suppressed addresses in the database: the part of `leadstore` that is about mail."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from cartwheel.data import erasures, schema
from cartwheel.data.db import Database
from cartwheel.data.lanes import Insert, Lane, Row, Select, Update, Write
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part, Suppression
from cartwheel.leads.mails import Burst, Mail, MailState, WaitsFor
from cartwheel.times import from_micros, micros_or_none, moment_or_none, to_micros

_LeadKey = tuple[int, int]

_STATE = ("state", "next_at", "attempts", "soft", "address", "server", "reply", "sent_at")
_SEEN = ("opened_at", "clicked_at", "machine_opened_at", "machine_clicked_at")
_WAITS = ("waits_for", "trouble_since")
MAIL_COLUMNS = ("id", "run", "move", "sequence_id", "version", "box", "queued_at", *_STATE, *_SEEN, *_WAITS)

_OF_LEAD = ("account_id", "lead_id")
_QUEUE = Select(schema.mails, (*_OF_LEAD, *MAIL_COLUMNS), by=_OF_LEAD, where="t.next_at IS NOT NULL")
_MAILS = Select(schema.mails, (*_OF_LEAD, *MAIL_COLUMNS), by=_OF_LEAD)
_SUPPRESSION = Select(
    schema.suppressions, ("account_id", "email", "reason", "at", "details", "soft_bounces"), by=("account_id", "email")
)

_MAIL_QUEUED = Insert(schema.mails)
_MAIL_CHANGED = Update(schema.mails, (*_STATE, *_SEEN, *_WAITS))
_SUPPRESSED = Insert(schema.suppressions, update=("reason", "at", "details", "soft_bounces", "lead"))

_BURST = ("mail", "link", "first_at", "last_at", "several", "person_at", "judge_at")
_BURSTS = Select(schema.clicks, (*_OF_LEAD, *_BURST), by=_OF_LEAD)
_BURST_CHANGED = Insert(schema.clicks, update=_BURST[1:])

Leads = dict[_LeadKey, Lead]


async def load_queue(lane: Lane, leads: Leads, keys: list[_LeadKey], _due: int) -> None:
    await _load(lane, _QUEUE, leads, keys)


async def load_mails(lane: Lane, leads: Leads, keys: list[_LeadKey], _due: int) -> None:
    await _load(lane, _MAILS, leads, keys)


async def _load(lane: Lane, select: Select, leads: Leads, keys: list[_LeadKey]) -> None:
    for key in keys:
        leads[key].mails = {}
    for account_id, lead_id, *row in sorted(await lane.fetch(select, keys), key=_by_number):
        mail = mail_of(row)
        leads[account_id, lead_id].mails[mail.key] = mail


def _by_number(row: Sequence[Any]) -> tuple[int, int, int]:
    return (row[0], row[1], row[2])


def mail_of(row: Sequence[Any]) -> Mail:
    """From the columns `MAIL_COLUMNS`."""
    key, run, move, sequence_id, version, box, queued_at, state, next_at, attempts, soft, *rest = row
    address, server, reply, *seen, waits_for, trouble_since = rest
    sent_at, opened_at, clicked_at, *by_machine = map(moment_or_none, seen)
    return Mail(
        key, run, sequence_id, version, box, move, MailState(state), from_micros(queued_at), moment_or_none(next_at),
        attempts, soft, address, server, reply, WaitsFor(waits_for), moment_or_none(trouble_since),
        sent_at, opened_at, clicked_at, *by_machine,
    )  # fmt: skip


async def load_suppression(lane: Lane, leads: Leads, keys: list[_LeadKey], _due: int) -> None:
    by_email = {(key[0], leads[key].email): leads[key] for key in keys}
    for address, suppression in (await suppressions(lane, by_email)).items():
        by_email[address].suppression = suppression


async def suppressions(lane: Lane, addresses: Collection[tuple[int, str]]) -> dict[tuple[int, str], Suppression]:
    """Why these (account, address) are not to be mailed, if so."""
    found = dict.fromkeys(addresses, Suppression())
    stored = {
        (account_id, email): Suppression(reason, from_micros(at), details, soft_bounces)
        for account_id, email, reason, at, details, soft_bounces in await lane.fetch(_SUPPRESSION, sorted(addresses))
    }
    others = [address for address in addresses if address not in stored]
    return found | stored | await erasures.suppressions(lane, others)


async def load_clicks(lane: Lane, leads: Leads, keys: list[_LeadKey], _due: int) -> None:
    for key in keys:
        leads[key].bursts = {}
    for account_id, lead_id, mail, link, first_at, last_at, several, *times in await lane.fetch(_BURSTS, keys):
        burst = Burst(
            link, from_micros(first_at), from_micros(last_at), bool(several), *(moment_or_none(at) for at in times)
        )
        leads[account_id, lead_id].bursts[mail] = burst


def rows(lead: Lead, next_id: Callable[[], int]) -> Iterator[tuple[Write, Row]]:
    """What has to be written of a lead's mails."""
    key = (lead.account_id, lead.id)
    for mail in lead.outgoing:
        values = (mail.run_key, mail.move, mail.sequence_id, mail.version, mail.box)
        state, *rest = _changing(mail)
        yield _MAIL_QUEUED, (*key, next_id(), *values, state, to_micros(mail.queued_at), *rest)
    for part, number in lead.dirty:
        if part == Part.MAILS:
            yield _MAIL_CHANGED, (*_changing(lead.mails[number]), *key, number)
        elif part == Part.CLICKS:
            yield _BURST_CHANGED, (*key, number, *_values(lead.bursts[number]))
        elif part == Part.SUPPRESSION:
            told = lead.suppression
            row = (told.reason, micros_or_none(told.at) or 0, told.details, told.soft_bounces)
            yield _SUPPRESSED, (lead.account_id, lead.email, *row, lead.id)


def _changing(mail: Mail) -> Row:
    seen = (mail.opened_at, mail.clicked_at, mail.machine_opened_at, mail.machine_clicked_at)
    counts = (mail.attempts, mail.soft, mail.address, mail.server, mail.reply)
    return (
        mail.state.value,
        micros_or_none(mail.next_at),
        *counts,
        micros_or_none(mail.sent_at),
        *(micros_or_none(at) for at in seen),
        mail.waits_for.value,
        micros_or_none(mail.trouble_since),
    )


def _values(burst: Burst) -> Row:
    times = (micros_or_none(burst.person_at), micros_or_none(burst.judge_at))
    return (burst.link, to_micros(burst.first_at), to_micros(burst.last_at), burst.several, *times)


def release(database: Database, is_held: Callable[[int, int], bool], now: datetime) -> None:
    """What waits for an owner is due now, and what a pause held of a sequence (account, number) that is held no more."""
    table = schema.mails
    place = (table.c.waits_for, table.c.account_id, table.c.sequence_id)
    causes = (WaitsFor.OWNER.value, WaitsFor.PAUSE.value)
    later = table.c.next_at > to_micros(now)
    query = sa.select(*place).where(schema.MAILS_HELD, table.c.waits_for.in_(causes), later).distinct()
    with database.read() as connection:
        found = connection.execute(query).all()
    for cause, *sequence in found:
        if cause == WaitsFor.OWNER or not is_held(*sequence):
            here = (table.c.waits_for == cause) & (table.c.account_id == sequence[0])
            with database.write() as connection:
                connection.execute(
                    sa.update(table)
                    .where(schema.MAILS_HELD, here, table.c.sequence_id == sequence[1], later)
                    .values(next_at=to_micros(now))
                )


def leads_with_clicks_due(connection: sa.Connection, now: datetime, limit: int) -> list[_LeadKey]:
    """Leads with clicks that are to be judged, those waiting longest first."""
    table = schema.clicks
    due = (table.c.judge_at <= to_micros(now)) & table.c.judge_at.is_not(None)
    query = sa.select(table.c.account_id, table.c.lead_id).where(due).order_by(table.c.judge_at).limit(limit)
    return list(dict.fromkeys((row.account_id, row.lead_id) for row in connection.execute(query)))


def leads_mailed(
    connection: sa.Connection, accounts: Collection[int], email: str, *, since: datetime, but_by: str
) -> list[_LeadKey]:
    """Leads of these accounts with this address that were mailed at it since, by another server than `but_by`."""
    mails, leads = schema.mails, schema.leads
    theirs = (mails.c.account_id == leads.c.account_id) & (mails.c.lead_id == leads.c.id)
    went = (mails.c.address == email) & (mails.c.attempts > 0) & (mails.c.server != but_by)
    mailed = sa.exists().where(theirs, went, mails.c.queued_at > to_micros(since))
    query = sa.select(leads.c.account_id, leads.c.id).where(
        leads.c.account_id.in_(accounts), leads.c.email == email, mailed
    )
    return [(row.account_id, row.id) for row in connection.execute(query)]


# -- looking --


def counted(connection: sa.Connection) -> dict[MailState, int]:
    """How many mails of all accounts are in each state."""
    table = schema.mails
    found = connection.execute(sa.select(table.c.state, sa.func.count()).group_by(table.c.state))
    return {MailState(state): count for state, count in found}


class Backlog(NamedTuple):
    """What waits to be done, and how many seconds the oldest of it has been waiting for longer than it should."""

    mails: dict[str, int]
    """By state: those that are not settled, and those in doubt."""
    mails_late_s: float
    runs_late_s: float
    oldest_mail_s: float
    """For how long the oldest mail that is not settled has been in the ledger, whatever it waits for."""


def backlog(connection: sa.Connection, now: datetime) -> Backlog:
    """Looks at what waits only, however many mails there were."""
    mails, runs, at = schema.mails, schema.enrolments, to_micros(now)
    waiting = sa.select(mails.c.state, sa.func.count()).where(mails.c.next_at.is_not(None)).group_by(mails.c.state)
    counted = {MailState.QUEUED.value: 0, MailState.HANDED_OVER.value: 0}
    counted |= {row[0]: row[1] for row in connection.execute(waiting)}
    in_doubt = sa.select(sa.func.count()).select_from(mails).where(schema.IN_DOUBT)
    counted[MailState.IN_DOUBT.value] = connection.execute(in_doubt).scalar_one()
    waits = mails.c.next_at.is_not(None)
    oldest = (
        sa.select(sa.func.min(mails.c.next_at)),
        sa.select(sa.func.min(runs.c.due_at)),
        sa.select(sa.func.min(mails.c.queued_at)).where(waits),
    )
    since = (connection.execute(query).scalar_one() for query in oldest)
    return Backlog(counted, *(max(0, at - (moment or at)) / 1e6 for moment in since))


def mails_of(connection: sa.Connection, key: _LeadKey) -> list[Mail]:
    """Oldest first."""
    table = schema.mails
    columns = [table.c[name] for name in MAIL_COLUMNS]
    query = sa.select(*columns).where(table.c.account_id == key[0], table.c.lead_id == key[1]).order_by(table.c.id)
    return [mail_of(row) for row in connection.execute(query)]


def queued(
    connection: sa.Connection, account_id: int, sequence_id: int, *, after: tuple[int, int], most: int
) -> list[tuple[int, int]]:
    """(lead, number) of the sequence's mails that are queued, in this order, from the one after `after`."""
    table = schema.mails
    place = (table.c.lead_id, table.c.id)
    here = (table.c.account_id == account_id) & (table.c.sequence_id == sequence_id)
    waits = (table.c.state == MailState.QUEUED.value) & (sa.tuple_(*place) > after)
    rows = connection.execute(sa.select(*place).where(here, waits).order_by(*place).limit(most))
    return [(lead_id, number) for lead_id, number in rows]


def place_of(connection: sa.Connection, account_id: int, lead_id: int, number: int) -> tuple[int, str] | None:
    """The sequence and the box that a mail is of."""
    table = schema.mails
    query = sa.select(table.c.sequence_id, table.c.box)
    row = connection.execute(query.filter_by(account_id=account_id, lead_id=lead_id, id=number)).first()
    return None if row is None else (row[0], row[1])


class Listed(NamedTuple):
    """A mail, and the lead that it is for."""

    lead_id: int
    email: str
    mail: Mail


def listed(
    connection: sa.Connection,
    account_id: int,
    *,
    state: MailState | None = None,
    lead_id: int | None = None,
    number: int | None = None,
    most: int | None = None,
) -> list[Listed]:
    """The mails of an account, newest first: those in a state, of a lead, with a number, which differs within a lead."""
    table, leads = schema.mails, schema.leads
    of_lead = (leads.c.account_id == table.c.account_id) & (leads.c.id == table.c.lead_id)
    query = (
        sa.select(table.c.lead_id, leads.c.email, *(table.c[name] for name in MAIL_COLUMNS))
        .join(leads, of_lead)
        .where(table.c.account_id == account_id)
        .order_by(table.c.id.desc(), table.c.lead_id)
        .limit(most)
    )
    wanted = {table.c.state: state and state.value, table.c.lead_id: lead_id, table.c.id: number}
    query = query.where(*(column == value for column, value in wanted.items() if value is not None))
    return [Listed(row[0], row[1], mail_of(row[2:])) for row in connection.execute(query)]
