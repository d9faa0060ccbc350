"""What readers, their mail programs and other people's servers do with mails that were sent: opens, clicks, leaving,
bounces. Each is a piece of work on the lead of the mail.
"""

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from cartwheel.bounces.reports import Kind, Report, one_line
from cartwheel.data import leadstore
from cartwheel.data.db import Database
from cartwheel.data.leadstore import LeadKey
from cartwheel.errors import LeadNotFound, Overloaded, Unavailable
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part, Parts, RunStatus, SuppressionReason
from cartwheel.leads.mails import Mail, MailState
from cartwheel.mail.links import MailId, Signer
from cartwheel.work.batches import Batches, Desk, Work
from cartwheel.work.leadwork import OneLead

log = logging.getLogger(__name__)

BY_LEAD = "lead"
BY_REPORT = "report"
"""The origins of the events that come of this."""

# -- people and machines --

TOO_QUICK = timedelta(seconds=2)
"""Nobody reads a mail so soon after it was sent."""

AT_A_TIME = timedelta(seconds=1)
"""Nobody follows two links of a mail in less."""

_PROXIES = re.compile(r"GoogleImageProxy|YahooMailProxy", re.IGNORECASE)
"""They fetch pictures when somebody opens the mail."""

_APPLE_PRIVACY = "Mozilla/5.0"
"""All that Apple's servers say of themselves; they fetch every picture of every mail."""

_MACHINES = re.compile(
    r"""
    (?<!cu)bot\b | crawl | spider | slurp | scan | preview | prefetch | monitor | validator | link.?check
    | headless | phantomjs | selenium | puppeteer | playwright
    | ^curl | wget | python | \bgo-http | ^java/ | okhttp | apache-httpclient | libwww | ^ruby | node-fetch | axios
    | ^php | guzzle | ^perl | aiohttp | winhttp | ^dart | existence\ discovery | facebookexternalhit | ^whatsapp
    | barracuda | mimecast | proofpoint | fireeye | symantec | messagelabs | trend\ ?micro | sophos | ironport | talos
    | forcepoint | zscaler | cloudmark | fortinet | fortiguard | checkpoint | avanan | safelinks | hornetsecurity | antivirus
    """,
    re.IGNORECASE | re.VERBOSE,
)


def is_machine(user_agent: str, at: datetime, sent_at: datetime | None) -> bool:
    """Whether whoever fetched a picture or followed a link then is no person, as far as can be told."""
    if sent_at is None or at - sent_at < TOO_QUICK:
        return True
    if _PROXIES.search(user_agent):
        return False
    said = user_agent.strip()
    return said in {"", _APPLE_PRIVACY} or bool(_MACHINES.search(said))


def _sent(mail: Mail) -> datetime | None:
    """Nobody knows it of a mail in doubt; that it was opened shows that it was sent."""
    return mail.sent_at or (mail.queued_at if mail.state.settled else None)


class OpenWork(OneLead):
    """The pictures of a mail were fetched."""

    def __init__(self, mail: MailId, at: datetime, user_agent: str) -> None:
        super().__init__((mail.account_id, mail.lead_id), Part.MAILS, BY_LEAD)
        self._mail_key = mail.mail_id
        self._at = at
        self._user_agent = user_agent

    def decide(self, desk: Desk) -> None:
        lead = self.lead(desk)
        mail = lead.mails.get(self._mail_key)
        if mail is not None and lead.deleted_at is None and not lead.untracked:
            lead.opened(mail, self._at, by_machine=is_machine(self._user_agent, self._at, _sent(mail)))


class ClickWork(OneLead):
    """A link of a mail was followed; `in_a_row` when another one was just before."""

    def __init__(self, mail: MailId, at: datetime, user_agent: str, *, in_a_row: bool) -> None:
        super().__init__((mail.account_id, mail.lead_id), Part.MAILS, BY_LEAD)
        self._mail_key = mail.mail_id
        self._at = at
        self._user_agent = user_agent
        self._in_a_row = in_a_row

    def decide(self, desk: Desk) -> None:
        lead = self.lead(desk)
        mail = lead.mails.get(self._mail_key)
        if mail is None or lead.deleted_at is not None or lead.untracked:
            return
        if self._in_a_row and mail.clicked_at is not None and self._at - mail.clicked_at < AT_A_TIME:
            mail = lead.retract_click(mail)
        by_machine = self._in_a_row or is_machine(self._user_agent, self._at, _sent(mail))
        lead.clicked(mail, self._at, by_machine=by_machine)


