"""How fast somebody may come: the pace of an App's calls, and of failed credentials from one address.

A pace is kept as one number, the moment until which the caller has spent its share (the generic cell rate algorithm):
`burst` calls may come at once, then one each time another 1/rate second has passed.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Hashable
from datetime import datetime
from typing import NamedTuple, Protocol

import psycopg

from cartwheel.data.db import Database
from cartwheel.data.lanes import LOCK_WAIT_S, PATIENCE
from cartwheel.errors import Unavailable
from cartwheel.times import to_micros

SECOND = 1_000_000


class Verdict(NamedTuple):
    """When allowed, the caller may go on in `wait_s` seconds, and `left` more may come at once; else it is refused."""

    allowed: bool
    left: int
    wait_s: float


class Pace:
    """Paces by key; those that were idle longest are forgotten when there are too many."""

    MOST_KEYS = 10_000

    def __init__(self) -> None:
        self._until: OrderedDict[Hashable, int] = OrderedDict()

    def take(self, key: Hashable, now: datetime, *, rate: float, burst: int, patience_s: float = 0) -> Verdict:
        """Take the next place, if its turn comes within `patience_s`. Who waits in parallel gains nothing."""
        micros = to_micros(now)
        each = int(SECOND / rate)
        most = micros + burst * each + int(patience_s * SECOND)
        spent = self._until.get(key, 0)
        if spent > most:  # the clock was set back since: one place is left, as if no time had passed
            spent = most - each
        until = max(spent, micros) + each
        ahead = until - micros - burst * each
        wait_s = max(0, ahead) / SECOND
        if wait_s > patience_s:
            return Verdict(allowed=False, left=0, wait_s=wait_s)
        self._until[key] = until
        self._until.move_to_end(key)
        if len(self._until) > self.MOST_KEYS:
            self._until.popitem(last=False)
        return Verdict(allowed=True, left=max(0, -ahead) // each, wait_s=wait_s)

    def give_back(self, key: Hashable, *, rate: float) -> None:
        """A place was taken for nothing."""
        if key in self._until:
            self._until[key] -= int(SECOND / rate)


class Paced(Protocol):
    """An App or a token: its `rate_limit` calls a second, as many at once."""

    @property
    def account_id(self) -> int: ...
    @property
    def id(self) -> int: ...
    @property
    def rate_limit(self) -> int: ...


class AppLimits(Protocol):
    """The calls of each App, and of each token."""

    async def take(self, app: Paced, now: datetime) -> Verdict: ...
    async def close(self) -> None: ...


class LocalLimits:
    """For a server that is one process."""

    def __init__(self) -> None:
        self._pace = Pace()

    async def take(self, app: Paced, now: datetime) -> Verdict:
        return self._pace.take((app.account_id, app.id), now, rate=app.rate_limit, burst=app.rate_limit)

    async def close(self) -> None:
        """Nothing to close."""


_NOW = "(excluded.until - %(each)s)"

_SPENT = f"""
CASE WHEN r.until > {_NOW} + %(share)s + %(oldest)s THEN {_NOW} + %(share)s - %(each)s
ELSE greatest(r.until, {_NOW}) END"""
"""As in `Pace`, after the clock was set back one place is left. A statement that waited for the row has an older time than
what it meets there, but by no more than `oldest`."""

_SHARED_TAKE = f"""
WITH clock AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now)
INSERT INTO rate_limits AS r (account_id, app, until)
SELECT %(account)s, %(app)s, clock.now + %(each)s FROM clock
ON CONFLICT (account_id, app) DO UPDATE SET until = {_SPENT} + %(each)s
WHERE {_SPENT} + %(each)s <= {_NOW} + %(share)s
RETURNING (until - (SELECT now FROM clock)) / %(each)s
"""


class SharedLimits:
    """For processes that share the work over PostgreSQL: what one lets through counts in all.

    What is too fast for one process alone never reaches the database, so that a flood cannot load it.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._local = LocalLimits()
        self._turn = asyncio.Lock()
        self._connection: psycopg.AsyncConnection[tuple[int]] | None = None

    async def take(self, app: Paced, now: datetime) -> Verdict:
        local = await self._local.take(app, now)
        if not local.allowed:
            return local
        each = SECOND // app.rate_limit
        parameters = {
            "account": app.account_id,
            "app": app.id,
            "each": each,
            "share": each * app.rate_limit,
            "oldest": int(LOCK_WAIT_S * SECOND),
        }
        try:
            async with asyncio.timeout(LOCK_WAIT_S), self._turn:
                row = await self._take(parameters)
        except (psycopg.Error, TimeoutError) as error:
            raise Unavailable(f"the rate limits cannot be reached: {error}") from error
        if row is None:
            return Verdict(allowed=False, left=0, wait_s=each / SECOND)
        return Verdict(allowed=True, left=max(0, app.rate_limit - math.ceil(row[0])), wait_s=0)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def _take(self, parameters: dict[str, int]) -> tuple[int] | None:
        try:
            cursor = await (await self._connected()).execute(_SHARED_TAKE, parameters)
        except psycopg.OperationalError:  # the server may have been restarted since the last call
            cursor = await (await self._connected()).execute(_SHARED_TAKE, parameters)
        return await cursor.fetchone()

    async def _connected(self) -> psycopg.AsyncConnection[tuple[int]]:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True, **PATIENCE)
        return self._connection


def app_limits(database: Database) -> AppLimits:
    return LocalLimits() if database.name == "sqlite" else SharedLimits(database.url)
