"""What people ask for about runs through a sequence, lead by lead in batches: on again, or to another version.

Each lead is a piece of work of its own: whoever is killed in the middle has done it for some leads, and not for the
others. Done again, it is done for those.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Hashable
from datetime import datetime
from typing import TypeVar

from cartwheel.data import runstore
from cartwheel.data.db import Database
from cartwheel.data.leadstore import LeadKey
from cartwheel.leads.leadparts import Part, RunStatus
from cartwheel.sequences.moving import Move, Way
from cartwheel.work.batches import Batches, Desk, Work
from cartwheel.work.leadwork import OneLead

R = TypeVar("R", bound=Hashable)

MOST_AT_ONCE = 512
"""Leads that are looked up together."""


class UnparkWork(OneLead):
    """A parked run tries again where it stands."""

    def __init__(self, key: LeadKey, sequence_id: int, origin: str) -> None:
        super().__init__(key, Part.SEQUENCES, origin)
        self._sequence_id = sequence_id

    def decide(self, desk: Desk) -> bool:
        """Whether it was parked."""
        lead = self.remains(desk)
        run = lead.runs.get(self._sequence_id)
        if run is None or run.status is not RunStatus.PARKED:
            return False
        lead.unpark(run, desk.now)
        return True


class MoveWork(OneLead):
    """Take a run to another version, as far as the rules of moving allow it."""

    def __init__(self, key: LeadKey, sequence_id: int, move: Move, origin: str) -> None:
        super().__init__(key, Part.SEQUENCES | Part.MAILS, origin)
        self._sequence_id = sequence_id
        self._move = move

    def decide(self, desk: Desk) -> Way | None:
        """Where it went, or why it stayed; None if there is nothing to move any more."""
        lead, move = self.remains(desk), self._move
        run = lead.runs.get(self._sequence_id)
        if run is None or run.status not in runstore.IN_IT or run.version not in move.sources:
            return None
        got = {(mail.version, mail.box) for mail in lead.mails.values() if mail.run_key == run.key}
        way = move.way(run.version, run.step, got)
        if way.box is not None:
            lead.move(run, move.to, way.box, desk.now)
        return way


async def work_through(
    database: Database,
    sequence: tuple[int, int],
    statuses: Collection[RunStatus],
    make: Callable[[LeadKey], Work[R]],
    *,
    versions: Collection[int] | None = None,
    clock: Callable[[], datetime],
) -> Counter[R]:
    """Do a piece of work for each lead whose run through the sequence (account, number) stands so; counts the results."""
    batches = Batches(database, clock=clock, most_waiting=MOST_AT_ONCE)
    await batches.start()
    try:
        return await through(batches, database, sequence, statuses, make, versions=versions)
    finally:
        await batches.stop()


async def through(
    batches: Batches,
    database: Database,
    sequence: tuple[int, int],
    statuses: Collection[RunStatus],
    make: Callable[[LeadKey], Work[R]],
    *,
    versions: Collection[int] | None = None,
) -> Counter[R]:
    """The same with batches that are there already."""
    done: Counter[R] = Counter()
    last = 0
    while keys := await asyncio.to_thread(_page, database, sequence, statuses, versions, last):
        done.update(await asyncio.gather(*(batches.submit(make(key)) for key in keys)))
        last = keys[-1][1]
    return done


def _page(
    database: Database,
    sequence: tuple[int, int],
    statuses: Collection[RunStatus],
    versions: Collection[int] | None,
    last: int,
) -> list[LeadKey]:
    with database.read() as connection:
        return runstore.leads_in(connection, *sequence, statuses, versions=versions, after=last, most=MOST_AT_ONCE)
