"""Conditions on a lead, as splits, waits and goals of a sequence have them: one class a condition.

Each says in `hears` which kinds of events can make it come true, so that a lead that waits is woken by them, and in
`parts` what of the lead has to be loaded to tell.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, get_args

import msgspec

from cartwheel.accounts import Account, CustomField
from cartwheel.errors import DomainError
from cartwheel.leads.events import (
    LeadCreated,
    LeadEdited,
    ListJoined,
    ListLeft,
    MailClicked,
    MailOpened,
    PointsExpired,
    PointsGiven,
    PointsRemoved,
    SequenceCompleted,
    SequenceJoined,
    SequenceLeft,
    TagAssigned,
    TagUnassigned,
)
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import PROFILE_FIELDS, Enrolment, Part, Parts, RunStatus
from cartwheel.phrases import joined, phrase
from cartwheel.sequences import schedule
from cartwheel.sequences.schedule import BadSchedule, Delay


@dataclass(frozen=True)
class Subject:
    """Whom a condition is asked about."""

    lead: Lead
    account: Account
    run: Enrolment | None
    """The run whose mails `opened` and `clicked` speak of."""


Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type"):
    """Something that is true of a lead or not."""

    hears: ClassVar[frozenset[str]] = frozenset()
    parts: ClassVar[Parts] = Part.NONE

    def holds(self, subject: Subject) -> bool:
        """Raises a `DomainError` when it speaks of something that the account does not have."""
        raise NotImplementedError

    def check(self, account: Account) -> None:
        """Raises a `DomainError` when it speaks of something that the account does not have."""

    def inside(self) -> "Iterator[Condition]":
        """It, and the conditions in it."""
        yield self

    def told(self) -> str:
        """The condition in words, as what follows `if`."""
        raise NotImplementedError


def _kinds(*events: type[Any]) -> frozenset[str]:
    return frozenset(event.kind for event in events)


class HasTag(Condition, tag="has_tag", frozen=True):
    """The lead has the tag."""

    tag: Annotated[Text, msgspec.Meta(description="Its name.")]

    hears = _kinds(TagAssigned, TagUnassigned)
    parts = Part.TAGS

    def holds(self, subject: Subject) -> bool:
        return subject.account.tag_named(self.tag).id in subject.lead.tags

    def check(self, account: Account) -> None:
        account.tag_named(self.tag)

    def told(self) -> str:
        return phrase("the lead has the tag {name}", name=self.tag)


class OnList(Condition, tag="on_list", frozen=True):
    """The lead is on the list."""

    list: Annotated[Text, msgspec.Meta(description="Its name.")]

    hears = _kinds(ListJoined, ListLeft)
    parts = Part.LISTS

    def holds(self, subject: Subject) -> bool:
        place = subject.lead.lists.get(subject.account.list_named(self.list).id)
        return place is not None and place.active

    def check(self, account: Account) -> None:
        account.list_named(self.list)

    def told(self) -> str:
        return phrase("the lead is on the list {name}", name=self.list)


class _OfSequence(Condition, frozen=True):
    """The lead's latest run through a sequence."""

    sequence: Annotated[Text, msgspec.Meta(description="Its name.")]

    hears = _kinds(SequenceJoined, SequenceLeft, SequenceCompleted)
    parts = Part.SEQUENCES
    statuses: ClassVar[frozenset[RunStatus]]

    def holds(self, subject: Subject) -> bool:
        run = subject.lead.runs.get(subject.account.sequence_named(self.sequence).id)
        return run is not None and run.status in self.statuses

    def check(self, account: Account) -> None:
        account.sequence_named(self.sequence)


class InSequence(_OfSequence, tag="in_sequence", frozen=True):
    """The lead is in the sequence, or has completed it."""

    statuses = frozenset(RunStatus) - {RunStatus.UNSUBSCRIBED}

    def told(self) -> str:
        return phrase("the lead is in the sequence {name}", name=self.sequence)


