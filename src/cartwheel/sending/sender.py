"""Sending what is due: each mail is handed over in one transaction, sent, and settled in another.

Handing over checks, under the lead's lock, that it may be mailed at all, and stores that from now on the mail may be on
its way. Who dies after that leaves it handed over; when its time is up, it is in doubt, because nobody can tell.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

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
from cartwheel.mail.outgoing import Outgoing
from cartwheel.mail.replies import Fate, Outcome, Phase
from cartwheel.process import observe
from cartwheel.sending.carriers import Carriers, Gathering
from cartwheel.sending.handover import VANISHED, HandOverWork
from cartwheel.sending.posts import Posts
from cartwheel.sending.sendlimits import Limit, SendLimits, limits_of
from cartwheel.sending.servers import Post
from cartwheel.sending.settling import PAUSES, SEES_TO_IT, Letter, PutOffWork, SettleWork, unmade
from cartwheel.times import to_micros
from cartwheel.work.batches import Batches
from cartwheel.work.changes import OnChange

log = logging.getLogger(__name__)

MOST_AT_ONCE = 100
"""Mails in one transaction."""

PATIENCE_S = 1.0
"""So long a server that has enough under way is waited for, before only the others get mail."""

BEHIND_UNTOUCHED = timedelta(milliseconds=1)
"""So much later than those that were not touched a mail comes that was tried: the next trial is another's."""

_DUE_MAILS = DueLeads(
    schema.mails, ("account_id", "lead_id", "id", "sequence_id", "version", "box"), "next_at", most=MOST_AT_ONCE
)
_WHO = Select(schema.leads, ("account_id", "id", "email", "test"), by=("account_id", "id"))


def _next_try(post: Post, outcome: Outcome, now: datetime) -> datetime:
    """After trouble with the server: when it may be used again; if by then it can be, a mail that was not touched at once."""
    closed_until = post.open_until(now)
    if outcome.phase is Phase.CHECK:
        return closed_until or now
    return closed_until + BEHIND_UNTOUCHED if closed_until else now + PAUSES[0]


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
        self._handing_over: asyncio.Task[bool] | None = None
        self._carriers: dict[str, Carriers[tuple[Letter, Outgoing]]] = {}
        self._settling = Gathering(self._store)
        self._room = asyncio.Event()
        """Set when a server has no longer enough under way."""

    async def round(self) -> bool:
        """Hand over what is due, but not to servers that have enough under way; true if there may be more."""
        await self._make_room()
        # A round may be broken off, but not between storing that mails are on their way and sending them.
        self._handing_over = asyncio.create_task(self._hand_over())
        return await asyncio.shield(self._handing_over)

    async def _make_room(self) -> None:
        """Wait for servers that are busy, but only for a moment: who still is must not hold up the others."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE_S
        while any(post.is_full and not post.passed_by for post in self._posts) and loop.time() < end:
            self._room.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._room.wait(), end - loop.time())
        for post in self._posts:
            post.passed_by = post.is_full

    async def _hand_over(self) -> bool:
        handed = await self._batches.sweep(self._find)
        for _, result in handed:
            if isinstance(result, Letter):
                await self._begin_sending(result)
        for work, result in handed:
            assert isinstance(work, HandOverWork)
            if work.in_doubt:
                _warn_of_doubt(work.key, work.mail_key, VANISHED)
            if isinstance(result, Exception) and not isinstance(result, Unavailable | Overloaded):  # those stay due
                await self._put_off(work, result)
        return len(handed) == MOST_AT_ONCE

    async def release(self) -> bool:
        """An account was changed: try again what waits for that."""
        await self._changes.look()
        return False

    def _release(self, known: Catalog) -> None:
        def is_held(account_id: int, sequence_id: int) -> bool:
            return known.accounts[account_id].holds(sequence_id)

        mailstore.release(self._database, is_held, self._clock())

    async def _begin_sending(self, letter: Letter) -> None:
        """Those handed over together are made one after the other, which is half as dear as one between two sendings."""
        try:
            outgoing = await self._made(letter)
        except Exception as trouble:  # whatever it is, the mail is certainly not sent
            self._settle(letter, unmade(trouble), lambda now: now + SEES_TO_IT)
            return
        post = letter.post
        post.under_way += 1
        carriers = self._carriers.get(post.name)
        if carriers is None:
            most = post.server.connections
            carriers = self._carriers[post.name] = Carriers(self._carry, most, self._settle_if_idle)
        carriers.put((letter, outgoing))

    def _settle_if_idle(self) -> None:
        """While somebody is on the way, his mail is waited for."""
        if not any(carriers.at_work for carriers in self._carriers.values()):
            self._settling.hurry()

    def stop(self) -> None:
        """Begin nothing more: only mails that are on the wire go on."""
        self._posts.stop()
        for carriers in self._carriers.values():
            carriers.disband()

    async def finish(self) -> None:
        """Wait for the mails that are under way."""
        if self._handing_over is not None:
            await asyncio.wait([self._handing_over])
        for carriers in self._carriers.values():
            await carriers.finish()
        await self._settling.finish()
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

    async def _made(self, letter: Letter) -> Outgoing:
        return self._composer.compose(
            letter.account,
            letter.lead,
            letter.mail,
            letter.step,
            now=self._clock(),
            signers=await self._keys.of(letter.account.id, self._batches.catalog.version),
            nobody_outside=letter.post is self._posts.mailbox,
        )

    async def _carry(self, parcel: tuple[Letter, Outgoing]) -> None:
        letter, outgoing = parcel
        post = letter.post
        try:
            await self._send(letter, outgoing, post)
        finally:
            post.under_way -= 1
            if not post.is_full:
                self._room.set()

    async def _send(self, letter: Letter, outgoing: Outgoing, post: Post) -> None:
        outcome = await post.send(outgoing, until=letter.mail.next_at or self._clock())
        kept = None
        if post is self._posts.mailbox:
            kept = mailbox.row_of(letter.account.id, letter.lead.id, letter.mail.key, outgoing, self._clock())
        self._settle(letter, outcome, lambda now: _next_try(post, outcome, now), kept)

    def _settle(
        self, letter: Letter, outcome: Outcome, next_try: Callable[[datetime], datetime], kept: Row | None = None
    ) -> None:
        if log.isEnabledFor(logging.INFO):
            self._lines.write(_told(letter, outcome))
        of_all_mails = outcome.fate is not Fate.ACCEPTED  # which may be long, and mostly one waits alone
        self._settling.put(SettleWork(letter, outcome, next_try, kept, of_all_mails=of_all_mails))

    async def _store(self, group: Sequence[SettleWork]) -> None:
        """What became of these is stored, however long the database is away."""
        waiting = list(group)
        while waiting:
            results = await self._batches.submit_all(waiting)
            again: list[SettleWork] = []
            trouble: Exception | None = None
            for work, result in zip(waiting, results, strict=True):
                if isinstance(result, Unavailable | Overloaded):
                    again.append(work)
                    trouble = result
                elif result is False:
                    again.append(work.of_all())
                elif isinstance(result, Exception):
                    log.error("what became of a mail could not be stored", exc_info=result)
                elif work.in_doubt:
                    _warn_of_doubt(work.key, work.letter.mail.key, work.outcome.text)
            waiting = again
            if trouble is not None:
                log.warning("what became of mails waits to be stored (%s): %s", len(waiting), trouble)
                await asyncio.sleep(1)
