"""What Kartra tells of a lead, as a wish that imports fulfil, and what of it has no place here."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from cartwheel.accounts import LONGEST_NAME, Account, CustomField, name_key
from cartwheel.api import wire
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.imports.deciding import LONGEST_NOTES, MOST_POINTS
from cartwheel.leads.importing import Elsewhere, Joint, Stated, Wish
from cartwheel.leads.leadparts import (
    LONGEST_CUSTOM_TEXT,
    LONGEST_FIELD,
    PROFILE_FIELDS,
    CustomValue,
    Gdpr,
    RunStatus,
    Source,
    SuppressionReason,
)

EARLIEST = 1971
"""Years before it are what systems write that do not know."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class MovePlan(msgspec.Struct, omit_defaults=True):
    """What is moved, and how. With another plan, it is another move."""

    url: str
    digest: str
    """Of the file with the addresses."""
    zone: str
    column: int = 0
    """Where the file has the addresses."""
    batch_tag: str = ""
    start_sequences: bool = False

    @property
    def identity(self) -> "MovePlan":
        """Which column has the addresses is a guess, and may be another one when there are more fields."""
        return msgspec.structs.replace(self, column=0)


class Place(NamedTuple):
    sequence: str
    step: str
    status: str


class Told(NamedTuple):
    """What an answer says. `losses` are what is not here as it was there."""

    wish: Wish
    losses: list[str]
    places: list[Place]
    started: list[str]


