"""Kartra's vocabulary: reply numbers and texts, the shapes of answers, the lead profile, Eastern times.

A row here for each reply that the API can give; the letters of those marked "seed" are the contract's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NotRequired, TypedDict

import msgspec

from cartwheel.accounts import Account, FieldType
from cartwheel.api.bodies import Tree
from cartwheel.api.leadshape import field_details, field_value, local_time
from cartwheel.errors import CartwheelError
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import PROFILE_FIELDS, Gdpr, RunStatus, Source


@dataclass(frozen=True)
class Reply:
    """A message with its number. `type` is empty for the few successes that have none."""

    status: str
    type: str
    message: str

    @cached_property
    def fields(self) -> Mapping[str, Any]:
        shape = {"status": self.status, "message": self.message}
        return {**shape, "type": self.type} if self.type else shape


SUCCESS = "Success"
ERROR = "Error"


def _success(type_: str, message: str) -> Reply:
    return Reply(SUCCESS, type_, message)


def _error(type_: str, message: str) -> Reply:
    return Reply(ERROR, type_, message)


class Refused(CartwheelError):
    """The call, or one action of it, gets this reply and does nothing."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.message)
        self.reply = reply


# -- the gate (seed) --

NOT_SECURE = _error("201", "Connection not secure")
APP_ID_EMPTY = _error("238", "App Id cannot be empty. Please get an App Id first")
APP_ID_UNKNOWN = _error("239", "App Id is not valid. The app does not exists or is inactive")
APP_ACCOUNT_INACTIVE = _error("240", "App Account inactive")
API_KEY_EMPTY = _error("202", "API key cannot be empty. Please get an API key first")
API_KEY_UNKNOWN = _error("203", "API key not valid. Please get an API key first")
PASSWORD_WRONG = _error("233", "API password not valid. Please get an API password first")
ACCOUNT_INACTIVE = _error("204", "API Account inactive")
IP_NOT_ALLOWED = _error("242", "This API call was sent from an unauthorized IP")
LEAD_NOT_ARRAY = _error("223", "'lead' not an array")
GET_LEAD_NOT_ARRAY = _error("236", "'get_lead' not an array")
ACTIONS_NOT_ARRAY = _error("224", "'actions' not an array")
CMD_REQUIRED = _error("254", "'cmd' is required")
COMMAND_NOT_PERMITTED = _error("262", "App does not have permission to execute this CMD")
LEAD_REQUIRED = _error("206", "email or lead id is required. Nothing done")

TOO_MANY_REQUESTS = _error("429", "Too many requests")

# -- the call as a whole (ours) --

EMAIL_NOT_VALID = _error("206", "email is not valid. Nothing done")
SERVER_BUSY = _error("429", "Too many requests. The server is busy, please try again")
SERVER_ERROR = _error("500", "Server error. Please try again")
IDEMPOTENCY_KEY_NOT_VALID = _error("254", "Idempotency-Key has to be 1 to 255 visible ASCII characters. Nothing done")
IDEMPOTENCY_KEY_REUSED = _error("254", "Idempotency-Key was used before with another request. Nothing done")


def unreadable(reason: str) -> Reply:
    """A request that cannot be taken as it is, and why."""
    return _error("254", f"{reason}. Nothing done")


def unknown_command(command: str) -> Reply:
    return unreadable(f"'{command}' is not a known cmd")


def not_first(command: str) -> Reply:
    return unreadable(f"'{command}' must be the first action")


# -- leads (docs) --

LEAD_CREATED = _success("", "Lead created")
LEAD_UPDATED = _success("", "Lead updated")
LEAD_FOUND = _success("", "Lead found")
LEAD_UNKNOWN = _error("243", "No lead found")
LEAD_UNKNOWN_ON_GET = _error("234", "No lead found")
LEAD_TAKEN = _error("244", "Lead already exists")
LEAD_DELETED = _error("245", "Lead is deleted")
FIELD_FORMAT_WRONG = _error("271", "Wrong custom field format")

# -- lists (seed) --

