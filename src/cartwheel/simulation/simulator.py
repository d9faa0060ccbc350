"""What would happen to a lead in a sequence: the code that runs it, with another clock and no mail server. Pure.

A mail is handed over and accepted as soon as it is queued, or suppressed for the reason that the sender would have. What
the world does to the lead meanwhile, from an opened mail to a tag, is given as `WhatIf`s.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from cartwheel.accounts import Account, name_key
from cartwheel.leads import mailing
from cartwheel.leads.events import (
    Event,
    MailNotSent,
    MailSent,
    SequenceCompleted,
    SequenceJoined,
    SequenceLeft,
    SequenceParked,
)
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Enrolment, Entry, RunStatus
from cartwheel.leads.mails import Mail, MailState
from cartwheel.mail.composing import SENDER_MISSING, content_of, doubts, gaps, values_of
from cartwheel.mail.merge import BadContent
from cartwheel.mail.render import CompiledMail, Filled, compile_mail
from cartwheel.phrases import form, phrase
from cartwheel.sending.handover import why_not_mailed
from cartwheel.sequences import automations, flows, telling
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.steps import (
    EmailStep,
    GoalStep,
    GoToStep,
    RandomSplitStep,
    Situation,
    SplitStep,
    Step,
    WaitUntilStep,
)
from cartwheel.simulation.stories import BadSimulation, Ended, Happening, Story, StoryMail, What
from cartwheel.simulation.whatifs import BadWhatIf, WhatIf, act

MOST_MOMENTS = 20_000
"""A story with more of them ends, however much time is left."""

LINKS = {
    "unsubscribe_link": "https://cartwheel.invalid/unsubscribe",
    "preferences_link": "https://cartwheel.invalid/preferences",
}


@dataclass(frozen=True)
class World:
    """An account and the flows of the sequences that somebody may come to."""

    account: Account
    flows: Mapping[int, Flow]
    """By sequence: what those go through who start now."""
    kept: Mapping[tuple[int, int], Flow] = field(default_factory=dict)
    """By sequence and version: what a lead that is under way keeps to."""
    compiled: dict[tuple[int, int, str], CompiledMail] = field(default_factory=dict)
    """Mails by sequence, version and box, kept for the next lead."""

    def flow(self, sequence_id: int, version: int) -> Flow | None:
        return self.kept.get((sequence_id, version)) or self.flows.get(sequence_id)

    def boxes(self, sequence_id: int) -> list[tuple[str, str]]:
        """(sequence, box) of every step, those of this sequence first."""
        order = sorted(self.flows, key=lambda number: (number != sequence_id, number))
        return [
            (self.account.sequence_names[number], step.box) for number in order for step in self.flows[number].steps
        ]

    def read(self, mail: Mail, step: EmailStep, lead: Lead) -> Filled:
        """The mail of the step as the lead would read it. Raises `BadContent`."""
        return self._compiled(mail, step).fill(values_of(lead, self.account) | LINKS)

    def doubts(self, mail: Mail, step: EmailStep) -> Iterator[str]:
        """What its author should know of the mail. Raises `BadContent`."""
        for doubt in doubts(self._compiled(mail, step), self.account):
            yield f"step {step.box}: {doubt}"
        if not (step.sender or self.account.mail.sender):
            yield f"with a real mail server no mail leaves: {SENDER_MISSING}"

    def _compiled(self, mail: Mail, step: EmailStep) -> CompiledMail:
        key = (mail.sequence_id, mail.version, step.box)
        if key not in self.compiled:
            self.compiled[key] = compile_mail(content_of(step))
        return self.compiled[key]


def simulate(
    world: World,
    lead: Lead,
    sequence_id: int,
    start: datetime,
    length: timedelta,
    *,
    step: str | None = None,
    onward: bool = False,
    what_ifs: Sequence[WhatIf] = (),
) -> Story:
    """Start the lead in the sequence, whatever it did there before; or, `onward`, take it along from where it stands.

    It goes on in the other sequences that it is in; of them nothing is told. A pause of the sequence is passed over. Raises `BadSimulation` or `BadWhatIf`.
    """
    sequence = world.account.sequence_by_id[sequence_id]
    if not sequence.boxes:
        raise BadSimulation(f"the sequence {sequence.name} has no steps")
    if step is not None and step not in sequence.boxes:
        raise BadSimulation(f"the sequence {sequence.name} has no step {step}, but {', '.join(sequence.boxes)}")
    run = lead.runs.get(sequence_id)
    if onward and (run is None or not run.runs):
        raise BadSimulation(f"{lead.email} is not under way in the sequence {sequence.name}")
    flow = world.flow(sequence_id, run.version if run and onward else sequence.version)
    if flow is None:
        raise BadSimulation(f"the sequence {sequence.name} has no steps")
    _check_mails(what_ifs, flow)
    sequences = dict(world.account.sequences) | {name_key(sequence.name): dataclasses.replace(sequence, paused=False)}
    running = dataclasses.replace(world, account=dataclasses.replace(world.account, sequences=sequences, active=True))
    simulation = Simulation(running, lead, sequence_id, start, length)
    if world.account.holds(sequence_id):
        simulation.story.notes.append(phrase("the sequence is paused: this is what happens when it is not"))
    if world.account.gdpr and lead.consent.communications:
        simulation.story.notes.append("the lead has agreed to commercial mail: who has not gets none (`gdpr = true`)")
    if onward:
        return simulation.run(what_ifs)
    if run is not None:
        simulation.story.notes.append(f"it was in this sequence before ({run.status} at step {run.step})")
    simulation.begin(step or sequence.boxes[0])
    return simulation.run(what_ifs)


def _check_mails(what_ifs: Iterable[WhatIf], flow: Flow) -> None:
    """Raises `BadWhatIf` if one is about the mail of a step that sends none."""
    boxes = [step.box for step in flow.steps if isinstance(step, EmailStep)]
    for entry in what_ifs:
        if entry.of_mail and entry.name not in boxes:
            raise BadWhatIf(
                f"what if {entry.text!r}: no step {entry.name} sends a mail, but {', '.join(boxes) or 'none'}"
            )


def _kept_out(run: Enrolment, entry: Entry, now: datetime) -> str:
    """Why nobody could start this run's lead anew."""
    if run.status is RunStatus.COMPLETED:
        return "it has completed the sequence, and stays so"
    if not run.ended_by_leaving:
        return f"it is in the sequence, at step {run.step}, and stays there"
    return run.refusal(entry, now)


