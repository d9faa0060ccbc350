"""What rarely changes: accounts, their keys and Apps, their lists, tags, sequences and custom fields.

Each process holds all of it as one immutable `Catalog`. Whoever changes it raises the catalog's version in the same
transaction; each batch reads the version and loads the catalog anew when it differs.
"""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol, TypeVar
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from cartwheel import schema
from cartwheel.errors import (
    AccountFull,
    DomainError,
    ListNotFound,
    NameTooLong,
    SequenceNotFound,
    StepNotAlphanumeric,
    StepNotFound,
    TagNotFound,
)
from cartwheel.events import Names
from cartwheel.lanes import Change, Insert, Row, Write
from cartwheel.leads import PROFILE_FIELDS
from cartwheel.network import Network, read_networks

EVERY_COMMAND = "*"

LONGEST_NAME = 255
LONGEST_BODY = 1_000_000
MOST_ADDRESSES = 500
FIELD_IDENTIFIER = "[A-Za-z0-9_-]{1,100}"

MOST = {
    "apps": 500,
    "lists": 1_000,
    "tags": 10_000,
    "custom fields": 250,
    "options of a custom field": 250,
    "options of all custom fields": 5_000,
    "sequences": 1_000,
    "steps of all sequences": 5_000,
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


@dataclass(frozen=True, slots=True)
class ApiKey:
    account_id: int
    key_digest: str
    password_hash: str


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
class Step:
    """`settings` is the step as the account file writes it."""

    box: str
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.box


@dataclass(frozen=True, slots=True)
class Sequence:
    id: int
    name: str
    steps: Mapping[str, Step]
    """By box label, in the order in which they were written."""

    def step(self, box: str) -> Step:
        """The step with this box label; raises `StepNotAlphanumeric` or `StepNotFound`."""
        if not (box.isascii() and box.isalnum()):
            raise StepNotAlphanumeric
        try:
            return self.steps[box]
        except KeyError:
            raise StepNotFound from None


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

    def list_named(self, name: str) -> MailingList:
        return _named(self.lists, name, ListNotFound)

    def tag_named(self, name: str) -> Tag:
        return _named(self.tags, name, TagNotFound)

    def sequence_named(self, name: str) -> Sequence:
        return _named(self.sequences, name, SequenceNotFound)

    @cached_property
    def list_names(self) -> Mapping[int, str]:
        return {entry.id: entry.name for entry in self.lists.values()}

    @cached_property
    def tag_names(self) -> Mapping[int, str]:
        return {entry.id: entry.name for entry in self.tags.values()}

    @cached_property
    def sequence_names(self) -> Mapping[int, str]:
        return {entry.id: entry.name for entry in self.sequences.values()}

    @cached_property
    def names(self) -> Names:
        fields = {field.id: field.identifier for field in self.fields.values()}
        return Names(self.tag_names, self.list_names, self.sequence_names, fields)

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
        known = self.fields.values()
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
        "steps of all sequences": [step for sequence in sequences for step in sequence.steps.values()],
    }.items():
        _check_most(what, MOST[what], entries)


def _check_most(what: str, most: int, entries: Collection[Any]) -> None:
    if len(entries) > most:
        raise AccountFull(f"{what}: {most:,} at most, and {list(entries)[most].name} is one more")


_OTHER_BUILT_IN_FIELDS = {
    "id", "email", "new_email", "custom_fields", "date_joined", "score", "source", "source_id", "ip_country", "notes",
    "blacklisted", "gdpr_lead_status", "gdpr_lead_status_date", "gdpr_lead_status_ip", "gdpr_lead_communications",
    "tags", "lists", "sequences", "memberships", "transactions",
}  # fmt: skip


@dataclass(frozen=True)
class Catalog:
    """All accounts at one version."""

    version: int
    accounts: Mapping[int, Account]
    apps: Mapping[str, App]
    keys: Mapping[str, ApiKey]

    def account_named(self, name: str) -> Account | None:
        key = name_key(name)
        return next((account for account in self.accounts.values() if name_key(account.name) == key), None)

    def apps_of(self, account_id: int) -> list[App]:
        """Oldest first."""
        return sorted((app for app in self.apps.values() if app.account_id == account_id), key=lambda app: app.id)

    def app_named(self, account_id: int, name: str) -> App | None:
        key = name_key(name)
        return next((app for app in self.apps_of(account_id) if name_key(app.name) == key), None)

    def with_account(self, account: Account) -> "Catalog":
        return replace(self, accounts={**self.accounts, account.id: account})


def name_key(name: str) -> str:
    """The form in which names are matched and unique."""
    return unicodedata.normalize("NFC", name.strip()).casefold()


def key_digest(api_key: str) -> str:
    """How an API key is stored. Looking up a digest also takes the same time for near misses as for far ones."""
    return hashlib.sha256(api_key.encode()).hexdigest()


def _named(entries: Mapping[str, N], name: str, missing: type[DomainError]) -> N:
    try:
        return entries[name_key(name)]
    except KeyError:
        raise missing from None


# -- loading --

EMPTY = Catalog(0, {}, {}, {})


def newer(connection: sa.Connection, known: Catalog = EMPTY) -> Catalog:
    """The newest catalog; of `known` everything is kept that has not changed since."""
    version = connection.execute(sa.select(schema.catalog_version.c.version)).scalar_one()
    if version == known.version:
        return known
    changed = _read(connection, sa.select(schema.accounts).where(schema.accounts.c.version > known.version))
    return Catalog(
        version,
        {**known.accounts, **changed.accounts},
        {k: app for k, app in known.apps.items() if app.account_id not in changed.accounts} | dict(changed.apps),
        {k: key for k, key in known.keys.items() if key.account_id not in changed.accounts} | dict(changed.keys),
    )


