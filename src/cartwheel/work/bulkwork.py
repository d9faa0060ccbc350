"""Doing something to many leads, slice by slice, so that calls get their turn, and a restart goes on where it was."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

import sqlalchemy as sa

from cartwheel.data import bulkstore, leadsearch
from cartwheel.data.bulkstore import Job
from cartwheel.data.db import Database
from cartwheel.data.leadconditions import Order, Question
from cartwheel.data.leadsearch import Slice
from cartwheel.data.leadstore import LeadKey
from cartwheel.errors import DomainError
from cartwheel.leads import acts, filters
from cartwheel.leads.acts import Act
from cartwheel.work.batches import MOST_IN_BATCH, Batches, Desk
from cartwheel.work.leadwork import OneLead

IN_A_SLICE = 512
"""Leads that are looked at together."""


class BulkActWork(OneLead):
    """An act of a job on one lead."""

    def __init__(self, key: LeadKey, act: Act, job: Job) -> None:
        super().__init__(key, act.parts, job.origin)
        self._act = act
        self._job = job

    def decide(self, desk: Desk) -> bool:
        """Whether it has changed anything."""
        lead = self.lead(desk)
        if lead.deleted_at is not None and not self._act.to_deleted:
            return False
        self._act.apply(lead, desk.account(lead.account_id), desk.now)
        if lead.events:
            desk.put(bulkstore.RECORDED, (lead.account_id, self._job.id, lead.id))
        return bool(lead.events)


class BulkRunner:
    """Does the jobs of all accounts. Any number of processes may."""

    def __init__(self, database: Database, batches: Batches, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._batches = batches
        self._clock = clock

    async def round(self) -> bool:
        """Do a slice of a job that is due, if there is one."""
        job = await asyncio.to_thread(bulkstore.take, self._database, self._clock())
        if job is None:
            return False
        account = (await self._batches.refresh()).accounts.get(job.account_id)
        if account is None:
            return False
        act = acts.read(job.act)
        found = await asyncio.to_thread(self._slice, job)
        changed = 0
        for start in range(0, len(found.ids), MOST_IN_BATCH):  # no more at once, so that calls find room in the queue
            keys = [(job.account_id, number) for number in found.ids[start : start + MOST_IN_BATCH]]
            changed += await self._do(keys, act, job)
        await asyncio.to_thread(self._advance, job, found, changed)
        return True

    async def _do(self, keys: Sequence[LeadKey], act: Act, job: Job) -> int:
        works = [self._batches.submit(BulkActWork(key, act, job)) for key in keys]
        results = await asyncio.gather(*works, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, DomainError):
                raise result  # the slice is done again: those that were changed are not changed twice
        return sum(result is True for result in results)

    def _slice(self, job: Job) -> Slice:
        """The next leads, without those that it has changed already."""
        with self._database.read() as connection:
            found = self._candidates(connection, job)
            done = bulkstore.changed_of(connection, job, found.ids)
        return found._replace(ids=[number for number in found.ids if number not in done])

    def _candidates(self, connection: sa.Connection, job: Job) -> Slice:
        who = job.who
        if who.ids:
            return Slice(who.ids, len(who.ids), None)
        if who.job is not None:
            ids = bulkstore.changed_by(connection, job.account_id, who.job, job.before, IN_A_SLICE)
            return Slice(ids, len(ids), ids[-1] if len(ids) == IN_A_SLICE else None)
        account = self._batches.catalog.accounts[job.account_id]
        tree, search = filters.read(who.filter), filters.search(who.q)
        question = Question(account, tree, search, Order.NEWEST, self._database.name == "postgresql")
        return leadsearch.next_slice(connection, question, job.before, IN_A_SLICE)

    def _advance(self, job: Job, found: Slice, changed: int) -> None:
        with self._database.write() as connection:
            bulkstore.advance(connection, job, found.before, found.looked, changed, self._clock())
