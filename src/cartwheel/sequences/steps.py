"""The steps of a sequence: one class a type, written in account files as it is read here.

A step is taken when its delay is over and its window is open. `decide` does to the lead what the step is for and says
where the run goes from there. It is pure: the same lead at the same moment always takes the same way, in the worker, in
a test and in the simulator.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal, get_args
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from cartwheel.accounts import Account
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Enrolment, Entry, Part, Parts
from cartwheel.sequences import conditions, schedule
from cartwheel.sequences.conditions import AnyCondition, Condition, Subject, Text
from cartwheel.sequences.stepparts import (
    Attachment,
    Body,
    Box,
    Branch,
    DelayText,
    WindowPart,
    at_of,
    delay_of,
    readable,
)

LOOP_GUARD = Entry(most=4, days=30)
"""How often a step may start the same lead in a sequence that has no rule of its own: two that start each other end."""


@dataclass(frozen=True)
class Situation:
    """What a step decides on."""

    lead: Lead
    run: Enrolment
    account: Account
    now: datetime

    def holds(self, condition: Condition) -> bool:
        return condition.holds(Subject(self.lead, self.account, self.run))


@dataclass(frozen=True)
class GoOn:
    """To the step that follows."""


@dataclass(frozen=True)
class GoTo:
    """To another step."""

    box: str


@dataclass(frozen=True)
class Stay:
    """The step is not done: look again at `until`, or when an event wakes the run."""

    reason: str
    until: datetime | None = None


@dataclass(frozen=True)
class End:
    """The run is over. The step itself may have seen to it."""


Outcome = GoOn | GoTo | Stay | End


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type"):
    """What all steps have."""

    box: Annotated[
        Box,
        msgspec.Meta(
            description="Its label, that calls and other steps use: 1 to 20 letters and digits, like `1` or `A2`."
        ),
    ]
    delay: Annotated[
        DelayText,
        msgspec.Meta(
            description="How long a lead waits here, from its arrival: so many minutes, hours, days (of 24 hours) or weeks, like `2 days`."
        ),
    ] = "0 minutes"
    at: Annotated[
        str | None, msgspec.Meta(description="Instead of a delay, a date and time like `2027-01-05 09:00`.")
    ] = None
    window: Annotated[
        WindowPart | None, msgspec.Meta(description="When it may be taken, and its mail be sent, however late it is.")
    ] = None
    active: Annotated[bool, msgspec.Meta(description="An inactive step is passed by at once.")] = True
    next: Annotated[Box | None, msgspec.Meta(description="What follows; without it, the step written next.")] = None
    ends: Annotated[bool, msgspec.Meta(description="Nothing follows: who has done this has completed.")] = False

    parts: ClassVar[Parts] = Part.NONE
    """What of a lead it needs, its conditions' needs not counted."""

    def __post_init__(self) -> None:
        readable(delay_of, self.delay)
        if self.at is not None:
            readable(at_of, self.at)
            if self.delay != "0 minutes":
                raise ValueError("a step has a delay or a date, not both")
        if self.ends and self.next:
            raise ValueError("a step has `next` or `ends`, not both")

    def decide(self, situation: Situation) -> Outcome:
        """Raises a `DomainError` when it speaks of something that the account does not have."""
        raise NotImplementedError

    def check(self, account: Account) -> None:
        """Raises a `DomainError` when it speaks of something that the account does not have."""
        for condition in self.conditions():
            condition.check(account)

    def conditions(self) -> Iterator[Condition]:
        """Those that it asks."""
        return iter(())

    def targets(self) -> Iterator[str]:
        """The boxes that it may send a run to, besides what follows."""
        return iter(())

    def due(self, arrived_at: datetime, account_zone: ZoneInfo, lead_zone: ZoneInfo | None) -> datetime:
        """When a run that came at `arrived_at` takes the step."""
        return schedule.due(
            arrived_at,
            delay=delay_of(self.delay),
            at=at_of(self.at) if self.at else None,
            window=self.window.read() if self.window else None,
            account_zone=account_zone,
            lead_zone=lead_zone,
        )

    def begins(self, situation: Situation) -> datetime:
        """When the run is to take it: its delay is over, its date has come, its window opens."""
        arrived_at = situation.run.arrived_at or situation.now
        return self.due(arrived_at, situation.account.zone, self._zone_of(situation.lead))

    def opens(self, situation: Situation) -> datetime:
        """Now, if its window is open; else when it is next: who comes too late for one waits for the next."""
        if self.window is None:
            return situation.now
        zones = situation.account.zone, self._zone_of(situation.lead)
        return schedule.due(situation.now, None, None, self.window.read(), *zones)

    def _zone_of(self, lead: Lead) -> ZoneInfo | None:
        return schedule.zone(lead.profile.get("lead_preferred_time_zone", "")) if self.asks_zone else None

    @property
    def asks_zone(self) -> bool:
        """Whether its window goes by the lead's own zone."""
        return self.window is not None and self.window.zone == schedule.LEAD_ZONE

    @property
    def timed(self) -> bool:
        """Whether anybody may have to wait for it."""
        return bool(self.window or self.at) or not self.delay.startswith("0 ")


