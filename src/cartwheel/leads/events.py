"""What can have happened to a lead: one class an event, stored in the transaction that makes the change.

An event's `kind` is its class name in snake case. Its fields become the JSON in the column `details`, and `told` says it
to people.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import msgspec
from msgspec.structs import replace

from cartwheel.leads.leadparts import ERASED
from cartwheel.phrases import form, joined, kept, phrase


class Names(NamedTuple):
    """What an account calls the things that events are about, by their ids."""

    tags: Mapping[int, str]
    lists: Mapping[int, str]
    sequences: Mapping[int, str]
    fields: Mapping[int, str]
    automations: Mapping[int, str] = {}
    webhooks: Mapping[int, str] = {}


_SEQUENCE = "sequence:"
_AUTOMATION = "automation:"


def by_sequence(sequence_id: int) -> str:
    """The origin of what the steps of a sequence do."""
    return f"{_SEQUENCE}{sequence_id}"


def by_automation(automation_id: int) -> str:
    """The origin of what an automation does."""
    return f"{_AUTOMATION}{automation_id}"


_IMPORT = "import:"


def by_import(number: int) -> str:
    """The origin of what an import does."""
    return f"{_IMPORT}{number}"


def is_quiet(origin: str) -> bool:
    """Nothing begins because of it: what an import says of leads is no news."""
    return origin.startswith(_IMPORT)


def told_origin(origin: str, names: Names) -> str:
    """Who that was, if it was the steps of a sequence, an automation, or an import; else nothing."""
    if is_quiet(origin):
        return phrase("by the import no. {number}", number=origin.removeprefix(_IMPORT))
    if origin.startswith(_SEQUENCE):
        name = _called(names.sequences, int(origin.removeprefix(_SEQUENCE)))
        return phrase("by the sequence {name}", name=name)
    if origin.startswith(_AUTOMATION):
        name = _called(names.automations, int(origin.removeprefix(_AUTOMATION)))
        return phrase("by the automation {name}", name=name)
    return ""


class Event(msgspec.Struct, frozen=True):
    """Something that happened to a lead."""

    kind: ClassVar[str] = ""
    quotes: ClassVar[Sequence[str]] = ()
    """Fields with words of others, in which an address may stand. They do not outlive the lead's erasure."""

    def __init_subclass__(cls, **config: Any) -> None:
        super().__init_subclass__(**config)
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def told(self, _names: Names) -> str:
        """The event in words, with the lead as the one who is spoken of."""
        return self.kind.replace("_", " ").capitalize()

    def wiped(self) -> Self:
        """What stays of it when its lead is erased."""
        return replace(self, **dict.fromkeys(self.quotes, ERASED))


def _called(names: Mapping[int, str], number: int) -> str:
    return names.get(number) or phrase("no. {number}", number=number)


def _counted(points: int) -> str:
    return phrase("1 point") if points == 1 else phrase("{points} points", points=f"{points:,}")


class LeadCreated(Event, frozen=True):
    """The lead was added to the account."""

    source: str

    def told(self, _names: Names) -> str:
        return phrase("Was added to the account (source: {source})", source=self.source)


class LeadEdited(Event, frozen=True):
    """Fields of the lead were changed: the names of built-in ones, the ids of custom ones."""

    fields: list[str]
    custom_field_ids: list[int]

    def told(self, names: Names) -> str:
        built_in = [phrase(name.replace("_", " ")) for name in self.fields]
        custom = [_called(names.fields, number) for number in self.custom_field_ids]
        return phrase("Changed {fields}", fields=joined("{first}, {rest}", built_in + custom))


class LeadDeleted(Event, frozen=True):
    """The lead was deleted, and left its sequences. Its address stays taken, and it can be restored."""

    def told(self, _names: Names) -> str:
        return phrase("Was deleted")


class LeadRestored(Event, frozen=True):
    """A deleted lead was brought back."""

    def told(self, _names: Names) -> str:
        return phrase("Was restored")


class LeadErased(Event, frozen=True):
    """All that the lead could be known by was erased. This cannot be taken back."""

    def told(self, _names: Names) -> str:
        return phrase("Was erased")


class LeadMerged(Event, frozen=True):
    """The lead got what another one had, because both are one person."""

    lead_id: int

    def told(self, _names: Names) -> str:
        return phrase("Got what lead no. {number} had: they are one person", number=self.lead_id)


