"""Imports go on slice by slice, in whichever process takes them, and go on where they were when one dies."""

import asyncio
import hashlib
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from cartwheel.accounts import Account
from cartwheel.data import catalogchanges, importstore
from cartwheel.data.db import Database
from cartwheel.data.importstore import Import, State
from cartwheel.data.lanes import Lane
from cartwheel.errors import AccountFull, CartwheelError
from cartwheel.imports import slicework
from cartwheel.imports.deciding import Decider, Plan, Refused
from cartwheel.imports.slicework import Elsewhere, Row, Slice
from cartwheel.imports.undoing import Undoing
from cartwheel.times import to_micros
from cartwheel.work.batches import Batches, Work

log = logging.getLogger(__name__)

ROUND_S = 1.0
"""So long a process goes on with one import before it looks whether another is due."""

SHOWN = 10
"""Samples of each kind that a dry run shows."""

MOST_NAMES_SHOWN = 200


class Report(msgspec.Struct, omit_defaults=True):
    """What a dry run has found: how many rows would do what, some of each, and what would have to be made."""

    counts: dict[str, int] = {}
    samples: dict[str, list[tuple[int, str, str]]] = {}
    """(line, address, reason)"""
    reasons: dict[str, int] = {}
    tags: list[str] = []
    lists: list[str] = []
    fields: list[str] = []


class _Check:
    """A dry run under way. Which addresses have been seen is kept in a file of its own, however many they are."""

    def __init__(self) -> None:
        self.report = Report()
        self._seen = sqlite3.connect("")
        self._seen.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")

    def is_new(self, email: str) -> bool:
        digest = hashlib.blake2b(email.encode(), digest_size=16).digest()
        return self._seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1

    def count(self, rows: list[Row]) -> None:
        counts = Counter(self.report.counts)
        for row in rows:
            counts[row.outcome] += 1
            some = self.report.samples.setdefault(row.outcome, [])
            if len(some) < SHOWN:
                some.append((row.line, row.wish.email if row.wish else "", row.reason))
            if row.outcome == "refused" and (row.reason in self.report.reasons or len(self.report.reasons) < SHOWN):
                self.report.reasons[row.reason] = self.report.reasons.get(row.reason, 0) + 1
        self.report.counts = dict(counts)

    def close(self) -> None:
        self._seen.close()


