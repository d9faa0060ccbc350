"""The ledger of mail and the suppressed addresses in the database: the part of `leadstore` that is about mail."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from cartwheel.data import erasures, schema
from cartwheel.data.db import Database
from cartwheel.data.lanes import Insert, Lane, Row, Select, Update, Write
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part, Suppression
from cartwheel.leads.mails import Mail, MailState
from cartwheel.times import from_micros, micros_or_none, moment_or_none, to_micros

_LeadKey = tuple[int, int]

_STATE = ("state", "next_at", "attempts", "soft", "address", "server", "reply", "sent_at")
_SEEN = ("opened_at", "clicked_at", "machine_opened_at", "machine_clicked_at")
_MAIL = ("id", "run", "move", "sequence_id", "version", "box", "queued_at", *_STATE, *_SEEN)

_OF_LEAD = ("account_id", "lead_id")
_QUEUE = Select(schema.mails, (*_OF_LEAD, *_MAIL), by=_OF_LEAD, where="t.next_at IS NOT NULL")
_MAILS = Select(schema.mails, (*_OF_LEAD, *_MAIL), by=_OF_LEAD)
_SUPPRESSION = Select(
    schema.suppressions, ("account_id", "email", "reason", "at", "details", "soft_bounces"), by=("account_id", "email")
)

_MAIL_QUEUED = Insert(schema.mails)
_MAIL_CHANGED = Update(schema.mails, (*_STATE, *_SEEN))
_SUPPRESSED = Insert(schema.suppressions, update=("reason", "at", "details", "soft_bounces", "lead"))

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
    """From the columns `_MAIL`."""
    key, run, move, sequence_id, version, box, queued_at, state, next_at, attempts, soft, *rest = row
    address, server, reply, *times = rest
    return Mail(
        key, run, sequence_id, version, box, move, MailState(state), from_micros(queued_at), moment_or_none(next_at),
        attempts, soft, address, server, reply, *(moment_or_none(at) for at in times),
    )  # fmt: skip


async def load_suppression(lane: Lane, leads: Leads, keys: list[_LeadKey], _due: int) -> None:
    by_email = {}
    for key in keys:
        leads[key].suppression = Suppression()
        by_email[key[0], leads[key].email] = leads[key]
    for account_id, email, reason, at, details, soft_bounces in await lane.fetch(_SUPPRESSION, sorted(by_email)):
        by_email.pop((account_id, email)).suppression = Suppression(reason, from_micros(at), details, soft_bounces)
    for address, suppression in (await erasures.suppressions(lane, by_email)).items():
        by_email[address].suppression = suppression


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
    )


def release(database: Database, reason: str, now: datetime) -> None:
    """What waits for a reason that begins so is due now."""
    table, at = schema.mails, to_micros(now)
    waits = (table.c.next_at > at) & (table.c.state == MailState.QUEUED.value) & table.c.reply.startswith(reason)
    with database.read() as connection:
        if connection.execute(sa.select(table.c.id).where(waits).limit(1)).first() is None:
            return
    with database.write() as connection:
        connection.execute(sa.update(table).where(waits).values(next_at=at))


# -- looking --


def counted(connection: sa.Connection) -> dict[MailState, int]:
    """How many mails of all accounts are in each state."""
    table = schema.mails
    found = connection.execute(sa.select(table.c.state, sa.func.count()).group_by(table.c.state))
    return {MailState(state): count for state, count in found}


class Backlog(NamedTuple):
    """What waits to be done, and how many seconds the oldest of it has been waiting for longer than it should."""

    mails: dict[str, int]
    """By state."""
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
    columns = [table.c[name] for name in _MAIL]
    query = sa.select(*columns).where(table.c.account_id == key[0], table.c.lead_id == key[1]).order_by(table.c.id)
    return [mail_of(row) for row in connection.execute(query)]


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
        sa.select(table.c.lead_id, leads.c.email, *(table.c[name] for name in _MAIL))
        .join(leads, of_lead)
        .where(table.c.account_id == account_id)
        .order_by(table.c.id.desc(), table.c.lead_id)
        .limit(most)
    )
    wanted = {table.c.state: state and state.value, table.c.lead_id: lead_id, table.c.id: number}
    query = query.where(*(column == value for column, value in wanted.items() if value is not None))
    return [Listed(row[0], row[1], mail_of(row[2:])) for row in connection.execute(query)]
