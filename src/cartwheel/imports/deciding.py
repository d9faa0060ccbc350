"""What a row of a file says of a lead, or why it is refused. Pure."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from cartwheel.accounts import LONGEST_NAME, Account, CustomField, FieldType, MailingList, Tag, name_key
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.errors import CartwheelError
from cartwheel.imports.columns import EMAIL, FIELD, NEW_FIELD, plain, read_moment
from cartwheel.leads.importing import Joint, Stated, Wish
from cartwheel.leads.leadparts import (
    LONGEST_CUSTOM_TEXT,
    LONGEST_FIELD,
    PROFILE_FIELDS,
    CustomValue,
    Gdpr,
    SuppressionReason,
)
from cartwheel.phrases import form, phrase

MOST_NAMES = 200
"""Tags, or lists, in a row."""

MOST_REMEMBERED = 10_000
"""What so many rows have in common is worked out once."""

MOST_POINTS = 1_000_000_000
LONGEST_NOTES = 20_000


class Plan(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """What somebody has decided about an import: what each column is about, and what is said of all rows."""

    columns: list[str] = []
    tags: list[int] = []
    lists: list[int] = []
    batch_tag: str = ""
    """All leads that are made or named get it."""
    make: bool = False
    """Tags, lists and fields that there are not are made; otherwise rows that name them are refused."""
    consent: str = ""
    blocked: str = ""
    sequence: int = 0
    step: str = ""


class Refused(CartwheelError):
    """The row cannot be imported, and why."""


_CONSENT: Mapping[str, Gdpr] = {
    word: status
    for status, words in {
        Gdpr.OFF: "0 off",
        Gdpr.NOT_SUBJECT: "1 not_subject not_subject_to_gdpr exempt",
        Gdpr.ACCEPTED: "2 accepted yes true y agreed consented granted opted_in opt_in",
        Gdpr.NOT_ACCEPTED: "3 not_accepted no false n declined rejected denied refused opted_out opt_out",
        Gdpr.UNKNOWN: "4 unknown not_asked",
        Gdpr.PENDING: "5 pending awaiting unconfirmed",
    }.items()
    for word in words.split()
}

_YES_NO: Mapping[str, bool] = {
    **dict.fromkeys(["1", "yes", "true", "y", "on", "subscribed", "opted_in"], True),
    **dict.fromkeys(["0", "no", "false", "n", "off", "unsubscribed", "opted_out"], False),
}

_MAY_BE_MAILED = frozenset(
    [
        "0",
        "no",
        "false",
        "n",
        "none",
        "active",
        "confirmed",
        "subscribed",
        "unconfirmed",
        "not_blocked",
        "ok",
        "clean",
        "valid",
        "inactive",
        "pending",
        "nonsubscribed",
    ]
)
_BLOCKED: Mapping[str, SuppressionReason] = {
    word: reason
    for reason, words in {
        SuppressionReason.COMPLAINT: "complaint complained spam spam_complaint marked_as_spam abuse",
        SuppressionReason.DO_NOT_CONTACT: "1 yes true y blocked do_not_contact unsubscribed cancelled canceled opted_out blacklisted "
        "suppressed global_unsubscribe unsubscribed_from_all",
        SuppressionReason.HARD_BOUNCE: "bounced hard_bounce hard_bounced bounce cleaned invalid",
        SuppressionReason.SOFT_BOUNCES: "soft_bounce soft_bounced repeated_soft_bounces soft_bounces",
    }.items()
    for word in words.split()
}

_IF_GIVEN = {
    "unsubscribed": SuppressionReason.DO_NOT_CONTACT,
    "bounced": SuppressionReason.HARD_BOUNCE,
    "complained": SuppressionReason.COMPLAINT,
}
_STRONGEST = tuple(SuppressionReason)

_SECRETIVE = re.compile("[\0\ufffd]")
"""What no database holds, and what stands for bytes that could not be read."""


def read_consent(text: str) -> Gdpr:
    """Raises `Refused`."""
    try:
        return _CONSENT[plain(text)]
    except KeyError:
        raise Refused(phrase("{value} is no consent that is known", value=text[:100])) from None


def read_blocked(text: str) -> SuppressionReason | None:
    """None if it may be mailed. Raises `Refused`."""
    word = plain(text)
    if not word or word in _MAY_BE_MAILED:
        return None
    try:
        return _BLOCKED[word]
    except KeyError:
        raise Refused(phrase("{value} does not say whether the address is blocked", value=text[:100])) from None


class Decider:
    """Decides about the rows of one file for one account. What is to be made has a number below zero until it is."""

    def __init__(self, plan: Plan, account: Account) -> None:
        self._plan = plan
        self._account = account
        self.to_make: dict[tuple[str, str], int] = {}
        """(kind, name) of what there is not."""
        self._joints: dict[tuple[str, ...], Joint] = {}
        targets = plan.columns
        self._width = len(targets)
        self._email = targets.index(EMAIL)
        self._profile = [(name, at) for at, name in enumerate(targets) if name in PROFILE_FIELDS]
        self._custom = [
            (self._field(name), at) for at, name in enumerate(targets) if name.startswith((FIELD, NEW_FIELD))
        ]
        self._texts = {field.id for field, _ in self._custom if field.type.is_text}
        self._places = {
            name: [at for at, other in enumerate(targets) if other == name]
            for name in (
                "name",
                "tags",
                "lists",
                "points",
                "notes",
                "joined",
                "consent",
                "contact",
                "blocked",
                *_IF_GIVEN,
            )
        }
        self._blocks = any(self._places[name] for name in ("blocked", *_IF_GIVEN))
        self._keys = [at for name in ("tags", "lists", "points", "consent", "contact") for at in self._places[name]]
        self._start = (plan.sequence, plan.step) if plan.sequence else None
        batch = [self._number("tags", plan.batch_tag, make=True)] if plan.batch_tag else []
        self._all_tags, self._all_lists = (*plan.tags, *batch), tuple(plan.lists)
        self._stated = read_consent(plan.consent) if plan.consent else None
        self._blocked = read_blocked(plan.blocked)
        self._same = self._joint([""] * self._width)

    def decide(self, cells: Sequence[str]) -> Wish:
        """Raises `Refused`."""
        if len(cells) != self._width:
            cells = self._cut(cells)
        if _SECRETIVE.search("".join(cells)):
            raise Refused(phrase("it has characters that cannot be read or stored"))
        try:
            email = read_email(cells[self._email])
        except EmailNotValid:
            given = cells[self._email].strip()
            told = (
                phrase("{value} is no e-mail address", value=given[:100])
                if given
                else phrase("it has no e-mail address")
            )
            raise Refused(told) from None
        return self._wish(email, cells)

    def _cut(self, cells: Sequence[str]) -> Sequence[str]:
        if len(cells) > self._width and not any(cells[self._width :]):
            return cells[: self._width]
        raise Refused(
            phrase("it has {cells} cells, and there are {columns} columns", cells=len(cells), columns=self._width)
        )

    def _wish(self, email: str, cells: Sequence[str]) -> Wish:
        profile = {}
        for name, at in self._profile:
            if text := cells[at].strip():
                if len(text) > LONGEST_FIELD:
                    raise Refused(phrase("{name} is longer than {most} characters", name=name, most=LONGEST_FIELD))
                profile[name] = text
        custom = {}
        for field, at in self._custom:
            if text := cells[at].strip():
                is_short_text = field.id in self._texts and len(text) <= LONGEST_CUSTOM_TEXT
                custom[field.id] = text if is_short_text else _value(field, text)
        joint = self._same
        places = self._places
        if self._keys:
            joint = self._joint(cells)
        if places["name"] and "first_name" not in profile and "last_name" not in profile:
            first, _, last = self._cell("name", cells)[:LONGEST_FIELD].partition(" ")
            profile |= {key: text.strip() for key, text in (("first_name", first), ("last_name", last)) if text.strip()}
        return Wish(email, joint, profile, custom, self._notes(cells), self._joined(cells), self._block(cells))

    def _cell(self, name: str, cells: Sequence[str]) -> str:
        places = self._places[name]
        return cells[places[0]].strip() if places else ""

    def _notes(self, cells: Sequence[str]) -> str:
        return self._cell("notes", cells)[:LONGEST_NOTES]

    def _joined(self, cells: Sequence[str]) -> datetime | None:
        text = self._cell("joined", cells)
        if not text:
            return None
        found = read_moment(text)
        if found is None:
            raise Refused(phrase("{value} is no date that is known: it is to be like 2026-03-01", value=text[:100]))
        return found

    def _block(self, cells: Sequence[str]) -> SuppressionReason | None:
        if not self._blocks:
            return self._blocked
        found = [self._blocked]
        found += [read_blocked(cells[at]) for at in self._places["blocked"]]
        found += [reason for name, reason in _IF_GIVEN.items() if self._cell(name, cells)]
        return min((reason for reason in found if reason), key=_STRONGEST.index, default=None)

    # -- what many rows have in common --

    def _joint(self, cells: Sequence[str]) -> Joint:
        key = tuple([cells[at] for at in self._keys])
        known = self._joints.get(key)
        if known is not None:
            return known
        found = Joint(
            tuple(dict.fromkeys((*self._all_tags, *self._named("tags", cells)))),
            tuple(dict.fromkeys((*self._all_lists, *self._named("lists", cells)))),
            self._consent(cells),
            self._points(cells),
            self._start,
        )
        if len(self._joints) < MOST_REMEMBERED:
            self._joints[key] = found
        return found

    def _named(self, kind: str, cells: Sequence[str]) -> Iterator[int]:
        count = 0
        for at in self._places[kind]:
            for name in self._split(kind, cells[at]):
                count += 1
                if count > MOST_NAMES:
                    raise Refused(phrase("it has more than {most} {kind}", most=MOST_NAMES, kind=kind))
                yield self._number(kind, name)

    def _split(self, kind: str, cell: str) -> list[str]:
        """By semicolons if there are any; else by commas, unless the whole is one name."""
        if ";" not in cell and name_key(cell) in self._known(kind):
            return [cell]
        return _parts(cell, ";" if ";" in cell else ",")

    def _known(self, kind: str) -> Mapping[str, Any]:
        return self._account.tags if kind == "tags" else self._account.lists

    def _number(self, kind: str, name: str, *, make: bool = False) -> int:
        entry: MailingList | Tag | None = self._known(kind).get(name_key(name))
        if entry is not None:
            return entry.id
        if not (make or self._plan.make):
            told = form("there is no tag {name}") if kind == "tags" else form("there is no list {name}")
            raise Refused(phrase(told, name=name[:100]))
        if len(name) > LONGEST_NAME:
            raise Refused(phrase("{name} is longer than {most} characters", name=name[:50], most=LONGEST_NAME))
        return self._new(kind, name)

    def _new(self, kind: str, name: str) -> int:
        for (other, known), number in self.to_make.items():
            if other == kind and name_key(known) == name_key(name):
                return number
        self.to_make[kind, name.strip()] = number = -1 - len(self.to_make)
        return number

    def _field(self, target: str) -> CustomField:
        identifier = target.partition(":")[2]
        found = self._account.field(identifier)
        return found or CustomField(self._new("fields", identifier), identifier, FieldType.INPUT_FIELD)

    def _consent(self, cells: Sequence[str]) -> Stated | None:
        said, contact = self._cell("consent", cells), self._cell("contact", cells)
        status = read_consent(said) if said else self._stated
        if contact and plain(contact) not in _YES_NO:
            raise Refused(phrase("{value} is neither yes nor no", value=contact[:100]))
        agreed = _YES_NO[plain(contact)] if contact else None
        if status is None:
            return None if agreed is None else Stated(Gdpr.ACCEPTED if agreed else Gdpr.NOT_ACCEPTED, agreed)
        return Stated(status, status is Gdpr.ACCEPTED if agreed is None else agreed and status is not Gdpr.NOT_ACCEPTED)

    def _points(self, cells: Sequence[str]) -> int:
        text = self._cell("points", cells)
        if not text:
            return 0
        try:
            found = int(text) if len(text) < 16 else MOST_POINTS + 1  # noqa: PLR2004 - digits
        except ValueError:
            found = MOST_POINTS + 1
        if abs(found) > MOST_POINTS:
            raise Refused(phrase("{value} is no number of points", value=text[:100]))
        return found


def _parts(cell: str, delimiter: str) -> list[str]:
    """Names in one cell, each perhaps in quotes of its own."""
    try:
        [parts] = csv.reader(
            [cell.replace("\n", delimiter).replace("\r", "")], delimiter=delimiter, skipinitialspace=True
        )
    except (ValueError, csv.Error):
        parts = cell.split(delimiter)
    return [part.strip() for part in parts if part.strip()]


def _value(field: CustomField, text: str) -> CustomValue:
    if field.type.is_text:
        if len(text) > LONGEST_CUSTOM_TEXT:
            raise Refused(
                phrase("{name} is longer than {most} characters", name=field.identifier, most=LONGEST_CUSTOM_TEXT)
            )
        return text
    options = {name_key(option.name): option.id for option in field.options}
    if name_key(text) in options:
        return (options[name_key(text)],)
    parts = [part for part in re.split(r"\|\|" if "||" in text else ";" if ";" in text else ",", text) if part.strip()]
    chosen = {options.get(name_key(part)) for part in parts}
    if None in chosen or not chosen or (len(chosen) > 1 and not field.type.takes_many):
        raise Refused(phrase("{name} has no option {value}", name=field.identifier, value=text[:100]))
    return tuple(sorted(number for number in chosen if number is not None))
