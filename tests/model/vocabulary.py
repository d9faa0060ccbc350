"""The model's words and records: commands, messages, leads, fields; the shapes in which values are sent."""

import math
import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

Tree = Mapping[str, Any]
Answer = dict[str, Any]

TEXT_FIELDS = (
    "phone", "phone_country_code", "first_name", "middle_name", "last_name", "last_name2", "ip", "address", "zip",
    "city", "state", "country", "company", "lead_picture", "website", "facebook", "twitter", "linkedin",
    "google_plus", "lead_preferred_time_zone", "sales_tax_id", "business_type",
)  # fmt: skip
OTHER_NAMES = (
    "id", "email", "new_email", "custom_fields", "date_joined", "score", "source", "source_id", "ip_country",
    "notes", "blacklisted", "gdpr_lead_status", "gdpr_lead_status_date", "gdpr_lead_status_ip",
    "gdpr_lead_communications", "tags", "lists", "sequences", "memberships", "transactions",
)  # fmt: skip
TEXT_TYPES = ("input_field", "text_area")
FIELD_TYPES = (*TEXT_TYPES, "drop_down", "radio_button", "checkbox")
ARRAY = "\0"
"""The text of an array: no name of anything."""

MOST_POINTS = 1_000_000_000
DAY = timedelta(days=1)

SUCCESSES = {
    "create_lead": ("", "Lead created"),
    "edit_lead": ("", "Lead updated"),
    "search_lead": ("", "Lead found"),
    "subscribe_lead_to_list": ("101", "Lead subscribed to list"),
    "unsubscribe_lead_from_list": ("101", "Lead unsubscribed from list"),
    "assign_tag": ("103", "Tag added to lead"),
    "unassign_tag": ("104", "Tag removed from lead"),
    "give_points_to_lead": ("105", "Points added to lead"),
    "remove_points_from_lead": ("106", "Points removed from lead"),
    "subscribe_lead_to_sequence_at_step": ("107", "Lead added to sequence"),
    "unsubscribe_lead_from_sequence": ("108", "Lead removed from sequence"),
    "create_custom_field": ("114", "Custom Field created"),
}
LEAD_COMMANDS = SUCCESSES.keys() - {"create_custom_field"}
FIRST_ONLY = {"create_lead", "edit_lead"}
REFUSE_ALL = {*FIRST_ONLY, "search_lead"}
RETRIEVALS = {
    "retrieve_account_lists": "account_lists",
    "retrieve_account_tags": "account_tags",
    "retrieve_account_sequences": "account_sequences",
    "retrieve_custom_fields": "custom_fields",
}
ERRORS = {
    "206": "email or lead id is required. Nothing done",
    "207": "List cannot be empty",
    "208": "List cannot be empty",
    "209": "List does not exist",
    "211": "Tag cannot be empty",
    "212": "Tag does not exist",
    "213": "Tag cannot be empty",
    "214": "Tag does not exist",
    "215": "Points cannot be empty",
    "217": "Points cannot be empty",
    "219": "Sequence does not exist",
    "220": "Sequence does not exist",
    "223": "'lead' not an array",
    "224": "'actions' not an array",
    "225": "Step cannot be empty",
    "226": "Sequence cannot be empty",
    "227": "Points is not a number",
    "228": "Points is not a number",
    "229": "Step has to be alphanumeric",
    "230": "Step does not exist",
    "231": "List does not exist",
    "234": "No lead found",
    "236": "'get_lead' not an array",
    "243": "No lead found",
    "244": "Lead already exists",
    "245": "Lead is deleted",
    "254": "'cmd' is required",
    "263": "Custom Field name can only contain letters, numbers, dashes or underscores",
    "264": "Custom Field already exists or not allowed",
    "265": "Custom Field cannot be empty",
    "269": "Custom Field type not valid",
    "270": "Options not an array",
    "271": "Wrong custom field format",
    "272": "Option cannot be empty",
    "273": "Options must have two or more elements",
}


class Refusal(Exception):
    """An error of one action, or of the whole call."""

    def __init__(self, number: str, message: str = "") -> None:
        super().__init__(number)
        self.answer = {"status": "Error", "message": message or ERRORS[number], "type": number}


