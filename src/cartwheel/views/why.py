"""Why a lead got a mail or did not: what is known of it, in plain words, and the reading of that."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from cartwheel import accounts
from cartwheel.accounts import Account
from cartwheel.data.flowstore import FlowKey
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
from cartwheel.leads.leadparts import SAID_BY_THE_PERSON, Enrolment, RunStatus
from cartwheel.leads.mails import Mail, MailState, WaitsFor
from cartwheel.mail import composing
from cartwheel.phrases import form, joined, kept, phrase
from cartwheel.sequences import telling
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.steps import EmailStep, Step
from cartwheel.views import automationviews
from cartwheel.views.leadcard import Entry

_SERVER = form("`cartwheel serve` or `cartwheel worker`")


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
        if at is None:
            return phrase("an unknown time")
        return telling.clock(at, self.account.zone, telling.lead_zone(self.lead))

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

    def done(self, entry: Entry | None, at: datetime | None = None) -> str:
        """` on …, by …` of an event that is known, or else ` on …` if the moment is."""
        if entry:
            return phrase(" on {moment}, {by}", moment=self.clock(entry.at), by=entry.by)
        return self.on(at)

    def on(self, at: datetime | None) -> str:
        return phrase(" on {moment}", moment=self.clock(at)) if at else ""

    def since(self, at: datetime | None) -> str:
        return phrase(" since {moment}", moment=self.clock(at)) if at else ""


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
        text = phrase("It has never been in a sequence, so no mail was ever due. {started}", started=phrase(_STARTED))
        facts.append(Fact(About.SEQUENCE, text, stops=True))
    return facts + [Fact(About.AUTOMATION, text) for text in told]


_STARTED = form("A call starts it, `subscribe_lead_to_sequence_at_step`, an automation, or a step of another sequence.")


# -- the lead --


def _of_lead(known: Known) -> Iterator[Fact]:
    lead, account = known.lead, known.account
    created = known.clock(lead.created_at)
    yield Fact(
        About.LEAD,
        phrase(
            "{email} is a lead of {account} since {moment}.", email=lead.email, account=account.name, moment=created
        ),
    )
    if lead.erased:
        done = known.done(known.last(LeadErased.kind))
        text = phrase("It was erased{done}: nothing is left of it but numbers.", done=done)
        yield Fact(About.LEAD, text, stops=True)
    elif lead.deleted_at is not None:
        done = known.done(known.last(LeadDeleted.kind), lead.deleted_at)
        yield Fact(About.LEAD, phrase("It was deleted{done}: nothing is sent to it.", done=done), stops=True)
        restore = telling.command("lead", "restore", lead.email)
        yield Fact(About.LEAD, phrase("{restore} brings it back.", restore=restore))
    yield from _of_address(known)
    yield from _of_consent(known)
    if lead.test:
        text = phrase("An App in test mode made it: its mails go to the test mailbox, and to nobody.")
        yield Fact(About.LEAD, text, stops=True)
        yield Fact(About.LEAD, phrase("{mailbox} shows them.", mailbox=telling.command("mailbox", "list")))
    for number, place in lead.lists.items():
        refused = known.last(ListRefused.kind, list_id=number)
        if place.left_at is not None and refused is not None and refused.at >= place.left_at:
            text = phrase(
                "It was not put on the list {name}{done}: {reason}.",
                name=account.list_names.get(number) or phrase("no. {number}", number=number),
                done=known.done(refused),
                reason=kept(refused.details["reason"]),
            )
            yield Fact(About.LEAD, text)


def _of_address(known: Known) -> Iterator[Fact]:
    lead, told = known.lead, known.lead.suppression
    if told.reason:
        text = phrase(
            "Its address is not mailed{since}: {reason}{details}.",
            since=known.since(told.at),
            reason=phrase(told.reason),
            details=f" ({told.details})" if told.details else "",
        )
        yield Fact(About.LEAD, text, stops=True)
        allow = telling.command("lead", "allow", lead.email)
        if told.reason in SAID_BY_THE_PERSON:
            helps = form("{allow} has it mailed again: only if it asks for mails again.")
        else:
            helps = form("{allow} has it mailed again: once the address works again.")
        yield Fact(About.LEAD, phrase(helps, allow=allow))
    elif told.soft_bounces:
        text = phrase(
            "Its address failed for the time being, {times} of {most} times in a row{last}: {details}.",
            times=told.soft_bounces,
            most=known.account.mail.soft_bounces,
            last=phrase(", the last time on {moment}", moment=known.clock(told.at)) if told.at else "",
            details=told.details,
        )
        yield Fact(About.LEAD, text)


def _of_consent(known: Known) -> Iterator[Fact]:
    consent = known.lead.consent
    if consent.declined:
        text = phrase("It has declined commercial mail on {moment}.", moment=known.clock(consent.at))
    elif known.account.gdpr and not consent.communications:
        text = phrase(
            "It has not agreed to commercial mail (consent: {status}), and the account is under the GDPR.",
            status=consent.status.name.lower().replace("_", " "),
        )
    else:
        return
    yield Fact(About.LEAD, text, stops=True)
    agree = telling.command("lead", "agree", known.lead.email)
    yield Fact(About.LEAD, phrase("If it agrees, and you can prove it: {agree}.", agree=agree))


# -- a sequence --


def _of_sequence(known: Known, sequence: accounts.Sequence, now: datetime) -> Iterator[Fact]:
    run = known.lead.runs.get(sequence.id)

    def fact(text: str, *, stops: bool = False) -> Fact:
        box = run.step if run else ""
        return Fact(About.SEQUENCE, text, stops=stops, sequence=sequence.name, box=box)

    if run is None:
        text = form("It was never started in the sequence {name}. {started}")
        yield fact(phrase(text, name=sequence.name, started=phrase(_STARTED)), stops=True)
    else:
        times = len(run.earlier)
        earlier = ""
        if times:
            earlier = (
                phrase(", after 1 earlier time") if times == 1 else phrase(", after {times} earlier times", times=times)
            )
        text = form("It started the sequence {name} on {moment}{earlier}.")
        yield fact(phrase(text, name=sequence.name, moment=known.clock(run.started_at), earlier=earlier))
        yield fact(_standing(known, sequence, run, now), stops=run.status is not RunStatus.COMPLETED and not run.runs)
        refused = known.last(SequenceRefused.kind, sequence_id=sequence.id)
        if run.ended_by_leaving and refused is not None and run.ended_at is not None and refused.at >= run.ended_at:
            text = form("It was not let in again{done}: {reason}.")
            reason = kept(refused.details["reason"])
            yield fact(phrase(text, done=known.done(refused), reason=reason), stops=True)
        yield from map(fact, _helps(known, sequence, run))
    mails = [mail for mail in known.lead.mails.values() if mail.sequence_id == sequence.id]
    for mail in mails:
        yield from _of_mail(known, mail, now)
    if run is not None:
        yield from _unmailed(known, sequence, run, {mail.box for mail in mails if mail.run_key == run.key})


def _standing(known: Known, sequence: accounts.Sequence, run: Enrolment, now: datetime) -> str:
    box = run.step
    if run.status is RunStatus.UNSUBSCRIBED:
        done = known.done(known.last(SequenceLeft.kind, sequence_id=sequence.id), run.ended_at)
        if not run.mails_are_stopped(run.key):
            text = form(
                "Step {box} of it took it out{done}: no step follows, and what the steps before sent still goes out."
            )
        else:
            text = form("It left it at step {box}{done}: from then on nothing of it is sent.")
        return phrase(text, box=box, done=done)
    if run.status is RunStatus.COMPLETED:
        return phrase("It completed it on {moment}, after step {box}.", moment=known.clock(run.ended_at), box=box)
    if run.status is RunStatus.PARKED:
        parked = known.last(SequenceParked.kind, sequence_id=sequence.id)
        text = form("It is stuck at step {box}{since}, and an owner has to see to it: {reason}.")
        since = known.since(parked.at if parked else None)
        return phrase(text, box=box, since=since, reason=telling.bare(run.reason))
    if sequence.paused:
        text = form("It waits at step {box} because the sequence is paused; what it waits for there begins anew then.")
        return phrase(text, box=box)
    if run.due_at is not None and run.due_at <= now:
        text = form("It is at step {box} and due since {moment}: it goes on when {server} runs.")
        return phrase(text, box=box, moment=known.clock(run.due_at), server=phrase(_SERVER))
    flow = known.flow(sequence.id, run.version)
    step = flow.by_box.get(box) if flow else None
    waits = telling.waits_for(run, step, known.lead, known.account)
    return phrase(
        "It is at step {box}{since} and waits {waits}.", box=box, since=known.since(run.arrived_at), waits=waits
    )


def _helps(known: Known, sequence: accounts.Sequence, run: Enrolment) -> Iterator[str]:
    """What an owner can do about it."""
    name = sequence.name
    if run.status is RunStatus.PARKED:
        unpark = telling.command("sequence", "unpark", name, known.lead.email)
        yield phrase("When the cause is mended, {unpark} has it try again where it stands.", unpark=unpark)
    elif run.runs and sequence.paused:
        resume = telling.command("sequence", "resume", name)
        yield phrase("{resume} lets everybody in it go on.", resume=resume)
    elif run.status is RunStatus.COMPLETED:
        yield phrase("Who has completed a sequence is not started in it again.")
    elif run.status is RunStatus.UNSUBSCRIBED:
        entry = sequence.entry
        if not entry.again:
            yield phrase(
                "It cannot be started again: the sequence takes each lead once (`again = false` in its entry)."
            )
        elif run.left_by_lead:
            yield phrase("It left by itself: a call can start it again, a step of a sequence does not.")
        elif entry.most:
            text = form("It can be started again, {most} times in {days} days at the most.")
            yield phrase(text, most=entry.most, days=entry.days)
        else:
            yield phrase("It can be started again.")
    if run.status in {RunStatus.ACTIVE, RunStatus.PARKED} and run.version != sequence.version:
        text = form(
            "It keeps to version {version} of the steps; the newest is {newest}. {move} shows where it would go there."
        )
        move = telling.command("sequence", "move", name, "--from", str(run.version))
        yield phrase(text, version=run.version, newest=sequence.version, move=move)


def _unmailed(known: Known, sequence: accounts.Sequence, run: Enrolment, mailed: set[str]) -> Iterator[Fact]:
    """The steps that have a mail, and did not send it in this run."""
    flow = known.flow(sequence.id, run.version)
    if flow is None:
        return
    boxes = [step.box for step in flow.steps]
    here = boxes.index(run.step) if run.step in boxes else len(boxes)
    for number, step in enumerate(flow.steps):
        if isinstance(step, EmailStep) and step.box not in mailed:
            why = _missing(step, number - here, run)
            text = phrase("No mail of step {box}{subject}: {why}.", box=step.box, subject=known.subject(step), why=why)
            yield Fact(About.STEP, text, sequence=sequence.name, box=step.box)


def _missing(step: EmailStep, ahead: int, run: Enrolment) -> str:
    if not step.active:
        return phrase("the step is not active (`active = false`), so everybody is led past it")
    if ahead >= 0 and run.runs:
        return phrase("it has not been there yet") if ahead else phrase("it is there now")
    if ahead > 0 or (ahead == 0 and run.status is not RunStatus.COMPLETED):
        return phrase("it did not come so far")
    only = phrase(", or it was not so that {condition}", condition=step.only_if.told()) if step.only_if else ""
    text = form("its way did not lead there (a split, a jump or a goal went past it, or it began further on){only}")
    return phrase(text, only=only)


# -- a mail --


def _of_mail(known: Known, mail: Mail, now: datetime) -> Iterator[Fact]:
    name = known.account.sequence_names.get(mail.sequence_id) or phrase("no. {number}", number=mail.sequence_id)
    flow = known.flow(mail.sequence_id, mail.version)
    step: Step | None = flow.by_box.get(mail.box) if flow else None

    def fact(text: str, *, stops: bool = False) -> Fact:
        return Fact(About.MAIL, text, stops, name, mail.box, mail.key)

    text = form("The mail of step {box} of {name}{subject} {fate}.")
    told = phrase(text, box=mail.box, name=name, subject=known.subject(step), fate=_fate(known, mail, now))
    yield fact(told, stops=mail.state is not MailState.ACCEPTED)
    if mail.state is MailState.IN_DOUBT:
        resend, drop = (telling.command("mail", verb, str(mail.key)) for verb in ("resend", "drop"))
        yield fact(phrase("{resend} sends it again, {drop} leaves it at that.", resend=resend, drop=drop))
    elif mail.never_taken and not known.lead.suppression.reason and not known.lead.erased:
        resend = telling.command("mail", "resend", str(mail.key))
        yield fact(phrase("{resend} sends it again, once what kept it from leaving is mended.", resend=resend))
    seen = [phrase(how, moment=known.clock(at)) for how, at in _seen(mail) if at is not None]
    if seen:
        yield fact(phrase("It was {seen}.", seen=joined("{first}, and {rest}", seen)))
    bounce = known.last(MailBounced.kind)
    if bounce is not None and mail is known.last_mail_before(bounce.at) and mail.state is MailState.ACCEPTED:
        text = form("After that, on {moment}, a mail to it came back: {reason}.")
        yield fact(phrase(text, moment=known.clock(bounce.at), reason=kept(bounce.details["reason"])))


def _fate(known: Known, mail: Mail, now: datetime) -> str:
    said = telling.mail_waits(mail, known.account) if mail.state is MailState.QUEUED else mail.reply
    why = phrase(": {reason}", reason=telling.bare(said)) if said else ""
    server = mail.server or phrase("a mail server")
    if mail.state is MailState.ACCEPTED:
        return _taken(known, mail, form("was taken by {server}{to} on {moment}{why}"), server, why)
    if mail.state is MailState.HANDED_OVER:
        text = form("is on its way to {server} (try {number}); if nothing is heard by {until}, it is in doubt")
        return phrase(text, server=server, number=mail.attempts, until=known.clock(mail.next_at))
    if mail.state is MailState.IN_DOUBT:
        return phrase("may have been sent by {server} or not, nobody can tell{why}", server=server, why=why)
    if mail.state is MailState.QUEUED:
        return _queued(known, mail, why, now)
    if mail.state is MailState.FAILED and mail.sent_at is not None:
        return _taken(known, mail, form("was taken by {server}{to} on {moment}, and came back{why}"), server, why)
    event = known.last(MailNotSent.kind, sequence_id=mail.sequence_id, step=mail.box)
    failed = mail.state is MailState.FAILED
    text = form("failed for good{at}{why}") if failed else form("was not sent, and will not be{at}{why}")
    return phrase(text, at=known.on(event.at if event else None), why=why)


def _taken(known: Known, mail: Mail, text: str, server: str, why: str) -> str:
    to = phrase(" for {address}", address=mail.address) if mail.address else ""
    return phrase(text, server=server, to=to, moment=known.clock(mail.sent_at), why=why)


def _queued(known: Known, mail: Mail, why: str, now: datetime) -> str:
    tried = ""
    if mail.attempts:
        tried = phrase(" after 1 try") if mail.attempts == 1 else phrase(" after {tries} tries", tries=mail.attempts)
    until = known.clock(mail.next_at)
    if mail.waits_for is WaitsFor.WINDOW:
        return phrase("waits{tried} for its window until {moment}", tried=tried, moment=until)
    if mail.waits_for:
        return phrase("waits{tried}{why}", tried=tried, why=why)
    if mail.next_at is not None and mail.next_at > now:
        return phrase("waits{tried} until {moment}{why}", tried=tried, moment=until, why=why)
    text = form("is queued since {moment}{tried} and goes out when {server} runs{why}")
    return phrase(text, moment=known.clock(mail.queued_at), tried=tried, server=phrase(_SERVER), why=why)


def _seen(mail: Mail) -> Iterator[tuple[str, datetime | None]]:
    yield form("opened on {moment}"), mail.opened_at
    yield form("clicked on {moment}"), mail.clicked_at
    if mail.opened_at is None:
        yield form("opened by a machine on {moment}"), mail.machine_opened_at
    if mail.clicked_at is None:
        yield form("clicked by a machine on {moment}"), mail.machine_clicked_at
