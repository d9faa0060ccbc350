"""What starts an automation: one class a trigger, under Kartra's word for the event where it has one. Pure."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, get_args

import msgspec

from cartwheel.accounts import Account, name_key
from cartwheel.leads.events import (
    Event,
    LeadCreated,
    LeadEdited,
    ListJoined,
    ListLeft,
    MailClicked,
    MailOpened,
    PointsGiven,
    SequenceCompleted,
    SequenceJoined,
    SequenceLeft,
    TagAssigned,
    TagUnassigned,
)
from cartwheel.phrases import form, phrase
from cartwheel.sequences.conditions import Field, Text
from cartwheel.sequences.stepparts import Box


@dataclass(frozen=True)
class Happened:
    """An event, with the score before it and after it."""

    event: Any
    before: int
    after: int


class Trigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type"):
    """An event, or one about a certain tag, list, sequence or field only."""

    event: ClassVar[type[Event]]

    @property
    def about(self) -> str | None:
        """The name that it is narrowed to."""
        return None

    def fits(self, happened: Happened, account: Account) -> bool:
        """Whether an event of this kind is one of those."""
        raise NotImplementedError

    def check(self, account: Account) -> None:
        """Raises a `DomainError` when it speaks of something that the account does not have."""

    def told(self) -> str:
        """In words, as what follows `when`."""
        raise NotImplementedError


class _OfTag(Trigger, frozen=True):
    tag: Annotated[Text | None, msgspec.Meta(description="The name of the tag; without it, any tag.")] = None

    words: ClassVar[tuple[str, str]]

    @property
    def about(self) -> str | None:
        return self.tag

    def fits(self, happened: Happened, account: Account) -> bool:
        return self.tag is None or account.tag_names.get(happened.event.tag_id) == _known(account.tags, self.tag)

    def check(self, account: Account) -> None:
        if self.tag is not None:
            account.tag_named(self.tag)

    def told(self) -> str:
        return _one_or_any(self.words, self.tag)


class AssignedTag(_OfTag, tag="assign_tag", frozen=True):
    """The lead gets a tag."""

    event = TagAssigned
    words = form("the lead gets the tag {name}"), form("the lead gets any tag")


class UnassignedTag(_OfTag, tag="unassign_tag", frozen=True):
    """The lead loses a tag."""

    event = TagUnassigned
    words = form("the lead loses the tag {name}"), form("the lead loses any tag")


class _OfList(Trigger, frozen=True):
    list: Annotated[Text | None, msgspec.Meta(description="The name of the list; without it, any list.")] = None

    words: ClassVar[tuple[str, str]]

    @property
    def about(self) -> str | None:
        return self.list

    def fits(self, happened: Happened, account: Account) -> bool:
        return self.list is None or account.list_names.get(happened.event.list_id) == _known(account.lists, self.list)

    def check(self, account: Account) -> None:
        if self.list is not None:
            account.list_named(self.list)

    def told(self) -> str:
        return _one_or_any(self.words, self.list)


class JoinedList(_OfList, tag="list_subscription", frozen=True):
    """The lead joins a list."""

    event = ListJoined
    words = form("the lead joins the list {name}"), form("the lead joins any list")


class LeftList(_OfList, tag="list_unsubscription", frozen=True):
    """The lead leaves a list, or is taken off it."""

    event = ListLeft
    words = form("the lead leaves the list {name}"), form("the lead leaves any list")


class _OfSequence(Trigger, frozen=True):
    sequence: Annotated[Text | None, msgspec.Meta(description="The name of the sequence; without it, any.")] = None

    words: ClassVar[tuple[str, str]]

    @property
    def about(self) -> str | None:
        return self.sequence

    def fits(self, happened: Happened, account: Account) -> bool:
        name = account.sequence_names.get(happened.event.sequence_id)
        return self.sequence is None or name == _known(account.sequences, self.sequence)

    def check(self, account: Account) -> None:
        if self.sequence is not None:
            account.sequence_named(self.sequence)

    def told(self) -> str:
        return _one_or_any(self.words, self.sequence)


class JoinedSequence(_OfSequence, tag="sequence_subscription", frozen=True):
    """The lead starts a sequence."""

    event = SequenceJoined
    words = form("the lead starts the sequence {name}"), form("the lead starts any sequence")


class LeftSequence(_OfSequence, tag="sequence_unsubscription", frozen=True):
    """The lead leaves a sequence, or is taken out of it."""

    event = SequenceLeft
    words = form("the lead leaves the sequence {name}"), form("the lead leaves any sequence")


class CompletedSequence(_OfSequence, tag="sequence_completion", frozen=True):
    """The lead completes a sequence."""

    event = SequenceCompleted
    words = form("the lead completes the sequence {name}"), form("the lead completes any sequence")


class _OfMail(_OfSequence, frozen=True):
    step: Annotated[Box | None, msgspec.Meta(description="The box of the mail's step; without it, any.")] = None

    of_step: ClassVar[str]

    def __post_init__(self) -> None:
        if self.step is not None and self.sequence is None:
            raise ValueError("a step needs its sequence")

    def fits(self, happened: Happened, account: Account) -> bool:
        return super().fits(happened, account) and self.step in {None, happened.event.step}

    def check(self, account: Account) -> None:
        if self.sequence is not None:
            sequence = account.sequence_named(self.sequence)
            if self.step is not None:
                sequence.check_box(self.step)

    def told(self) -> str:
        return phrase(self.of_step, step=self.step, name=self.sequence) if self.step else super().told()


class OpenedMail(_OfMail, tag="mail_opened", frozen=True):
    """The lead opens a mail for the first time, machines not counted."""

    event = MailOpened
    words = form("the lead opens a mail of the sequence {name}"), form("the lead opens any mail")
    of_step = form("the lead opens the mail of step {step} of {name}")


class ClickedMail(_OfMail, tag="mail_clicked", frozen=True):
    """The lead clicks a link in a mail for the first time, machines not counted."""

    event = MailClicked
    words = form("the lead clicks in a mail of the sequence {name}"), form("the lead clicks in any mail")
    of_step = form("the lead clicks in the mail of step {step} of {name}")


class ReachedScore(Trigger, tag="reaches_score", frozen=True):
    """The lead's score comes from below to so many points, or beyond."""

    points: Annotated[int, msgspec.Meta(ge=-1_000_000_000, le=1_000_000_000, description="How many.")]

    event = PointsGiven

    def fits(self, happened: Happened, _account: Account) -> bool:
        return happened.before < self.points <= happened.after

    def told(self) -> str:
        return phrase("the score reaches {points}", points=self.points)


