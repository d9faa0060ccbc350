"""The one way in which leads change: waiting work is taken in batches, decided in memory, written and committed at once.

A piece of `Work` names the leads that it is about and decides, purely, what happens to them. Its changes count only
when it has decided without an error, so that it cannot harm its neighbours; if writing a batch fails, the batch is run
again piece by piece. Whoever submitted work gets its result when the commit is durable, and not before.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, tzinfo
from typing import Any, NamedTuple, Protocol, TypeVar

from cartwheel.accounts import Account, CustomField
from cartwheel.data import catalog, schema
from cartwheel.data.catalog import Catalog
from cartwheel.data.db import Database
from cartwheel.data.lanes import LOCK_WAIT_S, Insert, Lane, Row, Select, Write, roll_back
from cartwheel.data.leadstore import RUN_WOKEN, Flush, Loaded, Recorded, RowIds, Wanted, load
from cartwheel.errors import CartwheelError, Conflict, LeadIsDeleted, LeadNotFound, Overloaded, Unavailable
from cartwheel.leads.events import is_quiet
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Parts
from cartwheel.process import observe
from cartwheel.sequences.automations import Notice, Reaction
from cartwheel.times import to_micros
from cartwheel.work import reacting

log = logging.getLogger(__name__)

R_co = TypeVar("R_co", covariant=True)

MOST_IN_BATCH = 64
"""Larger batches gain little and make their calls wait (docs/explanation/speed.md)."""

ID_BLOCK = 1000
"""How many lead ids a process takes at a time; what it has not used when it stops, it gives back if it can."""

TRIES_TOGETHER = 2
"""A batch may be in conflict with itself: then its pieces go one by one."""

TRIES_ALONE = 50
"""For one piece, each conflict means that another process got on; many make custom fields at once, say."""

LANES = {"sqlite": 1, "postgresql": 2}
"""Transactions at a time, by engine: SQLite has one writer; a second lane hides PostgreSQL's commit."""


class IdempotencyKey(NamedTuple):
    """A caller's promise that calls under this key are one call. `body_digest` tells whether they really are."""

    account_id: int
    app_id: str
    key: str
    body_digest: str


class StoredAnswer(NamedTuple):
    """What a call was answered, and whose data that tells."""

    key: IdempotencyKey
    answer: str
    lead_id: int | None


class Entangled(CartwheelError):
    """A neighbour in the batch has just given the address to a lead that is not loaded as this piece needs it."""


class Work(Protocol[R_co]):
    """Something to do with leads."""

    @property
    def wanted(self) -> Sequence[Wanted]: ...

    @property
    def idempotency(self) -> IdempotencyKey | None: ...

    @property
    def origin(self) -> str:
        """Who does it; kept with every event."""
        ...

    @property
    def may_make_lead(self) -> bool: ...

    def decide(self, desk: "Desk") -> R_co:
        """Do it in memory. An exception undoes everything that this piece did, and is the submitter's result."""
        ...


