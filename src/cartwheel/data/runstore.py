"""Who stands where in the sequences of an account: counted and found, for people who look after them.

What happens to a run happens to its lead, through `leadstore`.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.data.leadstore import LeadKey
from cartwheel.leads.leadparts import RunStatus
from cartwheel.sequences.moving import MailKey
from cartwheel.times import from_micros

IN_IT = (RunStatus.ACTIVE, RunStatus.PARKED)
"""Runs that have not ended."""

_RUNS = schema.enrolments
_MAILS = schema.mails


class Standing(NamedTuple):
    """How many runs of one version stand at one box."""

    version: int
    box: str
    status: RunStatus
    leads: int


class Parked(NamedTuple):
    """A run that cannot go on."""

    lead_id: int
    email: str
    version: int
    box: str
    reason: str
    arrived_at: datetime | None


def _latest(account_id: int, *more: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.and_(_RUNS.c.account_id == account_id, _RUNS.c.latest, *more)


def _of(account_id: int, sequence_id: int, statuses: Collection[RunStatus]) -> sa.ColumnElement[bool]:
    return _latest(
        account_id, _RUNS.c.sequence_id == sequence_id, _RUNS.c.status.in_([status.value for status in statuses])
    )


MANY = 20_000
"""So many runs are counted each time that somebody looks; more take too long."""


def are_many(connection: sa.Connection, account_id: int) -> bool:
    """Whether the account has more runs than can be counted for each look."""
    first = sa.select(_RUNS.c.id).where(_RUNS.c.account_id == account_id).limit(MANY + 1).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(first)).scalar_one()) > MANY


def counted(connection: sa.Connection, account_id: int) -> Mapping[int, Counter[RunStatus]]:
    """By sequence, how many leads are in it, have completed it, have left it, or are parked."""
    grouped = (_RUNS.c.sequence_id, _RUNS.c.status)
    query = sa.select(*grouped, sa.func.count()).where(_latest(account_id)).group_by(*grouped)
    found: dict[int, Counter[RunStatus]] = {}
    for sequence_id, status, count in connection.execute(query):
        found.setdefault(sequence_id, Counter())[RunStatus(status)] = count
    return found


def standing(connection: sa.Connection, account_id: int, sequence_id: int) -> list[Standing]:
    """Where those stand who are in the sequence, and have not completed it."""
    grouped = (_RUNS.c.version, _RUNS.c.step, _RUNS.c.status)
    query = sa.select(*grouped, sa.func.count()).where(_of(account_id, sequence_id, IN_IT)).group_by(*grouped)
    rows = connection.execute(query.order_by(*grouped))
    return [Standing(version, step, RunStatus(status), count) for version, step, status, count in rows]


def who_got(
    connection: sa.Connection, account_id: int, sequence_id: int, place: Standing, mails: Collection[MailKey]
) -> int:
    """How many of those who stand there have got at least one of these mails in their run."""
    if not mails:
        return 0
    same = (_MAILS.c.account_id == _RUNS.c.account_id) & (_MAILS.c.lead_id == _RUNS.c.lead_id)
    one_of = sa.tuple_(_MAILS.c.version, _MAILS.c.box).in_(sorted(mails))
    got = sa.exists().where(same, _MAILS.c.run == _RUNS.c.id, one_of)
    here = (_RUNS.c.version == place.version) & (_RUNS.c.step == place.box)
    query = sa.select(sa.func.count()).where(_of(account_id, sequence_id, [place.status]), here, got)
    return int(connection.execute(query).scalar_one())


def leads_in(
    connection: sa.Connection,
    account_id: int,
    sequence_id: int,
    statuses: Collection[RunStatus],
    *,
    versions: Collection[int] | None = None,
    after: int = 0,
    most: int,
) -> list[LeadKey]:
    """Leads whose run through the sequence stands so, in the order of their ids, from the one after `after`."""
    query = sa.select(_RUNS.c.lead_id).where(_of(account_id, sequence_id, statuses), _RUNS.c.lead_id > after)
    if versions is not None:
        query = query.where(_RUNS.c.version.in_(versions))
    rows = connection.execute(query.order_by(_RUNS.c.lead_id).limit(most))
    return [(account_id, row.lead_id) for row in rows]


def parked(connection: sa.Connection, account_id: int, sequence_id: int, most: int) -> Sequence[Parked]:
    """The runs that cannot go on, those that came first to their step first."""
    leads = schema.leads
    theirs = (leads.c.account_id == _RUNS.c.account_id) & (leads.c.id == _RUNS.c.lead_id)
    columns: list[Any] = [_RUNS.c.lead_id, leads.c.email, *(_RUNS.c[name] for name in _SHOWN)]
    query = sa.select(*columns).join_from(_RUNS, leads, theirs).where(_of(account_id, sequence_id, [RunStatus.PARKED]))
    rows = connection.execute(query.order_by(_RUNS.c.arrived_at, _RUNS.c.lead_id).limit(most))
    return [Parked._make([*told, None if at is None else from_micros(at)]) for *told, at in rows]


_SHOWN = ("version", "step", "reason", "arrived_at")


class MailCounts(NamedTuple):
    """What became of the mails of one box, in all versions; machines are not counted."""

    sent: int
    opened: int
    clicked: int


def mail_counts(connection: sa.Connection, account_id: int, sequence_id: int) -> Mapping[str, MailCounts]:
    """By box, how many mails were sent, opened (or clicked in), and clicked in."""
    columns = [_MAILS.c.sent_at, sa.func.coalesce(_MAILS.c.opened_at, _MAILS.c.clicked_at), _MAILS.c.clicked_at]
    query = (
        sa.select(_MAILS.c.box, *(sa.func.count(column) for column in columns))
        .where(_MAILS.c.account_id == account_id, _MAILS.c.sequence_id == sequence_id)
        .group_by(_MAILS.c.box)
    )
    return {box: MailCounts(*counts) for box, *counts in connection.execute(query)}


def was_used(connection: sa.Connection, account_id: int, sequence_id: int) -> bool:
    """Whether anybody was ever in the sequence."""
    query = sa.select(_RUNS.c.id).where(_RUNS.c.account_id == account_id, _RUNS.c.sequence_id == sequence_id).limit(1)
    return connection.execute(query).first() is not None