class Completed(_OfSequence, tag="completed", frozen=True):
    """The lead has completed the sequence."""

    statuses = frozenset({RunStatus.COMPLETED})

    def told(self) -> str:
        return phrase("the lead has completed the sequence {name}", name=self.sequence)


class Left(_OfSequence, tag="left", frozen=True):
    """The lead was in the sequence and has left it."""

    statuses = frozenset({RunStatus.UNSUBSCRIBED})

    def told(self) -> str:
        return phrase("the lead has left the sequence {name}", name=self.sequence)


class Score(Condition, tag="score", frozen=True):
    """The lead's score is within these bounds, which belong to it."""

    at_least: Annotated[int | None, msgspec.Meta(description="So many points or more.")] = None
    at_most: Annotated[int | None, msgspec.Meta(description="So many points or fewer.")] = None

    hears = _kinds(PointsGiven, PointsRemoved, PointsExpired)
    parts = Part.POINTS

    def __post_init__(self) -> None:
        if self.at_least is None and self.at_most is None:
            raise ValueError("a score needs at_least or at_most")

    def holds(self, subject: Subject) -> bool:
        score = subject.lead.score
        return (self.at_least is None or score >= self.at_least) and (self.at_most is None or score <= self.at_most)

    def told(self) -> str:
        bounds = [phrase("at least {points}", points=self.at_least)] * (self.at_least is not None)
        bounds += [phrase("at most {points}", points=self.at_most)] * (self.at_most is not None)
        return phrase("the score is {bounds}", bounds=joined("{first} and {rest}", bounds))


class Field(Condition, tag="field", frozen=True):
    """A field of the lead, built in or custom, is exactly this (an option: its name) or contains this, in any case.

    With neither, the field has to be filled.
    """

    field: Annotated[Text, msgspec.Meta(description="Its name, like `city`, or the identifier of a custom field.")]
    equals: Annotated[str | None, msgspec.Meta(description="All of it.")] = None
    contains: Annotated[str | None, msgspec.Meta(description="A part of it.")] = None

    hears = _kinds(LeadEdited, LeadCreated)
    parts = Part.PROFILE

    def holds(self, subject: Subject) -> bool:
        values = [value.casefold() for value in _values(self.field, subject)]
        if self.equals is not None:
            return self.equals.strip().casefold() in (values or [""])
        if self.contains is not None:
            return any(self.contains.casefold() in value for value in values)
        return any(values)

    def check(self, account: Account) -> None:
        _custom_field(self.field, account)

    def told(self) -> str:
        if self.equals is not None:
            return phrase("{field} is {value}", field=self.field, value=repr(self.equals))
        if self.contains is not None:
            return phrase("{field} contains {value}", field=self.field, value=repr(self.contains))
        return phrase("{field} is filled", field=self.field)


class FieldUnknown(DomainError):
    """There is no field of this name."""


def _custom_field(name: str, account: Account) -> CustomField | None:
    """None for a built-in field."""
    if name in PROFILE_FIELDS or name == "email":
        return None
    field = account.field(name)
    if field is None:
        raise FieldUnknown(f"there is no field {name}")
    return field


def _values(name: str, subject: Subject) -> list[str]:
    """What a person would read in the field; several for a field of several choices."""
    field = _custom_field(name, subject.account)
    if field is None:
        value = subject.lead.email if name == "email" else subject.lead.profile.get(name, "")
        return [value.strip()]
    chosen = subject.lead.custom.get(field.id, "")
    if isinstance(chosen, str):
        return [chosen.strip()]
    return [option.name for option in field.options if option.id in chosen]


