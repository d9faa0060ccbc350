"""A worker of the tests: the real one, in a thread of its own, whose rounds a test calls at the time that it has set."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import sqlalchemy as sa

from cartwheel.config import Settings
from cartwheel.data import mailstore, schema
from cartwheel.leads.mails import Mail, MailState
from cartwheel.times import to_micros
from cartwheel.work.batches import Work
from cartwheel.worker import Worker
from harness import Api, Server

T = TypeVar("T")


class Office:
    """Takes leads along and sends, on the database of a server and by its clock."""

    def __init__(self, server: Server, **environment: str) -> None:
        self.server = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="office", daemon=True)
        self._thread.start()
        settings = Settings.load({"CARTWHEEL_DATABASE": server.database.url, **environment})
        self.worker = Worker(settings, server.database, base_url="https://mail.shop.example", clock=server.clock)
        self._run(self.worker.batches.start)

    def settle(self) -> None:
        """Do everything that is due now."""
        self._run(self._settle)

    def take_along(self) -> None:
        """Only decide what is due; send nothing."""
        self._run(self._take_along)

    def hand_over(self) -> None:
        """Begin to send everything that is due now, and wait for none of it."""
        self._run(self._hand_over)

    async def _hand_over(self) -> None:
        while await self.worker.sender.round():
            pass

    async def _take_along(self) -> None:
        await self.worker.engine.release()
        while await self.worker.engine.round():
            pass

    async def _settle(self) -> None:
        await self._take_along()
        await self.worker.sender.release()
        before: set[tuple[int, int]] | None = None
        due: set[tuple[int, int]] | None = None
        while due is None or (due and due != before):  # a mail that is settled makes the one due that waits for it
            await self._hand_over()
            await self.worker.sender.finish()
            before, due = due, self._due_mails()

    def _due_mails(self) -> set[tuple[int, int]]:
        table = schema.mails
        due = (table.c.state == MailState.QUEUED.value) & (table.c.next_at <= to_micros(self.server.clock()))
        with self.server.database.read() as connection:
            return {(row.lead_id, row.id) for row in connection.execute(sa.select(table).where(due))}

    def do(self, work: Work[T]) -> T:
        """A piece of work, as somebody else in the worker's process does it."""
        return self._run(lambda: self.worker.batches.submit(work))

    def read_bounces(self) -> bool:
        """Visit the mailbox for bounces once."""
        assert self.worker.bounces is not None
        return self._run(self.worker.bounces.round)

    def close(self) -> None:
        self._run(self.worker.batches.stop)
        self._run(self.worker.posts.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, what: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(what(), self._loop).result(60)


def mails(api: Api, email: str) -> list[Mail]:
    """The lead's mails in the ledger, oldest first."""
    lead_id = int(api.lead(email)["id"])
    with api.server.database.read() as connection:
        return mailstore.mails_of(connection, (api.account_id, lead_id))


def states(api: Api, email: str) -> list[tuple[str, MailState]]:
    return [(mail.box, mail.state) for mail in mails(api, email)]
