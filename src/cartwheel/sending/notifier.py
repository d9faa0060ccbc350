"""What automations have to say to people of an account: mails of Cartwheel's own, tried again for two days.

They are claimed before they are sent, so that two processes send none twice. Who dies in between leaves it claimed: when
the claim is over it is sent again, so that after a crash a person may read it twice.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from cartwheel.accounts import name_key
from cartwheel.data import mailbox, noticestore, userstore
from cartwheel.data.db import Database
from cartwheel.data.lanes import Row
from cartwheel.data.noticestore import Notice
from cartwheel.data.signingkeys import SigningKeys
from cartwheel.mail import composing
from cartwheel.mail.composing import SENDER_MISSING, Unsendable
from cartwheel.mail.outgoing import Outgoing
from cartwheel.mail.replies import Fate
from cartwheel.sending.handover import TURN_WITHIN
from cartwheel.sending.posts import Posts
from cartwheel.sending.settling import PAUSES
from cartwheel.work.batches import Batches

log = logging.getLogger(__name__)

MOST_AT_ONCE = 20
TRIES = 10


class Notifier:
    """One for a process."""

    def __init__(
        self,
        batches: Batches,
        keys: SigningKeys,
        posts: Posts,
        database: Database,
        base_url: str,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._batches = batches
        self._keys = keys
        self._posts = posts
        self._database = database
        self._base_url = base_url.rstrip("/")
        self._clock = clock

    async def round(self) -> bool:
        """Send what is due; true if there may be more."""
        now = self._clock()
        until = now + TURN_WITHIN + max(post.server.longest for post in self._posts)
        due = await asyncio.to_thread(noticestore.claim, self._database, now, until, MOST_AT_ONCE)
        if due:
            await self._batches.refresh()
            await asyncio.gather(*(self._send(notice, until) for notice in due))
        return len(due) == MOST_AT_ONCE

    async def _send(self, notice: Notice, until: datetime) -> None:
        account = self._batches.catalog.accounts[notice.account_id]
        if notice.email is None:
            return await self._settle(notice, "the lead is not there any more", again=False)
        if not await asyncio.to_thread(self._works_there, notice):
            return await self._settle(notice, f"{notice.recipient} is nobody of this account", again=False)
        try:
            post = self._posts.for_mail(account.mail.sender, test=False)
            message = await self._made(notice)
        except Unsendable as error:
            return await self._settle(notice, str(error), again=True)
        outcome = await post.send(message, until=until)
        if outcome.fate is not Fate.ACCEPTED:
            never = outcome.fate is Fate.NEVER or outcome.hard
            return await self._settle(notice, outcome.text, again=not never)
        kept = None
        if post is self._posts.mailbox:
            kept = mailbox.row_of(notice.account_id, notice.lead_id, notice.id, message, self._clock())
        await asyncio.to_thread(self._sent, notice, kept)
        return None

    def _works_there(self, notice: Notice) -> bool:
        with self._database.read() as connection:
            members = userstore.members(connection, notice.account_id)
        return name_key(notice.recipient) in {name_key(member.user.email) for member in members}

    async def _made(self, notice: Notice) -> Outgoing:
        account = self._batches.catalog.accounts[notice.account_id]
        if not account.mail.sender:
            raise Unsendable(SENDER_MISSING)
        name = account.names.automations.get(notice.automation_id, f"no. {notice.automation_id}")
        lead = f"{self._base_url}/leads/{notice.lead_id}"
        lines = [notice.text, f"{notice.email}: {notice.event}", lead, f"{account.name}, automation {name}"]
        return composing.note(
            account.mail.sender,
            notice.recipient,
            f"{name}: {notice.email}",
            "\n\n".join(line for line in lines if line),
            number=f"notice-{notice.account_id}-{notice.lead_id}-{notice.id}",
            now=self._clock(),
            signers=await self._keys.of(account.id, self._batches.catalog.version),
        )

    def _sent(self, notice: Notice, kept: Row | None) -> None:
        with self._database.write() as connection:
            if kept is not None:
                mailbox.keep(connection, kept)
            noticestore.sent(connection, notice)

    async def _settle(self, notice: Notice, reply: str, *, again: bool) -> None:
        pause = PAUSES[min(notice.attempts, len(PAUSES) - 1)]
        next_at = self._clock() + pause if again and notice.attempts + 1 < TRIES else None
        fields = {"account": notice.account_id, "automation": notice.automation_id, "reply": reply}
        log.warning("a person was not notified: %s", reply, extra={"fields": fields})

        def store() -> None:
            with self._database.write() as connection:
                noticestore.failed(connection, notice, reply, next_at)
                noticestore.forget(connection, self._clock())

        await asyncio.to_thread(store)
