"""The real lanes, watched: how many transactions there are, and something done at a precise moment between them."""

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from cartwheel.data.db import Database
from cartwheel.data.lanes import Lane

Step = Callable[[Lane], None]


class Watch:
    """What the lanes of all servers do. The steps are taken one at a time, each by the next lane that comes there."""

    def __init__(self) -> None:
        self.begun = 0
        self.committed = 0
        self.before_begin: deque[Step] = deque()
        self.before_commit: deque[Step] = deque()
        self.after_fetch: deque[Step] = deque()


class WatchedLane:
    """A lane that tells its watch."""

    def __init__(self, lane: Lane, watch: Watch) -> None:
        self._lane = lane
        self._watch = watch
        self.slot = lane.slot

    async def begin(self) -> None:
        self._watch.begun += 1
        self._take(self._watch.before_begin)
        await self._lane.begin()

    async def commit(self) -> None:
        self._take(self._watch.before_commit)
        await self._lane.commit()
        self._watch.committed += 1

    async def fetch(self, *arguments: Any) -> Any:
        rows = await self._lane.fetch(*arguments)
        self._take(self._watch.after_fetch)
        return rows

    def _take(self, steps: deque[Step]) -> None:
        if steps:
            steps.popleft()(self._lane)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lane, name)


def watch_lanes(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Of every server that starts from now on."""
    watch, plain = Watch(), Database.lane
    monkeypatch.setattr(Database, "lane", lambda database: WatchedLane(plain(database), watch))
    return watch
