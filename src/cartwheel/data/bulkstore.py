"""What somebody does with many leads at once, as it is stored: how far it has come, and whom it has changed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from cartwheel.data import catalog, schema
from cartwheel.data.db import Database
from cartwheel.data.lanes import Insert
from cartwheel.times import from_micros, moment_or_none, to_micros

TAKEN_FOR = timedelta(seconds=30)
"""So long nobody else does a slice that somebody has begun."""

KEPT = timedelta(days=14)
"""So long it can be undone."""

UNDOING = timedelta(days=1)
"""So long it may take to undo what was just not too old for it."""

MOST_FORGOTTEN = 1000

RECORDED = Insert(schema.bulk_leads)
"""Written with each lead's change."""

_JOBS, _LEADS = schema.bulk_jobs, schema.bulk_leads


class State(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"


class Who(msgspec.Struct, frozen=True, omit_defaults=True):
    """These leads; or those that another job has changed; or all that a filter and a search find."""

    ids: tuple[int, ...] = ()
    job: int | None = None
    filter: str = ""
    q: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """`looked` is at how many leads it looked, `changed` how many of them were not so already."""

    account_id: int
    id: int
    user_id: int
    act: str
    who: Who
    state: State
    before: int | None
    looked: int
    changed: int
    created_at: datetime
    ended_at: datetime | None
    undone_at: datetime | None

    @property
    def origin(self) -> str:
        return f"user:{self.user_id}"

    def is_too_old(self, now: datetime) -> bool:
        """For being undone: whom it has changed is forgotten."""
        return self.ended_at is not None and self.ended_at < now - KEPT


_WHO = msgspec.json.Decoder(Who)


def _job(row: Any) -> Job:
    who = _WHO.decode(row.who) if row.who else Who()
    at = from_micros(row.created_at)
    counts = (row.before, row.looked, row.changed)
    state = State(row.state)
    ends = (moment_or_none(row.ended_at), moment_or_none(row.undone_at))
    return Job(row.account_id, row.id, row.user_id, row.act, who, state, *counts, at, *ends)


def begin(connection: sa.Connection, account_id: int, user_id: int, act: str, who: Who, now: datetime) -> int:
    """A job that is due at once; returns its number."""
    catalog.lock_account(connection, account_id)
    number = catalog.next_id(connection, _JOBS, account_id)
    row = {
        "account_id": account_id,
        "id": number,
        "user_id": user_id,
        "act": act,
        "who": msgspec.json.encode(who).decode(),
        "state": State.RUNNING.value,
        "looked": 0,
        "changed": 0,
        "created_at": to_micros(now),
        "next_at": to_micros(now),
    }
    connection.execute(sa.insert(_JOBS), row)
    return number


def get(connection: sa.Connection, account_id: int, number: int) -> Job | None:
    row = connection.execute(sa.select(_JOBS).filter_by(account_id=account_id, id=number)).one_or_none()
    return None if row is None else _job(row)


def newest(connection: sa.Connection, account_id: int, most: int) -> Sequence[Job]:
    query = sa.select(_JOBS).where(_JOBS.c.account_id == account_id).order_by(_JOBS.c.id.desc()).limit(most)
    return [_job(row) for row in connection.execute(query)]


def take(database: Database, now: datetime) -> Job | None:
    """One that is due, which is this process's for a while."""
    due = sa.select(_JOBS).where(_JOBS.c.next_at.is_not(None), _JOBS.c.next_at <= to_micros(now))
    due = due.order_by(_JOBS.c.next_at).limit(1)
    with database.read() as connection:
        if connection.execute(due).first() is None:
            return None
    with database.write() as connection:
        row = connection.execute(due.with_for_update(skip_locked=True)).one_or_none()
        if row is None:
            return None
        job = _job(row)
        connection.execute(sa.update(_JOBS).where(_this(job)).values(next_at=to_micros(now + TAKEN_FOR)))
        return job


def advance(connection: sa.Connection, job: Job, before: int | None, looked: int, changed: int, now: datetime) -> None:
    """A slice is done: it goes on with the ids below `before`, or has come to its end; unless somebody has stopped it."""
    values: dict[str, Any] = {"looked": _JOBS.c.looked + looked, "changed": _JOBS.c.changed + changed, "before": before}
    running = _JOBS.c.state == State.RUNNING.value
    connection.execute(sa.update(_JOBS).where(_this(job)).values(values))
    if before is not None:
        connection.execute(sa.update(_JOBS).where(_this(job), running).values(next_at=to_micros(now)))
    else:
        connection.execute(sa.update(_JOBS).where(_this(job), running).values(_ended(State.FINISHED, now)))


def stop(connection: sa.Connection, account_id: int, number: int, now: datetime) -> bool:
    """Whether it was running. The slice that is being done is still finished."""
    running = (_JOBS.c.account_id == account_id) & (_JOBS.c.id == number) & (_JOBS.c.state == State.RUNNING.value)
    return connection.execute(sa.update(_JOBS).where(running).values(_ended(State.STOPPED, now))).rowcount == 1


def undo(connection: sa.Connection, job: Job, user_id: int, act: str, now: datetime) -> int | None:
    """A job that does this to all whom the job has changed; None if that runs still, was undone before or is too old."""
    if job.is_too_old(now):
        return None
    undoable = _this(job) & _JOBS.c.undone_at.is_(None) & (_JOBS.c.state != State.RUNNING.value)
    if connection.execute(sa.update(_JOBS).where(undoable).values(undone_at=to_micros(now))).rowcount == 0:
        return None
    return begin(connection, job.account_id, user_id, act, Who(job=job.id), now)


def _ended(state: State, now: datetime) -> dict[str, Any]:
    """What was looked for may name a person, and is forgotten."""
    return {"state": state.value, "ended_at": to_micros(now), "next_at": None, "who": ""}


def _this(job: Job) -> sa.ColumnElement[bool]:
    return (_JOBS.c.account_id == job.account_id) & (_JOBS.c.id == job.id)


# -- whom it has changed --


def changed_of(connection: sa.Connection, job: Job, ids: Collection[int]) -> set[int]:
    """Those among these that it has changed already."""
    of = (_LEADS.c.account_id == job.account_id) & (_LEADS.c.job_id == job.id) & _LEADS.c.lead_id.in_(ids)
    return set(connection.execute(sa.select(_LEADS.c.lead_id).where(of)).scalars())


def changed_by(connection: sa.Connection, account_id: int, number: int, before: int | None, most: int) -> list[int]:
    """The leads that a job has changed, from the highest id below `before` on."""
    query = sa.select(_LEADS.c.lead_id).where(_LEADS.c.account_id == account_id, _LEADS.c.job_id == number)
    if before is not None:
        query = query.where(_LEADS.c.lead_id < before)
    return list(connection.execute(query.order_by(_LEADS.c.lead_id.desc()).limit(most)).scalars())


def forget(database: Database, now: datetime) -> int:
    """Away with whom old jobs have changed, a few at a time; returns how many."""
    old = _JOBS.c.ended_at < to_micros(now - KEPT - UNDOING)
    job = sa.and_(_JOBS.c.account_id == _LEADS.c.account_id, _JOBS.c.id == _LEADS.c.job_id, old)
    keys = sa.select(*_LEADS.primary_key).join_from(_JOBS, _LEADS, job).limit(MOST_FORGOTTEN)
    with database.read() as connection:
        found = connection.execute(keys).all()
    if found:
        with database.write() as connection:
            connection.execute(sa.delete(_LEADS).where(sa.tuple_(*_LEADS.primary_key).in_(map(tuple, found))))
    return len(found)