class EmailStep(Step, tag="email", frozen=True, kw_only=True):
    """Send a mail. Its body is one of `html`, `mjml` and `markdown`, or a `file` whose name tells which."""

    subject: Annotated[
        str, msgspec.Meta(min_length=1, max_length=1000, description="It may hold [merge fields](merge-fields.md).")
    ]
    preview: Annotated[str, msgspec.Meta(max_length=1000, description="What mail programs show beside it.")] = ""
    html: Annotated[Body | None, msgspec.Meta(description="The body as HTML, with merge fields.")] = None
    mjml: Annotated[Body | None, msgspec.Meta(description="The body as MJML, with merge fields.")] = None
    markdown: Annotated[Body | None, msgspec.Meta(description="The body as Markdown, with merge fields.")] = None
    file: Annotated[str | None, msgspec.Meta(description="A `.html`, `.mjml` or `.md` file beside this one.")] = None
    text: Annotated[Body | None, msgspec.Meta(description="The plain text; without it, it is made of the body.")] = None
    sender: Annotated[str, msgspec.Meta(description="`Name <address>`, instead of the account's.")] = ""
    reply_to: Annotated[str, msgspec.Meta(description="Where answers go.")] = ""
    attachments: Annotated[list[Attachment], msgspec.Meta(description="Files and pictures that come with it.")] = []
    only_if: Annotated[
        AnyCondition | None, msgspec.Meta(description="Who does not meet it is not mailed, and goes on.")
    ] = None
    track_opens: Annotated[
        bool, msgspec.Meta(description="Whether it is counted who opens it, if the account counts.")
    ] = True
    track_clicks: Annotated[
        bool, msgspec.Meta(description="Whether it is counted who clicks in it, if the account counts.")
    ] = True

    def decide(self, situation: Situation) -> Outcome:
        if self.only_if is None or situation.holds(self.only_if):
            situation.lead.queue_mail(situation.run, situation.now)
        return GoOn()

    def conditions(self) -> Iterator[Condition]:
        if self.only_if is not None:
            yield self.only_if


class PointsStep(Step, tag="points", frozen=True, kw_only=True):
    """Give points, or take them when negative; with `days`, points given are taken back after so many days."""

    points: Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000, description="How many.")]
    days: Annotated[int, msgspec.Meta(ge=0, le=36_500, description="0 for points that stay.")] = 0

    parts = Part.POINTS

    def decide(self, situation: Situation) -> Outcome:
        if self.points >= 0:
            situation.lead.grant(self.points, self.days, situation.now)
        else:
            situation.lead.deduct(-self.points, situation.now)
        return GoOn()


class _TagStep(Step, frozen=True, kw_only=True):
    tag: Annotated[Text, msgspec.Meta(description="Its name.")]

    parts = Part.TAGS

    def check(self, account: Account) -> None:
        account.tag_named(self.tag)


class AssignTagStep(_TagStep, tag="assign_tag", frozen=True, kw_only=True):
    """Assign a tag."""

    def decide(self, situation: Situation) -> Outcome:
        situation.lead.tag(situation.account.tag_named(self.tag).id)
        return GoOn()


class UnassignTagStep(_TagStep, tag="unassign_tag", frozen=True, kw_only=True):
    """Take a tag away."""

    def decide(self, situation: Situation) -> Outcome:
        situation.lead.untag(situation.account.tag_named(self.tag).id)
        return GoOn()


class _ListStep(Step, frozen=True, kw_only=True):
    list: Annotated[Text, msgspec.Meta(description="Its name.")]

    parts = Part.LISTS

    def check(self, account: Account) -> None:
        account.list_named(self.list)


