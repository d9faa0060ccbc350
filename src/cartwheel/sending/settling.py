"""What became of a mail that was to be sent, and what follows from it: it is settled, or tried again later."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cartwheel.accounts import Account, DoubtPolicy
from cartwheel.data import mailbox
from cartwheel.data.lanes import Row
from cartwheel.data.leadstore import LeadKey
from cartwheel.leads import mailing
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import ERASED, Part
from cartwheel.leads.mails import Mail, MailState, WaitsFor
from cartwheel.mail.composing import Unsendable
from cartwheel.mail.replies import Fate, Outcome, Phase
from cartwheel.sending.servers import Post
from cartwheel.sequences.steps import EmailStep
from cartwheel.work.batches import Desk
from cartwheel.work.leadwork import OneLead
from cartwheel.work.mailwork import wake_next

log = logging.getLogger(__name__)

PAUSES = tuple(timedelta(minutes=minutes) for minutes in (5, 15, 60, 120, 240, 480, 720))
"""After a temporary refusal; the last one again and again."""

GIVEN_UP_AFTER = timedelta(days=4)
"""So long after the first try that went wrong, one more is the last."""

RESENT_AT_MOST = 2
"""What was sent again so often, or refused for the time being, stays in doubt: each time may be one more copy."""

SEES_TO_IT = timedelta(hours=1)
"""When to look again at what an owner has to see to, unless the account is changed before."""


@dataclass(frozen=True)
class Letter:
    """A mail that was handed over, and what it is made of."""

    account: Account
    lead: Lead
    mail: Mail
    step: EmailStep
    post: Post


def unmade(trouble: Exception) -> Outcome:
    """What becomes of a mail that could not be made, or not be decided about."""
    if isinstance(trouble, Unsendable):
        return Outcome(Fate.FOR_AN_OWNER, Phase.MAKING, str(trouble))
    log.error("a mail could not be made", exc_info=trouble)
    return Outcome(Fate.SERVER_TROUBLE, Phase.MAKING, f"Cartwheel failed: {type(trouble).__name__}")


def _pause(mail: Mail) -> timedelta:
    return PAUSES[min(mail.soft, len(PAUSES) - 1)]


def _tried_for_days(mail: Mail, now: datetime) -> bool:
    return mail.trouble_since is not None and now - mail.trouble_since > GIVEN_UP_AFTER


def try_again(lead: Lead, mail: Mail, at: datetime, reply: str, now: datetime, *, soft: bool = False) -> bool:
    """After a try that went wrong, unless it is given up for that: then false."""
    if _tried_for_days(mail, now):
        lead.not_sent(mail, MailState.FAILED, f"given up after {GIVEN_UP_AFTER.days} days: {reply}")
        return False
    mailing.try_later(lead, mail, at, reply, tried_at=now, soft=soft)
    return True


def put_off(lead: Lead, mail: Mail, outcome: Outcome, at: datetime, now: datetime) -> None:
    """It is not the mail's fault that it was not sent."""
    if outcome.fate is Fate.FOR_AN_OWNER:
        mailing.try_later(lead, mail, now + SEES_TO_IT, outcome.text, waits_for=WaitsFor.OWNER)
    elif outcome.quota:
        mailing.try_later(lead, mail, at, outcome.text, waits_for=WaitsFor.QUOTA)
    elif outcome.phase is Phase.CHECK:  # what has not been touched was not tried
        mailing.try_later(lead, mail, at, outcome.text)
    else:
        try_again(lead, mail, at, outcome.text, now)


def doubt(lead: Lead, mail: Mail, account: Account, now: datetime, reason: str) -> bool:
    """Nobody can tell whether it was sent: do what the account wants done then. False if it is sent again."""
    resent = account.mail.in_doubt is DoubtPolicy.RESEND and not lead.erased
    if resent and mail.soft < RESENT_AT_MOST and not _tried_for_days(mail, now):
        mailing.try_later(lead, mail, now + _pause(mail), f"sent again: {reason}", tried_at=now, soft=True)
        return False
    mailing.doubt(lead, mail, reason)
    return True


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
        parts = Part.MAILS | Part.PROFILE | Part.SUPPRESSION if of_all_mails else Part.QUEUE
        super().__init__((lead.account_id, lead.id), parts, "sequence")
        self.letter = letter
        self.outcome = outcome
        self._mail = letter.mail
        self._next_try = next_try
        self._kept = kept
        self._of_all_mails = of_all_mails
        self.in_doubt = False

    def of_all(self) -> "SettleWork":
        """The same, with all mails of the lead before it."""
        return SettleWork(self.letter, self.outcome, self._next_try, self._kept, of_all_mails=True)

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
        wake_next(lead, mail, desk.now)
        return True

    def _settle_erased(self, lead: Lead, mail: Mail, now: datetime) -> None:
        """What the server said may name the person, and nothing more is sent."""
        fate = self.outcome.fate
        if fate is Fate.ACCEPTED:
            mailing.accepted(lead, mail, ERASED, now)
        elif fate is Fate.IN_DOUBT:
            mailing.doubt(lead, mail, ERASED)
        else:
            lead.not_sent(mail, MailState.FAILED if fate is Fate.NEVER else MailState.SUPPRESSED, ERASED)

    def _settle(self, lead: Lead, mail: Mail, desk: Desk) -> None:
        now = desk.now
        account, outcome = desk.account(lead.account_id), self.outcome
        most_soft = account.mail.soft_bounces
        if outcome.fate is Fate.ACCEPTED:
            mailing.accepted(lead, mail, outcome.text, now)
            if self._kept is not None:
                desk.put(mailbox.KEPT, self._kept)
        elif outcome.fate is Fate.IN_DOUBT:
            self.in_doubt = doubt(lead, mail, account, now, outcome.text)
        elif outcome.fate is Fate.NEVER:
            lead.not_sent(mail, MailState.FAILED, outcome.text)
            if outcome.hard or outcome.soft:
                mailing.bounced(lead, mail, outcome.text, now, hard=outcome.hard, most_soft=most_soft)
        elif outcome.fate is Fate.LATER:
            if not try_again(lead, mail, now + _pause(mail), outcome.text, now, soft=True) and outcome.soft:
                mailing.bounced(lead, mail, outcome.text, now, hard=False, most_soft=most_soft)
        else:
            put_off(lead, mail, outcome, self._next_try(now), now)


class PutOffWork(OneLead):
    """Look later at a mail that could not be decided about."""

    def __init__(self, key: LeadKey, mail_key: int, outcome: Outcome) -> None:
        super().__init__(key, Part.QUEUE, "sequence")
        self._mail_key = mail_key
        self._outcome = outcome

    def decide(self, desk: Desk) -> None:
        lead, now = self.remains(desk), desk.now
        mail = lead.mails.get(self._mail_key)
        if mail is not None and mail.state is MailState.QUEUED:
            put_off(lead, mail, self._outcome, now + SEES_TO_IT, now)
            wake_next(lead, mail, now)
