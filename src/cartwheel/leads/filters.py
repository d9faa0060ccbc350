"""Which leads are meant: a tree of conditions, one class a condition, as a page's address and a segment carry it. Pure.

They speak of an account's things by number, so that a new name changes nothing. `data/leadsearch.py` finds the leads.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from cartwheel.leads.events import Names
from cartwheel.leads.leadparts import RunStatus
from cartwheel.phrases import form, joined, phrase
from cartwheel.readers import digits

MOST_CONDITIONS = 40
MOST_DEPTH = 4
LONGEST = 8000
"""Characters of a filter in an address."""

Number = Annotated[int, Meta(ge=0, lt=1 << 53)]
Points = Annotated[int, Meta(gt=-(1 << 53), lt=1 << 53)]
Words = Annotated[str, Meta(max_length=255)]


class BadFilter(ValueError):
    """No filter can be read from it."""


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type"):
    """Something that is true of a lead or not."""

    def inside(self) -> "Iterator[Condition]":
        """It, and the conditions in it."""
        yield self

    @property
    def depth(self) -> int:
        return 1

    def told(self, names: Names) -> str:
        """The condition in words, with the lead as the one who is spoken of."""
        raise NotImplementedError


class HasTag(Condition, tag="tag", frozen=True):
    """The lead has the tag."""

    tag: Number

    def told(self, names: Names) -> str:
        return phrase("has the tag {name}", name=_called(names.tags, self.tag))


class OnList(Condition, tag="list", frozen=True):
    """The lead is on the list."""

    list: Number

    def told(self, names: Names) -> str:
        return phrase("is on the list {name}", name=_called(names.lists, self.list))


class InSequence(Condition, tag="sequence", frozen=True):
    """The lead's latest run through the sequence stands so; without `status` or `step`, any will do."""

    sequence: Number
    status: RunStatus | None = None
    step: Words = ""

    said: ClassVar = {
        None: form("was ever in the sequence {name}"),
        RunStatus.ACTIVE: form("is in the sequence {name}"),
        RunStatus.UNSUBSCRIBED: form("has left the sequence {name}"),
        RunStatus.COMPLETED: form("has completed the sequence {name}"),
        RunStatus.PARKED: form("is stuck in the sequence {name}"),
    }

    def told(self, names: Names) -> str:
        told = phrase(self.said[self.status], name=_called(names.sequences, self.sequence))
        return phrase("{told} at step {step}", told=told, step=self.step) if self.step else told


class Score(Condition, tag="score", frozen=True):
    """The lead's score is within these bounds, which belong to it."""

    at_least: Points | None = None
    at_most: Points | None = None

    def told(self, _names: Names) -> str:
        bounds = [phrase("at least {points}", points=f"{self.at_least:,}")] if self.at_least is not None else []
        bounds += [phrase("at most {points}", points=f"{self.at_most:,}")] if self.at_most is not None else []
        told = joined("{first} and {rest}", bounds) or phrase("anything")
        return phrase("has a score of {bounds}", bounds=told)


class Field(Condition, tag="field", frozen=True):
    """A field of the lead: a built-in one by its name, `email`, or a custom one by its number (`7`)."""

    field: Annotated[str, Meta(pattern="^([a-z_0-9]{1,40})$")]
    how: Literal["is", "begins", "contains", "filled", "empty"] = "is"
    text: Words = ""
    """Of a field with options, the number of one."""

    said: ClassVar = {
        "is": form("{field} is “{text}”"),
        "begins": form("{field} begins with “{text}”"),
        "contains": form("{field} contains “{text}”"),
        "filled": form("{field} is filled"),
        "empty": form("{field} is empty"),
    }

    @property
    def custom(self) -> int | None:
        return digits(self.field)

    @property
    def asks(self) -> bool:
        """Whether the text counts."""
        return self.how not in {"filled", "empty"}

    def told(self, names: Names) -> str:
        name = phrase(self.field.replace("_", " ")) if self.custom is None else _called(names.fields, self.custom)
        return phrase(self.said[self.how], field=name, text=self.text)


class Joined(Condition, tag="joined", frozen=True):
    """The lead was added on one of these days (in the account's time zone), both of which count."""

    since: date | None = None
    until: date | None = None

    def told(self, _names: Names) -> str:
        if self.since and self.until:
            return phrase("was added since {since} until {until}", since=self.since, until=self.until)
        if self.since:
            return phrase("was added since {since}", since=self.since)
        return phrase("was added until {until}", until=self.until) if self.until else phrase("was added")


MAIL_STATUS = {
    "mailable": form("may be mailed"),
    "suppressed": form("is not mailed"),
    "do not contact": form("is not to be contacted"),
    "bounced": form("has an address that bounced"),
    "complaint": form("complained"),
}


