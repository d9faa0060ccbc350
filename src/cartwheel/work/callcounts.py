"""How many API calls each account gets a day, and how many of them failed: counted in memory, and stored every few seconds."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from cartwheel.data import dailycounts
from cartwheel.data.dailycounts import CALLS, CALLS_FAILED
from cartwheel.data.db import Database
from cartwheel.data.lanes import LANE_SLOTS
from cartwheel.errors import Unavailable
from cartwheel.process.loops import Loop
from cartwheel.work.batches import Batches

log = logging.getLogger(__name__)

EVERY_S = 5.0


class CallCounts:
    """Those of one process."""

    def __init__(self, database: Database, batches: Batches, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._batches = batches
        self._clock = clock
        self._slot = LANE_SLOTS[database.name]()
        self._counts: Counter[tuple[int, str]] = Counter()
        self._loop = Loop("call counts", self.round, EVERY_S)

    def add(self, account_id: int, *, failed: bool) -> None:
        self._counts[account_id, CALLS] += 1
        if failed:
            self._counts[account_id, CALLS_FAILED] += 1

    def start(self) -> None:
        self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()
        try:
            await self.round()
        except Unavailable as trouble:
            log.warning("the last calls were not counted: %s", trouble)

    async def round(self) -> bool:
        """Store what was counted since the last time; nothing is more to do then."""
        taken, self._counts = self._counts, Counter()
        if taken:
            try:
                await asyncio.to_thread(self._store, taken)
            except BaseException:
                self._counts.update(taken)
                raise
        return False

    def _store(self, taken: Counter[tuple[int, str]]) -> None:
        accounts, now = self._batches.catalog.accounts, self._clock()
        counts = {
            (number, dailycounts.day_of(now, accounts[number].zone if number in accounts else None), what): count
            for (number, what), count in taken.items()
        }
        with self._database.write() as connection:
            dailycounts.add(connection, counts, self._slot)