class _OfMail(Condition, frozen=True):
    """A mail of this run, by the box label of its step, or any; `within` counts from its sending."""

    box: Annotated[Text | None, msgspec.Meta(description="Its step; without it, any mail of the run.")] = None
    within: Annotated[str, msgspec.Meta(description="Like `2 days`: how soon after it was sent.")] = ""

    parts = Part.MAILS

    def __post_init__(self) -> None:
        if self.within:
            try:
                Delay.read(self.within)
            except BadSchedule as error:
                raise ValueError(str(error)) from None

    def _soon(self, lead: Lead, run: Enrolment | None, *, clicked: bool) -> bool:
        limit = Delay.read(self.within).length if self.within else timedelta.max
        return any(
            self.box in {None, mail.box}
            and run is not None
            and mail.run_key == run.key
            and (seen := mail.clicked_at if clicked else mail.opened_at) is not None
            and seen - (mail.sent_at or mail.queued_at) <= limit
            for mail in lead.mails.values()
        )

    def _which(self) -> str:
        return phrase("the mail of step {step}", step=self.box) if self.box else phrase("a mail of the sequence")

    def _soon_enough(self, told: str) -> str:
        return phrase("{told} within {time}", told=told, time=schedule.told(self.within)) if self.within else told


class Opened(_OfMail, tag="opened", frozen=True):
    """The lead has opened a mail of this run (or clicked in it), machines not counted."""

    hears = _kinds(MailOpened, MailClicked)

    def holds(self, subject: Subject) -> bool:
        lead, run = subject.lead, subject.run
        return self._soon(lead, run, clicked=False) or self._soon(lead, run, clicked=True)

    def told(self) -> str:
        return self._soon_enough(phrase("{mail} was opened", mail=self._which()))


class Clicked(_OfMail, tag="clicked", frozen=True):
    """The lead has clicked a link in a mail of this run, machines not counted."""

    hears = _kinds(MailClicked)

    def holds(self, subject: Subject) -> bool:
        return self._soon(subject.lead, subject.run, clicked=True)

    def told(self) -> str:
        return self._soon_enough(phrase("a link in {mail} was clicked", mail=self._which()))


class _Several(Condition, frozen=True):
    conditions: "Annotated[list[AnyCondition], msgspec.Meta(min_length=1, max_length=50, description='Conditions.')]"

    def check(self, account: Account) -> None:
        for condition in self.conditions:
            condition.check(account)

    def inside(self) -> Iterator[Condition]:
        yield self
        for condition in self.conditions:
            yield from condition.inside()


class All(_Several, tag="all", frozen=True):
    """Every one of these is true."""

    def holds(self, subject: Subject) -> bool:
        return all(condition.holds(subject) for condition in self.conditions)

    def told(self) -> str:
        return joined("{first} and {rest}", [condition.told() for condition in self.conditions])


class AnyOf(_Several, tag="any", frozen=True):
    """At least one of these is true."""

    def holds(self, subject: Subject) -> bool:
        return any(condition.holds(subject) for condition in self.conditions)

    def told(self) -> str:
        return joined("{first} or {rest}", [condition.told() for condition in self.conditions])


class Not(Condition, tag="not", frozen=True):
    """The opposite of a condition."""

    condition: Annotated["AnyCondition", msgspec.Meta(description="The condition.")]

    def holds(self, subject: Subject) -> bool:
        return not self.condition.holds(subject)

    def check(self, account: Account) -> None:
        self.condition.check(account)

    def inside(self) -> Iterator[Condition]:
        yield self
        yield from self.condition.inside()

    def told(self) -> str:
        return phrase("it is not so that {condition}", condition=self.condition.told())


AnyCondition = HasTag | OnList | InSequence | Completed | Left | Score | Field | Opened | Clicked | All | AnyOf | Not

CONDITION_TYPES: tuple[type[Condition], ...] = get_args(AnyCondition)


def hears(condition: Condition) -> frozenset[str]:
    return frozenset().union(*(each.hears for each in condition.inside()))


def parts(condition: Condition) -> Parts:
    needed = Part.NONE
    for each in condition.inside():
        needed |= each.parts
    return needed