def only(connection: sa.Connection, name: str) -> Catalog:
    """A catalog of just the account of this name, if there is one."""
    return _read(connection, sa.select(schema.accounts).where(schema.accounts.c.name_key == name_key(name)))


def _read(connection: sa.Connection, accounts: sa.Select[Any]) -> Catalog:
    rows = _Rows(connection, connection.execute(accounts).all())
    lists = rows.named(schema.lists, lambda row: MailingList(row.id, row.name, row.public_name))
    tags = rows.named(schema.tags, lambda row: Tag(row.id, row.name))
    steps: dict[tuple[int, int], dict[str, Step]] = {}
    for row in rows.of(schema.steps, "position"):
        steps.setdefault((row.account_id, row.sequence_id), {})[row.box] = Step(row.box, json.loads(row.settings))
    options: dict[tuple[int, int], list[Option]] = {}
    for row in rows.of(schema.custom_field_options, "position"):
        options.setdefault((row.account_id, row.field_id), []).append(Option(row.id, row.name))
    sequences = rows.named(
        schema.sequences, lambda row: Sequence(row.id, row.name, steps.get((row.account_id, row.id), {}))
    )
    fields = rows.named(
        schema.custom_fields,
        lambda row: CustomField(
            row.id, row.identifier, FieldType(row.type), tuple(options.get((row.account_id, row.id), ()))
        ),
    )
    return Catalog(
        0,
        {
            row.id: Account(
                id=row.id,
                name=row.name,
                zone=ZoneInfo(row.timezone),
                gdpr=bool(row.gdpr),
                active=bool(row.active),
                lists=lists.get(row.id, {}),
                tags=tags.get(row.id, {}),
                sequences=sequences.get(row.id, {}),
                fields=fields.get(row.id, {}),
            )
            for row in rows.accounts
        },
        {row.app_id: _app(row) for row in rows.of(schema.apps, "id")},
        {
            row.key_digest: ApiKey(row.account_id, row.key_digest, row.password_hash)
            for row in rows.of(schema.api_keys, "key_digest")
        },
    )


class _Rows:
    """The rows of the catalog's tables that belong to some accounts."""

    MOST_NAMED = 500
    """More accounts than that are not named one by one: then everything is read, and the others' rows are left out."""

    def __init__(self, connection: sa.Connection, accounts: Iterable[Any]) -> None:
        self._connection = connection
        self.accounts = list(accounts)
        self._ids = {row.id for row in self.accounts}

    def of(self, table: sa.Table, order: str) -> Iterable[Any]:
        query = sa.select(table).order_by(table.c[order])
        if len(self._ids) <= self.MOST_NAMED:
            query = query.where(table.c.account_id.in_(self._ids))
        return (row for row in self._connection.execute(query) if row.account_id in self._ids)

    def named(self, table: sa.Table, make: Callable[[Any], Any]) -> dict[int, dict[str, Any]]:
        """As `{account_id: {name_key: object}}`, oldest first."""
        found: dict[int, dict[str, Any]] = {}
        for row in self.of(table, "id"):
            found.setdefault(row.account_id, {})[row.name_key] = make(row)
        return found


def _app(row: Any) -> App:
    allow_ips = tuple(json.loads(row.allow_ips))
    commands = json.loads(row.commands)
    return App(
        row.account_id,
        row.id,
        row.app_id,
        row.name,
        Mode(row.mode),
        row.rate_limit,
        allow_ips,
        None if EVERY_COMMAND in commands else frozenset(commands),
        bool(row.active),
        read_networks(allow_ips),
    )


# -- changing --


def lock(connection: sa.Connection) -> None:
    """Whoever changes the catalog begins with this, so that changes come one after the other."""
    table = schema.catalog_version
    connection.execute(sa.update(table).values(version=table.c.version))


def touch(connection: sa.Connection, account_id: int) -> None:
    """Tell every process that the account changed. Takes the version's lock: changes come one after the other."""
    table = schema.catalog_version
    connection.execute(sa.update(table).values(version=table.c.version + 1))
    version = sa.select(table.c.version).scalar_subquery()
    connection.execute(sa.update(schema.accounts).where(schema.accounts.c.id == account_id).values(version=version))


_VERSION_RAISED = Change(schema.catalog_version, "version = version + 1")
_VERSION_GIVEN = Change(schema.accounts, "version = (SELECT v.version FROM catalog_version v)")
_FIELD_MADE = Insert(schema.custom_fields)
_OPTION_MADE = Insert(schema.custom_field_options)


def rows_of_new_field(account_id: int, field: CustomField, now: int) -> Iterator[tuple[Write, Row]]:
    """What a batch writes when one of its calls has made a custom field; the same as `touch` is in it."""
    yield _FIELD_MADE, (account_id, field.id, field.identifier, name_key(field.identifier), field.type.value, now)
    for position, option in enumerate(field.options):
        yield _OPTION_MADE, (account_id, option.id, field.id, option.name, position)
    yield _VERSION_RAISED, (1,)
    yield _VERSION_GIVEN, (account_id,)


def next_id(connection: sa.Connection, table: sa.Table, account_id: int | None = None) -> int:
    """The next number within an account (or, without one, within the table)."""
    query = sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0) + 1)
    if account_id is not None:
        query = query.where(table.c.account_id == account_id)
    return int(connection.execute(query).scalar_one())
