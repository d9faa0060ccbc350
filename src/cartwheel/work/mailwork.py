"""Work on mails of the ledger that wait."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from cartwheel.data import mailstore
from cartwheel.data.db import Database
from cartwheel.data.leadstore import LeadKey
from cartwheel.leads import mailing, mails
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part
from cartwheel.leads.mails import Mail, MailState
from cartwheel.work.batches import Batches, Desk
from cartwheel.work.leadwork import OneLead

MOST_AT_ONCE = 512
"""Mails that are looked up together."""


def wake_next(lead: Lead, mail: Mail, now: datetime) -> None:
    """If this mail is settled now, the one that waits for it is due."""
    after = mails.waiting_after(mail, lead.mails.values())
    if after is not None and lead.mails[mail.key].state.settled:
        mailing.try_later(lead, after, now, after.reply)


class DropWork(OneLead):
    """Give up a mail that is queued."""

    def __init__(self, key: LeadKey, mail_key: int, *, reason: str, origin: str) -> None:
        super().__init__(key, Part.QUEUE, origin)
        self._mail_key = mail_key
        self._reason = reason

    def decide(self, desk: Desk) -> bool:
        """False if it is not queued any more."""
        lead = self.remains(desk)
        mail = lead.mails.get(self._mail_key)
        if mail is None or mail.state is not MailState.QUEUED:
            return False
        lead.not_sent(mail, MailState.FAILED, self._reason)
        wake_next(lead, mail, desk.now)
        return True


async def drop_queued(
    database: Database, sequence: tuple[int, int], *, reason: str, origin: str, clock: Callable[[], datetime]
) -> int:
    """Give up all mails of the sequence (account, number) that are queued; returns how many those were."""

    def page(after: tuple[int, int]) -> list[tuple[int, int]]:
        with database.read() as connection:
            return mailstore.queued(connection, *sequence, after=after, most=MOST_AT_ONCE)

    dropped, last = 0, (0, 0)
    batches = Batches(database, clock=clock, most_waiting=MOST_AT_ONCE)
    await batches.start()
    try:
        while found := await asyncio.to_thread(page, last):
            works = [DropWork((sequence[0], lead_id), key, reason=reason, origin=origin) for lead_id, key in found]
            dropped += sum(await asyncio.gather(*map(batches.submit, works)))
            last = found[-1]
    finally:
        await batches.stop()
    return dropped