class WasCreated(Trigger, tag="lead_created", frozen=True):
    """The lead is added to the account."""

    event = LeadCreated

    def fits(self, _happened: Happened, _account: Account) -> bool:
        return True

    def told(self) -> str:
        return phrase("a lead is added")


class WasEdited(Trigger, tag="lead_edited", frozen=True):
    """A field of the lead is changed."""

    field: Annotated[
        Text | None, msgspec.Meta(description="Its name, or the identifier of a custom field; without it, any field.")
    ] = None

    event = LeadEdited

    @property
    def about(self) -> str | None:
        return self.field

    def fits(self, happened: Happened, account: Account) -> bool:
        if self.field is None:
            return True
        custom = account.field(self.field)
        return self.field in happened.event.fields or (
            custom is not None and custom.id in happened.event.custom_field_ids
        )

    def check(self, account: Account) -> None:
        if self.field is not None:
            Field(self.field).check(account)

    def told(self) -> str:
        return phrase("the field {name} changes", name=self.field) if self.field else phrase("any field changes")


def _known(entries: Any, name: str) -> str:
    """The entry's own spelling of the name, or what nothing is called."""
    found = entries.get(name_key(name))
    return found.name if found else ""


def _one_or_any(words: tuple[str, str], name: str | None) -> str:
    return phrase(words[0], name=name) if name is not None else phrase(words[1])


AnyTrigger = (
    AssignedTag
    | UnassignedTag
    | JoinedList
    | LeftList
    | JoinedSequence
    | LeftSequence
    | CompletedSequence
    | ReachedScore
    | OpenedMail
    | ClickedMail
    | WasCreated
    | WasEdited
)

TRIGGER_TYPES: tuple[type[Trigger], ...] = get_args(AnyTrigger)
