"""One call of /v1 while it is run: who calls, and the ways in which an operation changes something.

Each way stores its answer with the change under the `Idempotency-Key`, and in a dry run decides without keeping anything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, TypeVar

import msgspec
import sqlalchemy as sa

from cartwheel.accounts import Account, Token
from cartwheel.data import callanswers, catalog, catalogchanges
from cartwheel.data.catalog import Catalog
from cartwheel.data.db import Database
from cartwheel.data.leadstore import Wanted
from cartwheel.errors import CartwheelError
from cartwheel.people import Right
from cartwheel.rest.problems import KEY_REUSED, NO_TOKEN, NOT_THERE, SCOPE_MISSING, Refusal
from cartwheel.rest.records import Told
from cartwheel.work.batches import Batches, Desk, IdempotencyKey, Work

T = TypeVar("T", bound=Told)
R = TypeVar("R")


class Replayed(CartwheelError):
    """The call came before under its `Idempotency-Key`; this is what it was answered."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__()
        self.status = status
        self.body = body


class Decided(CartwheelError, Generic[T]):
    """A dry run is over: what was decided is not kept."""

    def __init__(self, record: T) -> None:
        super().__init__()
        self.record = record


def encoded(answer: object) -> bytes:
    """As JSON; phrases that could be translated are the texts that they are."""
    return msgspec.json.encode(answer, enc_hook=_plain)


def _plain(value: object) -> str:
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError


class Kept(msgspec.Struct):
    """An answer as it is stored."""

    status: int
    body: msgspec.Raw


@dataclass
class Call:
    """`catalog` is the newest; `status` is the one of success."""

    account: Account
    token: Token
    catalog: Catalog
    now: datetime
    status: int
    database: Database
    batches: Batches
    request_id: str = ""
    dry_run: bool = False
    key: IdempotencyKey | None = None

    def need(self, scope: Right, what: str) -> None:
        """Raises `Refusal`."""
        if scope not in self.token.scopes:
            raise Refusal(SCOPE_MISSING, f"{what} needs the scope {scope}, which the token does not have.")

    def part(self, number: int) -> "Call":
        """One of several things that the call does, each with a key of its own."""
        key = self.key and self.key._replace(key=f"{self.key.key}#{number}")
        return replace(self, key=key)

    def look_back(self) -> None:
        """Raises `Replayed`, or `Refusal`, if the call came before. Each change looks again, in its transaction."""
        if self.key is not None and not self.dry_run:
            with self.database.read() as connection:
                self._replay(connection)

    # -- changing the account --

    def change(self, do: Callable[[sa.Connection, Account], T]) -> T:
        """In a transaction that changes what the account has; `do` gets the account as it is then."""
        with catalogchanges.changing(self.database, self.account.id, keep=not self.dry_run) as connection:
            self._replay(connection)
            done = do(connection, catalog.of(connection, self.account.id).accounts[self.account.id])
            self._keep(connection, done)
        return done

    def write(self, do: Callable[[sa.Connection], T]) -> T:
        """In a transaction beside the catalog and the leads."""
        with catalogchanges.trying(self.database, keep=not self.dry_run) as connection:
            catalog.lock_account(connection, self.account.id)
            self._replay(connection)
            done = do(connection)
            self._keep(connection, done)
        return done

    def _replay(self, connection: sa.Connection) -> None:
        if self.key is not None and not self.dry_run:
            self._answer(callanswers.find(connection, *self.key[:3]))

    def _keep(self, connection: sa.Connection, done: T) -> None:
        if self.key is not None and not self.dry_run:
            callanswers.put(connection, *self.key, self._kept(done), self.now)

    def _kept(self, done: T) -> str:
        return msgspec.json.encode(Kept(self.status, msgspec.Raw(encoded(done)))).decode()

    def _answer(self, stored: tuple[str, str] | None) -> None:
        """Raises `Replayed`, or `Refusal`, if the call came before."""
        if stored is None or self.key is None:
            return
        digest, answer = stored
        if digest != self.key.body_digest:
            raise Refusal(KEY_REUSED)
        if not answer:
            raise Refusal(NOT_THERE, "The lead that the answer told of was erased since.")
        kept = msgspec.json.decode(answer, type=Kept)
        raise Replayed(kept.status, bytes(kept.body))

    # -- changing leads --

    async def submit(self, work: Work[R], tell: Callable[[R], T], about: Callable[[R], int | None]) -> T:
        """Through the batches; `tell` words the answer, `about` says which lead's data it tells."""
        try:
            return await self.batches.submit(CallWork(self, work, tell, about))
        except Decided as decided:
            record: T = decided.record
            return record


class CallWork(Generic[R, T]):
    """A piece of work together with its answer."""

    def __init__(self, call: Call, work: Work[R], tell: Callable[[R], T], about: Callable[[R], int | None]) -> None:
        self._call = call
        self._work = work
        self._tell = tell
        self._about = about
        self.wanted: Sequence[Wanted] = work.wanted
        self.origin = work.origin
        self.may_make_lead = work.may_make_lead
        self.idempotency = None if call.dry_run else call.key

    def decide(self, desk: Desk) -> T:
        call = self._call
        recheck(desk.catalog, call.token, desk.now)
        if self.idempotency is not None:
            call._answer(desk.stored_answer(self.idempotency))  # noqa: SLF001 - the call's other half
        done = self._work.decide(desk)
        record = self._tell(done)
        if call.dry_run:
            raise Decided(record)
        if self.idempotency is not None:
            desk.store_answer(self.idempotency, call._kept(record), self._about(done))  # noqa: SLF001 - as above
        return record


def recheck(known: Catalog, token: Token, now: datetime) -> None:
    """Raises `Refusal` if the token is not good any more."""
    newest = known.tokens.get(token.digest)
    if newest is None or not newest.good(now) or not known.accounts[token.account_id].active:
        raise Refusal(NO_TOKEN, "The token was revoked, or is over.", headers=CHALLENGE)


CHALLENGE = {"WWW-Authenticate": 'Bearer realm="cartwheel"'}