class Tracked(Lead):
    """A lead that a simulation watches."""

    watcher: "Simulation"

    @classmethod
    def of(cls, lead: Lead, watcher: "Simulation") -> "Tracked":
        """A twin that can be changed freely."""
        tracked = object.__new__(cls)
        tracked.__dict__ |= lead.fork().__dict__
        tracked.watcher = watcher
        return tracked

    def enrol(self, sequence_id: int, step: str, now: datetime, **rules: Any) -> bool:
        started = super().enrol(sequence_id, step, now, **rules)
        if started:
            self.runs[sequence_id] = self.watcher.starts(self.runs[sequence_id])
        return started

    def go_to(self, run: Enrolment, step: str, now: datetime) -> Enrolment:
        self.watcher.leaves(run, step)
        return super().go_to(run, step, now)

    def complete(self, run: Enrolment, now: datetime) -> None:
        self.watcher.leaves(run, None)
        super().complete(run, now)

    def wait(self, run: Enrolment, until: datetime | None, reason: str, *, held: bool = False) -> Enrolment:
        run = super().wait(run, until, reason, held=held)
        self.watcher.waits(run)
        return run

    def queue_mail(self, run: Enrolment, now: datetime) -> None:
        super().queue_mail(run, now)
        self.watcher.queues(run)


