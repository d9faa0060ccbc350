"""What happens without a call: points that expire, clicks that turn out to be a person's, and what is kept no longer;
and beside it, because it may take longer, the counting of leads and the wiping of what was deleted.

The loop runs in every server and worker process and needs no leader: it only finds leads for which something is due, and
submits them as work like any other. The lead decides under its lock, so that a grant is taken back once, whoever finds it.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from cartwheel.data import (
    bulkstore,
    callstore,
    flowstore,
    hookstore,
    importstore,
    mailbox,
    membercounts,
    retention,
    schema,
    userstore,
)
from cartwheel.data.bygones import Wiping
from cartwheel.data.db import Database
from cartwheel.data.leadstore import LeadKey, leads_with_points_due
from cartwheel.data.mailstore import leads_with_clicks_due
from cartwheel.data.retention import Wearing
from cartwheel.errors import LeadNotFound
from cartwheel.process.loops import Loop
from cartwheel.times import to_micros
from cartwheel.work.batches import MOST_IN_BATCH, Batches, Work
from cartwheel.work.bulkwork import BulkRunner
from cartwheel.work.leadwork import ClicksWork, EraseWork, ExpiryWork

ROUND_S = 1.0
"""Time between two looks at what is due."""

MOST_IN_ROUND = 500

MOST_FORGOTTEN = 1000
"""Answers kept for repeated calls that are deleted in one transaction."""

IDEMPOTENCY_KEPT = timedelta(hours=24)
"""How long a call can be repeated under its Idempotency-Key."""


RETENTION = "retention"
"""Who erases a lead that was deleted long ago, in its events."""

LOOK_AT_FLOWS = timedelta(days=1)
"""Time between two looks for versions of sequences that nobody uses."""


class Housekeeping:
    """The loop of one process."""

    def __init__(self, database: Database, batches: Batches, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._batches = batches
        self._clock = clock
        self._flows_at = clock()
        self._bulk = BulkRunner(database, batches, clock=clock)
        self._loop = Loop("housekeeping", self.round, ROUND_S)
        self._wiping = Wiping(database)
        self._wearing = Wearing(database)
        self._slow_loop = Loop("tidying", self.tidy, ROUND_S)

    def start(self) -> None:
        self._loop.start()
        self._slow_loop.start()

    async def stop(self) -> None:
        await self._loop.stop()
        await self._slow_loop.stop()

    async def tidy(self) -> bool:
        """Count what somebody wants to see, and wipe a slice of what was deleted, or is kept no longer; true if there may be more."""
        now = self._clock()
        counted = await asyncio.to_thread(membercounts.count_wanted, self._database, now)
        wiped = await asyncio.to_thread(self._wiping.round, now)
        worn = await asyncio.to_thread(self._wearing.round, now)
        forgotten = await asyncio.to_thread(importstore.forget, self._database, now)
        forgotten += await asyncio.to_thread(bulkstore.forget, self._database, now)
        return await self._erase(now) or worn or wiped or counted or bool(forgotten)

    async def _erase(self, now: datetime) -> bool:
        """Some leads that were deleted for longer than their account keeps them; true if there may be more."""
        due = await asyncio.to_thread(self._to_erase, now)
        works = [self._batches.submit(EraseWork(key, RETENTION)) for key in due]
        results = await asyncio.gather(*works, return_exceptions=True)
        failures = [each for each in results if isinstance(each, BaseException) and not isinstance(each, LeadNotFound)]
        done = [key for key, result in zip(due, results, strict=True) if result is None]
        if done:
            await asyncio.to_thread(self._note_erasures, done, now)
        if failures:
            raise failures[0]
        return len(due) == retention.MOST_ERASED

    def _note_erasures(self, keys: Sequence[LeadKey], now: datetime) -> None:
        with self._database.write() as connection:
            for account_id, lead_id in keys:
                userstore.audit_erasure(connection, account_id, now, RETENTION, lead_id)

    def _to_erase(self, now: datetime) -> list[LeadKey]:
        with self._database.read() as connection:
            return retention.leads_to_erase(connection, now)

    async def round(self) -> bool:
        """Do what is due now; true if there may be more. Raises the first of what went wrong, after the rest is done."""
        now = self._clock()
        due = await asyncio.to_thread(self._due, now)
        failures: list[BaseException] = []
        for start in range(0, len(due), MOST_IN_BATCH):  # no more at once, so that calls find room in the queue
            works = [self._batches.submit(work) for work in due[start : start + MOST_IN_BATCH]]
            results = await asyncio.gather(*works, return_exceptions=True)
            failures += [result for result in results if isinstance(result, BaseException)]
        forgotten = await asyncio.to_thread(self._forget, now)
        old_calls = await asyncio.to_thread(self._forget_calls, now)
        thrown_away = await asyncio.to_thread(mailbox.forget, self._database, now)
        told = await asyncio.to_thread(hookstore.forget, self._database, now)
        if now >= self._flows_at:
            self._flows_at = now + LOOK_AT_FLOWS
            await asyncio.to_thread(flowstore.forget, self._database, now)
        if failures:
            raise failures[0]
        bulk = await self._bulk.round()
        if told >= hookstore.MOST_FORGOTTEN or thrown_away == mailbox.MOST_FORGOTTEN:
            return True
        return bulk or bool(due) or MOST_FORGOTTEN in {forgotten, old_calls}

    def _due(self, now: datetime) -> list[Work[None]]:
        with self._database.read() as connection:
            expiring = leads_with_points_due(connection, now, MOST_IN_ROUND)
            clicking = leads_with_clicks_due(connection, now, MOST_IN_ROUND)
        return [*map(ExpiryWork, expiring), *map(ClicksWork, clicking)]

    def _forget_calls(self, now: datetime) -> int:
        """Away with what the inspector has kept for long enough."""
        with self._database.read() as connection:
            if not callstore.has_old(connection, now):
                return 0
        with self._database.write() as connection:
            return callstore.forget(connection, now)

    def _forget(self, now: datetime) -> int:
        """Away with old answers, so few at a time that no call has to wait long for them; returns how many."""
        table = schema.idempotent_calls
        old = sa.select(*table.primary_key).where(table.c.at < to_micros(now - IDEMPOTENCY_KEPT)).limit(MOST_FORGOTTEN)
        with self._database.read() as connection:
            if connection.execute(old.limit(1)).first() is None:
                return 0
        with self._database.write() as connection:
            free = old.with_for_update(skip_locked=True)  # another process may be at it
            return connection.execute(sa.delete(table).where(sa.tuple_(*table.primary_key).in_(free))).rowcount
