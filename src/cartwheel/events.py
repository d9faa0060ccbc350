"""What can have happened to a lead: one class an event, stored in the transaction that makes the change.

An event's `kind` is its class name in snake case. Its fields become the JSON in the column `details`.
"""

import re
from typing import Any, ClassVar

import msgspec


class Event(msgspec.Struct, frozen=True):
    """Something that happened to a lead."""

    kind: ClassVar[str] = ""

    def __init_subclass__(cls, **config: Any) -> None:
        super().__init_subclass__(**config)
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


class LeadCreated(Event, frozen=True):
    """The lead was added to the account."""

    source: str


class LeadEdited(Event, frozen=True):
    """Fields of the lead were changed: the names of built-in ones, the ids of custom ones."""

    fields: list[str]
    custom_field_ids: list[int]


class LeadDeleted(Event, frozen=True):
    """The lead was deleted. Its address stays taken, and it can be restored."""


class LeadRestored(Event, frozen=True):
    """A deleted lead was brought back."""


class TagAssigned(Event, frozen=True):
    """The lead got a tag."""

    tag_id: int


class TagUnassigned(Event, frozen=True):
    """The lead lost a tag."""

    tag_id: int


class ListJoined(Event, frozen=True):
    """The lead was subscribed to a list."""

    list_id: int


class ListLeft(Event, frozen=True):
    """The lead was unsubscribed from a list."""

    list_id: int


class PointsGiven(Event, frozen=True):
    """The lead got points; `days` until they are taken back, 0 for never."""

    points: int
    days: int


class PointsRemoved(Event, frozen=True):
    """Points were taken from the lead."""

    points: int


class PointsExpired(Event, frozen=True):
    """A grant of points reached its end and was taken back."""

    points: int


class SequenceJoined(Event, frozen=True):
    """The lead was subscribed to a sequence, starting at the step with this box label."""

    sequence_id: int
    step: str


class SequenceLeft(Event, frozen=True):
    """The lead was unsubscribed from a sequence, at the step with this box label."""

    sequence_id: int
    step: str


KINDS: dict[str, type[Event]] = {event.kind: event for event in Event.__subclasses__()}
