"""What readers, their mail programs and other people's servers do with mails that were sent: opens, clicks, leaving,
bounces. Each is a piece of work on the lead of the mail.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from email.utils import parseaddr
from operator import attrgetter
from typing import NamedTuple

from cartwheel.accounts import Account, MailSettings
from cartwheel.bounces.reports import Kind, Report, one_line
from cartwheel.data import mailbox, mailstore
from cartwheel.data.db import Database
from cartwheel.data.flowstore import Flows
from cartwheel.data.leadstore import LeadKey
from cartwheel.errors import LeadNotFound, Overloaded, Unavailable
from cartwheel.leads import clicks, mailing
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part, Parts, RunStatus, SuppressionReason
from cartwheel.leads.mails import Mail, MailState
from cartwheel.mail.links import MailId, Signer
from cartwheel.sending.servers import domain_of
from cartwheel.sequences.steps import EmailStep
from cartwheel.work.batches import Batches, Desk, Work
from cartwheel.work.leadwork import BY_LEAD, OneLead

log = logging.getLogger(__name__)

BY_REPORT = "report"
"""The origin of the events that come of what servers say."""

# -- people and machines --

TOO_QUICK = timedelta(seconds=2)
"""Nobody reads a mail so soon after it was sent."""

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
            mailing.opened(lead, mail, self._at, by_machine=is_machine(self._user_agent, self._at, _sent(mail)))


class ClickWork(OneLead):
    """A link of a mail was followed."""

    def __init__(self, mail: MailId, link: int, at: datetime, user_agent: str) -> None:
        super().__init__((mail.account_id, mail.lead_id), Part.MAILS | Part.CLICKS, BY_LEAD)
        self._mail_key = mail.mail_id
        self._link = link
        self._at = at
        self._user_agent = user_agent

    def decide(self, desk: Desk) -> None:
        lead = self.lead(desk)
        mail = lead.mails.get(self._mail_key)
        if mail is None or lead.deleted_at is not None or lead.untracked:
            return
        by_machine = is_machine(self._user_agent, self._at, _sent(mail))
        clicks.followed(lead, mail, self._link, self._at, desk.now, by_machine=by_machine)


class Tracker:
    """Counts opens and clicks beside the answers to them, which never wait for it. One for a process."""

    MOST_WAITING = 500
    """What comes beyond that is not counted: calls to the API need the room."""

    MOST_REMEMBERED = 10_000

    def __init__(self, batches: Batches, database: Database, clock: Callable[[], datetime]) -> None:
        self._batches = batches
        self._database = database
        self._flows = Flows(database)
        self._clock = clock
        self._under_way: set[asyncio.Task[None]] = set()

    def opened(self, mail: MailId, user_agent: str) -> None:
        self._start(mail, OpenWork(mail, self._clock(), user_agent), _TRACKS_OPENS)

    def clicked(self, mail: MailId, link: int, user_agent: str) -> None:
        self._start(mail, ClickWork(mail, link, self._clock(), user_agent), _TRACKS_CLICKS)

    async def finish(self) -> None:
        """Wait for what is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _start(self, mail: MailId, work: Work[None], tracks: "Tracks") -> None:
        if len(self._under_way) >= self.MOST_WAITING:
            log.warning("an open or click is not counted: too many at a time")
            return
        task = asyncio.create_task(self._count(mail, work, tracks))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _count(self, mail: MailId, work: Work[None], tracks: "Tracks") -> None:
        try:
            if await self._wanted(mail, tracks):
                await self._batches.submit(work)
        except LeadNotFound:
            pass
        except (Overloaded, Unavailable) as trouble:
            log.warning("an open or click is not counted: %s", trouble)
        except Exception:  # the task's outermost: nobody awaits it
            log.exception("an open or click is not counted")

    async def _wanted(self, mail: MailId, tracks: "Tracks") -> bool:
        """Whether the account, and the step as it is now, want it recorded: they may have said so since the mail was sent."""
        catalog = await self._batches.refresh()
        account = catalog.accounts.get(mail.account_id)
        if account is None or not tracks(account.mail):
            return False
        place = await asyncio.to_thread(self._place, mail)
        sequence = account.sequence_by_id.get(place[0]) if place else None
        if place is None or sequence is None:
            return True
        version = (account.id, sequence.id, sequence.version)
        await self._flows.learn([version])
        flow = self._flows.get(version)
        step = flow.by_box.get(place[1]) if flow else None
        return not isinstance(step, EmailStep) or tracks(step)

    def _place(self, mail: MailId) -> tuple[int, str] | None:
        with self._database.read() as connection:
            return mailstore.place_of(connection, *mail)