class MailStatus(Condition, tag="mail", frozen=True):
    """Whether the lead's address may be mailed, or why not."""

    status: Literal["mailable", "suppressed", "do not contact", "bounced", "complaint"] = "mailable"

    def told(self, _names: Names) -> str:
        return phrase(MAIL_STATUS[self.status])


class Seen(Condition, tag="seen", frozen=True):
    """The lead has opened, or clicked in, a mail of the sequence; of any sequence, if it is 0."""

    what: Literal["opened", "clicked"] = "opened"
    sequence: Number = 0

    def told(self, names: Names) -> str:
        name = _called(names.sequences, self.sequence)
        if self.what == "opened":
            return phrase("opened a mail of {name}", name=name) if self.sequence else phrase("opened any mail")
        return phrase("clicked in a mail of {name}", name=name) if self.sequence else phrase("clicked in any mail")


class Deleted(Condition, tag="deleted", frozen=True):
    """The lead was deleted. A filter that does not speak of deletion leaves deleted leads out."""

    def told(self, _names: Names) -> str:
        return phrase("is deleted")


class _Several(Condition, frozen=True):
    conditions: "tuple[AnyCondition, ...]" = ()

    linked: ClassVar[str]

    def inside(self) -> Iterator[Condition]:
        yield self
        for condition in self.conditions:
            yield from condition.inside()

    @property
    def depth(self) -> int:
        return 1 + max((condition.depth for condition in self.conditions), default=0)

    def told(self, names: Names) -> str:
        return joined(
            self.linked,
            [
                phrase("({told})", told=entry.told(names)) if isinstance(entry, _Several) else entry.told(names)
                for entry in self.conditions
            ],
        )


class All(_Several, tag="all", frozen=True):
    """Every one of these is true; of no conditions, always."""

    linked = form("{first} and {rest}")


class AnyOf(_Several, tag="any", frozen=True):
    """At least one of these is true; of no conditions, never."""

    linked = form("{first} or {rest}")


class Not(Condition, tag="not", frozen=True):
    """The opposite of a condition."""

    condition: "AnyCondition"

    def inside(self) -> Iterator[Condition]:
        yield self
        yield from self.condition.inside()

    @property
    def depth(self) -> int:
        return self.condition.depth

    def told(self, names: Names) -> str:
        return phrase("not: {told}", told=self.condition.told(names))


Simple = HasTag | OnList | InSequence | Score | Field | Joined | MailStatus | Seen | Deleted
Group = All | AnyOf
AnyCondition = HasTag | OnList | InSequence | Score | Field | Joined | MailStatus | Seen | Deleted | All | AnyOf | Not

EVERYBODY = All()

_READER = msgspec.json.Decoder(AnyCondition)


def read(text: str) -> Group:
    """From JSON; a lone condition becomes a group of one. Raises `BadFilter`."""
    if not text:
        return EVERYBODY
    if len(text) > LONGEST:
        raise BadFilter("the filter is too long")
    try:
        found = _READER.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadFilter(str(error)) from None
    tree: Group = found if isinstance(found, All | AnyOf) else All((found,))
    if tree.depth > MOST_DEPTH or sum(1 for _ in tree.inside()) > MOST_CONDITIONS:
        raise BadFilter("the filter is too deep, or has too many conditions")
    return tree


def written(tree: Group) -> str:
    """As JSON; empty for everybody."""
    return "" if tree == EVERYBODY else msgspec.json.encode(tree).decode()


def mandatory(tree: Condition) -> Iterator[Condition]:
    """Conditions that hold of every lead that is found."""
    if isinstance(tree, All) or (isinstance(tree, AnyOf) and len(tree.conditions) == 1):
        for condition in tree.conditions:
            yield from mandatory(condition)
    else:
        yield tree


def _called(names: Mapping[int, str], number: int) -> str:
    return names.get(number) or phrase("no. {number}", number=number)


# -- what is typed into the search box --


class Search(msgspec.Struct, frozen=True):
    """The beginning of an address, of a name, or of both names; or a lead's number."""

    words: tuple[str, ...] = ()

    @property
    def whole(self) -> str:
        return " ".join(self.words)

    @property
    def number(self) -> int | None:
        text = self.whole.removeprefix("#")
        return int(text) if re.fullmatch("[0-9]{1,15}", text) else None


def search(text: str) -> Search:
    return Search(tuple(text[:200].split()))


def spellings(text: str) -> list[str]:
    """As it may be written where only A to Z are made small: `özlem`, `Özlem`, `ÖZLEM`."""
    ways = (text, text.lower(), text.title(), text.upper(), text[:1].upper() + text[1:])
    return list(dict.fromkeys(_small(way) for way in ways))


def _small(text: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def after_all(prefix: str) -> str:
    """A text that comes after each that begins with this one, and before all others that come after them."""
    return prefix + "\U0010ffff"
