"""The process that takes leads along their sequences and sends their mail.

`cartwheel serve` starts one as a child, so that sending never slows the API; `cartwheel worker` is one by itself. On
PostgreSQL there may be any number of them.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from multiprocessing.process import BaseProcess

import uvloop

from cartwheel import times
from cartwheel.config import Settings
from cartwheel.data import installation, mailbox, signingkeys
from cartwheel.data.db import Database
from cartwheel.data.flowstore import Flows
from cartwheel.data.mailbox import MailboxTransport
from cartwheel.data.signingkeys import SigningKeys
from cartwheel.imports.running import ImportRunner
from cartwheel.mail.composing import Composer
from cartwheel.mail.smtpurl import Server
from cartwheel.process import collector, observe, orphans
from cartwheel.process.loops import Loop
from cartwheel.sending.bouncereader import BounceReader
from cartwheel.sending.notifier import Notifier
from cartwheel.sending.posts import Posts
from cartwheel.sending.sender import Sender
from cartwheel.sending.servers import Post, Servers
from cartwheel.sending.smtp import Pool, Transport
from cartwheel.work.batches import Batches
from cartwheel.work.engine import Engine
from cartwheel.work.housekeeping import Housekeeping

log = logging.getLogger(__name__)

PAUSE_S = 0.25
"""Time between two looks at what is due."""

SERVERS_PAUSE_S = 2.0
"""Time between two looks whether other mail servers were set on the page."""

IMPORTS_PAUSE_S = 1.0
"""Time between two looks whether somebody wants a file imported."""

BOUNCES_PAUSE_S = 60.0
"""Time between two visits of the mailbox for bounces. Each worker goes there: a mail that several read counts once."""


class Worker:
    """All of it in one event loop. `base_url` is where links in mails lead, `transport` the way to a mail server."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        base_url: str,
        clock: Callable[[], datetime] = times.now,
        transport: Callable[[Server], Transport] = Pool,
    ) -> None:
        self.batches = Batches(database, clock=clock, most_waiting=settings.queue)
        self._database = database
        self.outdated = asyncio.Event()
        """Other mail servers were set on the page: a worker that is made now has them."""
        with database.read() as connection:
            self._servers = installation.mail_servers(connection)
            routes = installation.routes(connection) if settings.smtp is None else settings.smtp
        self.posts = Posts(
            Servers(routes, clock=clock, transport=transport) if routes else None,
            Post(mailbox.SERVER, MailboxTransport(), clock=clock),
        )
        flows = Flows(database)
        self.engine = Engine(self.batches, flows, database, clock=clock)
        signer = signingkeys.link_signer(database)
        composer = Composer(signer, base_url, bounce_mailbox=settings.bounce_address, hooks=settings.bounce_hooks)
        self.sender = Sender(self.batches, flows, composer, SigningKeys(database), self.posts, database, clock=clock)
        from cartwheel.hooks.delivering import Deliverer  # noqa: PLC0415 - takes long, and the server's parent has no use for it

        private = settings.allow_private_targets
        self.deliverer = Deliverer(database, allow_private=private, clock=clock)
        keys = SigningKeys(database)
        self.notifier = Notifier(self.batches, keys, self.posts, database, base_url, clock=clock)
        self._loops = [
            Loop("taking leads along", self.engine.round, PAUSE_S),
            Loop("letting paused leads go on", self.engine.release, 1.0),
            Loop("sending", self.sender.round, PAUSE_S),
            Loop("notifying people", self.notifier.round, 1.0),
            Loop("letting held mails go on", self.sender.release, 1.0),
            Loop("telling other systems", self.deliverer.round, PAUSE_S),
        ]
        self._imports = ImportRunner(database, clock=clock)
        self._loops.append(Loop("importing", self._imports.round, IMPORTS_PAUSE_S))
        self._housekeeping = Housekeeping(database, self.batches, clock=clock)
        if settings.smtp is None:
            self._loops.append(Loop("looking for other mail servers", self._look_for_servers, SERVERS_PAUSE_S))
        self.bounces: BounceReader | None = None
        if settings.bounce_mailbox is not None:
            self.bounces = BounceReader(settings.bounce_mailbox, self.batches, database, signer)
            self._loops.append(Loop("reading bounces", self.bounces.round, BOUNCES_PAUSE_S))

    async def _look_for_servers(self) -> bool:
        if await asyncio.to_thread(self._stored_servers) != self._servers:
            self.outdated.set()
        return False

    def _stored_servers(self) -> str:
        with self._database.read() as connection:
            return installation.mail_servers(connection)

    async def start(self) -> None:
        await self.batches.start()
        for loop in self._loops:
            loop.start()
        self._housekeeping.start()

    async def stop(self) -> None:
        """Begin nothing more, let the mails that are on the wire arrive, and store what became of all."""
        await asyncio.gather(self._housekeeping.stop(), *(loop.stop() for loop in self._loops))
        await self._imports.close()
        self.sender.stop()
        await asyncio.gather(self.sender.finish(), self.deliverer.finish())
        await self.batches.stop()
        await self.posts.close()


def run(settings: Settings, base_url: str, *, until: Sequence[signal.Signals]) -> None:
    """Until one of these signals comes."""
    uvloop.run(_run(settings, base_url, until))


async def _run(settings: Settings, base_url: str, until: Sequence[signal.Signals]) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in until:
        loop.add_signal_handler(number, told.set)
    async with AsyncExitStack() as stack:
        database = Database(settings.database)
        stack.callback(database.close)
        while not told.is_set():
            await _work(settings, database, base_url, told)
    log.info("the worker stopped")


async def _work(settings: Settings, database: Database, base_url: str, told: asyncio.Event) -> None:
    """Until it is told to stop, or another worker has to be made with other mail servers."""
    worker = await asyncio.to_thread(Worker, settings, database, base_url=base_url)
    collector.calm()
    await worker.start()
    try:
        log.info("the worker is ready")
        waits = [asyncio.create_task(event.wait()) for event in (told, worker.outdated)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
    finally:
        await worker.stop()
    if not told.is_set():
        log.info("the mail servers were changed")


# -- as a child of the server --


def _as_child(base_url: str, environment: Mapping[str, str]) -> None:
    settings = Settings.load(environment)
    observe.start_logging(settings.log_level)
    orphans.stop_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the server, which then stops its worker
    run(settings, base_url, until=[signal.SIGTERM])


class Child:
    """A worker in a process of its own, started again when it dies. Its settings are those of `environment`."""

    LOOKS_EVERY_S = 1.0

    def __init__(self, base_url: str, environment: Mapping[str, str] = os.environ) -> None:
        self._base_url = base_url
        self._environment = dict(environment)
        self._stopping = threading.Event()
        self._process = self._spawn()
        self._watch = threading.Thread(target=self._keep_alive, name="worker's keeper", daemon=True)
        self._watch.start()

    def stop(self) -> None:
        """Tell it to finish, and wait for it."""
        self._stopping.set()
        self._watch.join()
        self._process.terminate()
        self._process.join()

    def _spawn(self) -> BaseProcess:
        process = multiprocessing.get_context("spawn").Process(
            target=_as_child, args=(self._base_url, self._environment), name="worker"
        )
        process.start()
        return process

    def _keep_alive(self) -> None:
        while not self._stopping.wait(self.LOOKS_EVERY_S):
            if not self._process.is_alive():
                log.error("the worker died (%s) and was replaced", self._process.exitcode)
                self._process = self._spawn()