class ImportRunner:
    """Does the imports of all accounts. Any number of processes may."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime], plain_path: bool = False) -> None:
        self._database = database
        self._clock = clock
        self._plain_path = plain_path
        self._batches = Batches(database, clock=clock, most_waiting=1)
        self._undoing = Undoing(database, self._batches, clock)
        self._decider: tuple[str, Account, Decider] | None = None
        self._ahead: asyncio.Task[Slice] | None = None
        self._checks: dict[tuple[int, int], _Check] = {}

    async def close(self) -> None:
        await self._batches.stop()

    async def round(self) -> bool:
        """Go on with an import that is due, if there is one."""
        found = await asyncio.to_thread(importstore.take, self._database, self._clock())
        if found is None:
            return False
        await self.go_on(found)
        await asyncio.to_thread(self._put_down, found)
        return True

    async def go_on(self, found: Import, for_s: float = ROUND_S) -> None:
        """Slice after slice, until it is done, or another does it, or the time is over."""
        end = time.monotonic() + for_s
        again: Import | None = found
        try:
            while again is not None and await self._step(again) and time.monotonic() < end:
                again = replace(again, done=again.done + 1) if again.state is State.RUNNING else await self._get(again)
        except Elsewhere:
            log.info("another process does the import")
        except (AccountFull, Refused) as full:  # what it makes is more than an account may have
            await asyncio.to_thread(self._end, found, State.STOPPED, told=str(full))
        finally:
            await self._forget_ahead()

    async def _step(self, found: Import) -> bool:
        """Do a slice; false if that was the last. Raises `Elsewhere`."""
        if found.state is State.CHECKING:
            return await self._check(found)
        if found.state is State.RUNNING:
            return await self._run(found)
        return found.state is State.UNDOING and await self._undoing.step(found)

    async def _get(self, found: Import) -> Import | None:
        def get() -> Import | None:
            with self._database.read() as connection:
                return importstore.get(connection, found.account_id, found.id)

        return await asyncio.to_thread(get)

    def _put_down(self, found: Import) -> None:
        with self._database.write() as connection:
            importstore.change(
                connection, found.account_id, found.id, only=importstore.AT_WORK, next_at=to_micros(self._clock())
            )

    def _end(self, found: Import, state: State, **values: Any) -> None:
        at = to_micros(self._clock())
        values |= {"state": state.value, "next_at": None} | (
            {} if state is State.DRAFT else {"ended_at": at, "samples": "[]", "report": ""}
        )
        with self._database.write() as connection:
            importstore.change(connection, found.account_id, found.id, only=importstore.AT_WORK, **values)

    # -- a slice --

    async def _run(self, found: Import) -> bool:
        if found.done >= found.slices:
            await asyncio.to_thread(self._end, found, State.FINISHED)
            return False
        slice_ = await (self._ahead or asyncio.create_task(self._slice(found, found.done)))
        # While the one is written and waits for the disk, what the next one says is worked out.
        self._ahead = None if slice_.last else asyncio.create_task(self._slice(found, found.done + 1))
        works: list[Work[Any]] = []

        async def find(lane: Lane, now: datetime) -> list[Work[Any]]:
            return await slicework.find_work(lane, now, slice_)

        results = await self._batches.together(find, works)
        for result in results:
            if isinstance(result, Exception):
                log.error("a row could not be imported", exc_info=result)
        if slice_.last:
            await asyncio.to_thread(self._end, found, State.FINISHED)
        return not slice_.last

    async def _forget_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.wait([self._ahead])
            self._ahead = None

    async def _slice(self, found: Import, at: int, *, make: bool = True) -> Slice:
        """With what its rows say; what they name and there is not is made first."""
        lines = importstore.unpack(await asyncio.to_thread(self._packed, found, at))
        known = self._batches.catalog  # as new as the last slice, whose transaction has seen to it
        if found.account_id not in known.accounts:
            known = await self._batches.refresh()
        account = known.accounts[found.account_id]
        decider = self._decider_of(found, account)
        rows = slicework.read_rows(lines, decider)
        if make and decider.to_make:
            await asyncio.to_thread(self._make, found, list(decider.to_make))
            account = (await self._batches.refresh()).accounts[found.account_id]
            rows = slicework.read_rows(lines, self._decider_of(found, account))
        return Slice(found, at, account, rows, self._plain_path)

    def _packed(self, found: Import, at: int) -> bytes:
        with self._database.read() as connection:
            return importstore.packed_slice(connection, found.account_id, found.id, at)

    def _decider_of(self, found: Import, account: Account) -> Decider:
        if self._decider is None or self._decider[0] != found.plan or self._decider[1] is not account:
            self._decider = (found.plan, account, Decider(msgspec.json.decode(found.plan, type=Plan), account))
        return self._decider[2]

    def _make(self, found: Import, names: list[tuple[str, str]]) -> None:
        with catalogchanges.changing(self._database, found.account_id) as connection:
            for kind, name in names:
                importstore.make_named(connection, found, kind, name, self._clock())

    # -- a dry run --

    async def _check(self, found: Import) -> bool:
        key = (found.account_id, found.id)
        check = self._checks.get(key)
        if check is None or found.done == 0:
            check = self._checks[key] = _Check()
            found = await asyncio.to_thread(self._begin_again, found)
        slice_ = await self._slice(found, found.done, make=False)
        for row in slice_.rows:
            if row.wish is not None and not check.is_new(row.wish.email):
                row.wish, row.outcome = None, "repeated"
        works: list[Work[Any]] = []

        async def find(lane: Lane, _now: datetime) -> list[Work[Any]]:
            new, known = await slicework.known_rows(lane, slice_, dry=True)
            for row in new:
                row.outcome = "made"
            return known

        await self._batches.together(find, works)
        check.count(slice_.rows)
        if not slice_.last:
            await asyncio.to_thread(self._note, found)
            return True
        assert self._decider is not None
        for kind, name in list(self._decider[2].to_make)[:MOST_NAMES_SHOWN]:
            getattr(check.report, kind).append(name)
        self._checks.pop(key).close()
        report = msgspec.json.encode(check.report).decode()
        await asyncio.to_thread(self._end, found, State.DRAFT, report=report, done=0)
        return False

    def _begin_again(self, found: Import) -> Import:
        with self._database.write() as connection:
            importstore.change(connection, found.account_id, found.id, only=[State.CHECKING], done=0, report="")
            again = importstore.get(connection, found.account_id, found.id)
        if again is None or again.state is not State.CHECKING:
            raise Elsewhere
        return again

    def _note(self, found: Import) -> None:
        with self._database.write() as connection:
            importstore.change(connection, found.account_id, found.id, only=[State.CHECKING], done=found.done + 1)


def plan_of(found: Import) -> Plan:
    return msgspec.json.decode(found.plan, type=Plan)


def report_of(found: Import) -> Report:
    return msgspec.json.decode(found.report, type=Report)


class BadPlan(CartwheelError):
    """The import cannot be begun so."""


def check_plan(plan: Plan, account: Account) -> None:
    """Raises `BadPlan`, which says what is missing."""
    if "email" not in plan.columns:
        raise BadPlan("no column of the file holds e-mail addresses")
    try:
        Decider(plan, account)
    except Refused as refused:
        raise BadPlan(str(refused)) from None
