"""A thing to do again and again for as long as a process lives."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cartwheel.errors import Conflict, Overloaded, Unavailable
from cartwheel.process import observe

log = logging.getLogger(__name__)


class Loop:
    """Runs rounds: the next at once when one says that there may be more to do, else after a pause."""

    def __init__(self, name: str, round_: Callable[[], Awaitable[bool]], pause_s: float) -> None:
        self._name = name
        self._round = round_
        self._pause_s = pause_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """A round that has begun is broken off; what it has not committed is not done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                more = await self._round()
            except (Unavailable, Overloaded, Conflict) as trouble:
                log.warning("%s waits: %s", self._name, trouble)
                more = False
            except Exception:  # the loop's outermost: tomorrow's work has to be done, too
                log.exception("%s failed", self._name)
                more = False
            observe.settle()  # an idle process shows its last calls, too
            await asyncio.sleep(0 if more else self._pause_s)
