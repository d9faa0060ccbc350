"""What an account consists of, as its commands and sequences see it: plain values, looked up by name. Pure."""

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Protocol, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from cartwheel.errors import (
    AccountFull,
    DomainError,
    ListNotFound,
    NameTooLong,
    SequenceNotFound,
    StepNotAlphanumeric,
    StepNotFound,
    TagNotFound,
    WebhookNotFound,
)
from cartwheel.hooks.outbound import Endpoint
from cartwheel.leads.events import Names
from cartwheel.leads.leadparts import ANY_TIME, PROFILE_FIELDS, Entry, Part, Parts
from cartwheel.network import Network

EVERY_COMMAND = "*"

LONGEST_NAME = 255
LONGEST_BODY = 1_000_000
MOST_ADDRESSES = 500
FIELD_IDENTIFIER = "[A-Za-z0-9_-]{1,100}"

MOST = {
    "apps": 500,
    "tokens": 500,
    "lists": 1_000,
    "tags": 10_000,
    "custom fields": 250,
    "options of a custom field": 250,
    "options of all custom fields": 5_000,
    "sequences": 1_000,
    "steps of all sequences": 5_000,
    "webhooks": 100,
    "automations": 200,
}
"""What one account may hold, because every process holds what all of them do."""


class Mode(StrEnum):
    """Whether an App works on real leads, or only makes leads in the test domain that no mail leaves for."""

    LIVE = "live"
    TEST = "test"


class FieldType(StrEnum):
    """The types of custom fields, under Kartra's names."""

    INPUT_FIELD = "input_field"
    TEXT_AREA = "text_area"
    DROP_DOWN = "drop_down"
    RADIO_BUTTON = "radio_button"
    CHECKBOX = "checkbox"

    @property
    def is_text(self) -> bool:
        return self in {FieldType.INPUT_FIELD, FieldType.TEXT_AREA}

    @property
    def takes_many(self) -> bool:
        return self is FieldType.CHECKBOX


@dataclass(frozen=True, slots=True)
class App:
    """An integration's identity. `commands` are names of commands and scopes; None allows all."""

    account_id: int
    id: int
    app_id: str
    name: str
    mode: Mode
    rate_limit: int
    """Calls a second; 0 means no limit."""
    allow_ips: tuple[str, ...]
    commands: frozenset[str] | None
    active: bool
    networks: tuple[Network, ...] | None
    """`allow_ips`, read; empty allows every address, None (one could not be read) allows none."""

    @property
    def origin(self) -> str:
        """What the events that it causes say of it. Its own account may be another than the one it works on."""
        return f"app:{self.account_id}/{self.id}"

    def may(self, command: str, scope: str) -> bool:
        return self.commands is None or command in self.commands or scope in self.commands


NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key and its password. `expires_at` is None for those that are good until somebody changes that."""

    account_id: int
    key_digest: str
    password_hash: str
    created_at: datetime = NO_TIME
    expires_at: datetime | None = None

    def good(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True)
class Token:
    """What a program shows that calls /v1. `expires_at` is None for one that is good until it is revoked."""

    account_id: int
    number: int
    digest: str
    name: str
    scopes: frozenset[str]
    rate_limit: int
    """Calls a second; 0 means no limit."""
    created_at: datetime
    expires_at: datetime | None

    @property
    def id(self) -> int:
        """Of its pace: negative, because it shares those numbers with the Apps."""
        return -self.number

    @property
    def origin(self) -> str:
        """What the events that it causes say of it."""
        return f"token:{self.account_id}/{self.number}"

    def good(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at


class DoubtPolicy(StrEnum):
    """What to do with a mail of which nobody can tell whether it was sent."""

    HOLD = "hold"
    RESEND = "resend"


class MailSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How an account's mail is sent."""

    sender: Annotated[str, msgspec.Meta(description="`Name <address>`: whom mails come from.")] = ""
    reply_to: Annotated[str, msgspec.Meta(description="Where answers go, if not to the sender.")] = ""
    address: Annotated[str, msgspec.Meta(description="The postal address that commercial mail has to show.")] = ""
    track_opens: Annotated[bool, msgspec.Meta(description="Whether opened mails are counted.")] = True
    track_clicks: Annotated[bool, msgspec.Meta(description="Whether clicked links are counted.")] = True
    soft_bounces: Annotated[
        int, msgspec.Meta(ge=1, le=100, description="After so many in a row, an address is not mailed any more.")
    ] = 5
    in_doubt: Annotated[
        DoubtPolicy,
        msgspec.Meta(
            description="What happens to a mail that a crash left in doubt: `hold` it, or `resend` it, after a pause and twice at most."
        ),
    ] = DoubtPolicy.HOLD


AS_USUAL = MailSettings()

LONGEST_KEPT = 36_500