class Desk:
    """What one piece of work has before it: the catalog, the time, and its own copies of the leads."""

    def __init__(self, batch: "_Batch") -> None:
        self._batch = batch
        self._mine: dict[tuple[int, int], Lead] = {}
        self._new_fields: list[tuple[int, CustomField]] = []
        self._answer: StoredAnswer | None = None
        self._rows: dict[tuple[Write, Row], Row] = {}
        self._reactions: dict[tuple[int, int], Reaction] = {}
        self.catalog = batch.catalog
        self.now = batch.now

    def account(self, account_id: int) -> Account:
        return self.catalog.accounts[account_id]

    def find(self, account_id: int, lead_id: int | None, email: str | None, parts: Parts) -> Lead:
        """The lead, by its id or else by its address. Raises `LeadNotFound` or `LeadIsDeleted`."""
        lead = self._look_up(account_id, lead_id, email)
        if lead is None or lead.erased:
            raise LeadNotFound
        if lead.deleted_at is not None:
            raise LeadIsDeleted
        if not lead.has(parts):
            raise Entangled
        return lead

    def taken(self, account_id: int, email: str) -> Lead | None:
        """Whoever has this address, be it a deleted lead."""
        return self._look_up(account_id, None, email)

    def any_lead(self, account_id: int, lead_id: int) -> Lead | None:
        """The lead with this id, be it deleted or erased."""
        return self._look_up(account_id, lead_id, None)

    def new_lead_id(self) -> int:
        return self._batch.lead_ids.popleft()

    def add(self, lead: Lead) -> None:
        """A lead that did not exist is part of the account from now on."""
        self._mine[lead.account_id, lead.id] = lead

    def add_custom_field(self, account: Account, field: CustomField) -> None:
        """`account` is the account with the field in it."""
        self.catalog = self.catalog.with_account(account)
        self._new_fields.append((account.id, field))

    def stored_answer(self, key: IdempotencyKey) -> tuple[str, str] | None:
        """(body digest, answer) of the call that came under this key before."""
        return self._batch.answers.get(key[:3])

    def store_answer(self, key: IdempotencyKey, answer: str, lead_id: int | None) -> None:
        """`lead_id` is the lead whose data the answer tells."""
        self._answer = StoredAnswer(key, answer, lead_id)

    def put(self, statement: Write, row: Row) -> None:
        """Something beside the leads is stored with them. Of the rows with one key the batch writes the last."""
        self._rows[statement, row[: len(statement.table.primary_key)]] = row

    def react(self, origin: str) -> None:
        """Run the automations that the piece's events start, as a part of it."""
        self._reactions = reacting.react(self._mine, self.catalog, self.now, origin)

    def keep(self, origin: str) -> None:
        """The piece has succeeded: make its changes the batch's."""
        batch = self._batch
        for key, lead in self._mine.items():
            before = batch.loaded.leads.get(key)
            if before is not None and before.email != lead.email:
                batch.loaded.ids.pop((key[0], before.email), None)
            batch.loaded.leads[key] = lead
            batch.loaded.ids[key[0], lead.email] = key[1]
            if lead.dirty:
                batch.changed[key] = lead
            account = self.catalog.accounts[key[0]]
            reaction = self._reactions.get(key)
            batch.events += reacting.recorded(lead, account, origin, reaction)
            if reaction is not None:
                batch.notices += [(lead, notice) for notice in reaction.notices]
            if account.hears and not is_quiet(origin):
                batch.woken |= reacting.woken_runs(lead, account)
        batch.catalog = self.catalog
        batch.rows |= self._rows
        batch.new_fields += self._new_fields
        if self._answer is not None:
            batch.answers[self._answer.key[:3]] = (self._answer.key.body_digest, self._answer.answer)
            batch.new_answers.append(self._answer)

    def _look_up(self, account_id: int, lead_id: int | None, email: str | None) -> Lead | None:
        if lead_id is None:
            return self._by_email(account_id, email or "")
        mine = self._mine.get((account_id, lead_id))
        if mine is None and (original := self._batch.loaded.leads.get((account_id, lead_id))) is not None:
            mine = self._mine[account_id, lead_id] = original.fork()
        return mine

    def _by_email(self, account_id: int, email: str) -> Lead | None:
        for lead in self._mine.values():
            if lead.email == email and lead.account_id == account_id:
                return lead
        lead_id = self._batch.loaded.ids.get((account_id, email))
        if lead_id is None or (account_id, lead_id) in self._mine:  # the latter: renamed by this piece
            return None
        return self._look_up(account_id, lead_id, None)


_CALL = ("account_id", "app_id", "idempotency_key")
_STORED_ANSWER = Select(schema.idempotent_calls, (*_CALL, "body_digest", "answer"), by=_CALL)
_ANSWER = Insert(schema.idempotent_calls)
_CATALOG_VERSION = Select(schema.catalog_version, ("version",), by=("id",))


class _Batch:
    """One transaction's worth of work while it is being decided."""

    catalog: Catalog
    now: datetime

    def __init__(self, lead_ids: deque[int]) -> None:
        self.lead_ids = lead_ids
        self.loaded = Loaded({}, {})
        self.changed: dict[tuple[int, int], Lead] = {}
        self.events: list[Recorded] = []
        self.notices: list[tuple[Lead, Notice]] = []
        self.woken: set[tuple[int, int, int]] = set()
        """(account, lead, sequence): runs that wait for something that has perhaps just happened."""
        self.rows: dict[tuple[Write, Row], Row] = {}
        """What is written beside the leads, by statement and key."""
        self.new_fields: list[tuple[int, CustomField]] = []
        self.answers: dict[tuple[int, str, str], tuple[str, str]] = {}
        self.new_answers: list[StoredAnswer] = []

    async def load(
        self, lane: Lane, works: Sequence[Work[Any]], wanted: list[Wanted], now: Callable[[], datetime]
    ) -> None:
        self.loaded = await load(lane, wanted, now)
        # After the leads: whoever sees what another process's call did to them has to see its answer, too.
        keys = {work.idempotency[:3] for work in works if work.idempotency is not None}
        rows = await lane.fetch(_STORED_ANSWER, list(keys))
        self.answers = {row[:3]: row[3:] for row in rows}

    def decide(self, work: Work[R_co]) -> "R_co | Exception":
        desk = Desk(self)
        try:
            result = work.decide(desk)
            desk.react(work.origin)
        except CartwheelError as refusal:  # also `Entangled`: its turn comes again in the next batch
            return refusal
        except Exception as bug:  # whatever it is, it must not take the neighbours' calls with it
            log.exception("a piece of work failed")
            return bug
        desk.keep(work.origin)
        return result

    def _zone(self, account_id: int) -> tzinfo | None:
        account = self.catalog.accounts.get(account_id)
        return account.zone if account else None

    def flush(self, row_ids: RowIds) -> Flush:
        flush = Flush(self.now, row_ids, self._zone)
        for lead in self.changed.values():
            flush.lead(lead)
        for event in self.events:
            flush.event(event)
        flush.notices += self.notices
        at = to_micros(self.now)
        for run in self.woken:
            flush.add(RUN_WOKEN, (at, *run))
        for (statement, _), row in self.rows.items():
            flush.add(statement, row)
        for key, answer, lead_id in self.new_answers:
            flush.add(_ANSWER, (*key, answer, at, lead_id))
        for account_id, field in self.new_fields:
            for statement, row in catalog.rows_of_new_field(account_id, field, at):
                flush.add(statement, row)
        return flush


