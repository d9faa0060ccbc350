"""Telling other systems: the worker's loop that takes deliveries, calls their endpoints, and stores what came of it.

A delivery is taken with a lease, for longer than its call may last: who dies leaves it to others, and its receiver may get
it twice, under the same id. Each endpoint has places of its own, so that one that is slow or dead slows no other.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import aiohttp

from cartwheel.data import hookstore
from cartwheel.data.db import Database
from cartwheel.data.hookstore import Claim, Settled, Target
from cartwheel.hooks import posting, targets
from cartwheel.hooks.posting import Answer
from cartwheel.process import observe
from cartwheel.sending.carriers import Gathering

log = logging.getLogger(__name__)

PAUSES = (
    *(timedelta(seconds=seconds) for seconds in (2, 10)),
    *(timedelta(minutes=minutes) for minutes in (1, 5, 30)),
    *(timedelta(hours=hours) for hours in (2, 12, 24, 33)),
)
"""After each try that went wrong; after the last one, three days later, the delivery is parked."""

LEASE = timedelta(seconds=60)

PLACES = 20
"""Calls of one endpoint at a time."""

TAKEN_AHEAD = 100
"""Deliveries that are taken for one endpoint at a time: those beyond its places wait for one, not for longer than the lease."""

FEW = TAKEN_AHEAD // 2
"""With no more than so many in hand, more are taken, so that many share a transaction."""

PATIENCE_S = 0.25
"""So long a round waits for a call to come to its end, before it looks again."""

POOR = 5
"""After so many failures in a row an endpoint is called by one at a time, with a growing pause between."""

LONGEST_PAUSE = timedelta(seconds=60)


@dataclass
class _State:
    """How an endpoint does, as far as this process has seen."""

    places: asyncio.Semaphore
    waiting: int = 0
    failed: int = 0
    """Calls that went wrong since the last one that did not."""
    closed_until: datetime | None = None

    def room(self, now: datetime) -> int:
        if self.failed < POOR:
            return TAKEN_AHEAD - self.waiting if self.waiting <= FEW else 0
        return 0 if self.waiting or (self.closed_until is not None and now < self.closed_until) else 1

    def note(self, now: datetime, *, taken: bool) -> None:
        self.failed = 0 if taken else self.failed + 1
        pause = min(LONGEST_PAUSE, timedelta(seconds=2 ** min(self.failed - POOR, 10))) if self.failed >= POOR else None
        self.closed_until = now + pause if pause else None


class Deliverer:
    """One for a process."""

    def __init__(
        self,
        database: Database,
        *,
        allow_private: bool,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._clock = clock
        self._allow_private = allow_private
        self._session: aiohttp.ClientSession | None = None
        self._states: dict[tuple[int, int], _State] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._settling = Gathering(self._store)
        self._giving_back = Gathering(self._give_back)
        self._lines = observe.LineLog("cartwheel.webhooks", "webhook")
        self._taking: asyncio.Task[bool] | None = None
        self._moved = asyncio.Event()
        """Set when something was stored, so that what comes after it may be taken, or when there is room again."""
        self._stopping = False

    async def round(self) -> bool:
        """Take what is due, and begin to call; true if there may be more."""
        self._moved.clear()
        self._taking = asyncio.create_task(self._take())
        if not await asyncio.shield(self._taking):  # what was taken is called, though the round be broken off
            return False
        with suppress(TimeoutError):
            await asyncio.wait_for(self._moved.wait(), PATIENCE_S)
        return True

    async def _take(self) -> bool:
        """Whether anything is due, be it that it has to wait."""
        now = self._clock()
        due = await asyncio.to_thread(self._targets, now)
        wanted = [(target, self._state(target).room(now)) for target in due]
        wanted = [(target, room) for target, room in wanted if room > 0]
        if wanted:
            for target, claim in await asyncio.to_thread(self._claim, wanted, now):
                state = self._state(target)
                state.waiting += 1
                call = asyncio.create_task(self._call(state, target, claim, now + LEASE))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
        return bool(due)

    def _state(self, target: Target) -> _State:
        key = (target.account_id, target.endpoint)
        if key not in self._states:
            self._states[key] = _State(asyncio.Semaphore(PLACES))
        return self._states[key]

    def _targets(self, now: datetime) -> list[Target]:
        with self._database.read() as connection:
            return hookstore.targets(connection, now)

    def _claim(self, wanted: list[tuple[Target, int]], now: datetime) -> list[tuple[Target, Claim]]:
        with self._database.write() as connection:
            return hookstore.claim(connection, wanted, now, LEASE)

    async def _call(self, state: _State, target: Target, claim: Claim, lease_ends: datetime) -> None:
        probing = state.failed >= POOR
        try:
            async with state.places:
                late = self._clock() + timedelta(seconds=posting.TIMEOUT_S) > lease_ends
                if late or self._stopping or (state.failed >= POOR and not probing):
                    self._giving_back.put(claim)
                    return
                answer = await posting.post(self._connections(), target, claim, self._clock)
                state.note(self._clock(), taken=answer.taken)
            self._tell(claim, answer)
            self._settling.put(self._settled(claim, answer))
        finally:
            state.waiting -= 1
            if state.waiting == FEW:
                self._moved.set()

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = targets.session(allow_private=self._allow_private)
        return self._session

    def _settled(self, claim: Claim, answer: Answer) -> Settled:
        again = not answer.taken and claim.attempt <= len(PAUSES)
        next_at = self._clock() + PAUSES[claim.attempt - 1] if again else None
        return Settled(claim, answer.taken, next_at, answer.status, answer.text, answer.trouble, answer.micros)

    def _tell(self, claim: Claim, answer: Answer) -> None:
        account_id, lead_id, number, endpoint = claim.key
        self._lines.write(
            {
                "account": account_id,
                "lead": lead_id,
                "delivery": number,
                "endpoint": endpoint,
                "attempt": claim.attempt,
                "status": answer.status,
                "trouble": answer.trouble,
                "ms": round(answer.micros / 1000, 1),
            }
        )

    async def _store(self, results: Sequence[Settled]) -> None:
        for account_id, endpoint in await asyncio.to_thread(self._settle, results):
            fields = {"account": account_id, "endpoint": endpoint}
            log.warning("an endpoint is dead, and was paused", extra={"fields": fields})
        self._moved.set()

    def _settle(self, results: Sequence[Settled]) -> list[tuple[int, int]]:
        with self._database.write() as connection:
            return hookstore.settle(connection, results, self._clock())

    async def _give_back(self, claims: Sequence[Claim]) -> None:
        def run() -> None:
            with self._database.write() as connection:
                hookstore.give_back(connection, claims, self._clock())

        await asyncio.to_thread(run)

    async def finish(self) -> None:
        """Begin no more calls, let those that were begun come to their end, and store it."""
        self._stopping = True
        if self._taking is not None:
            await asyncio.wait([self._taking])
        while self._calls:
            await asyncio.wait(self._calls)
        await self._settling.finish()
        await self._giving_back.finish()
        if self._session is not None:
            await self._session.close()