LIST_JOINED = _success("101", "Lead subscribed to list")
LIST_EMPTY_ON_SUBSCRIBE = _error("207", "List cannot be empty")
LIST_UNKNOWN_ON_SUBSCRIBE = _error("231", "List does not exist")
LIST_LEFT = _success("101", "Lead unsubscribed from list")
LIST_EMPTY_ON_UNSUBSCRIBE = _error("208", "List cannot be empty")
LIST_UNKNOWN_ON_UNSUBSCRIBE = _error("209", "List does not exist")

# -- tags (seed) --

TAG_ASSIGNED = _success("103", "Tag added to lead")
TAG_EMPTY_ON_ASSIGN = _error("211", "Tag cannot be empty")
TAG_UNKNOWN_ON_ASSIGN = _error("212", "Tag does not exist")
TAG_UNASSIGNED = _success("104", "Tag removed from lead")
TAG_EMPTY_ON_UNASSIGN = _error("213", "Tag cannot be empty")
TAG_UNKNOWN_ON_UNASSIGN = _error("214", "Tag does not exist")

# -- points (seed, but for the expiration) --

POINTS_GIVEN = _success("105", "Points added to lead")
POINTS_EMPTY_ON_GIVE = _error("215", "Points cannot be empty")
POINTS_NOT_NUMBER_ON_GIVE = _error("227", "Points is not a number")
EXPIRATION_NOT_NUMBER = _error("227", "Expiration is not a number")
POINTS_REMOVED = _success("106", "Points removed from lead")
POINTS_EMPTY_ON_REMOVE = _error("217", "Points cannot be empty")
POINTS_NOT_NUMBER_ON_REMOVE = _error("228", "Points is not a number")

# -- sequences (seed) --

SEQUENCE_EMPTY = _error("226", "Sequence cannot be empty")
SEQUENCE_JOINED = _success("107", "Lead added to sequence")
SEQUENCE_UNKNOWN_ON_SUBSCRIBE = _error("219", "Sequence does not exist")
STEP_EMPTY = _error("225", "Step cannot be empty")
STEP_NOT_ALPHANUMERIC = _error("229", "Step has to be alphanumeric")
STEP_UNKNOWN = _error("230", "Step does not exist")
SEQUENCE_LEFT = _success("108", "Lead removed from sequence")
SEQUENCE_UNKNOWN_ON_UNSUBSCRIBE = _error("220", "Sequence does not exist")

# -- custom fields (docs) --

FIELD_CREATED = _success("114", "Custom Field created")
FIELD_NAME_NOT_ALLOWED = _error("263", "Custom Field name can only contain letters, numbers, dashes or underscores")
FIELD_EXISTS = _error("264", "Custom Field already exists or not allowed")
FIELD_EMPTY = _error("265", "Custom Field cannot be empty")
FIELD_TYPE_NOT_VALID = _error("269", "Custom Field type not valid")
OPTIONS_NOT_ARRAY = _error("270", "Options not an array")
OPTION_EMPTY = _error("272", "Option cannot be empty")
OPTIONS_TOO_FEW = _error("273", "Options must have two or more elements")


def replies() -> list[Reply]:
    """Every row above."""
    return [row for row in globals().values() if isinstance(row, Reply)]


# -- reading values --


def text(value: object) -> str | None:
    """A value as text, the way a form would have carried it; None if it is an array."""
    if isinstance(value, str):
        return value
    if value is None or value is False:
        return ""
    if value is True:
        return "1"
    if isinstance(value, int | float):
        return str(value)
    return None