class Tracker:
    """Counts opens and clicks beside the answers to them, which never wait for it. One for a process."""

    MOST_WAITING = 500
    """What comes beyond that is not counted: calls to the API need the room."""

    MOST_REMEMBERED = 10_000

    def __init__(self, batches: Batches, clock: Callable[[], datetime]) -> None:
        self._batches = batches
        self._clock = clock
        self._last_clicks: OrderedDict[MailId, tuple[int, datetime]] = OrderedDict()
        self._under_way: set[asyncio.Task[None]] = set()

    def opened(self, mail: MailId, user_agent: str) -> None:
        self._start(OpenWork(mail, self._clock(), user_agent))

    def clicked(self, mail: MailId, link: int, user_agent: str) -> None:
        at = self._clock()
        before, when = self._last_clicks.pop(mail, (link, at))
        self._last_clicks[mail] = (link, at)
        if len(self._last_clicks) > self.MOST_REMEMBERED:
            self._last_clicks.popitem(last=False)
        self._start(ClickWork(mail, at, user_agent, in_a_row=before != link and at - when < AT_A_TIME))

    async def finish(self) -> None:
        """Wait for what is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _start(self, work: Work[None]) -> None:
        if len(self._under_way) >= self.MOST_WAITING:
            log.warning("an open or click is not counted: too many at a time")
            return
        task = asyncio.create_task(self._count(self._batches.submit(work)))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _count(self, counted: Coroutine[Any, Any, None]) -> None:
        try:
            await counted
        except LeadNotFound:
            pass
        except (Overloaded, Unavailable) as trouble:
            log.warning("an open or click is not counted: %s", trouble)
        except Exception:  # the task's outermost: nobody awaits it
            log.exception("an open or click is not counted")


# -- what a lead says about its mails --

UNDONE_WITHIN = timedelta(days=1)
"""How long leaving can be taken back."""


class Left(NamedTuple):
    """A sequence that was left just now; `at` is when, if that can be taken back."""

    sequence_id: int
    at: datetime | None


def _leave(lead: Lead, sequence_id: int, now: datetime) -> Left:
    run = lead.runs.get(sequence_id)
    lead.unenrol(sequence_id, now)
    return Left(sequence_id, now if run is not None and run.runs else None)


class LookWork(OneLead):
    """The lead as it is, to be shown."""

    def __init__(self, key: LeadKey, parts: Parts) -> None:
        super().__init__(key, parts, BY_LEAD)

    def decide(self, desk: Desk) -> Lead:
        return self.lead(desk)


class LeaveWork(OneLead):
    """The lead leaves the sequence that sent a mail; if nobody knows it any more, it is not contacted again."""

    def __init__(self, mail: MailId) -> None:
        super().__init__(
            (mail.account_id, mail.lead_id),
            Part.MAILS | Part.PROFILE | Part.SEQUENCES | Part.SUPPRESSION,
            BY_LEAD,
        )
        self._mail_key = mail.mail_id

    def decide(self, desk: Desk) -> tuple[Lead, Left | None]:
        lead = self.lead(desk)
        mail = lead.mails.get(self._mail_key)
        if mail is None:
            lead.suppress(SuppressionReason.DO_NOT_CONTACT, "unsubscribed from a mail of the past", desk.now)
            return lead, None
        return lead, _leave(lead, mail.sequence_id, desk.now)


class RejoinWork(OneLead):
    """The lead takes back that it left a sequence."""

    def __init__(self, key: LeadKey, left: Left) -> None:
        super().__init__(key, Part.SEQUENCES | Part.MAILS, BY_LEAD)
        self._left = left

    def decide(self, desk: Desk) -> tuple[Lead, bool]:
        """Whether it is in the sequence again."""
        lead, (sequence_id, left_at) = self.lead(desk), self._left
        if left_at is None or desk.now - left_at > UNDONE_WITHIN or lead.deleted_at is not None:
            return lead, False
        return lead, lead.rejoin(sequence_id, left_at, desk.now)


class TrackWork(OneLead):
    """The lead says whether what it opens and clicks may be recorded."""

    def __init__(self, key: LeadKey, *, on: bool, origin: str = BY_LEAD) -> None:
        super().__init__(key, Part.PROFILE, origin)
        self._on = on

    def decide(self, desk: Desk) -> None:
        lead = self.lead(desk)
        if lead.deleted_at is None:
            lead.track(on=self._on)


class Choice(NamedTuple):
    """What was offered to a lead, and what of it it wants."""

    lists: Collection[int]
    wanted_lists: Collection[int]
    sequences: Collection[int]
    wanted_sequences: Collection[int]


class ChoiceWork(OneLead):
    """The lead chooses among the lists and sequences that it knows."""

    def __init__(self, key: LeadKey, choice: Choice) -> None:
        super().__init__(key, Part.LISTS | Part.SEQUENCES | Part.SUPPRESSION, BY_LEAD)
        self._choice = choice

    def decide(self, desk: Desk) -> list[Left]:
        lead, choice = self.lead(desk), self._choice
        if lead.deleted_at is not None:
            return []
        for list_id in lead.lists.keys() & set(choice.lists):
            if list_id not in choice.wanted_lists:
                lead.leave(list_id, desk.now)
            elif not said_never(lead):
                lead.join(list_id, desk.now)
        unwanted = set(choice.sequences) - set(choice.wanted_sequences)
        return [_leave(lead, number, desk.now) for number in sorted(unwanted) if is_in(lead, number)]


def is_in(lead: Lead, sequence_id: int) -> bool:
    """Whether mails of this sequence may come."""
    run = lead.runs.get(sequence_id)
    return run is not None and run.status in {RunStatus.ACTIVE, RunStatus.PARKED}


def said_never(lead: Lead) -> bool:
    """Whether the lead itself does not want to be mailed."""
    return lead.suppression.reason in {SuppressionReason.COMPLAINT, SuppressionReason.DO_NOT_CONTACT}


class FarewellWork(OneLead):
    """The lead leaves everything; with a reason it is not mailed again."""

    def __init__(self, key: LeadKey, reason: SuppressionReason | None) -> None:
        super().__init__(key, Part.PROFILE | Part.LISTS | Part.SEQUENCES | Part.SUPPRESSION, BY_LEAD)
        self._reason = reason

    def decide(self, desk: Desk) -> None:
        lead, now = self.lead(desk), desk.now
        for list_id in list(lead.lists):
            lead.leave(list_id, now)
        for sequence_id in list(lead.runs):
            lead.unenrol(sequence_id, now)
        if self._reason is not None:
            lead.suppress(self._reason, "said so on the page for its mails", now)


# -- what servers report --

LATEST_REPORT = timedelta(days=30)
"""A report that names no mail is about one that was sent since."""

_FAILURES = {Kind.HARD, Kind.SOFT, Kind.BLOCKED}
_TAKEN = {MailState.HANDED_OVER, MailState.ACCEPTED, MailState.IN_DOUBT}


class BounceWork(OneLead):
    """Somebody reports that a mail came back, or that the lead complains, who then leaves every sequence.

    Without a mail, it is the newest one.
    """

    def __init__(self, key: LeadKey, mail_key: int | None, report: Report) -> None:
        super().__init__(key, Part.MAILS | Part.PROFILE | Part.SEQUENCES | Part.SUPPRESSION, BY_REPORT)
        self._mail_key = mail_key
        self._report = report

    def decide(self, desk: Desk) -> bool:
        """Whether it is about a mail of the lead."""
        lead, report, now = self.lead(desk), self._report, desk.now
        mail = self._find(lead, now)
        if mail is None:
            return False
        if report.kind is Kind.COMPLAINT:
            lead.complain(report.diagnostic, now)
        elif report.kind in _FAILURES and mail.state in _TAKEN:  # who reports it twice has said it once
            reason = one_line(f"{report.status} {report.diagnostic}") or "it came back"
            lead.came_back(mail, reason)
            if report.kind is not Kind.BLOCKED:
                most_soft = desk.account(lead.account_id).mail.soft_bounces
                address = mail.address or lead.email
                lead.bounced(address, reason, now, hard=report.kind is Kind.HARD, most_soft=most_soft)
        return True

    def _find(self, lead: Lead, now: datetime) -> Mail | None:
        if self._mail_key is not None:
            return lead.mails.get(self._mail_key)
        sent = (mail for mail in lead.mails.values() if mail.address == self._report.recipient and mail.attempts)
        return max((mail for mail in sent if now - mail.queued_at < LATEST_REPORT), key=_age, default=None)


def _age(mail: Mail) -> int:
    return mail.key


def reported_mail(report: Report, signer: Signer) -> MailId | None:
    """The mail that a report names, by the address that was made for it or by its Message-ID."""
    by_address = (signer.read_bounce_address(address) for address in report.return_paths)
    return next(filter(None, by_address), None) or signer.read_message_id(report.original_message_id)


async def record(
    report: Report, batches: Batches, database: Database, signer: Signer, *, by_recipient: bool = False
) -> int:
    """Store what a report says of mails that were sent; returns of how many. Raises `Overloaded` or `Unavailable`.

    `by_recipient` when whoever reports has proved who it is: then it need not name the mail. Anybody can write a mail.
    """
    if report.kind not in _FAILURES | {Kind.COMPLAINT}:
        return 0
    mail = reported_mail(report, signer)
    if mail is not None:
        works = [BounceWork((mail.account_id, mail.lead_id), mail.mail_id, report)]
    elif by_recipient and report.recipient:
        keys = await asyncio.to_thread(_leads_of, database, list(batches.catalog.accounts), report.recipient)
        works = [BounceWork(key, None, report) for key in keys]
    else:
        return 0
    return sum([await _submit(batches, work) for work in works])


async def _submit(batches: Batches, work: BounceWork) -> bool:
    try:
        return await batches.submit(work)
    except LeadNotFound:
        return False


def _leads_of(database: Database, accounts: Sequence[int], email: str) -> list[LeadKey]:
    def found() -> Iterator[LeadKey]:
        for account_id in accounts:
            lead_id = leadstore.find_lead(connection, account_id, email)
            if lead_id is not None:
                yield account_id, lead_id

    with database.read() as connection:
        return list(found())