_Days = Annotated[int, msgspec.Meta(ge=0, le=LONGEST_KEPT)]


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """For how many days an account keeps what happened; 0: for ever."""

    opens_and_clicks: Annotated[_Days, msgspec.Meta(description="What leads have opened and clicked.")] = 0
    events: Annotated[
        _Days,
        msgspec.Meta(description="What else happened to leads; that they came, and their consent, stays."),
    ] = 0
    mails: Annotated[_Days, msgspec.Meta(description="The ledger of mails that are settled, with their events.")] = 0
    deleted_leads: Annotated[_Days, msgspec.Meta(description="Deleted leads; then they are erased for good.")] = 0


FOR_EVER = Retention()


@dataclass(frozen=True, slots=True)
class MailingList:
    id: int
    name: str
    public_name: str


@dataclass(frozen=True, slots=True)
class Tag:
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence as those see it who start leads in it: what its steps do stands in its `Flow`."""

    id: int
    name: str
    public_name: str = ""
    version: int = 1
    boxes: tuple[str, ...] = ()
    """The labels of its steps, in the order in which they were written."""
    hears: frozenset[str] = frozenset()
    """The kinds of events that a waiting lead has to be woken for."""
    entry: Entry = ANY_TIME
    paused: bool = False
    resumed_at: datetime | None = None
    """Who waited while it was paused waits its delay again from here."""
    archived_at: datetime | None = None
    """It is paused as well, and people do not choose it any more."""

    def check_box(self, box: str) -> str:
        """The box label of one of the steps; raises `StepNotAlphanumeric` or `StepNotFound`."""
        if not (box.isascii() and box.isalnum()):
            raise StepNotAlphanumeric
        if box not in self.boxes:
            raise StepNotFound
        return box


@dataclass(frozen=True, slots=True)
class Option:
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class CustomField:
    id: int
    identifier: str
    type: FieldType
    options: tuple[Option, ...] = ()

    @property
    def name(self) -> str:
        return self.identifier


class Plan(Protocol):
    """What an automation does: `sequences.automations` knows it."""

    @property
    def hears(self) -> str:
        """The kind of event that may start it."""
        ...

    @property
    def parts(self) -> Parts:
        """What of a lead has to be loaded for it."""
        ...


@dataclass(frozen=True)
class Automation:
    """Something to be done when something happens. `plan` is None if this version of Cartwheel cannot read it."""

    id: int
    name: str
    active: bool
    plan: Plan | None


@dataclass(frozen=True, slots=True)
class Deleted:
    """What the owner has deleted, by id: nobody finds it by its name any more, but old events tell of it."""

    lists: Mapping[int, MailingList] = field(default_factory=dict)
    tags: Mapping[int, Tag] = field(default_factory=dict)
    fields: Mapping[int, CustomField] = field(default_factory=dict)
    automations: Mapping[int, Automation] = field(default_factory=dict)


NOTHING_DELETED = Deleted()


class Named(Protocol):
    @property
    def id(self) -> int: ...


N = TypeVar("N", bound=Named)


@dataclass(frozen=True)
class Account:
    """One account with everything that its commands look up by name. The mappings' keys are `name_key`s."""

    id: int
    name: str
    zone: ZoneInfo
    gdpr: bool
    active: bool
    lists: Mapping[str, MailingList] = field(default_factory=dict)
    tags: Mapping[str, Tag] = field(default_factory=dict)
    sequences: Mapping[str, Sequence] = field(default_factory=dict)
    fields: Mapping[str, CustomField] = field(default_factory=dict)
    mail: MailSettings = AS_USUAL
    retention: Retention = FOR_EVER
    deleted: Deleted = NOTHING_DELETED
    hooks: tuple[Endpoint, ...] = ()
    """Who is told what happens, oldest first."""
    automations: Mapping[str, Automation] = field(default_factory=dict)

    def list_named(self, name: str) -> MailingList:
        return _named(self.lists, name, ListNotFound)

    def tag_named(self, name: str) -> Tag:
        return _named(self.tags, name, TagNotFound)

    def sequence_named(self, name: str) -> Sequence:
        return _named(self.sequences, name, SequenceNotFound)

    def hook_named(self, name: str) -> Endpoint:
        return _named({name_key(each.name): each for each in self.hooks}, name, WebhookNotFound)

    @cached_property
    def list_names(self) -> Mapping[int, str]:
        """Without those that were deleted, though leads may be on them still."""
        return {entry.id: entry.name for entry in self.lists.values()}

    @cached_property
    def tag_names(self) -> Mapping[int, str]:
        """Without those that were deleted, though leads may have them still."""
        return {entry.id: entry.name for entry in self.tags.values()}

    @cached_property
    def sequence_by_id(self) -> Mapping[int, Sequence]:
        return {sequence.id: sequence for sequence in self.sequences.values()}

    @cached_property
    def hears(self) -> frozenset[str]:
        """The kinds of events for which a lead that waits in some sequence has to be woken."""
        return frozenset().union(*(sequence.hears for sequence in self.sequences.values()))

    @cached_property
    def reactions(self) -> Mapping[str, list[Automation]]:
        """The automations that run, by the kind of event that may start them, in the order of their making."""
        running = [each for each in self.automations.values() if each.active and each.plan] if self.active else []
        found: dict[str, list[Automation]] = {}
        for automation in sorted(running, key=lambda each: each.id):
            assert automation.plan is not None
            found.setdefault(automation.plan.hears, []).append(automation)
        return found

    @cached_property
    def reaction_parts(self) -> Parts:
        """What of a lead has to be loaded for its automations."""
        parts = Part.NONE
        for automation in (each for started in self.reactions.values() for each in started):
            parts |= automation.plan.parts if automation.plan else Part.NONE
        return parts

    @cached_property
    def sequence_names(self) -> Mapping[int, str]:
        return {entry.id: entry.name for entry in self.sequences.values()}

    def sequence_choices(self, *chosen: object) -> Mapping[int, str]:
        """The names of those that are not archived, and of those that are `chosen`, by number or name, already."""
        kept = {str(one) for one in chosen}
        return {
            entry.id: entry.name
            for entry in self.sequences.values()
            if entry.archived_at is None or str(entry.id) in kept or entry.name in kept
        }

    @cached_property
    def names(self) -> Names:
        """What old events may speak of, deleted or not."""
        gone = self.deleted
        return Names(
            {tag.id: tag.name for tag in (*gone.tags.values(), *self.tags.values())},
            {entry.id: entry.name for entry in (*gone.lists.values(), *self.lists.values())},
            self.sequence_names,
            {field.id: field.identifier for field in (*gone.fields.values(), *self.fields.values())},
            {each.id: each.name for each in (*gone.automations.values(), *self.automations.values())},
            {each.id: each.name for each in self.hooks},
        )

    def holds(self, sequence_id: int) -> bool:
        """Whether those in the sequence, and its mails that are queued, have to wait."""
        sequence = self.sequence_by_id.get(sequence_id)
        return not self.active or (sequence is not None and sequence.paused)

    def field(self, identifier: str) -> CustomField | None:
        return self.fields.get(name_key(identifier))

    def reserves(self, identifier: str) -> bool:
        """Whether a custom field of this identifier exists, or would hide a built-in field."""
        key = name_key(identifier)
        return key in self.fields or key in PROFILE_FIELDS or key in _OTHER_BUILT_IN_FIELDS

    def with_field(self, identifier: str, kind: FieldType, options: Iterable[str]) -> tuple["Account", CustomField]:
        """The account with one custom field more, and the field; raises `NameTooLong` or `AccountFull`."""
        options = list(options)
        if max(map(len, [identifier, *options])) > LONGEST_NAME:
            raise NameTooLong
        known = [*self.fields.values(), *self.deleted.fields.values()]
        first = 1 + max((option.id for entry in known for option in entry.options), default=0)
        new = CustomField(
            id=1 + max((entry.id for entry in known), default=0),
            identifier=identifier,
            type=kind,
            options=tuple(Option(number, name) for number, name in enumerate(options, first)),
        )
        fuller = replace(self, fields={**self.fields, name_key(identifier): new})
        check_room(fuller)
        return fuller, new


