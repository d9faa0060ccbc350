"""Sending what is due: each mail is handed over in one transaction, sent, and settled in another.

Handing over checks, under the lead's lock, that it may be mailed at all, and stores that from now on the mail may be on
its way. Who dies after that leaves it handed over; when its time is up, it is in doubt, because nobody can tell.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from cartwheel.accounts import Account, DoubtPolicy
from cartwheel.data import mailbox, mailstore, schema
from cartwheel.data.db import Database
from cartwheel.data.due import DueLeads
from cartwheel.data.flowstore import Flows
from cartwheel.data.lanes import Lane, Row, Select
from cartwheel.data.leadstore import LeadKey
from cartwheel.data.signingkeys import SigningKeys
from cartwheel.errors import Overloaded, Unavailable
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import ERASED, Part
from cartwheel.leads.mails import Mail, MailState
from cartwheel.mail.composing import Composer, Unsendable, read_sender
from cartwheel.mail.replies import Fate, Outcome, Phase
from cartwheel.mail.smtpurl import Server
from cartwheel.process import observe
from cartwheel.sending.sendlimits import USED, Limit, SendLimits, limits_of
from cartwheel.sending.servers import Post, Servers
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.steps import EmailStep
from cartwheel.times import to_micros
from cartwheel.work.batches import Batches, Desk, Work
from cartwheel.work.leadwork import OneLead

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_AT_ONCE = 100
"""Mails in one transaction."""

TURN_WITHIN = timedelta(minutes=5)
"""So long a mail that was handed over may wait for a connection."""

PATIENCE_S = 1.0
"""So long a server that has enough under way is waited for, before only the others get mail."""

PAUSES = tuple(timedelta(minutes=minutes) for minutes in (5, 15, 60, 120, 240, 480, 720))
"""After a temporary refusal; the last one again and again."""

GIVEN_UP_AFTER = timedelta(days=4)

SEES_TO_IT = timedelta(hours=1)
"""When to look again at what an owner has to see to, unless the account is changed before."""

FOR_THE_OWNER = "an owner has to see to it: "
"""So begins the reason of a mail that waits for a change of its account."""

OWN_FAILURE = "Cartwheel failed: "
"""So begins the reason of a mail that the program itself fails on."""


def lease(server: Server) -> timedelta:
    """How long a mail may be on its way; later than that, whoever had it is believed to be dead."""
    return TURN_WITHIN + server.longest


@dataclass(frozen=True)
class Letter:
    """A mail that was handed over, and what it is made of."""

    account: Account
    lead: Lead
    mail: Mail
    step: EmailStep


class HandOverWork(OneLead):
    """Decide about one mail that is due, and take it."""

    def __init__(self, key: LeadKey, mail_key: int, flow: Flow | None, posts: "Posts", limits: SendLimits) -> None:
        super().__init__(key, Part.QUEUE | Part.PROFILE | Part.SEQUENCES | Part.SUPPRESSION, "sequence")
        self.mail_key = mail_key
        self._flow = flow
        self._posts = posts
        self._limits = limits

    def decide(self, desk: Desk) -> Letter | None:
        """The mail, if it is to be sent now."""
        lead, now = self.remains(desk), desk.now
        mail = lead.mails.get(self.mail_key)
        if mail is None or mail.next_at is None or mail.next_at > now:
            return None  # somebody was here since it was found
        account = desk.account(lead.account_id)
        if mail.state is MailState.HANDED_OVER:
            if mail.server == mailbox.SERVER.name:  # where it would be by now, if it had been sent
                lead.try_later(mail, now, "whoever was sending it vanished", soft=False)
            else:
                doubt(lead, mail, account, now, "whoever was sending it vanished")
            return None
        step = self.step(mail.box)
        if self._flow is None:
            lead.try_later(mail, now + SEES_TO_IT, f"{FOR_THE_OWNER}version {mail.version} cannot be read", soft=False)
            return None
        if step is None:
            lead.not_sent(mail, MailState.FAILED, f"the sequence has no mail {mail.box} any more")
            return None
        reason = why_not_mailed(lead, mail, account)
        if reason:
            lead.not_sent(mail, MailState.SUPPRESSED, reason)
            return None
        return self._hand_over(lead, mail, step, desk)

    def _hand_over(self, lead: Lead, mail: Mail, step: EmailStep, desk: Desk) -> Letter | None:
        """Unless its server has no room for it now."""
        account, now = desk.account(lead.account_id), desk.now
        post = self._posts.for_mail(step.sender or account.mail.sender, test=lead.test)
        closed_until = post.open_until(now)
        if closed_until is not None:
            reason = f"{post.name}: {post.breaker.last_error}"
            if now - max(mail.queued_at, post.breaker.trouble_since or now) > GIVEN_UP_AFTER:
                lead.not_sent(mail, MailState.FAILED, _given_up(reason))
            else:
                lead.try_later(mail, closed_until, reason, soft=False)
            return None
        if post.passed_by:
            lead.try_later(mail, post.next_look(now), f"waits for its turn at {post.name}", soft=False)
            return None
        turn = self._limits.take(limits_of(post.server, lead.email), now)
        if turn.put_off is not None:
            lead.try_later(mail, turn.put_off, f"waits for its turn at {post.name}", soft=False)
            return None
        for row in turn.used:
            desk.put(USED, row)
        return Letter(account, lead, lead.hand_over(mail, post.name, until=now + lease(post.server)), step)

    def step(self, box: str) -> EmailStep | None:
        step = self._flow.by_box.get(box) if self._flow else None
        return step if isinstance(step, EmailStep) else None


def why_not_mailed(lead: Lead, mail: Mail, account: Account) -> str:
    """Why this lead is not to get this mail, in words; empty if it is."""
    if lead.deleted_at is not None:
        return "the lead was deleted"
    if lead.suppression.reason:
        return f"{lead.suppression.reason}: {lead.suppression.details}".removesuffix(": ")
    if account.gdpr and not lead.consent.communications:
        return "the lead has not agreed to commercial mail"
    run = lead.runs.get(mail.sequence_id)
    if run is None or run.mails_are_stopped(mail.run_key):
        return "the lead has left the sequence"
    return ""


def doubt(lead: Lead, mail: Mail, account: Account, now: datetime, reason: str) -> None:
    """Nobody can tell whether it was sent: do what the account wants done then."""
    if account.mail.in_doubt is DoubtPolicy.RESEND and not lead.erased:
        lead.try_later(mail, now, f"sent again: {reason}", soft=False)
    else:
        lead.doubt(mail, reason)


class SettleWork(OneLead):
    """Store what became of a mail that was handed over. `kept` is its row in the test mailbox, if it goes there."""

    def __init__(
        self,
        letter: Letter,
        outcome: Outcome,
        next_try: Callable[[datetime], datetime],
        kept: Row | None = None,
        *,
        of_all_mails: bool,
    ) -> None:
        lead = letter.lead
        parts = Part.MAILS | Part.PROFILE if of_all_mails else Part.QUEUE
        super().__init__((lead.account_id, lead.id), parts | Part.SUPPRESSION, "sequence")
        self._mail = letter.mail
        self._outcome = outcome
        self._next_try = next_try
        self._kept = kept
        self._of_all_mails = of_all_mails

    def decide(self, desk: Desk) -> bool:
        """False when the mail has left the queue meanwhile, so that it has to be looked for among all."""
        lead = self.remains(desk)
        mail = lead.mails.get(self._mail.key)
        under_way = {MailState.HANDED_OVER, MailState.IN_DOUBT}
        if mail is None or mail.state not in under_way or mail.attempts != self._mail.attempts:
            return self._of_all_mails  # it took too long: the mail has been decided about since
        if lead.erased:
            self._settle_erased(lead, mail, desk.now)
        else:
            self._settle(lead, mail, desk)
        return True

    def _settle_erased(self, lead: Lead, mail: Mail, now: datetime) -> None:
        """What the server said may name the person, and nothing more is sent."""
        fate = self._outcome.fate
        if fate is Fate.ACCEPTED:
            lead.accepted(mail, ERASED, now)
        elif fate is Fate.IN_DOUBT:
            lead.doubt(mail, ERASED)
        else:
            lead.not_sent(mail, MailState.FAILED if fate is Fate.NEVER else MailState.SUPPRESSED, ERASED)

    def _settle(self, lead: Lead, mail: Mail, desk: Desk) -> None:
        now = desk.now
        account, outcome = desk.account(lead.account_id), self._outcome
        if outcome.fate is Fate.ACCEPTED:
            lead.accepted(mail, outcome.text, now)
            if self._kept is not None:
                desk.put(mailbox.KEPT, self._kept)
        elif outcome.fate is Fate.IN_DOUBT:
            doubt(lead, mail, account, now, outcome.text)
        elif outcome.fate is Fate.SERVER_TROUBLE:
            if _is_endless(mail, outcome, now):
                lead.not_sent(mail, MailState.FAILED, _given_up(outcome.text))
            else:
                lead.try_later(mail, self._next_try(now), outcome.text, soft=False)
        elif outcome.fate is Fate.NEVER:
            lead.not_sent(mail, MailState.FAILED, outcome.text)
            if outcome.hard:
                lead.bounced(mail.address, outcome.text, now, hard=True, most_soft=account.mail.soft_bounces)
        elif now - mail.queued_at > GIVEN_UP_AFTER:
            lead.not_sent(mail, MailState.FAILED, _given_up(outcome.text))
            if not outcome.suspect:
                lead.bounced(mail.address, outcome.text, now, hard=False, most_soft=account.mail.soft_bounces)
        else:
            lead.try_later(mail, now + PAUSES[min(mail.soft, len(PAUSES) - 1)], outcome.text, soft=True)


def _given_up(reason: str) -> str:
    return f"given up after {GIVEN_UP_AFTER.days} days: {reason}"


def _is_endless(mail: Mail, outcome: Outcome, now: datetime) -> bool:
    """Whether a mail has met trouble for long enough.

    Also often enough: one that waited for its turn, or for an owner, for days has just begun. What has not been touched
    was not tried.
    """
    tried = outcome.phase is not Phase.CHECK or outcome.text.startswith(OWN_FAILURE)
    just_begun = mail.reply.startswith(FOR_THE_OWNER)
    return tried and not just_begun and mail.attempts >= len(PAUSES) and now - mail.queued_at > GIVEN_UP_AFTER


class PutOffWork(OneLead):
    """Look at a mail again later; in the end no more, unless it is for an owner to see to."""

    def __init__(self, key: LeadKey, mail_key: int, reason: str) -> None:
        super().__init__(key, Part.QUEUE, "sequence")
        self._mail_key = mail_key
        self._reason = reason

    def decide(self, desk: Desk) -> None:
        lead = self.remains(desk)
        mail = lead.mails.get(self._mail_key)
        if mail is None or mail.state is not MailState.QUEUED:
            return
        # One that waited for its turn for days failed only once: it is given up when it fails again.
        again = self._reason.startswith(OWN_FAILURE) and mail.reply == self._reason
        if again and desk.now - mail.queued_at > GIVEN_UP_AFTER:
            lead.not_sent(mail, MailState.FAILED, _given_up(self._reason))
        else:
            lead.try_later(mail, desk.now + SEES_TO_IT, self._reason, soft=False)


_DUE_MAILS = DueLeads(
    schema.mails, ("account_id", "lead_id", "id", "sequence_id", "version", "box"), "next_at", most=MOST_AT_ONCE
)
_WHO = Select(schema.leads, ("account_id", "id", "email", "test"), by=("account_id", "id"))


def _why_not_made(trouble: Exception) -> str:
    if isinstance(trouble, Unsendable):
        return f"{FOR_THE_OWNER}{trouble}"
    log.error("a mail could not be made", exc_info=trouble)
    return f"{OWN_FAILURE}{type(trouble).__name__}"


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


class Posts:
    """Where mails go: the mail servers, and the test mailbox for leads of test-mode Apps, or for all."""

    def __init__(self, servers: Servers | None, mailbox: Post) -> None:
        self._servers = servers
        self.mailbox = mailbox

    def for_mail(self, sender: str, *, test: bool) -> Post:
        """Where a mail from `sender` goes; `test` for a lead of a test-mode App. Raises `Unsendable`."""
        if test or self._servers is None:
            return self.mailbox
        return self._servers.for_sender(read_sender(sender)[1] if sender else "")

    def named(self, name: str) -> Post | None:
        return self.mailbox if name == self.mailbox.name or self._servers is None else self._servers.named(name)

    @property
    def have_limits(self) -> bool:
        return self._servers is not None and any(limits_of(post.server, "") for post in self._servers)

    def __iter__(self) -> Iterator[Post]:
        yield self.mailbox
        yield from self._servers or ()

    def stop(self) -> None:
        """Begin nothing more: only mails that are on the wire go on."""
        for post in self:
            post.stop()

    async def close(self) -> None:
        if self._servers is not None:
            await self._servers.close()


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
        self._released_at_version = -1
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
            if isinstance(result, Exception):
                await self._put_off(work, result)
        return len(handed) == MOST_AT_ONCE

    async def release(self) -> bool:
        """An account was changed: try again what waits for that."""
        known = await self._batches.refresh()
        if known.version != self._released_at_version:
            await asyncio.to_thread(mailstore.release, self._database, FOR_THE_OWNER, self._clock())
            self._released_at_version = known.version
        return False

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

    async def _put_off(self, work: Work[Any], trouble: Exception) -> None:
        """One that the program failed on, or that an owner has to see to, must not be tried again at once."""
        assert isinstance(work, HandOverWork)
        await self._batches.submit(PutOffWork(work.key, work.mail_key, _why_not_made(trouble)))

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
            outcome = Outcome(Fate.SERVER_TROUBLE, Phase.CHECK, _why_not_made(trouble_))
            await self._settle(letter, outcome, lambda now: now + SEES_TO_IT)
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
        while not await self._store(SettleWork(letter, outcome, next_try, kept, of_all_mails=of_all_mails)):
            of_all_mails = True

    async def _store(self, work: SettleWork) -> bool:
        while True:
            try:
                return await self._batches.submit(work)
            except (Unavailable, Overloaded) as trouble:
                log.warning("what became of a mail waits to be stored: %s", trouble)
                await asyncio.sleep(1)
