"""Who is calling, and may they: the checks that come before a call is looked at, in the contract's order."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec

from cartwheel import network
from cartwheel.accounts import ApiKey, App
from cartwheel.api import wire
from cartwheel.api.bodies import Tree
from cartwheel.api.credentials import Passwords
from cartwheel.api.wire import Refused, Reply
from cartwheel.config import HttpsRule
from cartwheel.data.catalog import Catalog, key_digest
from cartwheel.data.ratelimits import AppLimits, Pace, Verdict
from cartwheel.errors import CartwheelError, Overloaded
from cartwheel.network import Client
from cartwheel.work.batches import Batches

FREE_FAILURES = 10
FAILURES_A_SECOND = 1.0
LONGEST_WAIT_S = 10.0
"""Wrong credentials from one address: so many at once, then one a second. Whoever would wait longer is told to go."""


class TooMany(Refused):
    """Come again later."""

    def __init__(self, reply: Reply, retry_s: float, limit: int = 0) -> None:
        super().__init__(reply)
        self.retry_s = retry_s
        self.limit = limit


class StaleCatalog(CartwheelError):
    """The call was understood on the grounds of a catalog that has changed: it has to be read again."""


class Caller(msgspec.Struct, frozen=True):
    """Who was let in, on the grounds of which catalog. `allowance` is None for an App without a rate limit."""

    app: App
    key: ApiKey
    client: Client
    version: int
    allowance: Verdict | None

    def recheck(self, catalog: Catalog, now: datetime) -> None:
        """The catalog has changed since: raises `Refused` if this caller would not be let in any more.

        Raises `StaleCatalog` if its App may do other things now.
        """
        app, key = _known(catalog, self.app.app_id, self.key.key_digest, now)
        if key.password_hash != self.key.password_hash:
            raise Refused(wire.PASSWORD_WRONG)
        _may_enter(catalog, app, key, self.client)
        if (app.commands, app.mode) != (self.app.commands, self.app.mode):
            raise StaleCatalog


class Insider(Caller, frozen=True):
    """Somebody on our own pages who tries what an App in test mode would be answered."""

    def recheck(self, catalog: Catalog, now: datetime) -> None:
        del now
        if catalog.apps.get(self.app.app_id) != self.app or not self.app.active:
            raise Refused(wire.APP_ID_UNKNOWN)


class NewestCatalog:
    """Many who need the newest catalog share one look at the database: one that began after each of them had come."""

    def __init__(self, look: Callable[[], Awaitable[Catalog]]) -> None:
        self._look = look
        self._next: asyncio.Task[Catalog] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def get(self) -> Catalog:
        if self._next is None:
            self._next = asyncio.create_task(self._look_in_turn())
        return await asyncio.shield(self._next)  # whoever goes away leaves it to the others

    async def _look_in_turn(self) -> Catalog:
        async with self._one_at_a_time:
            self._next = None  # it begins: for whoever comes from now on it is too old
            return await self._look()


class Gate:
    """One for a process."""

    def __init__(
        self,
        batches: Batches,
        limits: AppLimits,
        https: HttpsRule,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._batches = batches
        self._newest = NewestCatalog(batches.refresh)
        self._limits = limits
        self._https = https
        self._clock = clock
        self._sleep = sleep
        self._passwords = Passwords()
        self._failures = Pace()
        self._admitted: OrderedDict[bytes, tuple[Catalog, App, ApiKey]] = OrderedDict()
        """Whose credentials were found right, on the grounds of which catalog. Everything else is asked each time."""
        self._checking: dict[tuple[str, str], asyncio.Event] = {}

    def close(self) -> None:
        self._passwords.close()

    def check_secure(self, client: Client) -> None:
        """Plain http is for the own machine only; raises `Refused`."""
        exempt = self._https is HttpsRule.NEVER or (self._https is HttpsRule.AUTO and client.is_loopback)
        if not (client.secure or exempt):
            raise Refused(wire.NOT_SECURE)

    async def admit(self, credentials: Tree, client: Client) -> Caller:
        """The caller behind these credentials; raises `Refused`.

        Nobody is refused on the grounds of an old catalog: a refusal is checked against the newest one.
        """
        catalog = self._batches.catalog
        try:
            return await self._admit(catalog, credentials, client)
        except TooMany:
            raise
        except Refused as refusal:
            if refusal.reply in _NOTHING_GIVEN:
                raise
            newest = await self._newest.get()
            if newest.version == catalog.version:
                if refusal.reply in _GUESSES:
                    await self._wait_for_turn(client)
                raise
        return await self._admit(newest, credentials, client)

    async def _admit(self, catalog: Catalog, credentials: Tree, client: Client) -> Caller:
        app_id = _text(credentials.get("app_id"))
        api_key = _text(credentials.get("api_key"))
        password = _text(credentials.get("api_password"))
        mark = self._passwords.mark(f"{app_id}\0{api_key}\0{password}")
        seen = self._admitted.get(mark)
        if seen is not None and seen[0] is catalog:
            _, app, key = seen
            _check_good(key, self._clock())
        else:
            app, key = _known(catalog, app_id, key_digest(api_key) if api_key else "", self._clock())
            await self._check_password(key, password, client)
            self._admitted[mark] = (catalog, app, key)
            if len(self._admitted) > MOST_REMEMBERED:
                self._admitted.popitem(last=False)
        _may_enter(catalog, app, key, client)
        return Caller(app, key, client, catalog.version, await self._spend(app) if app.rate_limit else None)

    async def _check_password(self, key: ApiKey, password: str, client: Client) -> None:
        """After a start, many come at once with a password that nobody has seen yet: one of them is checked for all."""
        claim = (key.password_hash, password)
        right = self._passwords.known(key, password) if password else False
        while right is None and claim in self._checking:
            await self._checking[claim].wait()
            right = self._passwords.known(key, password)
        if right:
            return
        done = self._checking.setdefault(claim, asyncio.Event())
        try:
            await self._wait_for_turn(client)
            if right is None and await self._passwords.check(key, password):
                self._failures.give_back(client.prefix, rate=FAILURES_A_SECOND)
                return
        except Overloaded:
            self._failures.give_back(client.prefix, rate=FAILURES_A_SECOND)  # nothing was tried
            raise
        finally:
            self._checking.pop(claim, None)
            done.set()
        raise Refused(wire.PASSWORD_WRONG)

    async def _wait_for_turn(self, client: Client) -> None:
        """Before bad news, or a hash. Counted by address, so that nobody can lock out somebody elsewhere."""
        turn = self._failures.take(
            client.prefix, self._clock(), rate=FAILURES_A_SECOND, burst=FREE_FAILURES, patience_s=LONGEST_WAIT_S
        )
        if not turn.allowed:
            raise TooMany(wire.TOO_MANY_REQUESTS, turn.wait_s)
        if turn.wait_s:
            await self._sleep(turn.wait_s)

    async def _spend(self, app: App) -> Verdict:
        verdict = await self._limits.take(app, self._clock())
        if not verdict.allowed:
            raise TooMany(wire.TOO_MANY_REQUESTS, verdict.wait_s, app.rate_limit)
        return verdict


MOST_REMEMBERED = 10_000


def _text(sent: object) -> str:
    return (wire.text(sent) or "").strip()


_NOTHING_GIVEN = {wire.APP_ID_EMPTY, wire.API_KEY_EMPTY}
"""What no catalog can change."""

_GUESSES = {wire.APP_ID_UNKNOWN, wire.API_KEY_UNKNOWN}


def _known(catalog: Catalog, app_id: str, digest: str, now: datetime) -> tuple[App, ApiKey]:
    """The App and the key, `digest` being empty without one; raises `Refused`."""
    if not app_id:
        raise Refused(wire.APP_ID_EMPTY)
    app = catalog.apps.get(app_id)
    if app is None or not app.active:
        raise Refused(wire.APP_ID_UNKNOWN)
    if not catalog.accounts[app.account_id].active:
        raise Refused(wire.APP_ACCOUNT_INACTIVE)
    if not digest:
        raise Refused(wire.API_KEY_EMPTY)
    key = catalog.keys.get(digest)
    if key is None:
        raise Refused(wire.API_KEY_UNKNOWN)
    _check_good(key, now)
    return app, key


def _check_good(key: ApiKey, now: datetime) -> None:
    """A key that has expired is none."""
    if not key.good(now):
        raise Refused(wire.API_KEY_UNKNOWN)


def _may_enter(catalog: Catalog, app: App, key: ApiKey, client: Client) -> None:
    if not catalog.accounts[key.account_id].active:
        raise Refused(wire.ACCOUNT_INACTIVE)
    if not network.allowed(client.address, app.networks):
        raise Refused(wire.IP_NOT_ALLOWED)
