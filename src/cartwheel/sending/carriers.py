"""Mails in hand: as many are carried at a time as a server has connections, and what became of them is stored together.

A task, a transaction and a wait for each mail would cost as much as the mail.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Carriers(Generic[T]):
    """Take what is put here, `most` at a time; `rest` is called when nothing more waits for one of them."""

    def __init__(self, carry: Callable[[T], Awaitable[None]], most: int, rest: Callable[[], None]) -> None:
        self._carry = carry
        self._most = most
        self._rest = rest
        self._waiting: deque[T] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_work = 0
        """Those who will look at what waits before they go: a task that has ended is among `_tasks` for a moment more."""

    def put(self, item: T) -> None:
        self._waiting.append(item)
        if self._at_work < self._most:
            self._start()

    @property
    def at_work(self) -> bool:
        return bool(self._at_work)

    def disband(self) -> None:
        """Let nothing wait for its turn."""
        for _ in range(len(self._waiting)):
            self._start()

    async def finish(self) -> None:
        """Wait until nothing is left."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self) -> None:
        task = asyncio.create_task(self._run())
        self._at_work += 1
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._carry_one(self._waiting.popleft())
        finally:
            self._at_work -= 1
            self._rest()

    async def _carry_one(self, item: T) -> None:
        try:
            await self._carry(item)
        except Exception:  # whatever it is, the others have to be carried, too
            log.exception("a mail was dropped")


class Gathering(Generic[T]):
    """What is put here is stored in groups: when there is enough of it, after a moment, or when no more is to come."""

    ENOUGH = 64
    WITHIN_S = 0.02

    def __init__(self, store: Callable[[Sequence[T]], Awaitable[None]]) -> None:
        self._store = store
        self._waiting: list[T] = []
        self._timer: asyncio.TimerHandle | None = None
        self._storing: asyncio.Task[None] | None = None

    def put(self, item: T) -> None:
        self._waiting.append(item)
        if len(self._waiting) >= self.ENOUGH:
            self.hurry()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.WITHIN_S, self.hurry)

    def hurry(self) -> None:
        """Store what there is, unless a group is being stored; then do it after that."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._storing is None and self._waiting:
            group, self._waiting = self._waiting, []
            self._storing = asyncio.create_task(self._run(group))

    async def finish(self) -> None:
        """Store all of it."""
        self.hurry()
        while self._storing is not None:
            await asyncio.wait([self._storing])
            self.hurry()

    async def _run(self, group: Sequence[T]) -> None:
        try:
            await self._store(group)
        except Exception:  # the next group is to be stored all the same
            log.exception("what became of %s mails could not be stored", len(group))
        self._storing = None
        if len(self._waiting) >= self.ENOUGH or self._timer is None:
            self.hurry()
