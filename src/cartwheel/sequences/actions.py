"""What an automation does: the effects that steps of sequences have, and a word to a person or to another system.

One class an action. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, get_args

import msgspec
from msgspec.structs import asdict

from cartwheel.accounts import NO_TIME, Account
from cartwheel.errors import WebhookNotAsked
from cartwheel.hooks.outbound import AUTOMATION, Endpoint
from cartwheel.leads.events import WebhookCalled
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import NO_RUN, Enrolment, Part, Parts, RunStatus
from cartwheel.phrases import phrase
from cartwheel.sequences.conditions import Text
from cartwheel.sequences.stepparts import Box
from cartwheel.sequences.steps import (
    AssignTagStep,
    PointsStep,
    Situation,
    StartSequenceStep,
    Step,
    StopSequenceStep,
    SubscribeListStep,
    UnassignTagStep,
    UnsubscribeListStep,
)
from cartwheel.sequences.triggers import (
    AssignedTag,
    JoinedList,
    JoinedSequence,
    LeftList,
    LeftSequence,
    ReachedScore,
    Trigger,
    UnassignedTag,
)

_NOWHERE = Enrolment(NO_RUN, 0, "", RunStatus.ACTIVE, NO_TIME)
"""Whoever acts is no sequence."""


@dataclass(frozen=True)
class Doing:
    """What an action works with."""

    lead: Lead
    account: Account
    now: datetime
    automation_id: int
    notify: Callable[["Notify"], None]


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type"):
    """Something that is done to a lead, or because of it; done already, it changes nothing."""

    parts: ClassVar[Parts] = Part.NONE
    starts: ClassVar[type[Trigger] | None] = None
    """The trigger that may fit what it brings about."""

    @property
    def about(self) -> str | None:
        """The name of what it brings about."""
        return None

    def do(self, doing: Doing) -> None:
        """Raises a `DomainError` when it speaks of something that the account does not have."""
        raise NotImplementedError

    def check(self, account: Account) -> None:
        """Raises a `DomainError` as well."""
        raise NotImplementedError

    def told(self) -> str:
        """In words, as what follows `then`."""
        raise NotImplementedError


class _AsStep(Action, frozen=True):
    """Does what the step of the same type and keys does."""

    as_step: ClassVar[type[Step]]

    def _step(self) -> Step:
        return self.as_step(box="0", **asdict(self))

    def do(self, doing: Doing) -> None:
        self._step().decide(Situation(doing.lead, _NOWHERE, doing.account, doing.now))

    def check(self, account: Account) -> None:
        self._step().check(account)


class _OfTag(_AsStep, frozen=True):
    tag: Annotated[Text, msgspec.Meta(description="Its name.")]

    parts = Part.TAGS

    @property
    def about(self) -> str | None:
        return self.tag


class AssignTag(_OfTag, tag="assign_tag", frozen=True):
    """Assign a tag."""

    as_step = AssignTagStep
    starts = AssignedTag

    def told(self) -> str:
        return phrase("assign the tag {name}", name=self.tag)


class UnassignTag(_OfTag, tag="unassign_tag", frozen=True):
    """Take a tag away."""

    as_step = UnassignTagStep
    starts = UnassignedTag

    def told(self) -> str:
        return phrase("take the tag {name} away", name=self.tag)


class _OfList(_AsStep, frozen=True):
    list: Annotated[Text, msgspec.Meta(description="Its name.")]

    parts = Part.LISTS

    @property
    def about(self) -> str | None:
        return self.list


class SubscribeList(_OfList, tag="subscribe_list", frozen=True):
    """Put the lead on a list, unless it has left that list itself."""

    as_step = SubscribeListStep
    starts = JoinedList

    def told(self) -> str:
        return phrase("subscribe it to the list {name}", name=self.list)


class UnsubscribeList(_OfList, tag="unsubscribe_list", frozen=True):
    """Take the lead off a list."""

    as_step = UnsubscribeListStep
    starts = LeftList

    def told(self) -> str:
        return phrase("take it off the list {name}", name=self.list)


class _OfSequence(_AsStep, frozen=True):
    sequence: Annotated[Text, msgspec.Meta(description="Its name.")]

    parts = Part.SEQUENCES

    @property
    def about(self) -> str | None:
        return self.sequence


class StartSequence(_OfSequence, tag="start_sequence", frozen=True):
    """Start the lead in a sequence, at its first step or the one given, unless it has left that one itself."""

    step: Annotated[Box | None, msgspec.Meta(description="The box of that sequence to start at.")] = None

    as_step = StartSequenceStep
    starts = JoinedSequence

    def told(self) -> str:
        if self.step is not None:
            return phrase("start the sequence {name} at step {step}", name=self.sequence, step=self.step)
        return phrase("start the sequence {name}", name=self.sequence)


class StopSequence(_OfSequence, tag="stop_sequence", frozen=True):
    """Take the lead out of a sequence."""

    as_step = StopSequenceStep
    starts = LeftSequence

    def told(self) -> str:
        return phrase("take it out of the sequence {name}", name=self.sequence)


class Points(_AsStep, tag="points", frozen=True):
    """Give points, or take them when negative; with `days`, points given are taken back after so many days."""

    points: Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000, description="How many.")]
    days: Annotated[int, msgspec.Meta(ge=0, le=36_500, description="0 for points that stay.")] = 0

    as_step = PointsStep
    parts = Part.POINTS
    starts = ReachedScore

    def told(self) -> str:
        if self.points < 0:
            return phrase("take {points} points", points=-self.points)
        if self.days:
            return phrase("give {points} points for {days} days", points=self.points, days=self.days)
        return phrase("give {points} points", points=self.points)


class Notify(Action, tag="notify", frozen=True):
    """Mail somebody who works on the account; the mail says what happened, and to which lead."""

    to: Annotated[Text, msgspec.Meta(description="The address of a person of the account.")]
    text: Annotated[str, msgspec.Meta(max_length=2000, description="What the mail says besides.")] = ""

    def do(self, doing: Doing) -> None:
        doing.notify(self)

    def check(self, account: Account) -> None:
        """Who works on an account stands elsewhere: see `automationfile`."""

    def told(self) -> str:
        return phrase("notify {person}", person=self.to)


class Webhook(Action, tag="webhook", frozen=True):
    """Tell another system of the lead, as it is then: a webhook whose events have `automation` among them."""

    webhook: Annotated[Text, msgspec.Meta(description="Its name.")]

    def do(self, doing: Doing) -> None:
        endpoint = self._endpoint(doing.account)
        doing.lead.events.append(WebhookCalled(doing.automation_id, endpoint.id))

    def check(self, account: Account) -> None:
        self._endpoint(account)

    def _endpoint(self, account: Account) -> Endpoint:
        endpoint = account.hook_named(self.webhook)
        if AUTOMATION not in endpoint.events:
            raise WebhookNotAsked(f"the webhook {endpoint.name} is not told what automations send")
        return endpoint

    def told(self) -> str:
        return phrase("tell the webhook {name}", name=self.webhook)


AnyAction = (
    AssignTag | UnassignTag | SubscribeList | UnsubscribeList | StartSequence | StopSequence | Points | Webhook | Notify
)

ACTION_TYPES: tuple[type[Action], ...] = get_args(AnyAction)