class SubscribeListStep(_ListStep, tag="subscribe_list", frozen=True, kw_only=True):
    """Put the lead on a list, unless it has left that list itself."""

    def decide(self, situation: Situation) -> Outcome:
        situation.lead.join(situation.account.list_named(self.list).id, situation.now, by_step=True)
        return GoOn()


class UnsubscribeListStep(_ListStep, tag="unsubscribe_list", frozen=True, kw_only=True):
    """Take the lead off a list."""

    def decide(self, situation: Situation) -> Outcome:
        situation.lead.leave(situation.account.list_named(self.list).id, situation.now)
        return GoOn()


class _SequenceStep(Step, frozen=True, kw_only=True):
    sequence: Annotated[Text, msgspec.Meta(description="Its name.")]

    def check(self, account: Account) -> None:
        account.sequence_named(self.sequence)


class StartSequenceStep(_SequenceStep, tag="start_sequence", frozen=True, kw_only=True):
    """Start the lead in another sequence, at its first step or the one given, unless it has left that one itself."""

    step: Annotated[Box | None, msgspec.Meta(description="The box of that sequence to start at.")] = None

    def check(self, account: Account) -> None:
        sequence = account.sequence_named(self.sequence)
        if self.step is not None:
            sequence.check_box(self.step)

    def decide(self, situation: Situation) -> Outcome:
        sequence = situation.account.sequence_named(self.sequence)
        if sequence.boxes:
            situation.lead.enrol(
                sequence.id,
                sequence.check_box(self.step) if self.step else sequence.boxes[0],
                situation.now,
                version=sequence.version,
                entry=sequence.entry if sequence.entry.most else replace(LOOP_GUARD, again=sequence.entry.again),
                by_step=True,
            )
        return GoOn()


class StopSequenceStep(_SequenceStep, tag="stop_sequence", frozen=True, kw_only=True):
    """Take the lead out of a sequence, be it this one."""

    def decide(self, situation: Situation) -> Outcome:
        sequence = situation.account.sequence_named(self.sequence)
        itself = sequence.id == situation.run.sequence_id
        situation.lead.unenrol(sequence.id, situation.now, by_itself=itself)
        return End() if itself else GoOn()


class SplitStep(Step, tag="split", frozen=True, kw_only=True):
    """Go one way if a condition holds, and the other if not; a way that is not given is the step that follows."""

    condition: Annotated[AnyCondition, msgspec.Meta(description="One of the [conditions](#conditions).")]
    then: Annotated[Box | None, msgspec.Meta(description="Where to go if it holds.")] = None
    otherwise: Annotated[Box | None, msgspec.Meta(description="Where to go if not.")] = None

    def decide(self, situation: Situation) -> Outcome:
        box = self.then if situation.holds(self.condition) else self.otherwise
        return GoTo(box) if box else GoOn()

    def conditions(self) -> Iterator[Condition]:
        yield self.condition

    def targets(self) -> Iterator[str]:
        return (box for box in (self.then, self.otherwise) if box)


class RandomSplitStep(Step, tag="random_split", frozen=True, kw_only=True):
    """Divide leads by chance, by weights. The same lead on the same visit always goes the same way."""

    branches: Annotated[list[Branch], msgspec.Meta(min_length=2, max_length=26, description="The ways.")]

    def decide(self, situation: Situation) -> Outcome:
        run = situation.run
        lot = f"{situation.lead.account_id} {situation.lead.id} {run.sequence_id} {self.box} {run.moves}"
        number = int.from_bytes(hashlib.blake2b(lot.encode(), digest_size=8).digest())
        rest = number % sum(branch.weight for branch in self.branches)
        for branch in self.branches:
            rest -= branch.weight
            if rest < 0:
                break
        return GoTo(branch.to)

    def targets(self) -> Iterator[str]:
        return (branch.to for branch in self.branches)


class GoToStep(Step, tag="go_to", frozen=True, kw_only=True):
    """Jump to another step, also into a sub-sequence (`A1`) or out of it."""

    to: Annotated[Box, msgspec.Meta(description="Where to go.")]

    def decide(self, _situation: Situation) -> Outcome:
        return GoTo(self.to)

    def targets(self) -> Iterator[str]:
        yield self.to


