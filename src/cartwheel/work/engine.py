"""Taking leads along their sequences: finds the runs that are due, and decides about each under its lead's lock.

Finding and deciding are one transaction, so nobody has to be told who works on what: a lead that another process has
locked is passed by, and whatever a process that dies has not committed is due as before.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.data.catalog import Catalog
from cartwheel.data.db import Database
from cartwheel.data.due import DueLeads
from cartwheel.data.flowstore import FlowKey, Flows
from cartwheel.data.lanes import Lane
from cartwheel.data.leadstore import LeadKey
from cartwheel.errors import Overloaded, Unavailable
from cartwheel.leads import events
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part
from cartwheel.sequences import flows
from cartwheel.sequences.flows import Flow
from cartwheel.times import to_micros
from cartwheel.work.batches import Batches, Desk
from cartwheel.work.changes import OnChange
from cartwheel.work.leadwork import OneLead

log = logging.getLogger(__name__)

MOST_AT_ONCE = 200
"""Runs in one transaction: the lock of SQLite's one writer is held no longer than for some 50 ms."""

DUE_RUNS = DueLeads(schema.enrolments, ("account_id", "lead_id", "sequence_id", "version"), "due_at", most=MOST_AT_ONCE)


class StepWork(OneLead):
    """Take one run as far as it goes."""

    def __init__(self, key: LeadKey, flow_key: FlowKey, flow: Flow | None) -> None:
        _, self.sequence_id, self._version = flow_key
        super().__init__(key, flow.parts if flow else Part.SEQUENCES, events.by_sequence(self.sequence_id))
        self._flow = flow

    def decide(self, desk: Desk) -> bool:
        """Whether the run was due."""
        lead = self.remains(desk)
        run = lead.runs.get(self.sequence_id)
        if run is None or run.due_at is None or run.due_at > desk.now or run.version != self._version:
            return False  # somebody was here since it was found
        if lead.has(Part.POINTS):
            lead.expire(desk.now)  # no step decides on points whose time is over
        if lead.deleted_at is not None:
            lead.unenrol(self.sequence_id, desk.now)
        elif self._flow is None:
            lead.park(run, f"version {self._version} of the sequence is gone or cannot be read: see the log")
        else:
            flows.advance(lead, self.sequence_id, self._flow, desk.account(lead.account_id), desk.now)
        return True


class ParkWork(OneLead):
    """Set a run aside that the program failed on."""

    def __init__(self, key: LeadKey, sequence_id: int, reason: str) -> None:
        super().__init__(key, Part.SEQUENCES, events.by_sequence(sequence_id))
        self._sequence_id = sequence_id
        self._reason = reason

    def decide(self, desk: Desk) -> None:
        lead: Lead = self.remains(desk)
        run = lead.runs.get(self._sequence_id)
        if run is not None and run.runs:
            lead.park(run, self._reason)


class Engine:
    """One for a process."""

    def __init__(self, batches: Batches, flows: Flows, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._batches = batches
        self._flows = flows
        self._database = database
        self._clock = clock
        self._changes = OnChange(self._release, batches, clock)
        self.taken = 0
        """How many runs this process has looked at."""

    async def round(self) -> bool:
        """Take the runs that are due along, as many as go into a transaction; true if there may be more.

        Those that could not be stored because the database was away stay due.
        """
        done = await self._batches.sweep(self._find)
        for work, result in done:
            if isinstance(result, Exception) and not isinstance(result, Unavailable | Overloaded):
                assert isinstance(work, StepWork)
                log.error("a run could not be taken along", exc_info=result)
                await self._batches.submit(
                    ParkWork(work.key, work.sequence_id, f"Cartwheel failed: {type(result).__name__}")
                )
        self.taken += len(done)
        return len(done) == MOST_AT_ONCE

    async def _find(self, lane: Lane, now: datetime) -> Sequence[StepWork]:
        rows = await lane.fetch(DUE_RUNS, [(to_micros(now),)])
        await self._flows.learn({(row[0], row[2], row[3]) for row in rows})
        works = []
        for account_id, lead_id, sequence_id, version in rows:
            key = (account_id, sequence_id, version)
            works.append(StepWork((account_id, lead_id), key, self._flows.get(key)))
        return works

    async def release(self) -> bool:
        """Wake those whom a pause held, where the sequence goes on again."""
        await self._changes.look()
        return False

    def _release(self, known: Catalog) -> None:
        table = schema.enrolments
        place = (table.c.account_id, table.c.sequence_id)
        held = (schema.RUNS_HELD, table.c.due_at.is_(None))
        with self._database.read() as connection:
            found = connection.execute(sa.select(*place).where(*held).distinct()).all()
        for account_id, sequence_id in found:
            account = known.accounts[account_id]
            if sequence_id in account.sequence_by_id and not account.holds(sequence_id):
                here = (table.c.account_id == account_id) & (table.c.sequence_id == sequence_id)
                with self._database.write() as connection:
                    connection.execute(sa.update(table).where(here, *held).values(due_at=to_micros(self._clock())))