Tracks = Callable[[MailSettings | EmailStep], bool]
_TRACKS_OPENS: Tracks = attrgetter("track_opens")
_TRACKS_CLICKS: Tracks = attrgetter("track_clicks")


# -- what a lead says about its mails --

UNDONE_WITHIN = timedelta(days=1)
"""How long leaving can be taken back."""


class Left(NamedTuple):
    """What was left at one time; `at` is when, if that can be taken back."""

    at: datetime | None
    sequences: tuple[int, ...]
    lists: tuple[int, ...] = ()


def _leave(lead: Lead, sequence_id: int, now: datetime) -> Left:
    run = lead.runs.get(sequence_id)
    lead.unenrol(sequence_id, now, by_lead=True)
    return Left(now if run is not None and run.runs else None, (sequence_id,))


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
    """The lead takes back that it left something."""

    def __init__(self, key: LeadKey, left: Left) -> None:
        super().__init__(key, Part.LISTS | Part.SEQUENCES | Part.MAILS | Part.SUPPRESSION, BY_LEAD)
        self._left = left

    def decide(self, desk: Desk) -> tuple[Lead, bool]:
        """Whether it is in any of it again."""
        lead, now, (at, sequences, lists) = self.lead(desk), desk.now, self._left
        if at is None or now - at > UNDONE_WITHIN or lead.deleted_at is not None or said_never(lead):
            return lead, False
        back = [lead.rejoin(number, at, now) for number in sequences]
        for number in lists:
            if number in lead.lists and lead.lists[number].left_at == at:
                lead.join(number, now)
                back.append(True)
        return lead, any(back)


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
                if lead.lists[list_id].active:  # else it did not choose, but left it as it was
                    lead.leave(list_id, desk.now, by_lead=True)
            elif not said_never(lead):
                lead.join(list_id, desk.now)
        unwanted = set(choice.sequences) - set(choice.wanted_sequences)
        return [_leave(lead, number, desk.now) for number in sorted(unwanted) if is_in(lead, number)]


def is_in(lead: Lead, sequence_id: int) -> bool:
    """Whether mails of this sequence may come."""
    run = lead.runs.get(sequence_id)
    return run is not None and run.status in {RunStatus.ACTIVE, RunStatus.PARKED}


def has_left(lead: Lead, sequence_id: int) -> bool:
    """Whether no mail of this sequence comes any more because somebody left it: not if a step of its own ended it."""
    run = lead.runs.get(sequence_id)
    return run is not None and run.ended_by_leaving and run.mails_are_stopped(run.key)


def said_never(lead: Lead) -> bool:
    """Whether the lead itself does not want to be mailed."""
    return lead.suppression.reason in {SuppressionReason.COMPLAINT, SuppressionReason.DO_NOT_CONTACT}


class FarewellWork(OneLead):
    """The lead leaves everything; with a reason it is not mailed again."""

    def __init__(self, key: LeadKey, reason: SuppressionReason | None) -> None:
        super().__init__(key, Part.PROFILE | Part.LISTS | Part.SEQUENCES | Part.SUPPRESSION, BY_LEAD)
        self._reason = reason

    def decide(self, desk: Desk) -> Left:
        lead, now = self.lead(desk), desk.now
        lists = tuple(number for number, place in lead.lists.items() if place.active)
        sequences = tuple(number for number, run in lead.runs.items() if run.runs)
        for list_id in list(lead.lists):
            lead.leave(list_id, now, by_lead=True)
        for sequence_id in list(lead.runs):
            lead.unenrol(sequence_id, now, by_lead=True)
        if self._reason is not None:
            lead.suppress(self._reason, "said so on the page for its mails", now)
        return Left(now if lists or sequences else None, sequences, lists)