class WaitStep(Step, tag="wait", frozen=True, kw_only=True):
    """Wait, and then go on: as long as the `delay` says, until the date in `at`, or until the `window` opens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.timed:
            raise ValueError("a wait needs a `delay`, a date in `at`, or a `window`")

    def decide(self, _situation: Situation) -> Outcome:
        return GoOn()


class WaitUntilStep(Step, tag="wait_until", frozen=True, kw_only=True):
    """Wait until a condition is true, or becomes true by an event such as a tag, a click or points.

    After `timeout` go on anyhow, to `on_timeout` if it is given. The time runs from the beginning of the waiting, when the
    delay is over, the date has come and the window is open. The waiting ends at any hour: the window is for its beginning.
    """

    condition: Annotated[AnyCondition, msgspec.Meta(description="One of the [conditions](#conditions).")]
    timeout: Annotated[DelayText | None, msgspec.Meta(description="Like `2 weeks`; without it, for ever.")] = None
    on_timeout: Annotated[Box | None, msgspec.Meta(description="Where to go then; without it, on.")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.timeout is not None:
            readable(delay_of, self.timeout)
        elif self.on_timeout:
            raise ValueError("a step with `on_timeout` needs a `timeout`")

    def opens(self, situation: Situation) -> datetime:
        """Whoever is waiting is not kept by the window."""
        return situation.now

    def decide(self, situation: Situation) -> Outcome:
        if situation.holds(self.condition):
            return GoOn()
        until = self._over(situation)
        if until is not None and until <= situation.now:
            return GoTo(self.on_timeout) if self.on_timeout else GoOn()
        return Stay(f"until {self.condition.told()}", until)

    def _over(self, situation: Situation) -> datetime | None:
        if self.timeout is None:
            return None
        timeout: timedelta = delay_of(self.timeout).length
        return self.begins(situation) + timeout

    def conditions(self) -> Iterator[Condition]:
        yield self.condition

    def targets(self) -> Iterator[str]:
        return (box for box in (self.on_timeout,) if box)


class GoalStep(Step, tag="goal", frozen=True, kw_only=True):
    """When the condition becomes true, a lead jumps here from any step before it.

    That is any step from which the connections lead here, also one of a sub-sequence; if they go in a circle, only those of it
    that are written before the goal. Where no connection leads to the goal, it is any step written before it. Who comes here by the usual way without meeting it goes on, waits for it, or ends, as `unmet` says.
    """

    condition: Annotated[AnyCondition, msgspec.Meta(description="One of the [conditions](#conditions).")]
    unmet: Annotated[
        Literal["go on", "wait", "end"], msgspec.Meta(description="What becomes of who comes here without meeting it.")
    ] = "go on"

    def decide(self, situation: Situation) -> Outcome:
        if situation.holds(self.condition) or self.unmet == "go on":
            return GoOn()
        if self.unmet == "wait":
            return Stay(f"until {self.condition.told()}")
        situation.lead.complete(situation.run, situation.now)
        return End()

    def conditions(self) -> Iterator[Condition]:
        yield self.condition


class CompleteStep(Step, tag="complete", frozen=True, kw_only=True):
    """The lead has completed the sequence: it stays in it, but nothing more happens."""

    def decide(self, situation: Situation) -> Outcome:
        situation.lead.complete(situation.run, situation.now)
        return End()


class UnsubscribeStep(Step, tag="unsubscribe", frozen=True, kw_only=True):
    """Take the lead out of this sequence, so that it may start it again. Mails of the steps before still go out."""

    def decide(self, situation: Situation) -> Outcome:
        situation.lead.unenrol(situation.run.sequence_id, situation.now, by_itself=True)
        return End()


AnyStep = (
    EmailStep
    | PointsStep
    | AssignTagStep
    | UnassignTagStep
    | SubscribeListStep
    | UnsubscribeListStep
    | StartSequenceStep
    | StopSequenceStep
    | SplitStep
    | RandomSplitStep
    | GoToStep
    | WaitStep
    | WaitUntilStep
    | GoalStep
    | CompleteStep
    | UnsubscribeStep
)

STEP_TYPES: tuple[type[Step], ...] = get_args(AnyStep)


def needs(step: Step) -> Parts:
    """What of a lead has to be loaded to take the step."""
    parts = step.parts
    for condition in step.conditions():
        parts |= conditions.parts(condition)
    if step.asks_zone:
        parts |= Part.PROFILE
    return parts
