"""A move is an import whose rows say no more than addresses: what else there is to know, Kartra is asked.

So it keeps its place as imports do: a few leads are asked for, and written in the transaction that moves the place on and adds
to the report. Whoever dies between asks for these few again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, BinaryIO

import msgspec

from cartwheel.accounts import Account
from cartwheel.client.kartra import KartraClient
from cartwheel.data import catalog, catalogchanges, importstore
from cartwheel.data.db import Database
from cartwheel.data.importstore import Import, State
from cartwheel.data.lanes import Lane
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.errors import CartwheelError
from cartwheel.imports import keeping, slicework
from cartwheel.imports.deciding import Refused
from cartwheel.imports.slicework import Elsewhere, Row, Slice
from cartwheel.moving import origin, reports
from cartwheel.moving.answers import AnswerReader, MovePlan, Told
from cartwheel.moving.fetching import Fetcher
from cartwheel.moving.origin import Origin
from cartwheel.phrases import phrase
from cartwheel.times import to_micros
from cartwheel.work.batches import Batches, Work

log = logging.getLogger(__name__)

IN_A_SLICE = 10
"""Leads that are asked for again after a crash, at the most."""

MOST_UNFINISHED = 50
TIMES_ELSEWHERE = 3


class AnotherMoves(CartwheelError):
    """Another process goes on with this move, or takes it back."""


def unfinished(database: Database, account: Account, plan: MovePlan) -> Import | None:
    """The same move, if it was begun before."""
    with database.read() as connection:
        begun = importstore.of_state(connection, account.id, State.MOVING, MOST_UNFINISHED)
    return next((found for found in begun if plan_of(found).identity == plan.identity), None)


def begin(
    database: Database, account: Account, plan: MovePlan, name: str, file: BinaryIO, now: datetime, **how: str
) -> Import:
    """Raises `BadFile`; then nothing is kept."""
    number = keeping.keep(database, account.id, None, name, file, now, IN_A_SLICE, **how)
    with database.write() as connection:
        values = {"plan": msgspec.json.encode(plan).decode(), "state": State.MOVING.value}
        importstore.change(connection, account.id, number, only=[State.DRAFT], **values)
        found = importstore.get(connection, account.id, number)
    assert found is not None
    return found


def plan_of(found: Import) -> MovePlan:
    return msgspec.json.decode(found.plan, type=MovePlan)


class MoveRunner:
    """Moves the leads of one file."""

    def __init__(
        self, database: Database, found: Import, client: KartraClient, rate: float, *, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._found = found
        self._plan = plan_of(found)
        self._fetcher = Fetcher(client, rate)
        self._clock = clock
        self._batches = Batches(database, clock=clock, most_waiting=1)

    async def run(self, there: Origin, tell: Callable[[Import], None]) -> Import:
        """To its end; `tell` hears how far it has come. Raises `Stopped`, `AnotherMoves` or `AccountFull`."""
        try:
            await asyncio.to_thread(self._prepare, there)
            account = await self._account()
            found, elsewhere = self._get(), 0
            while found.done < found.slices:
                tell(found)
                try:
                    account = await self._step(found, account)
                    elsewhere = 0
                except Elsewhere:  # a process that was killed may have come to its commit after we looked
                    elsewhere += 1
                found = self._get()
                if found.state is not State.MOVING or elsewhere == TIMES_ELSEWHERE:
                    raise AnotherMoves
            return await asyncio.to_thread(self._end, there, account)
        finally:
            self._fetcher.close()
            await self._batches.stop()

    def _prepare(self, there: Origin) -> None:
        account = self._newest_account()
        origin.make(self._database, self._found, there, account, self._clock())
        if self._plan.batch_tag:
            self._make([("tags", self._plan.batch_tag)])

    def _newest_account(self) -> Account:
        with self._database.read() as connection:
            return catalog.of(connection, self._found.account_id).accounts[self._found.account_id]

    async def _account(self) -> Account:
        return (await self._batches.refresh()).accounts[self._found.account_id]

    def _get(self) -> Import:
        with self._database.read() as connection:
            found = importstore.get(connection, self._found.account_id, self._found.id)
        assert found is not None
        return found

    def _make(self, names: Sequence[tuple[str, str]]) -> None:
        with catalogchanges.changing(self._database, self._found.account_id) as connection:
            for kind, name in names:
                importstore.make_named(connection, self._found, kind, name, self._clock())

    # -- some leads --

    async def _step(self, found: Import, account: Account) -> Account:
        """Moves the leads of a slice; returns the account as it is then. Raises `Elsewhere`."""
        rows, answers = await self._fetch(found)
        told, account = await self._read(rows, answers, account)
        slice_ = Slice(found, found.done, account, rows, plain_path=True)

        async def find(lane: Lane, now: datetime) -> list[Work[Any]]:
            works = await slicework.find_work(lane, now, slice_)
            report = reports.read(found.report)
            for row, each in zip(rows, told, strict=True):
                if each is not None and row.outcome != "repeated":
                    _note(report, row.line, each)
            slice_.report = reports.written(report)
            return works

        for result in await self._batches.together(find, []):
            if isinstance(result, Exception):
                log.error("a lead could not be moved", exc_info=result)
        return account

    async def _fetch(self, found: Import) -> tuple[list[Row], list[dict[str, Any] | None]]:
        """The rows of a slice, and what Kartra has told of them."""
        lines = importstore.unpack(await asyncio.to_thread(self._packed, found))
        rows, asked = [], []
        for number, cells, trouble in lines:
            row = Row(number, cells, None, "refused", trouble)
            rows.append(row)
            email = "" if trouble else self._address(row)
            asked.append(asyncio.wrap_future(self._fetcher.ask(email)) if email else None)
        answers: list[dict[str, Any] | None] = []
        try:
            for row, future in zip(rows, asked, strict=True):
                try:
                    answers.append(None if future is None else await future)
                except Refused as refused:
                    row.reason = str(refused)
                    answers.append(None)
        finally:
            for future in filter(None, asked):
                future.cancel()
        return rows, answers

    def _packed(self, found: Import) -> bytes:
        with self._database.read() as connection:
            return importstore.packed_slice(connection, found.account_id, found.id, found.done)

    def _address(self, row: Row) -> str:
        """Empty if it has none; then it says why."""
        cell = row.cells[self._plan.column].strip() if self._plan.column < len(row.cells) else ""
        try:
            return read_email(cell)
        except EmailNotValid:
            not_one = phrase("{value} is no e-mail address", value=cell[:100])
            row.reason = not_one if cell else phrase("it has no e-mail address")
            return ""

    async def _read(
        self, rows: list[Row], answers: list[dict[str, Any] | None], account: Account
    ) -> tuple[list[Told | None], Account]:
        """What the answers say, when there is everything that they name."""
        told, missing = self._understand(rows, answers, account)
        if missing:
            await asyncio.to_thread(self._make, missing)
            account = await self._account()
            told, _ = self._understand(rows, answers, account)
        for row, each in zip(rows, told, strict=True):
            if each is not None:
                row.wish, row.outcome, row.reason = each.wish, "", ""
        return told, account

    def _understand(
        self, rows: list[Row], answers: list[dict[str, Any] | None], account: Account
    ) -> tuple[list[Told | None], list[tuple[str, str]]]:
        batch = (account.tag_named(self._plan.batch_tag).id,) if self._plan.batch_tag else ()
        reader = AnswerReader(account, self._plan, batch)
        told = [
            None if answer is None else reader.read(self._address(row), answer)
            for row, answer in zip(rows, answers, strict=True)
        ]
        return told, list(reader.missing)

    # -- the end --

    def _end(self, there: Origin, account: Account) -> Import:
        found = self._get()
        report = reports.read(found.report)
        report.differences = list(origin.differences(there, account))
        values: dict[str, Any] = {"report": reports.written(report), "state": State.FINISHED.value, "samples": "[]"}
        values |= {"next_at": None, "ended_at": to_micros(self._clock())}
        with self._database.write() as connection:
            importstore.change(connection, found.account_id, found.id, only=[State.MOVING], **values)
        return self._get()


def _note(report: reports.Report, line: int, told: Told) -> None:
    report.lose(line, told.losses)
    for place in told.places:
        report.place(*place)
    for name in told.started:
        report.start(name)