# -- what servers report --

LATEST_REPORT = timedelta(days=30)
"""A report that names no mail is about one that was sent since."""

CLOCKS_DIFFER = timedelta(minutes=5)
"""A report that names no mail is about none that was made so long after what it tells of."""

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
        elif report.kind in _FAILURES:
            self._failed(lead, mail, desk)
        return True

    def _failed(self, lead: Lead, mail: Mail, desk: Desk) -> None:
        """Who reports it twice has said it once, but a server may give up after it has hoped."""
        report = self._report
        reason = one_line(f"{report.status} {report.diagnostic}") or "it came back"
        first, hard = mail.state in _TAKEN, report.kind is Kind.HARD
        if first:
            mailing.came_back(lead, mail, reason, desk.now)
        if report.kind is not Kind.BLOCKED and (first or (hard and not lead.suppression.reason)):
            most_soft = desk.account(lead.account_id).mail.soft_bounces
            mailing.bounced(lead, mail, reason, desk.now, hard=hard, most_soft=most_soft)

    def _find(self, lead: Lead, now: datetime) -> Mail | None:
        if self._mail_key is not None:
            return lead.mails.get(self._mail_key)
        end = now if self._report.at is None else self._report.at + CLOCKS_DIFFER
        sent = (mail for mail in lead.mails.values() if mail.address == self._report.recipient and _has_left(mail))
        return max((mail for mail in sent if now - LATEST_REPORT < mail.queued_at <= end), key=_age, default=None)


def _has_left(mail: Mail) -> bool:
    return bool(mail.attempts) and mail.server != mailbox.SERVER.name


def _age(mail: Mail) -> int:
    return mail.key


def reported_mail(report: Report, signer: Signer) -> MailId | None:
    """The mail that a report names, by the address that was made for it or by its Message-ID."""
    by_address = (signer.read_bounce_address(address) for address in report.return_paths)
    return next(filter(None, by_address), None) or signer.read_message_id(report.original_message_id)


async def record(
    report: Report, batches: Batches, database: Database, signer: Signer, *, proved_at: datetime | None = None
) -> int:
    """Store what a report says of mails that were sent; returns of how many. Raises `Overloaded` or `Unavailable`.

    `proved_at` when whoever reports has proved who it is: then it need not name the mail. Anybody can write a mail.
    """
    if report.kind not in _FAILURES | {Kind.COMPLAINT}:
        return 0
    mail = reported_mail(report, signer)
    if mail is not None:
        works = [BounceWork((mail.account_id, mail.lead_id), mail.mail_id, report)]
    elif proved_at is not None and report.recipient:
        known = await batches.refresh()  # a report may come to a process that has not heard of the account
        keys = await asyncio.to_thread(_whom, report, known.accounts, database, proved_at)
        works = [BounceWork(key, None, report) for key in keys]
    else:
        return 0
    return sum([await _submit(batches, work) for work in works])


async def _submit(batches: Batches, work: BounceWork) -> bool:
    try:
        return await batches.submit(work)
    except LeadNotFound:
        return False


def _whom(report: Report, accounts: Mapping[int, Account], database: Database, now: datetime) -> list[LeadKey]:
    """The leads that a report without a mail can be about.

    Accounts have mailed the address not long before it; if one sends from the domain that the report names, only such.
    """
    with database.read() as connection:
        keys = mailstore.leads_mailed(
            connection, list(accounts), report.recipient, since=now - LATEST_REPORT, but_by=mailbox.SERVER.name
        )
    named = [key for key in keys if _sends_from(accounts[key[0]], domain_of(report.sender))]
    return named or keys


def _sends_from(account: Account, domain: str) -> bool:
    """Whether it is the domain of the account's sender, or one below or above."""
    own = domain_of(parseaddr(account.mail.sender)[1])
    return bool(own and domain) and (f".{own}".endswith(f".{domain}") or f".{domain}".endswith(f".{own}"))