class AnswerReader:
    """Reads answers for one account. Tags and lists that there are not are in `missing`."""

    def __init__(self, account: Account, plan: MovePlan, tags: tuple[int, ...]) -> None:
        self._account = account
        self._plan = plan
        self._zone = ZoneInfo(plan.zone)
        self._tags = tags
        self.missing: dict[tuple[str, str], None] = {}

    def read(self, asked: str, details: Mapping[str, Any]) -> Told:
        losses: list[str] = []
        joined, left = self._lists(details)
        places, starts, started = self._sequences(details, losses)
        joint = Joint(
            tuple(dict.fromkeys((*self._tags, *self._tagged(details)))),
            joined,
            self._consent(details, losses),
            self._points(details, losses),
        )
        blocked = None
        if _number(details.get("blacklisted")):
            blocked = SuppressionReason.DO_NOT_CONTACT
            losses.append("blocked, and Kartra does not tell why: `do not contact` here")
        losses += _without_place(details)
        wish = Wish(
            self._email(asked, details, losses),
            joint,
            _profile(details, losses),
            dict(self._custom(details, losses)),
            text_of(details.get("notes"))[:LONGEST_NOTES],
            self._moment(details.get("date_joined")),
            blocked,
            Elsewhere(
                _source(details), text_of(details.get("ip_country")), _number(details.get("source_id")), left, starts
            ),
        )
        return Told(wish, losses, places, started)

    def _email(self, asked: str, details: Mapping[str, Any], losses: list[str]) -> str:
        try:
            told = read_email(text_of(details.get("email")))
        except EmailNotValid:
            return asked
        if told != asked:
            losses.append("has another address at Kartra than the file says: moved with that of Kartra")
        return told

    def _moment(self, value: object) -> datetime | None:
        try:
            found = datetime.fromisoformat(text_of(value))
        except ValueError:
            return None
        return found.replace(tzinfo=found.tzinfo or self._zone) if found.year >= EARLIEST else None

    # -- what has a name --

    def _number_of(self, kind: str, name: str) -> int | None:
        known: Mapping[str, Any] = self._account.tags if kind == "tags" else self._account.lists
        found = known.get(name_key(name))
        if found is None and name.strip() and len(name) <= LONGEST_NAME:
            self.missing[kind, name.strip()] = None
        return None if found is None else int(found.id)

    def _tagged(self, details: Mapping[str, Any]) -> Iterator[int]:
        for entry in _entries(details, "tags"):
            number = self._number_of("tags", text_of(entry.get("tag_name")))
            if number is not None:
                yield number

    def _lists(self, details: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Those that it is on, and those that it was on."""
        found: dict[bool, dict[int, None]] = {True: {}, False: {}}
        for entry in _entries(details, "lists"):
            number = self._number_of("lists", text_of(entry.get("list_name")))
            if number is not None:
                found[bool(_number(entry.get("active", 1)))][number] = None
        return tuple(found[True]), tuple(number for number in found[False] if number not in found[True])

    def _sequences(
        self, details: Mapping[str, Any], losses: list[str]
    ) -> tuple[list[Place], tuple[tuple[int, str], ...], list[str]]:
        places, starts, started = [], [], []
        for entry in _entries(details, "sequences"):
            place = Place(*(text_of(entry.get(name)).strip() for name in ("sequence_name", "step", "status")))
            places.append(place)
            if place.status != RunStatus.ACTIVE.value or not self._plan.start_sequences:
                continue
            sequence = self._account.sequences.get(name_key(place.sequence))
            if sequence is not None and place.step in sequence.boxes:
                starts.append((sequence.id, place.step))
                started.append(sequence.name)
            else:
                losses.append(f"is in the sequence {place.sequence} at step {place.step}, which is not here")
        return places, tuple(starts), started

    # -- the others --

    def _consent(self, details: Mapping[str, Any], losses: list[str]) -> Stated | None:
        try:
            status = Gdpr(_number(details.get("gdpr_lead_status")))
        except ValueError:
            losses.append(f"a GDPR status that is not known: {text_of(details['gdpr_lead_status'])[:20]}")
            return None
        if status is Gdpr.OFF and self._account.gdpr:
            losses.append("never asked for consent, because GDPR was off at Kartra: `unknown` here")
            return None
        agreed = bool(_number(details.get("gdpr_lead_communications")))
        at = self._moment(details.get("gdpr_lead_status_date"))
        return Stated(status, agreed, at, text_of(details.get("gdpr_lead_status_ip")))

    def _points(self, details: Mapping[str, Any], losses: list[str]) -> int:
        points = _number(details.get("score"))
        if abs(points) > MOST_POINTS:
            losses.append(f"a score beyond {MOST_POINTS:,}: not moved")
            return 0
        return points

    def _custom(self, details: Mapping[str, Any], losses: list[str]) -> Iterator[tuple[int, CustomValue]]:
        for entry in _entries(details, "custom_fields"):
            identifier, sent = text_of(entry.get("field_identifier")), entry.get("field_value")
            chosen = [option for option in wire.items(sent) or () if isinstance(option, Mapping)]
            text = "; ".join(text_of(option.get("option_value")) for option in chosen) if chosen else text_of(sent)
            if not text:
                continue
            field = self._account.field(identifier)
            value = None if field is None else _value(field, chosen, text)
            if field is None or value is None:
                losses.append(f"a value of the custom field {identifier}, which does not fit here")
            else:
                yield field.id, value


def _value(field: CustomField, chosen: list[Mapping[str, Any]], text: str) -> CustomValue | None:
    """None if the field cannot hold it."""
    if field.type.is_text:
        return text if len(text) <= LONGEST_CUSTOM_TEXT else None
    by_name = {name_key(option.name): option.id for option in reversed(field.options)}
    exact = {(str(option.id), name_key(option.name)): option.id for option in field.options}
    found = set()
    for option in chosen or [{"option_value": text}]:
        name = name_key(text_of(option.get("option_value")))
        found.add(exact.get((text_of(option.get("option_id")), name), by_name.get(name)))
    if None in found or (len(found) > 1 and not field.type.takes_many):
        return None
    return tuple(sorted(number for number in found if number is not None))


def _profile(details: Mapping[str, Any], losses: list[str]) -> dict[str, str]:
    found = {name: text_of(details.get(name)) for name in PROFILE_FIELDS}
    for name, text in found.items():
        if len(text) > LONGEST_FIELD:
            losses.append(f"{name} is longer than {LONGEST_FIELD:,} characters: cut off there")
    return {name: text[:LONGEST_FIELD] for name, text in found.items() if text}


def _source(details: Mapping[str, Any]) -> Source:
    try:
        return Source(text_of(details.get("source")))
    except ValueError:
        return Source.IMPORT


_KNOWN = {
    *wire.LeadDetails.__struct_fields__,
    "id",
}
_HAVE_NO_PLACE = ("memberships", "transactions")


def _without_place(details: Mapping[str, Any]) -> Iterator[str]:
    for name, value in details.items():
        if value and (name in _HAVE_NO_PLACE or (name not in _KNOWN and isinstance(value, list | dict))):
            yield f"{name}, which have no place here"


def _entries(details: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [entry for entry in wire.items(details.get(name) or []) or () if isinstance(entry, Mapping)]


def text_of(value: object) -> str:
    """As it can be stored; empty for whatever is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", str(value))


def _number(value: object) -> int:
    """0 for whatever is none."""
    try:
        return int(float(text_of(value) or 0)) if len(text_of(value)) < 20 else MOST_POINTS + 1  # noqa: PLR2004 - digits
    except (ValueError, OverflowError):
        return 0