class LeadMergedInto(Event, frozen=True):
    """What the lead had went over to another one, because both are one person."""

    lead_id: int

    def told(self, _names: Names) -> str:
        return phrase("Became one with lead no. {number}", number=self.lead_id)


class TagAssigned(Event, frozen=True):
    """The lead got a tag."""

    tag_id: int

    def told(self, names: Names) -> str:
        return phrase("Got the tag {name}", name=_called(names.tags, self.tag_id))


class TagUnassigned(Event, frozen=True):
    """The lead lost a tag."""

    tag_id: int

    def told(self, names: Names) -> str:
        return phrase("Lost the tag {name}", name=_called(names.tags, self.tag_id))


class ListJoined(Event, frozen=True):
    """The lead was subscribed to a list."""

    list_id: int

    def told(self, names: Names) -> str:
        return phrase("Joined the list {name}", name=_called(names.lists, self.list_id))


class ListLeft(Event, frozen=True):
    """The lead was unsubscribed from a list."""

    list_id: int

    def told(self, names: Names) -> str:
        return phrase("Left the list {name}", name=_called(names.lists, self.list_id))


class ListRefused(Event, frozen=True):
    """A step was to put the lead on a list that it has left itself, and did not."""

    list_id: int
    reason: str

    def told(self, names: Names) -> str:
        name = _called(names.lists, self.list_id)
        return phrase("Was not put on the list {name}: {reason}", name=name, reason=kept(self.reason))


class PointsGiven(Event, frozen=True):
    """The lead got points; `days` until they are taken back, 0 for never."""

    points: int
    days: int

    def told(self, _names: Names) -> str:
        points = _counted(self.points)
        if self.days == 1:
            return phrase("Got {points} for 1 day", points=points)
        return (
            phrase("Got {points} for {days} days", points=points, days=self.days)
            if self.days
            else phrase("Got {points}", points=points)
        )


class PointsRemoved(Event, frozen=True):
    """Points were taken from the lead."""

    points: int

    def told(self, _names: Names) -> str:
        return phrase("Lost {points}", points=_counted(self.points))


class PointsExpired(Event, frozen=True):
    """A grant of points reached its end and was taken back."""

    points: int

    def told(self, _names: Names) -> str:
        return phrase("{points} expired", points=_counted(self.points))


class SequenceJoined(Event, frozen=True):
    """The lead was subscribed to a sequence, starting at the step with this box label."""

    sequence_id: int
    step: str

    def told(self, names: Names) -> str:
        name = _called(names.sequences, self.sequence_id)
        return phrase("Started the sequence {name} at step {step}", name=name, step=self.step)


class SequenceLeft(Event, frozen=True):
    """The lead was unsubscribed from a sequence, at the step with this box label."""

    sequence_id: int
    step: str

    def told(self, names: Names) -> str:
        name = _called(names.sequences, self.sequence_id)
        return phrase("Left the sequence {name} at step {step}", name=name, step=self.step)


class SequenceCompleted(Event, frozen=True):
    """The lead came to the end of a sequence, after the step with this box label."""

    sequence_id: int
    step: str

    def told(self, names: Names) -> str:
        name = _called(names.sequences, self.sequence_id)
        return phrase("Completed the sequence {name} after step {step}", name=name, step=self.step)


class SequenceRefused(Event, frozen=True):
    """The lead was to be started again in a sequence that it has left, and was not."""

    sequence_id: int
    step: str
    reason: str

    def told(self, names: Names) -> str:
        name = _called(names.sequences, self.sequence_id)
        return phrase("Was not started again in the sequence {name}: {reason}", name=name, reason=kept(self.reason))


class SequenceParked(Event, frozen=True):
    """The lead cannot go on in a sequence until somebody sees to it."""

    quotes = ("reason",)

    sequence_id: int
    step: str
    reason: str

    def told(self, names: Names) -> str:
        name = _called(names.sequences, self.sequence_id)
        text = form("Is stuck in the sequence {name} at step {step}: {reason}")
        return phrase(text, name=name, step=self.step, reason=kept(self.reason))


class SequenceUnparked(Event, frozen=True):
    """The lead that was stuck in a sequence tries again where it stands."""

    sequence_id: int
    step: str

    def told(self, names: Names) -> str:
        name = _called(names.sequences, self.sequence_id)
        return phrase("Tries again in the sequence {name} at step {step}", name=name, step=self.step)