class Simulation:
    """One lead on its way."""

    def __init__(self, world: World, lead: Lead, sequence_id: int, start: datetime, length: timedelta) -> None:
        self.world = world
        self.account = account = world.account
        self.now = start
        self.lead = Tracked.of(lead, self)
        here = start.astimezone(account.zone)
        self.story = Story(account, account.sequence_names[sequence_id], self.lead, here, here + length, here)
        self._main = sequence_id
        self._told = {sequence_id}
        """The sequences whose steps are told: this one, and those that are started from it."""
        self._at_work: int | None = sequence_id
        """The sequence whose step is being taken."""
        self._agenda: list[tuple[datetime, WhatIf, int]] = []
        """(when, what, the mail that it is about)"""
        self._for_mails: list[WhatIf] = []
        self._places: list[int | None] = []
        """Where in the story the mails stand that are queued; None for one that is not told."""
        self._heard: set[str] = set()
        self._piece: list[Event] = []
        """What has happened in the piece of work that is being done."""
        self._touched = False
        """Whether the step that is being taken has done anything."""
        self._waits: dict[int, tuple[int, datetime | None, str]] = {}
        """What was told last of a run's waiting."""
        self._waits_since: dict[int, datetime] = {}
        self._runs = max((run.key for run in self.lead.runs.values()), default=0)

    # -- the clock --

    def begin(self, box: str) -> None:
        sequence = self.account.sequence_by_id[self._main]
        before = self.lead.runs.get(self._main)
        kept_out = _kept_out(before, sequence.entry, self.now) if before else ""
        if kept_out:
            self._note(
                What.REFUSED,
                phrase("it would not be let in: {why}. This is what would happen if it were", why=kept_out),
            )
        self.lead.runs.pop(self._main, None)
        self.lead.enrol(self._main, box, self.now, version=sequence.version)

    def run(self, what_ifs: Sequence[WhatIf]) -> Story:
        self._for_mails = [entry for entry in what_ifs if entry.of_mail]
        others = [entry for entry in what_ifs if not entry.of_mail]
        self._agenda = [(entry.moment(self.now, self.account.zone), entry, 0) for entry in others]
        for entry in others:  # so that a misspelt name is told, however early the story ends
            act(entry, self.lead.fork(), self.account, self._main, 0, self.now)
        self._settle()
        for run in self._under_way():
            if run.reason or run.held:
                self.waits(run)
        for _ in range(MOST_MOMENTS):
            at = min(self._moments(), default=None)
            if at is None or at > self.story.until or not any(self._tells(run) for run in self._under_way()):
                break
            self.now = max(self.now, at)
            self._moment()
        else:
            self.story.notes.append(f"the story ends here because it has {MOST_MOMENTS:,} moments already")
        self._end()
        return self.story

    def _moments(self) -> Iterator[datetime]:
        """When something is to be done."""
        yield from (at for at, _, _ in self._agenda)
        yield from (run.due_at for run in self._under_way() if run.due_at is not None)
        for grant in self.lead.grants.values():
            if grant.reversed_at is None and grant.expires_at is not None:
                yield grant.expires_at

    def _under_way(self) -> list[Enrolment]:
        return [run for run in self.lead.runs.values() if run.runs and self._flow(run) is not None]

    def _flow(self, run: Enrolment) -> Flow | None:
        return self.world.flow(run.sequence_id, run.version)

    def _step(self, run: Enrolment) -> Step | None:
        flow = self._flow(run)
        return flow.by_box.get(run.step) if flow else None

    def _tells(self, run: Enrolment) -> bool:
        return run.sequence_id in self._told

    def _moment(self) -> None:
        due = [entry for entry in self._agenda if entry[0] <= self.now]
        self._agenda = [entry for entry in self._agenda if entry[0] > self.now]
        for _, what_if, mail_key in due:
            self._note(What.WHAT_IF, what_if.text)
            act(what_if, self.lead, self.account, self._main, mail_key, self.now)
            self._settle()
        self.lead.expire(self.now)
        self._settle()
        for run in self._under_way():
            if run.due_at is not None and run.due_at <= self.now:
                self._take_along(run)

    def _take_along(self, run: Enrolment) -> None:
        sequence_id, flow = run.sequence_id, self._flow(run)
        assert flow is not None  # else it is not under way here
        self._at_work = sequence_id
        self._touched = False
        if self.lead.deleted_at is not None:
            self.lead.unenrol(sequence_id, self.now)
        else:
            flows.advance(self.lead, sequence_id, flow, self.account, self.now)
        self._settle()

    def _settle(self) -> None:
        """After a piece of work: what was queued goes out, and who waits for what has happened is woken."""
        self._tell_events()
        self._react()
        for mail, place in zip(self.lead.outgoing, self._places, strict=True):
            self._deliver(mail, place)
        self.lead.outgoing.clear()
        self._places.clear()
        self._tell_events()
        self._at_work = None
        for run in self._under_way():
            hears = self.account.sequence_by_id[run.sequence_id].hears
            if not hears.isdisjoint(self._heard) and (run.due_at is None or run.due_at > self.now):
                self.lead.runs[run.sequence_id] = replace(run, due_at=self.now)
        self._heard.clear()

    def _react(self) -> None:
        """Automations run at the end of the piece of work whose events start them."""
        lead, known = self.lead, self._piece
        self._piece = []
        lead.events[:] = known
        if automations.starts_any(lead, self.account):
            for notice in automations.react(lead, self.account, self.now, "").notices:
                self._note(What.DOES, phrase("{person} is notified by mail", person=notice.action.to))
        del lead.events[: len(known)]
        self._tell_events()
        self._piece.clear()  # whatever these start, they have started

    def _deliver(self, queued: Mail, place: int | None) -> None:
        lead, name = self.lead, self.account.sequence_names[queued.sequence_id]
        mail = replace(queued, key=1 + max(lead.mails, default=0))
        flow = self.world.flow(mail.sequence_id, mail.version)
        step = flow.by_box.get(mail.box) if flow else None
        assert isinstance(step, EmailStep)  # it queued the mail
        lead.mails[mail.key] = mail
        reason = why_not_mailed(lead, mail, self.account)
        if reason:
            lead.not_sent(mail, MailState.SUPPRESSED, reason)
            self._tell_fate(place, What.NO_MAIL, reason)
            return
        try:
            read = self.world.read(mail, step, lead)
            notes = [*self.world.doubts(mail, step), *gaps(step, lead, self.account)]
            doubted = [note for note in notes if note not in self.story.notes]
        except BadContent as error:
            self._tell_fate(place, What.NO_MAIL, f"it cannot be made: {error}")
            return
        mailing.accepted(lead, mailing.hand_over(lead, mail, "simulation", until=self.now), "", self.now)
        if place is None:
            return
        self.story.notes += doubted
        self._tell_fate(place, What.MAIL, read.subject)
        self.story.mails.append(StoryMail(self._here, name, mail.box, read.subject, read.html, read.text))
        if mail.sequence_id == self._main:
            mine = [entry for entry in self._for_mails if entry.name == mail.box]
            self._agenda += [(entry.moment(self.now, self.account.zone), entry, mail.key) for entry in mine]

    def _end(self) -> None:
        story, run = self.story, self.lead.runs[self._main]
        if not run.runs:
            story.ended = _ENDED[run.status]
            story.ended_at = (run.ended_at or self.now).astimezone(self.account.zone)
        else:
            story.ended = Ended.TIME_IS_UP if run.due_at else Ended.WAITING
            story.ended_at = story.until if run.due_at else self._waits_since[self._main]
        story.reason = telling.waits_for(run, self._step(run), self.lead, self.account) if run.runs else run.reason
        sent = {mail.box for mail in story.mails if mail.sequence == story.sequence}
        missed = [entry for entry in self._for_mails if entry.name not in sent]
        story.notes += [
            phrase("{what} did not happen: the mail of step {step} was not sent", what=entry.text, step=entry.name)
            for entry in missed
        ]

    # -- what is told --

    @property
    def _here(self) -> datetime:
        return self.now.astimezone(self.account.zone)

    def _note(self, what: What, text: str, run: Enrolment | None = None) -> None:
        """About a run, or the step that is being taken, or the lead."""
        if run is None and self._at_work is not None:
            run = self.lead.runs[self._at_work]
        name = self.account.sequence_names[run.sequence_id] if run else ""
        self.story.events.append(Happening(self._here, name, run.step if run else "", what, text))

    def _tell_fate(self, place: int | None, what: What, text: str) -> None:
        if place is not None:
            self.story.events[place] = self.story.events[place]._replace(what=what, text=text)

    def _tell_events(self) -> None:
        """What has happened to the lead since it was told last."""
        events = [*self.lead.events]
        self.lead.events.clear()
        for event in events:
            self._touched = True
            self._heard.add(event.kind)
            self._piece.append(event)
            about = getattr(event, "sequence_id", None)
            unasked = self._at_work is not None and not self._told & {self._at_work, about}
            if not unasked and not isinstance(event, MailSent | MailNotSent):  # the mail's own line says it
                run = self.lead.runs.get(about) if self._at_work not in {None, *self._told} and about else None
                self._note(_KINDS.get(type(event), What.DOES), event.told(self.account.names), run)

    def starts(self, run: Enrolment) -> Enrolment:
        """The run with a number, as a stored one would have."""
        self._runs += 1
        if self._at_work in self._told:
            self._told.add(run.sequence_id)
        self._visit(run, run.step)
        return replace(run, key=self._runs)

    def _visit(self, run: Enrolment, box: str) -> None:
        if self._tells(run):
            self.story.visits.append((self.account.sequence_names[run.sequence_id], box))

    def queues(self, run: Enrolment) -> None:
        self._touched = True
        self._places.append(len(self.story.events) if self._tells(run) else None)
        if self._tells(run):
            self._note(What.MAIL, "", run)

    def waits(self, run: Enrolment) -> None:
        self._tell_events()
        told = (run.moves, run.due_at, run.reason)
        if self._tells(run) and self._waits.get(run.sequence_id) != told:
            self._waits[run.sequence_id], self._waits_since[run.sequence_id] = told, self._here
            self._note(What.WAITS, telling.waits_for(run, self._step(run), self.lead, self.account), run)

    def leaves(self, run: Enrolment, to: str | None) -> None:
        """The run's step is done; it goes to another, or has come to its end."""
        self._tell_events()
        step = self._step(run)
        if step is not None and self._tells(run):
            told = self._way(step, run, to)
            if told:
                self._note(*told, run)
        self._touched = False
        if to is not None:
            self._visit(run, to)

    def _way(self, step: Step, run: Enrolment, to: str | None) -> tuple[What, str] | None:
        """What there is to say of a step that has been taken, or passed by, beside the events."""
        flow, situation = self._flow(run), Situation(self.lead, run, self.account, self.now)
        if self._touched:
            return None
        goal = flow.goal_ahead(situation) if flow else None
        if goal is not None and goal.box == to:
            return What.GOES, phrase("ahead to the goal {step}: {condition}", step=to, condition=goal.condition.told())
        if not step.active:
            return What.GOES, phrase("by: the step is not active")
        if isinstance(step, EmailStep) and step.only_if is not None:
            return What.NO_MAIL, phrase("only if {condition}", condition=step.only_if.told())
        if isinstance(step, SplitStep | WaitUntilStep | GoalStep):
            answer = phrase("yes") if situation.holds(step.condition) else phrase("no")
            told = step.condition.told()
            return What.GOES, phrase("{where}: {condition}? {answer}", where=_onward(to), condition=told, answer=answer)
        if isinstance(step, RandomSplitStep):
            total = sum(branch.weight for branch in step.branches)
            weight = sum(branch.weight for branch in step.branches if branch.to == to)
            text = form("{where}: by chance, like {weight} of {total}")
            return What.GOES, phrase(text, where=_onward(to), weight=weight, total=total)
        if isinstance(step, GoToStep):
            return What.GOES, _onward(to)
        return (What.DOES, phrase("nothing that was not so before")) if to is not None else None


def _onward(to: str | None) -> str:
    return phrase("to step {step}", step=to) if to else phrase("to the end")


_ENDED = {
    RunStatus.COMPLETED: Ended.COMPLETED,
    RunStatus.UNSUBSCRIBED: Ended.LEFT,
    RunStatus.PARKED: Ended.PARKED,
}

_KINDS: Mapping[type[Event], What] = {
    SequenceJoined: What.STARTS,
    SequenceCompleted: What.ENDS,
    SequenceLeft: What.ENDS,
    SequenceParked: What.ENDS,
}
