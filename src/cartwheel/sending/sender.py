"""Sending what is due: each mail is handed over in one transaction, sent, and settled in another.

Handing over checks, under the lead's lock, that it may be mailed at all, and stores that from now on the mail may be on
its way. Who dies after that leaves it handed over; when its time is up, it is in doubt, because nobody can tell.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from cartwheel.data import mailbox, mailstore, schema
from cartwheel.data.catalog import Catalog
from cartwheel.data.db import Database
from cartwheel.data.due import DueLeads
from cartwheel.data.flowstore import Flows
from cartwheel.data.lanes import Lane, Row, Select
from cartwheel.data.leadstore import LeadKey
from cartwheel.data.signingkeys import SigningKeys
from cartwheel.errors import Overloaded, Unavailable
from cartwheel.mail.composing import Composer, Unsendable
from cartwheel.mail.replies import Fate, Outcome, Phase
from cartwheel.process import observe
from cartwheel.sending.handover import VANISHED, HandOverWork
from cartwheel.sending.posts import Posts
from cartwheel.sending.sendlimits import Limit, SendLimits, limits_of
from cartwheel.sending.servers import Post
from cartwheel.sending.settling import PAUSES, SEES_TO_IT, Letter, PutOffWork, SettleWork, unmade
from cartwheel.times import to_micros
from cartwheel.work.batches import Batches
from cartwheel.work.changes import OnChange

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_AT_ONCE = 100
"""Mails in one transaction."""

PATIENCE_S = 1.0
"""So long a server that has enough under way is waited for, before only the others get mail."""

_DUE_MAILS = DueLeads(
    schema.mails, ("account_id", "lead_id", "id", "sequence_id", "version", "box"), "next_at", most=MOST_AT_ONCE
)
_WHO = Select(schema.leads, ("account_id", "id", "email", "test"), by=("account_id", "id"))


def _next_try(post: Post, outcome: Outcome, now: datetime) -> datetime:
    """After trouble with the server: when it may be used again; if by then it can be, a mail that was not touched at once."""
    return post.open_until(now) or (now if outcome.phase is Phase.CHECK else now + PAUSES[0])


def _told(letter: Letter, outcome: Outcome) -> dict[str, object]:
    """A line of the log; the address is not in it."""
    mail = letter.mail
    return {
        "account": letter.account.id,
        "lead": letter.lead.id,
        "mail": mail.key,
        "attempt": mail.attempts,
        "server": mail.server,
        "fate": outcome.fate.value,
        "reply": outcome.text,
    }


def _warn_of_doubt(key: LeadKey, mail_key: int, reason: str) -> None:
    fields = {"account": key[0], "lead": key[1], "mail": mail_key, "reply": reason}
    log.warning("a mail is in doubt: nobody can tell whether it was sent", extra={"fields": fields})


class Sender:
    """One for a process."""

    def __init__(
        self,
        batches: Batches,
        flows: Flows,
        composer: Composer,
        keys: SigningKeys,
        posts: Posts,
        database: Database,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._batches = batches
        self._flows = flows
        self._composer = composer
        self._keys = keys
        self._posts = posts
        self._clock = clock
        self._database = database
        self._limits = SendLimits()
        self._changes = OnChange(self._release, batches, clock)
        self._lines = observe.LineLog("cartwheel.mails", "mail")
        self._under_way: set[asyncio.Task[Any]] = set()

    async def round(self) -> bool:
        """Hand over what is due, but not to servers that have enough under way; true if there may be more."""
        await self._make_room()
        # A round may be broken off, but not between storing that mails are on their way and sending them.
        return await asyncio.shield(self._begin(self._hand_over()))

    async def _make_room(self) -> None:
        """Wait for servers that are busy, but only for a moment: who still is must not hold up the others."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE_S
        while any(post.is_full and not post.passed_by for post in self._posts) and loop.time() < end:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED, timeout=end - loop.time())
        for post in self._posts:
            post.passed_by = post.is_full

    async def _hand_over(self) -> bool:
        handed = await self._batches.sweep(self._find)
        for _, result in handed:
            if isinstance(result, Letter):
                self._begin_sending(result)
        for work, result in handed:
            assert isinstance(work, HandOverWork)
            if work.in_doubt:
                _warn_of_doubt(work.key, work.mail_key, VANISHED)
            if isinstance(result, Exception):
                await self._put_off(work, result)
        return len(handed) == MOST_AT_ONCE

    async def release(self) -> bool:
        """An account was changed: try again what waits for that."""
        await self._changes.look()
        return False

    def _release(self, known: Catalog) -> None:
        def is_held(account_id: int, sequence_id: int) -> bool:
            return known.accounts[account_id].holds_mail_of(sequence_id)

        mailstore.release(self._database, is_held, self._clock())

    def _begin(self, what: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(what)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    def _begin_sending(self, letter: Letter) -> None:
        post = self._posts.named(letter.mail.server)
        task = self._begin(self._send(letter, post))
        if post is not None:
            taken = post
            taken.under_way += 1

            def done(_: asyncio.Task[None]) -> None:
                taken.under_way -= 1

            task.add_done_callback(done)

    async def finish(self) -> None:
        """Wait for the mails that are under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)
        self._lines.flush()

    async def _find(self, lane: Lane, now: datetime) -> Sequence[HandOverWork]:
        rows = await lane.fetch(_DUE_MAILS, [(to_micros(now),)])
        await self._flows.learn({(row[0], row[3], row[4]) for row in rows})
        works = []
        for account_id, lead_id, key, sequence_id, version, _ in rows:
            flow = self._flows.get((account_id, sequence_id, version))
            works.append(HandOverWork((account_id, lead_id), key, flow, self._posts, self._limits))
        if self._posts.have_limits:
            await self._lock_limits(lane, works, [row[-1] for row in rows])
        return works

    async def _lock_limits(self, lane: Lane, works: Sequence[HandOverWork], boxes: Sequence[str]) -> None:
        """Those of the servers that these mails will go to, as far as can be told before the leads are loaded."""
        leads = {(row[0], row[1]): row[2:] for row in await lane.fetch(_WHO, [work.key for work in works])}
        limits: set[Limit] = set()
        for work, box in zip(works, boxes, strict=True):
            step, account = work.step(box), self._batches.catalog.accounts.get(work.key[0])
            if step is not None and account is not None and work.key in leads:
                email, test = leads[work.key]
                with suppress(Unsendable):  # the piece itself will say so
                    post = self._posts.for_mail(step.sender or account.mail.sender, test=test)
                    limits.update(limits_of(post.server, email))
        await self._limits.lock(lane, limits)

    async def _put_off(self, work: HandOverWork, trouble: Exception) -> None:
        """One that the program failed on, or that an owner has to see to, must not be tried again at once."""
        await self._batches.submit(PutOffWork(work.key, work.mail_key, unmade(trouble)))

    async def _send(self, letter: Letter, post: Post | None) -> None:
        """A handed over mail goes out, and what became of it is stored, however long the database is away."""
        if post is None:
            trouble = Outcome(Fate.SERVER_TROUBLE, Phase.CHECK, f"{letter.mail.server} is no longer in the settings")
            await self._settle(letter, trouble, lambda now: now)
            return
        try:
            outgoing = self._composer.compose(
                letter.account,
                letter.lead,
                letter.mail,
                letter.step,
                now=self._clock(),
                signers=await self._keys.of(letter.account.id, self._batches.catalog.version),
                nobody_outside=post is self._posts.mailbox,
            )
        except Exception as trouble_:  # whatever it is, the mail is certainly not sent
            await self._settle(letter, unmade(trouble_), lambda now: now + SEES_TO_IT)
            return
        outcome = await post.send(outgoing, until=letter.mail.next_at or self._clock())
        kept = None
        if post is self._posts.mailbox:
            kept = mailbox.row_of(letter.account.id, letter.lead.id, letter.mail, outgoing, self._clock())
        await self._settle(letter, outcome, lambda now: _next_try(post, outcome, now), kept)

    async def _settle(
        self, letter: Letter, outcome: Outcome, next_try: Callable[[datetime], datetime], kept: Row | None = None
    ) -> None:
        if log.isEnabledFor(logging.INFO):
            self._lines.write(_told(letter, outcome))
        of_all_mails = outcome.fate is not Fate.ACCEPTED  # which may be long, and mostly one waits alone
        while not await self._store(work := SettleWork(letter, outcome, next_try, kept, of_all_mails=of_all_mails)):
            of_all_mails = True
        if work.in_doubt:
            _warn_of_doubt(work.key, letter.mail.key, outcome.text)

    async def _store(self, work: SettleWork) -> bool:
        while True:
            try:
                return await self._batches.submit(work)
            except (Unavailable, Overloaded) as trouble:
                log.warning("what became of a mail waits to be stored: %s", trouble)
                await asyncio.sleep(1)
