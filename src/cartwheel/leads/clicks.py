"""Whose clicks they are. Pure.

Programs that look at mails follow all their links at once, and call themselves what they like. So a click counts as a
person's only when no other link of the mail was followed just before or after it, through whichever process.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from cartwheel.leads import mailing
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part
from cartwheel.leads.mails import Burst, Mail

AT_A_TIME = timedelta(seconds=1)
"""Nobody follows two links of a mail in less."""

JUDGED_AFTER = timedelta(seconds=2)
"""How long after a click was stored it is judged: by then those that other processes have taken are stored, too."""


def followed(lead: Lead, mail: Mail, link: int, at: datetime, now: datetime, *, by_machine: bool) -> None:
    """A link was followed at that time, which is stored now. `by_machine` if it is one for certain, whatever follows."""
    judge(lead, at)
    mail = lead.mails[mail.key]
    last = lead.bursts.get(mail.key)
    if by_machine:
        mailing.clicked(lead, mail, at, by_machine=True)
    if last is not None and last.judge_at is not None and at <= last.first_at - AT_A_TIME:
        return  # it took so long that later ones wait to be judged
    near = last is not None and last.first_at - AT_A_TIME < at < _over_at(last)
    burst = _joined(last, link, at) if last is not None and near else Burst(link, at, at)
    if burst.several:
        burst = replace(burst, judge_at=None)
        _retract(lead, mail.key, burst)
    elif not by_machine:
        burst = replace(
            burst, person_at=min(burst.person_at or at, at), judge_at=max(now, burst.last_at) + JUDGED_AFTER
        )
    _put(lead, mail.key, burst)


def judge(lead: Lead, at: datetime) -> None:
    """Count as a person's what no other click can follow at once any more."""
    for key, burst in list(lead.bursts.items()):
        if burst.judge_at is None or at < _over_at(burst):
            continue
        _put(lead, key, replace(burst, judge_at=None))
        mail = lead.mails.get(key)
        if mail is not None and burst.person_at is not None and lead.deleted_at is None and not lead.untracked:
            mailing.clicked(lead, mail, burst.person_at, by_machine=False)


def _over_at(burst: Burst) -> datetime:
    return burst.last_at + AT_A_TIME


def _joined(burst: Burst, link: int, at: datetime) -> Burst:
    return replace(
        burst,
        first_at=min(burst.first_at, at),
        last_at=max(burst.last_at, at),
        several=burst.several or link != burst.link,
    )


def _retract(lead: Lead, key: int, burst: Burst) -> None:
    """None of these is a person's, also if one was counted already."""
    mail = lead.mails[key]
    if mail.clicked_at is not None and mail.clicked_at == burst.person_at:
        mail = _taken_back(lead, mail)
    mailing.clicked(lead, mail, burst.first_at, by_machine=True)


def _put(lead: Lead, key: int, burst: Burst) -> None:
    """These are the last clicks in the mail."""
    lead.bursts[key] = burst
    lead.dirty.add((Part.CLICKS, key))


def _taken_back(lead: Lead, mail: Mail) -> Mail:
    """It turned out to be a machine that clicked."""
    first = mail.machine_clicked_at or mail.clicked_at
    return lead.put_mail(replace(mail, clicked_at=None, machine_clicked_at=first))
