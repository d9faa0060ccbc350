"""What becomes of a lead's mails: on their way, taken, put off, opened, clicked in. Pure.

`Lead.queue_mail` puts them into the ledger, and `Lead.not_sent` takes them out of the queue for good.
"""

import math
from datetime import datetime

from msgspec.structs import replace

from cartwheel.leads import events
from cartwheel.leads.lead import Lead
from cartwheel.leads.mails import Mail, MailState, WaitsFor


def hand_over(lead: Lead, mail: Mail, server: str, *, until: datetime) -> Mail:
    """It goes to a mail server now; after `until` whoever has it is believed to be dead."""
    taken = replace(
        mail,
        state=MailState.HANDED_OVER,
        next_at=until,
        attempts=mail.attempts + 1,
        address=lead.email,
        server=server,
        waits_for=WaitsFor.NOTHING,
    )
    return lead.put_mail(taken)


def accepted(lead: Lead, mail: Mail, reply: str, now: datetime) -> None:
    """A mail server has taken it."""
    lead.put_mail(replace(mail, state=MailState.ACCEPTED, next_at=None, reply=reply, sent_at=now))
    lead.events.append(events.MailSent(mail.sequence_id, mail.box))


def try_later(
    lead: Lead,
    mail: Mail,
    at: datetime,
    reply: str,
    *,
    waits_for: WaitsFor = WaitsFor.NOTHING,
    tried_at: datetime | None = None,
    soft: bool = False,
) -> None:
    """It was certainly not taken. `tried_at` when a try went wrong, `soft` if the recipient's server refused it then.

    With `waits_for` it need not be tried at all until then: what went wrong before that is past.
    """
    since = None if waits_for else mail.trouble_since or tried_at
    queued = replace(mail, state=MailState.QUEUED, next_at=at, reply=reply, waits_for=waits_for)
    lead.put_mail(replace(queued, soft=mail.soft + soft, trouble_since=since))


def again(lead: Lead, mail: Mail, now: datetime, reason: str) -> None:
    """Somebody wants it to be sent once more: what went wrong before is past."""
    lead.put_mail(replace(mail, state=MailState.QUEUED, next_at=now, reply=reason, trouble_since=None))


def came_back(lead: Lead, mail: Mail, reason: str, now: datetime) -> None:
    """A server had taken it, in doubt or not, and could not deliver it."""
    lead.put_mail(replace(mail, state=MailState.FAILED, next_at=None, reply=reason, sent_at=mail.sent_at or now))


def bounced(lead: Lead, mail: Mail, reason: str, now: datetime, *, hard: bool, most_soft: int) -> None:
    """Its address does not work, as a server says: for good, or for the time being.

    The latter counts as often as it happened in a row. That the next server took a mail does not end the row, because
    that takes all there are; that it was taken and did not come back does.
    """
    address = mail.address or lead.email
    lead.bounced(address, reason, now, hard=hard, most_soft=most_soft, in_a_row=_failed_in_a_row(lead, mail, address))


def _failed_in_a_row(lead: Lead, mail: Mail, address: str) -> int:
    """How many mails to this address failed with none in between that arrived, as far as is known; this one among them."""
    ends = {MailState.ACCEPTED, MailState.FAILED}
    sent = [other for other in lead.mails.values() if other.address == address and other.state in ends]
    arrived = [other.key for other in sent if other.state is MailState.ACCEPTED]
    after = max((key for key in arrived if key < mail.key), default=0)
    before = min((key for key in arrived if key > mail.key), default=math.inf)
    return sum(after < other.key < before for other in sent)


def doubt(lead: Lead, mail: Mail, reason: str) -> None:
    """Nobody can tell whether it was taken."""
    lead.put_mail(replace(mail, state=MailState.IN_DOUBT, next_at=None, reply=reason, trouble_since=None))


def opened(lead: Lead, mail: Mail, at: datetime, *, by_machine: bool) -> None:
    """Its pictures were fetched. The first time counts, for people and for machines."""
    if by_machine:
        if mail.machine_opened_at is None:
            lead.put_mail(replace(mail, machine_opened_at=at))
    elif mail.opened_at is None:
        mail = _arrived(lead, mail, "its reader has opened it")
        lead.put_mail(replace(mail, opened_at=at))
        lead.events.append(events.MailOpened(mail.sequence_id, mail.box))


def clicked(lead: Lead, mail: Mail, at: datetime, *, by_machine: bool) -> None:
    """One of its links was followed. The first time counts, for people and for machines."""
    if by_machine:
        if mail.machine_clicked_at is None:
            lead.put_mail(replace(mail, machine_clicked_at=at))
    elif mail.clicked_at is None:
        mail = _arrived(lead, mail, "its reader has clicked in it")
        lead.put_mail(replace(mail, clicked_at=at))
        lead.events.append(events.MailClicked(mail.sequence_id, mail.box))


def _arrived(lead: Lead, mail: Mail, proof: str) -> Mail:
    """A person has it: that ends a doubt whether it was sent, which can only have been when it was due."""
    if mail.state is not MailState.IN_DOUBT:
        return mail
    accepted(lead, mail, proof, mail.queued_at)
    return lead.mails[mail.key]