def check_room(account: Account, apps: Collection[App] = ()) -> None:
    """Raises `AccountFull`, which names the first entry that is too much."""
    fields, sequences = account.fields.values(), account.sequences.values()
    for entry in fields:
        _check_most(f"options of custom field {entry.identifier}", MOST["options of a custom field"], entry.options)
    for what, entries in {
        "apps": apps,
        "lists": account.lists.values(),
        "tags": account.tags.values(),
        "custom fields": fields,
        "options of all custom fields": [option for entry in fields for option in entry.options],
        "sequences": sequences,
        "steps of all sequences": [box for sequence in sequences for box in sequence.boxes],
        "webhooks": account.hooks,
        "automations": account.automations.values(),
    }.items():
        _check_most(what, MOST[what], entries)


def _check_most(what: str, most: int, entries: Collection[Any]) -> None:
    if len(entries) > most:
        extra = list(entries)[most]
        raise AccountFull(f"{what}: {most:,} at most, and {getattr(extra, 'name', extra)} is one more")


_OTHER_BUILT_IN_FIELDS = {
    "id", "email", "new_email", "custom_fields", "date_joined", "score", "source", "source_id", "ip_country", "notes",
    "blacklisted", "gdpr_lead_status", "gdpr_lead_status_date", "gdpr_lead_status_ip", "gdpr_lead_communications",
    "tags", "lists", "sequences", "memberships", "transactions",
}  # fmt: skip


def name_key(name: str) -> str:
    """The form in which names are matched and unique."""
    return unicodedata.normalize("NFC", name.strip()).casefold()


def _named(entries: Mapping[str, N], name: str, missing: type[DomainError]) -> N:
    try:
        return entries[name_key(name)]
    except KeyError:
        raise missing(f"{str(missing()).rstrip('.')}: {name}") from None
