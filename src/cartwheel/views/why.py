"""Why a lead got a mail or did not: what is known of it, in plain words, and the reading of that."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from cartwheel import accounts
from cartwheel.accounts import Account
from cartwheel.data import erasures, flowstore
from cartwheel.data.catalog import Catalog
from cartwheel.data.db import Database
from cartwheel.data.flowstore import FlowKey
from cartwheel.data.leadstore import LeadKey
from cartwheel.data.signingkeys import link_signer
from cartwheel.emails import read_email
from cartwheel.errors import LeadNotFound, NoSuchName
from cartwheel.leads.events import (
    LeadDeleted,
    LeadErased,
    ListRefused,
    MailBounced,
    MailNotSent,
    SequenceLeft,
    SequenceParked,
    SequenceRefused,
)
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import SAID_BY_THE_PERSON, Enrolment, Part, RunStatus
from cartwheel.leads.mails import Mail, MailState, WaitsFor
from cartwheel.mail import composing
from cartwheel.sequences import telling
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.steps import EmailStep, Step
from cartwheel.views import automationviews, leadcard
from cartwheel.views.leadcard import Entry

_SERVER = "`cartwheel serve` or `cartwheel worker`"

_MOST_DIGITS = 18
MOST_EVENTS = 2000
"""How far back in the feed is looked for who did something."""


class About(StrEnum):
    LEAD = "lead"
    SEQUENCE = "sequence"
    STEP = "step"
    MAIL = "mail"
    AUTOMATION = "automation"


class Fact(NamedTuple):
    """A sentence of the answer; `stops` when it keeps mail from the lead."""

    about: About
    text: str
    stops: bool = False
    sequence: str = ""
    box: str = ""
    mail: int | None = None


@dataclass(frozen=True)
class Known:
    """What is known of one lead. `feed` is newest first."""

    account: Account
    lead: Lead
    feed: Sequence[Entry]
    flows: Mapping[FlowKey, Flow]

    def flow(self, sequence_id: int, version: int) -> Flow | None:
        return self.flows.get((self.account.id, sequence_id, version))

    def clock(self, at: datetime | None) -> str:
        return telling.clock(at, self.account.zone, telling.lead_zone(self.lead)) if at else "an unknown time"

    def subject(self, step: Step | None) -> str:
        """` (…)` as the lead reads it, of a step that has a mail."""
        return f" ({composing.subject_of(step, self.lead, self.account)})" if isinstance(step, EmailStep) else ""

    def last(self, kind: str, **details: object) -> Entry | None:
        """The newest event of this kind with these details."""
        return next(
            (entry for entry in self.feed if entry.kind == kind and details.items() <= dict(entry.details).items()),
            None,
        )

    def last_mail_before(self, at: datetime) -> Mail | None:
        """What came back then may have been this; at least no later one."""
        sent = [mail for mail in self.lead.mails.values() if mail.sent_at is not None and mail.sent_at <= at]
        return max(sent, key=lambda mail: (mail.sent_at, mail.key), default=None)

    def done(self, entry: Entry | None) -> str:
        """` on …, by …` of an event that is known."""
        return f" on {self.clock(entry.at)}, {entry.by}" if entry else ""


def explain(
    known: Known, now: datetime, *, sequence: accounts.Sequence | None = None, mail: int | None = None
) -> list[Fact]:
    """All there is to say, or what concerns one sequence, or one mail: the lead first, then each sequence and its mails."""
    lead, account = known.lead, known.account
    if mail is not None:
        one = lead.mails[mail]
        return [*_of_lead(known), *_of_mail(known, one, now)]
    if sequence is not None:
        asked = [sequence]
        told = list(automationviews.of_sequence(known.account, known.feed, sequence))
    else:
        ran = {*lead.runs, *(entry.sequence_id for entry in lead.mails.values())}
        asked = [entry for number, entry in account.sequence_by_id.items() if number in ran]
        told = list(automationviews.of_lead(known.account, known.feed))
    facts = [*_of_lead(known), *(fact for entry in asked for fact in _of_sequence(known, entry, now))]
    if not asked:
        text = f"It has never been in a sequence, so no mail was ever due. {_STARTED}"
        facts.append(Fact(About.SEQUENCE, text, stops=True))
    return facts + [Fact(About.AUTOMATION, text) for text in told]


_STARTED = "A call starts it, `subscribe_lead_to_sequence_at_step`, an automation, or a step of another sequence."


# -- the lead --


def _of_lead(known: Known) -> Iterator[Fact]:
    lead, account = known.lead, known.account
    yield Fact(About.LEAD, f"{lead.email} is a lead of {account.name} since {known.clock(lead.created_at)}.")
    if lead.erased:
        done = known.done(known.last(LeadErased.kind))
        yield Fact(About.LEAD, f"It was erased{done}: nothing is left of it but numbers.", stops=True)
    elif lead.deleted_at is not None:
        done = known.done(known.last(LeadDeleted.kind)) or f" on {known.clock(lead.deleted_at)}"
        yield Fact(About.LEAD, f"It was deleted{done}: nothing is sent to it.", stops=True)
        yield Fact(About.LEAD, f"{telling.command('lead', 'restore', lead.email)} brings it back.")
    told = lead.suppression
    if told.reason:
        details = f" ({told.details})" if told.details else ""
        since = f" since {known.clock(told.at)}" if told.at else ""
        yield Fact(About.LEAD, f"Its address is not mailed{since}: {told.reason}{details}.", stops=True)
        allow = telling.command("lead", "allow", lead.email)
        when = (
            "only if it asks for mails again" if told.reason in SAID_BY_THE_PERSON else "once the address works again"
        )
        yield Fact(About.LEAD, f"{allow} has it mailed again: {when}.")
    elif told.soft_bounces:
        most = account.mail.soft_bounces
        last = f", the last time on {known.clock(told.at)}" if told.at else ""
        text = f"Its address failed for the time being, {told.soft_bounces} of {most} times in a row{last}: {told.details}."
        yield Fact(About.LEAD, text)
    yield from _of_consent(known)
    if lead.test:
        text = "An App in test mode made it: its mails go to the test mailbox, and to nobody."
        yield Fact(About.LEAD, text, stops=True)
        yield Fact(About.LEAD, f"{telling.command('mailbox', 'list')} shows them.")
    for number, place in lead.lists.items():
        refused = known.last(ListRefused.kind, list_id=number)
        if place.left_at is not None and refused is not None and refused.at >= place.left_at:
            name = account.list_names.get(number, f"no. {number}")
            yield Fact(
                About.LEAD, f"It was not put on the list {name}{known.done(refused)}: {refused.details['reason']}."
            )


def _of_consent(known: Known) -> Iterator[Fact]:
    consent = known.lead.consent
    if consent.declined:
        text = f"It has declined commercial mail on {known.clock(consent.at)}."
    elif known.account.gdpr and not consent.communications:
        status = consent.status.name.lower().replace("_", " ")
        text = f"It has not agreed to commercial mail (consent: {status}), and the account is under the GDPR."
    else:
        return
    yield Fact(About.LEAD, text, stops=True)
    agree = telling.command("lead", "agree", known.lead.email)
    yield Fact(About.LEAD, f"If it agrees, and you can prove it: {agree}.")


# -- a sequence --


def _of_sequence(known: Known, sequence: accounts.Sequence, now: datetime) -> Iterator[Fact]:
    run = known.lead.runs.get(sequence.id)

    def fact(text: str, *, stops: bool = False) -> Fact:
        box = run.step if run else ""
        return Fact(About.SEQUENCE, text, stops=stops, sequence=sequence.name, box=box)

    if run is None:
        yield fact(f"It was never started in the sequence {sequence.name}. {_STARTED}", stops=True)
    else:
        times = len(run.earlier)
        earlier = f", after {times} earlier {'time' if times == 1 else 'times'}" if times else ""
        yield fact(f"It started the sequence {sequence.name} on {known.clock(run.started_at)}{earlier}.")
        yield fact(_standing(known, sequence, run, now), stops=run.status is not RunStatus.COMPLETED and not run.runs)
        refused = known.last(SequenceRefused.kind, sequence_id=sequence.id)
        if run.ended_by_leaving and refused is not None and run.ended_at is not None and refused.at >= run.ended_at:
            yield fact(f"It was not let in again{known.done(refused)}: {refused.details['reason']}.", stops=True)
        yield from map(fact, _helps(known, sequence, run))
    mails = [mail for mail in known.lead.mails.values() if mail.sequence_id == sequence.id]
    for mail in mails:
        yield from _of_mail(known, mail, now)
    if run is not None:
        yield from _unmailed(known, sequence, run, {mail.box for mail in mails if mail.run_key == run.key})


def _standing(known: Known, sequence: accounts.Sequence, run: Enrolment, now: datetime) -> str:
    if run.status is RunStatus.UNSUBSCRIBED:
        left = known.last(SequenceLeft.kind, sequence_id=sequence.id)
        done = known.done(left) or f" on {known.clock(run.ended_at)}"
        if not run.mails_are_stopped(run.key):
            return f"Step {run.step} of it took it out{done}: no step follows, and what the steps before sent still goes out."
        return f"It left it at step {run.step}{done}: from then on nothing of it is sent."
    if run.status is RunStatus.COMPLETED:
        return f"It completed it on {known.clock(run.ended_at)}, after step {run.step}."
    if run.status is RunStatus.PARKED:
        parked = known.last(SequenceParked.kind, sequence_id=sequence.id)
        since = f" since {known.clock(parked.at)}" if parked else ""
        return f"It is stuck at step {run.step}{since}, and an owner has to see to it: {run.reason.removesuffix('.')}."
    if sequence.paused:
        return f"It waits at step {run.step} because the sequence is paused; what it waits for there begins anew then."
    if run.due_at is not None and run.due_at <= now:
        return f"It is at step {run.step} and due since {known.clock(run.due_at)}: it goes on when {_SERVER} runs."
    flow = known.flow(sequence.id, run.version)
    step = flow.by_box.get(run.step) if flow else None
    since = f" since {known.clock(run.arrived_at)}" if run.arrived_at else ""
    waits = telling.waits_for(run, step, known.lead, known.account)
    return f"It is at step {run.step}{since} and waits {waits}."


def _helps(known: Known, sequence: accounts.Sequence, run: Enrolment) -> Iterator[str]:
    """What an owner can do about it."""
    name = sequence.name
    if run.status is RunStatus.PARKED:
        unpark = telling.command("sequence", "unpark", name, known.lead.email)
        yield f"When the cause is mended, {unpark} has it try again where it stands."
    elif run.runs and sequence.paused:
        yield f"{telling.command('sequence', 'resume', name)} lets everybody in it go on."
    elif run.status is RunStatus.COMPLETED:
        yield "Who has completed a sequence is not started in it again."
    elif run.status is RunStatus.UNSUBSCRIBED:
        entry = sequence.entry
        if not entry.again:
            yield "It cannot be started again: the sequence takes each lead once (`again = false` in its entry)."
        elif run.left_by_lead:
            yield "It left by itself: a call can start it again, a step of a sequence does not."
        elif entry.most:
            yield f"It can be started again, {entry.most} times in {entry.days} days at the most."
        else:
            yield "It can be started again."
    if run.status in {RunStatus.ACTIVE, RunStatus.PARKED} and run.version != sequence.version:
        move = telling.command("sequence", "move", name, "--from", str(run.version))
        yield (
            f"It keeps to version {run.version} of the steps; the newest is {sequence.version}. "
            f"{move} shows where it would go there."
        )


def _unmailed(known: Known, sequence: accounts.Sequence, run: Enrolment, mailed: set[str]) -> Iterator[Fact]:
    """The steps that have a mail, and did not send it in this run."""
    flow = known.flow(sequence.id, run.version)
    if flow is None:
        return
    boxes = [step.box for step in flow.steps]
    here = boxes.index(run.step) if run.step in boxes else len(boxes)
    for number, step in enumerate(flow.steps):
        if isinstance(step, EmailStep) and step.box not in mailed:
            text = f"No mail of step {step.box}{known.subject(step)}: {_missing(step, number - here, run)}."
            yield Fact(About.STEP, text, sequence=sequence.name, box=step.box)


def _missing(step: EmailStep, ahead: int, run: Enrolment) -> str:
    if not step.active:
        return "the step is not active (`active = false`), so everybody is led past it"
    if ahead >= 0 and run.runs:
        return "it has not been there yet" if ahead else "it is there now"
    if ahead > 0 or (ahead == 0 and run.status is not RunStatus.COMPLETED):
        return "it did not come so far"
    only = f", or it was not so that {step.only_if.told()}" if step.only_if else ""
    return f"its way did not lead there (a split, a jump or a goal went past it, or it began further on){only}"


# -- a mail --


def _of_mail(known: Known, mail: Mail, now: datetime) -> Iterator[Fact]:
    name = known.account.sequence_names.get(mail.sequence_id, f"no. {mail.sequence_id}")
    flow = known.flow(mail.sequence_id, mail.version)
    step: Step | None = flow.by_box.get(mail.box) if flow else None
    text = f"The mail of step {mail.box} of {name}{known.subject(step)} {_fate(known, mail, now)}."
    yield Fact(About.MAIL, text, mail.state is not MailState.ACCEPTED, name, mail.box, mail.key)
    if mail.state is MailState.IN_DOUBT:
        resend, drop = (telling.command("mail", verb, str(mail.key)) for verb in ("resend", "drop"))
        yield Fact(About.MAIL, f"{resend} sends it again, {drop} leaves it at that.", False, name, mail.box, mail.key)
    elif mail.never_taken and not known.lead.suppression.reason and not known.lead.erased:
        resend = telling.command("mail", "resend", str(mail.key))
        text = f"{resend} sends it again, once what kept it from leaving is mended."
        yield Fact(About.MAIL, text, False, name, mail.box, mail.key)
    seen = [f"{told} on {known.clock(at)}" for told, at in _seen(mail) if at is not None]
    if seen:
        yield Fact(About.MAIL, f"It was {', and '.join(seen)}.", False, name, mail.box, mail.key)
    bounce = known.last(MailBounced.kind)
    if bounce is not None and mail is known.last_mail_before(bounce.at) and mail.state is MailState.ACCEPTED:
        text = f"After that, on {known.clock(bounce.at)}, a mail to it came back: {bounce.details['reason']}."
        yield Fact(About.MAIL, text, False, name, mail.box, mail.key)


def _fate(known: Known, mail: Mail, now: datetime) -> str:
    said = telling.mail_waits(mail, known.account) if mail.state is MailState.QUEUED else mail.reply
    why = f": {said.removesuffix('.')}" if said else ""
    server = mail.server or "a mail server"
    to = f" for {mail.address}" if mail.address else ""
    if mail.state is MailState.ACCEPTED:
        return f"was taken by {server}{to} on {known.clock(mail.sent_at)}{why}"
    if mail.state is MailState.HANDED_OVER:
        until = known.clock(mail.next_at)
        return f"is on its way to {server} (try {mail.attempts}); if nothing is heard by {until}, it is in doubt"
    if mail.state is MailState.IN_DOUBT:
        return f"may have been sent by {server} or not, nobody can tell{why}"
    if mail.state is MailState.QUEUED:
        tried = f" after {mail.attempts} {'try' if mail.attempts == 1 else 'tries'}" if mail.attempts else ""
        if mail.waits_for is WaitsFor.WINDOW:
            return f"waits{tried} for its window until {known.clock(mail.next_at)}"
        if mail.waits_for:
            return f"waits{tried}{why}"
        if mail.next_at is not None and mail.next_at > now:
            return f"waits{tried} until {known.clock(mail.next_at)}{why}"
        return f"is queued since {known.clock(mail.queued_at)}{tried} and goes out when {_SERVER} runs{why}"
    if mail.state is MailState.FAILED and mail.sent_at is not None:
        return f"was taken by {server}{to} on {known.clock(mail.sent_at)}, and came back{why}"
    event = known.last(MailNotSent.kind, sequence_id=mail.sequence_id, step=mail.box)
    at = f" on {known.clock(event.at)}" if event else ""
    how = "failed for good" if mail.state is MailState.FAILED else "was not sent, and will not be"
    return f"{how}{at}{why}"


def _seen(mail: Mail) -> Iterator[tuple[str, datetime | None]]:
    yield "opened", mail.opened_at
    yield "clicked", mail.clicked_at
    if mail.opened_at is None:
        yield "opened by a machine", mail.machine_opened_at
    if mail.clicked_at is None:
        yield "clicked by a machine", mail.machine_clicked_at


# -- reading --


@dataclass(frozen=True)
class Answer:
    account: Account
    email: str
    facts: Sequence[Fact]

    def as_data(self) -> dict[str, Any]:
        return {
            "account": self.account.name,
            "email": self.email,
            "facts": [fact._asdict() for fact in self.facts],
        }


async def read(database: Database, catalog: Catalog, key: LeadKey) -> Known:
    """Raises `LeadNotFound`."""
    card = await leadcard.read_card(database, catalog, key, most_events=MOST_EVENTS, parts=Part.WHOLE)
    lead = card.lead
    keys = {(key[0], run.sequence_id, run.version) for run in lead.runs.values()}
    keys |= {(key[0], mail.sequence_id, mail.version) for mail in lead.mails.values()}
    return Known(card.account, lead, card.feed, await asyncio.to_thread(_flows, database, keys))


def _of_erased(database: Database, account: Account, email: str) -> Fact | None:
    """Of an address that no lead has any more."""
    with database.read() as connection:
        erased_at = erasures.erased_at(connection, account.id, read_email(email))
    if erased_at is None:
        return None
    on = telling.clock(erased_at, account.zone, None)
    allow = telling.command("lead", "allow", email)
    text = (
        f"{account.name} has no lead {email} any more. The address is not to be mailed since {on}: {erasures.DETAILS}, "
        f"and a hash of it was kept. If it comes back, {allow} has it mailed."
    )
    return Fact(About.LEAD, text, stops=True)


def _flows(database: Database, keys: set[FlowKey]) -> dict[FlowKey, Flow]:
    with database.read() as connection:
        found = {key: flowstore.read(connection, key) for key in keys}
    return {key: flow for key, flow in found.items() if flow is not None}


def _mail_named(database: Database, text: str, key: LeadKey | None) -> int | None:
    """The number of a mail that is called by it, or by its Message-ID; that may be another lead's."""
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
        return int(text)
    named = link_signer(database).read_message_id(text)
    return named.mail_id if named and (named.account_id, named.lead_id) == key else None


def ask(database: Database, catalog: Catalog, account: Account, who: str, about: str | None, now: datetime) -> Answer:
    """`who` is an address or a lead's id; `about` a sequence's name, or a mail's number or Message-ID.

    Raises `NoSuchName` for any of them.
    """
    key = leadcard.find(database, account, who)
    try:
        known = asyncio.run(read(database, catalog, key)) if key else None
    except LeadNotFound:
        known = None
    if known is None:
        gone = _of_erased(database, account, who) if key is None else None
        if gone is None:
            raise NoSuchName(f"{account.name} has no lead {who}: it was never added, or has another address now")
        return Answer(account, who, [gone])
    sequence = account.sequences.get(accounts.name_key(about)) if about else None
    mail = _mail_named(database, about, key) if about and sequence is None else None
    if about and sequence is None and mail not in known.lead.mails:
        there = ", ".join(account.sequence_names.values()) or "none"
        raise NoSuchName(
            f"{account.name} has no sequence {about}, and {known.lead.email} no mail {about}; there are: {there}"
        )
    return Answer(account, known.lead.email, explain(known, now, sequence=sequence, mail=mail))
