"""What has to be done when somebody has changed an account, such as to end a pause."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from cartwheel.data.catalog import Catalog
from cartwheel.work.batches import Batches

SLOWEST_BATCH = timedelta(seconds=30)
"""So long after a change another process may still store what it decided by the accounts as they were before."""


class OnChange:
    """Does it when this process starts, at each change, and once more when nobody goes by what was before."""

    def __init__(self, what: Callable[[Catalog], None], batches: Batches, clock: Callable[[], datetime]) -> None:
        self._what = what
        self._batches = batches
        self._clock = clock
        self._done_at_version = -1
        self._again_at: datetime | None = None

    async def look(self) -> None:
        known = await self._batches.refresh()
        now = self._clock()
        if known.version != self._done_at_version:
            self._again_at = now + SLOWEST_BATCH
        elif self._again_at is None or now < self._again_at:
            return
        else:
            self._again_at = None
        await asyncio.to_thread(self._what, known)
        self._done_at_version = known.version