class SequenceMoved(Event, frozen=True):
    """The lead was taken to the step with this box label in another version of a sequence's steps."""

    sequence_id: int
    step: str
    version: int

    def told(self, names: Names) -> str:
        name = _called(names.sequences, self.sequence_id)
        text = form("Was moved to version {version} of the sequence {name}, to step {step}")
        return phrase(text, version=self.version, name=name, step=self.step)


class MailSent(Event, frozen=True):
    """A mail server has taken the mail of a step."""

    sequence_id: int
    step: str

    def told(self, names: Names) -> str:
        name = _called(names.sequences, self.sequence_id)
        return phrase("Was sent the mail of step {step} of {name}", step=self.step, name=name)


class MailNotSent(Event, frozen=True):
    """The mail of a step was not sent, and will not be."""

    quotes = ("reason",)

    sequence_id: int
    step: str
    reason: str

    def told(self, names: Names) -> str:
        name = _called(names.sequences, self.sequence_id)
        text = form("Was not sent the mail of step {step} of {name}: {reason}")
        return phrase(text, step=self.step, name=name, reason=kept(self.reason))


class MailBounced(Event, frozen=True):
    """A mail came back, for good or for the time being."""

    quotes = ("reason",)

    hard: bool
    reason: str

    def told(self, _names: Names) -> str:
        text = form("A mail came back for good: {reason}") if self.hard else form("A mail came back: {reason}")
        return phrase(text, reason=kept(self.reason))


class MailOpened(Event, frozen=True):
    """The lead opened the mail of a step for the first time."""

    sequence_id: int
    step: str

    def told(self, names: Names) -> str:
        name = _called(names.sequences, self.sequence_id)
        return phrase("Opened the mail of step {step} of {name}", step=self.step, name=name)


class MailClicked(Event, frozen=True):
    """The lead clicked a link in the mail of a step for the first time."""

    sequence_id: int
    step: str

    def told(self, names: Names) -> str:
        name = _called(names.sequences, self.sequence_id)
        return phrase("Clicked in the mail of step {step} of {name}", step=self.step, name=name)


class LeadSuppressed(Event, frozen=True):
    """From now on the lead is not mailed."""

    reason: str

    def told(self, _names: Names) -> str:
        return phrase("Is not mailed any more: {reason}", reason=phrase(self.reason))


class SuppressionLifted(Event, frozen=True):
    """The lead may be mailed again."""

    reason: str

    def told(self, _names: Names) -> str:
        return phrase("May be mailed again ({reason} is over)", reason=phrase(self.reason))


class TrackingChanged(Event, frozen=True):
    """Whether it is recorded what the lead opens and clicks was changed."""

    on: bool

    def told(self, _names: Names) -> str:
        again, no_more = (
            form("What is opened and clicked is recorded again"),
            form("What is opened and clicked is not recorded any more"),
        )
        return phrase(again if self.on else no_more)


class ConsentChanged(Event, frozen=True):
    """The lead has agreed to commercial mail, or takes that back."""

    agreed: bool

    def told(self, _names: Names) -> str:
        return (
            phrase("Agreed to commercial mail") if self.agreed else phrase("Does not agree any more to commercial mail")
        )


class AutomationRan(Event, frozen=True):
    """An automation was started by an event of this kind, and what it did follows."""

    automation_id: int
    event: str

    def told(self, names: Names) -> str:
        return phrase("The automation {name} ran", name=_called(names.automations, self.automation_id))


class AutomationSkipped(Event, frozen=True):
    """An automation was started, and did nothing because a condition of it did not hold."""

    quotes = ("condition",)

    automation_id: int
    condition: str

    def told(self, names: Names) -> str:
        name = _called(names.automations, self.automation_id)
        text = form("The automation {name} did not run: it was not so that {condition}")
        return phrase(text, name=name, condition=self.condition)


class AutomationRefused(Event, frozen=True):
    """An automation, or one of its actions, could not be done."""

    quotes = ("reason",)

    automation_id: int
    reason: str

    def told(self, names: Names) -> str:
        name = _called(names.automations, self.automation_id)
        return phrase("The automation {name} was stopped: {reason}", name=name, reason=self.reason)


class WebhookCalled(Event, frozen=True):
    """An automation has another system told of the lead. Whether and when it took that, the webhook's log says."""

    automation_id: int
    webhook_id: int

    def told(self, names: Names) -> str:
        name = _called(names.automations, self.automation_id)
        return phrase(
            "The automation {name} told {webhook}", name=name, webhook=_called(names.webhooks, self.webhook_id)
        )


KINDS: dict[str, type[Event]] = {event.kind: event for event in Event.__subclasses__()}
