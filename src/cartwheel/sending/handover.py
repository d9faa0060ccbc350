"""Deciding whether a mail that is due is sent now: under its lead's lock, and stored before the first byte leaves."""

from datetime import timedelta

from cartwheel.accounts import Account
from cartwheel.data import mailbox
from cartwheel.data.leadstore import LeadKey
from cartwheel.leads import mailing, mails
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part
from cartwheel.leads.mails import Mail, MailState, WaitsFor
from cartwheel.mail.smtpurl import Server
from cartwheel.phrases import form
from cartwheel.sending.posts import Posts
from cartwheel.sending.sendlimits import USED, SendLimits, limits_of
from cartwheel.sending.settling import SEES_TO_IT, Letter, doubt
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.steps import EmailStep, Situation
from cartwheel.work.batches import Desk
from cartwheel.work.leadwork import OneLead
from cartwheel.work.mailwork import wake_next

TURN_WITHIN = timedelta(minutes=5)
"""So long a mail that was handed over may wait for a connection."""

PAUSE_LOOK = timedelta(days=1)
"""When to look again at what a pause holds, in case that nobody was told of its end."""

BEHIND = timedelta(minutes=1)
"""So long after the time of an earlier mail one that waits for it is looked at, in case that nobody has woken it."""

VANISHED = form("whoever was sending it vanished")


def lease(server: Server) -> timedelta:
    """How long a mail may be on its way; later than that, whoever had it is believed to be dead."""
    return TURN_WITHIN + server.longest


class HandOverWork(OneLead):
    """Decide about one mail that is due, and take it."""

    def __init__(self, key: LeadKey, mail_key: int, flow: Flow | None, posts: Posts, limits: SendLimits) -> None:
        super().__init__(key, Part.QUEUE | Part.PROFILE | Part.SEQUENCES | Part.SUPPRESSION, "sequence")
        self.mail_key = mail_key
        self.in_doubt = False
        self._flow = flow
        self._posts = posts
        self._limits = limits

    def decide(self, desk: Desk) -> Letter | None:
        """The mail, if it is to be sent now."""
        lead, now = self.remains(desk), desk.now
        self.in_doubt = False
        mail = lead.mails.get(self.mail_key)
        if mail is None or mail.next_at is None or mail.next_at > now:
            return None  # somebody was here since it was found
        letter = self._decide(lead, mail, desk)
        wake_next(lead, mail, now)
        return letter

    def _decide(self, lead: Lead, mail: Mail, desk: Desk) -> Letter | None:
        account, now = desk.account(lead.account_id), desk.now
        if mail.state is MailState.HANDED_OVER:
            if mail.server == mailbox.SERVER.name:  # where it would be by now, if it had been sent
                mailing.try_later(lead, mail, now, VANISHED)
            else:
                self.in_doubt = doubt(lead, mail, account, now, VANISHED)
            return None
        step = self.step(mail.box)
        if self._flow is None:
            reason = f"version {mail.version} cannot be read"
            mailing.try_later(lead, mail, now + SEES_TO_IT, reason, waits_for=WaitsFor.OWNER)
            return None
        if step is None:
            lead.not_sent(mail, MailState.FAILED, f"the sequence has no mail {mail.box} any more")
            return None
        reason = why_not_mailed(lead, mail, account)
        if reason:
            lead.not_sent(mail, MailState.SUPPRESSED, reason)
            return None
        if account.holds(mail.sequence_id):
            mailing.try_later(lead, mail, now + PAUSE_LOOK, mail.reply, waits_for=WaitsFor.PAUSE)
            return None
        earlier = mails.before(mail, lead.mails.values())
        if earlier:
            times = [other.next_at for other in earlier if other.next_at is not None]
            mailing.try_later(lead, mail, max(now, *times) + BEHIND, mail.reply, waits_for=WaitsFor.EARLIER_MAIL)
            return None
        opens = step.opens(Situation(lead, lead.runs[mail.sequence_id], account, now)) if step.window else now
        if opens > now:  # it was open when the mail was queued
            mailing.try_later(lead, mail, opens, mail.reply, waits_for=WaitsFor.WINDOW)
            return None
        return self._hand_over(lead, mail, step, desk)

    def _hand_over(self, lead: Lead, mail: Mail, step: EmailStep, desk: Desk) -> Letter | None:
        """Unless its server has no room for it now."""
        account, now = desk.account(lead.account_id), desk.now
        post = self._posts.for_mail(step.sender or account.mail.sender, test=lead.test)
        closed_until = post.open_until(now)
        if closed_until is not None:
            said = f"{post.name}: {post.breaker.last_error}"
            waits_for = WaitsFor.QUOTA if post.breaker.quota else WaitsFor.NOTHING
            mailing.try_later(lead, mail, closed_until, said, waits_for=waits_for)
            return None
        if post.passed_by:
            mailing.try_later(lead, mail, post.next_look(now), f"waits for its turn at {post.name}")
            return None
        turn = self._limits.take(limits_of(post.server, lead.email), now)
        if turn.put_off is not None:
            mailing.try_later(lead, mail, turn.put_off, f"waits for its turn at {post.name}")
            return None
        for row in turn.used:
            desk.put(USED, row)
        taken = mailing.hand_over(lead, mail, post.name, until=now + lease(post.server))
        return Letter(account, lead, taken, step, post)

    def step(self, box: str) -> EmailStep | None:
        step = self._flow.by_box.get(box) if self._flow else None
        return step if isinstance(step, EmailStep) else None


def why_not_mailed(lead: Lead, mail: Mail, account: Account) -> str:
    """Why this lead is not to get this mail, in words; empty if it is."""
    if lead.deleted_at is not None:
        return form("the lead was deleted")
    if lead.suppression.reason:
        return f"{lead.suppression.reason}: {lead.suppression.details}".removesuffix(": ")
    if lead.consent.declined:
        return form("the lead has declined commercial mail")
    if account.gdpr and not lead.consent.communications:
        return form("the lead has not agreed to commercial mail")
    run = lead.runs.get(mail.sequence_id)
    if run is None or run.mails_are_stopped(mail.run_key):
        return form("the lead has left the sequence")
    return ""