def items(value: object) -> list[Any] | None:
    """The elements of an array in order: numeric keys first, by number; None if it is no array."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        if list(value) == _INDEXES[: len(value)]:
            return list(value.values())
        return [value[key] for key in sorted(value, key=_numeric_first)]
    return None


_INDEXES = [str(number) for number in range(100)]


def _numeric_first(key: str) -> tuple[bool, int, str]:
    if not (key.isascii() and key.isdigit()):
        return (True, 0, "")
    digits = key.lstrip("0")
    return (False, len(digits), digits)


def one_object(value: object) -> Tree | None:
    """`lead` and `get_lead`: an object, or an array that holds one object (some clients send that)."""
    if isinstance(value, dict):
        if not next(iter(value), "").isdigit():
            return value
        if not all(key.isdigit() and isinstance(entry, dict) for key, entry in value.items()):
            return value
        value = items(value)
    if isinstance(value, list):
        if not value:
            return {}
        return value[0] if len(value) == 1 and isinstance(value[0], dict) else None
    return None


# -- the lead profile --


class OptionDetails(TypedDict):
    option_id: int
    option_value: str


class FieldDetails(TypedDict):
    """A custom field; the choice types come with their options."""

    field_id: int
    field_identifier: str
    field_type: FieldType
    field_value: NotRequired[list[OptionDetails]]


class FieldValue(TypedDict):
    """A custom field of a lead; of the choice types the value is the options that were chosen."""

    field_id: int
    field_identifier: str
    field_type: FieldType
    field_value: str | list[OptionDetails]


class TagOfLead(TypedDict):
    tag_name: str


class ListOfLead(TypedDict):
    """`active` is "1" or, when the lead has left the list, "0"."""

    list_name: str
    active: Literal["1", "0"]


class SequenceOfLead(TypedDict):
    """A run that is parked, until somebody sees to it, is still active."""

    sequence_name: str
    step: str
    status: Literal["active", "unsubscribed", "completed"]


class LeadId(TypedDict):
    id: str


LeadDetails = msgspec.defstruct(
    "LeadDetails",
    [
        ("id", str),
        ("email", str),
        *((name, str) for name in PROFILE_FIELDS),
        ("ip_country", str),
        ("date_joined", str),
        ("score", int),
        ("source", Source),
        ("source_id", int),
        ("notes", str),
        ("blacklisted", Literal[0, 1]),
        ("gdpr_lead_status", Gdpr),
        ("gdpr_lead_status_date", str),
        ("gdpr_lead_status_ip", str),
        ("gdpr_lead_communications", Literal[0, 1]),
        ("tags", list[TagOfLead]),
        ("lists", list[ListOfLead]),
        ("sequences", list[SequenceOfLead]),
        ("memberships", list[Any]),
        ("transactions", list[Any]),
        ("custom_fields", list[FieldValue]),
    ],
)
"""The shape of what follows. Times are naive, in the account's zone."""


def lead_details(lead: Lead, account: Account) -> dict[str, Any]:
    """What `get_lead` tells about a lead. Absent text is "", never null."""
    consent = lead.consent
    return {
        "id": str(lead.id),
        "email": lead.email,
        **{name: lead.profile.get(name, "") for name in PROFILE_FIELDS},
        "ip_country": lead.ip_country,
        "date_joined": local_time(lead.created_at, account.zone),
        "score": lead.score,
        "source": lead.source,
        "source_id": lead.source_id,
        "notes": lead.notes,
        "blacklisted": int(lead.blacklisted),
        "gdpr_lead_status": consent.status.value,
        "gdpr_lead_status_date": local_time(consent.at, account.zone),
        "gdpr_lead_status_ip": consent.ip,
        "gdpr_lead_communications": int(consent.communications),
        "tags": [{"tag_name": name} for name in _names(lead.tags, account.tag_names)],
        "lists": [
            {"list_name": account.list_names[number], "active": "1" if place.active else "0"}
            for number, place in sorted(lead.lists.items())
            if number in account.list_names
        ],
        "sequences": [
            {"sequence_name": account.sequence_names[number], "step": run.step, "status": _status(run.status)}
            for number, run in lead.runs.items()
        ],
        "memberships": [],
        "transactions": [],
        "custom_fields": [
            {**field_details(field), "field_value": field_value(field, lead.custom.get(field.id, ""))}
            for field in account.fields.values()
        ],
    }


def _status(status: RunStatus) -> str:
    return (RunStatus.ACTIVE if status is RunStatus.PARKED else status).value


def _names(ids: Iterable[int], names: Mapping[int, str]) -> list[str]:
    return [names[number] for number in sorted(ids) if number in names]  # others were deleted