Find = Callable[[Lane, datetime], Awaitable[Sequence[Work[Any]]]]
"""Finds work inside the transaction that does it."""

_Find = Callable[[Lane], Awaitable[Sequence[Work[Any]]]]


def _just(works: Sequence[Work[Any]]) -> _Find:
    async def find(_lane: Lane) -> Sequence[Work[Any]]:
        return works

    return find


class _Waiting(NamedTuple):
    work: Work[Any]
    result: asyncio.Future[Any]
    since: float
    """By the loop's clock."""


class Batches:
    """Takes work from any number of tasks and runs it on a few lanes. Belongs to one event loop.

    `catalog` is the newest catalog that this process has seen.
    """

    def __init__(self, database: Database, *, clock: Callable[[], datetime], most_waiting: int) -> None:
        self.catalog = catalog.EMPTY
        self._database = database
        self._clock = clock
        self._most_waiting = most_waiting
        self._row_ids = RowIds()
        self._lead_ids: deque[int] = deque()
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._sweeping = asyncio.Lock()
        self._sweep_lane: Lane | None = None

    async def start(self) -> None:
        await self.refresh()
        lanes = [self._database.lane() for _ in range(LANES[self._database.name])]
        self._tasks = [asyncio.create_task(self._serve(lane)) for lane in lanes]

    async def stop(self) -> None:
        """Accept no more, finish and commit what waits, and close."""
        self._stopping = True
        self._wake.set()
        await asyncio.gather(*self._tasks)
        if self._sweep_lane is not None:
            await self._sweep_lane.close()

    async def submit(self, work: Work[R_co]) -> R_co:
        """The work's result, once it is durable. Raises what the work raised, `Overloaded`, or `Unavailable`."""
        return await self._enqueue(work)

    async def submit_all(self, works: Sequence[Work[R_co]]) -> "list[R_co | Exception]":
        """The results of all of these, each of which may be an exception. They share what batches they can."""
        results: list[R_co | Exception] = []
        for waiting in [self._enqueue(work) for work in works]:
            try:
                results.append(await waiting)
            except Exception as trouble:  # whose it is, the caller decides
                results.append(trouble)
        return results

    def _enqueue(self, work: Work[R_co]) -> "asyncio.Future[R_co]":
        loop = asyncio.get_running_loop()
        result: asyncio.Future[R_co] = loop.create_future()
        if len(self._waiting) >= self._most_waiting or self._stopping:
            result.set_exception(Overloaded())
        else:
            self._waiting.append(_Waiting(work, result, loop.time()))
            self._wake.set()
        return result

    async def sweep(self, find: Find) -> list[tuple[Work[Any], Any]]:
        """Do what `find` finds in the transaction in which it is done; returns each piece with its result.

        A result may be an exception. Raises `Unavailable`.
        """
        works: list[Work[Any]] = []
        try:
            results = await self.together(find, works)
        except Unavailable:
            raise
        except Exception:  # one piece spoils the whole batch: find out which
            log.exception("a batch could not be written")
            results = await asyncio.gather(*(self.submit(work) for work in works), return_exceptions=True)
        return list(zip(works, results, strict=True))

    async def together(self, find: Find, works: list[Work[Any]]) -> list[Any]:
        """As `sweep`, with what was found in `works`; but if it cannot be written, nothing is done, and that is raised."""

        async def found(lane: Lane) -> Sequence[Work[Any]]:
            works[:] = await find(lane, self._clock())
            return works

        async with self._sweeping:
            if self._sweep_lane is None:
                self._sweep_lane = self._database.lane()
            return await self._insist(self._sweep_lane, found)

    async def refresh(self) -> Catalog:
        """The catalog as it is now."""
        found = await asyncio.to_thread(self._newest_catalog)
        if found.version > self.catalog.version:  # several may look at once, and come back in any order
            self.catalog = found
        return self.catalog

    def _newest_catalog(self) -> Catalog:
        with self._database.read() as connection:
            return catalog.newer(connection, self.catalog)

    async def _serve(self, lane: Lane) -> None:
        while not (self._stopping and not self._waiting):
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                await asyncio.sleep(0)  # whoever else has a complete request comes along
            taken = [self._waiting.popleft() for _ in range(min(MOST_IN_BATCH, len(self._waiting)))]
            if taken:
                observe.QUEUE.set(len(self._waiting))
                observe.settle()
                await self._run(lane, taken)
        await self._give_ids_back(lane)
        await lane.close()

    async def _run(self, lane: Lane, taken: list[_Waiting]) -> None:
        """Give every one of these its result, whatever happens."""
        try:
            works = [waiting.work for waiting in taken]
            most_new = MOST_IN_BATCH if any(work.may_make_lead for work in works) else 0
            results = await self._insist(lane, _just(works), alone=len(taken) == 1, most_new=most_new)
        except Unavailable as trouble:
            log.error("the database cannot be used: %s", trouble)  # noqa: TRY400 - a line, not a stack
            taken += self._take_tired()
            results = [trouble] * len(taken)
        except Exception as trouble:  # one piece spoils the whole batch: find out which
            if len(taken) > 1:
                for waiting in taken:
                    await self._run(lane, [waiting])
                return
            log.exception("a piece of work could not be written")
            results = [trouble]
        for waiting, result in zip(taken, results, strict=True):
            if waiting.result.cancelled():
                continue
            if isinstance(result, Entangled):
                self._waiting.appendleft(waiting)
                self._wake.set()
                continue
            if isinstance(result, Exception):
                waiting.result.set_exception(result)
            else:
                waiting.result.set_result(result)

    def _take_tired(self) -> list[_Waiting]:
        """Those who have waited as long as a batch does: each batch before theirs would make them wait once more."""
        longest = asyncio.get_running_loop().time() - LOCK_WAIT_S
        tired: list[_Waiting] = []
        while self._waiting and self._waiting[0].since <= longest:
            tired.append(self._waiting.popleft())
        return tired

    async def _insist(self, lane: Lane, find: _Find, *, alone: bool = False, most_new: int = 0) -> list[Any]:
        for _ in range(TRIES_ALONE if alone else TRIES_TOGETHER):
            try:
                return await self._transaction(lane, find, most_new)
            except Conflict as conflict:
                log.info("run again after a conflict: %s", conflict)
        return await self._transaction(lane, find, most_new)

    async def _transaction(self, lane: Lane, find: _Find, most_new: int) -> list[Any]:
        lead_ids = await self._reserve_ids(lane, most_new)
        try:
            await lane.begin()
            works = await find(lane)
            batch = _Batch(lead_ids)
            await self._load(lane, batch, works)
            batch.catalog, batch.now = self.catalog, self._clock()
            results = [batch.decide(work) for work in works]
            flush = batch.flush(self._row_ids)
            await flush.write(lane)
            started = time.perf_counter()
            await lane.commit()
        except BaseException:
            await roll_back(lane)
            raise
        finally:
            self._lead_ids.extendleft(reversed(lead_ids))
        observe.COMMIT_SECONDS.observe(time.perf_counter() - started)
        observe.BATCH_SIZE.observe(len(works))
        return results

    async def _load(self, lane: Lane, batch: _Batch, works: Sequence[Work[Any]]) -> None:
        """The leads, with what automations ask of them by the catalog as it is once they are locked."""
        asked, known = [wanted for work in works for wanted in work.wanted], None
        while known is not self.catalog and not reacting.needs_the_same(asked, known, self.catalog):
            known = self.catalog
            await batch.load(lane, works, reacting.widened(asked, known), self._clock)
            # What others did while this waited for the leads' locks is past: the catalog and the time come after.
            await self._renew_catalog(lane)

    async def _renew_catalog(self, lane: Lane) -> None:
        [(version,)] = await lane.fetch(_CATALOG_VERSION, [(1,)])
        if version != self.catalog.version:
            await self.refresh()

    async def _reserve_ids(self, lane: Lane, most: int) -> deque[int]:
        """So many ids for new leads; what a batch leaves goes back into the pool."""
        if len(self._lead_ids) < most:
            first = await lane.take("leads", ID_BLOCK)
            self._lead_ids.extend(range(first, first + ID_BLOCK))
        return deque(self._lead_ids.popleft() for _ in range(most))

    async def _give_ids_back(self, lane: Lane) -> None:
        ids = sorted(self._lead_ids)
        self._lead_ids.clear()
        if ids and ids == list(range(ids[0], ids[-1] + 1)):
            try:
                await lane.give_back("leads", ids[0], ids[-1] + 1)
            except Unavailable as trouble:
                log.warning("lead ids are left unused: %s", trouble)