class Chosen:
    """A number, or digits, that the server chooses: the first one that this is compared with."""

    def __init__(self, kind: type[int] | type[str]) -> None:
        self._kind = kind
        self.known: int | str | None = None

    def __eq__(self, other: object) -> bool:
        if self.known is None and isinstance(other, self._kind) and re.fullmatch("[1-9][0-9]*", str(other)):
            self.known = other
        return self.known == other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"Chosen({self.known!r})"


@dataclass
class Field:
    identifier: str
    kind: str
    options: list[tuple[Chosen | int, str]]
    number: Chosen = field(default_factory=lambda: Chosen(int))

    @property
    def is_text(self) -> bool:
        return self.kind in TEXT_TYPES

    def option(self, sent: object) -> int:
        """The position of the option with this id."""
        wanted = text(sent).strip()
        for position, (number, _) in enumerate(self.options):
            known = number.known if isinstance(number, Chosen) else number
            if known is not None and str(known) == wanted:
                return position
        raise Refusal("271")

    def described(self) -> list[Answer]:
        return [{"option_id": number, "option_value": name} for number, name in self.options]


@dataclass
class Lead:
    email: str
    joined: datetime
    id: Chosen = field(default_factory=lambda: Chosen(str))
    deleted: bool = False
    fields: dict[str, str] = field(default_factory=dict)
    custom: dict[str, str | set[int]] = field(default_factory=dict)
    score: int = 0
    grants: list[tuple[datetime, int]] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    lists: dict[str, bool] = field(default_factory=dict)
    sequences: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """The step, and whether the lead is still in it."""
    events: list[tuple[str, Answer]] = field(default_factory=list)

    def tell(self, kind: str, **details: Any) -> None:
        self.events.append((kind, details))

    def copied(self) -> "Lead":
        """A copy that shares nothing that changes, but the id."""
        parts = ("fields", "custom", "grants", "tags", "lists", "sequences", "events")
        return replace(self, **{part: copy(getattr(self, part)) for part in parts})


@dataclass
class State:
    leads: list[Lead] = field(default_factory=list)
    fields: dict[str, Field] = field(default_factory=dict)
    answers: dict[str, tuple[bytes, Answer, datetime]] = field(default_factory=dict)

    def copied(self) -> "State":
        return State([lead.copied() for lead in self.leads], dict(self.fields), dict(self.answers))


@dataclass
class Call:
    """A call whose parts are what they have to be."""

    lead: Tree
    get_lead: Tree | None
    actions: list[Tree]

    @property
    def commands(self) -> list[str]:
        return [command_of(action) for action in self.actions]

    @property
    def creates(self) -> bool:
        return self.commands[:1] == ["create_lead"]

    @property
    def needs_lead(self) -> bool:
        """A misplaced `create_lead` or `edit_lead` does not: it gets its own error."""
        return any(cmd in LEAD_COMMANDS - (FIRST_ONLY if n else set()) for n, cmd in enumerate(self.commands))


def key_of(name: str) -> str:
    """Names are matched trimmed and without regard to case."""
    return name.strip().casefold()


def text(sent: object) -> str:
    """A value as a form would carry it."""
    if sent is None or sent is False:
        return ""
    if sent is True:
        return "1"
    return ARRAY if isinstance(sent, Mapping | list) else str(sent)


def command_of(action: object) -> str:
    return text(action.get("cmd")).strip() if isinstance(action, Mapping) else ""


def elements(sent: object) -> list[Any] | None:
    """An array in order: a list, or what PHP makes of it, a map with numeric keys."""
    if isinstance(sent, Mapping):
        return [sent[key] for key in sorted(sent, key=lambda key: int(key) if key.isdigit() else math.inf)]
    return list(sent) if isinstance(sent, list) else None


def required(action: Tree, name: str, empty: str) -> str:
    value = text(action.get(name)).strip()
    if not value:
        raise Refusal(empty)
    return value


def whole(sent: object, bad: Refusal) -> int:
    """0 for what is empty."""
    digits = "?" if isinstance(sent, bool | float) else text(sent).strip()
    if digits and not re.fullmatch("[0-9]+", digits):
        raise bad
    return int(digits or "0")
