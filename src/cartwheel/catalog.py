"""What rarely changes: accounts, their keys and Apps, their lists, tags, sequences and custom fields.

Each process holds all of it as one immutable `Catalog`. Whoever changes it raises the catalog's version in the same
transaction; each batch reads the version and loads the catalog anew when it differs.
"""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol, TypeVar
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from cartwheel import schema
from cartwheel.errors import (
    DomainError,
    ListNotFound,
    SequenceNotFound,
    StepNotAlphanumeric,
    StepNotFound,
    TagNotFound,
)
from cartwheel.leads import PROFILE_FIELDS
from cartwheel.network import Network, read_networks

EVERY_COMMAND = "*"


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

    def field(self, identifier: str) -> CustomField | None:
        return self.fields.get(name_key(identifier))

    def reserves(self, identifier: str) -> bool:
        """Whether a custom field of this identifier exists, or would hide a built-in field."""
        key = name_key(identifier)
        return key in self.fields or key in PROFILE_FIELDS or key in _OTHER_BUILT_IN_FIELDS

    def with_field(self, identifier: str, kind: FieldType, options: Iterable[str]) -> tuple["Account", CustomField]:
        """The account with one custom field more, and the field."""
        known = self.fields.values()
        first = 1 + max((option.id for entry in known for option in entry.options), default=0)
        new = CustomField(
            id=1 + max((entry.id for entry in known), default=0),
            identifier=identifier,
            type=kind,
            options=tuple(Option(number, name) for number, name in enumerate(options, first)),
        )
        return replace(self, fields={**self.fields, name_key(identifier): new}), new


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


def load(connection: sa.Connection) -> Catalog:
    """The whole catalog as it is now."""
    version = connection.execute(sa.select(schema.catalog_version.c.version)).scalar_one()
    lists = _grouped(connection, schema.lists, lambda row: MailingList(row.id, row.name, row.public_name))
    tags = _grouped(connection, schema.tags, lambda row: Tag(row.id, row.name))
    steps = _steps(connection)
    sequences = _grouped(
        connection,
        schema.sequences,
        lambda row: Sequence(row.id, row.name, steps.get((row.account_id, row.id), {})),
    )
    options = _options(connection)
    fields = _grouped(
        connection,
        schema.custom_fields,
        lambda row: CustomField(
            row.id, row.identifier, FieldType(row.type), tuple(options.get((row.account_id, row.id), ()))
        ),
    )
    accounts = {
        row.id: Account(
            row.id,
            row.name,
            ZoneInfo(row.timezone),
            bool(row.gdpr),
            bool(row.active),
            lists.get(row.id, {}),
            tags.get(row.id, {}),
            sequences.get(row.id, {}),
            fields.get(row.id, {}),
        )
        for row in connection.execute(sa.select(schema.accounts))
    }
    apps = {row.app_id: _app(row) for row in connection.execute(sa.select(schema.apps))}
    keys = {
        row.key_digest: ApiKey(row.account_id, row.key_digest, row.password_hash)
        for row in connection.execute(sa.select(schema.api_keys))
    }
    return Catalog(version, accounts, apps, keys)


def newer(connection: sa.Connection, known: Catalog) -> Catalog:
    """`known` itself if it is still the newest."""
    version = connection.execute(sa.select(schema.catalog_version.c.version)).scalar_one()
    return known if version == known.version else load(connection)


def _grouped(connection: sa.Connection, table: sa.Table, make: Any) -> dict[int, dict[str, Any]]:
    """The rows of an account's table as `{account_id: {name_key: object}}`, oldest first."""
    found: dict[int, dict[str, Any]] = {}
    for row in connection.execute(sa.select(table).order_by(table.c.account_id, table.c.id)):
        found.setdefault(row.account_id, {})[row.name_key] = make(row)
    return found


def _steps(connection: sa.Connection) -> dict[tuple[int, int], dict[str, Step]]:
    found: dict[tuple[int, int], dict[str, Step]] = {}
    table = schema.steps
    for row in connection.execute(sa.select(table).order_by(table.c.position)):
        found.setdefault((row.account_id, row.sequence_id), {})[row.box] = Step(row.box, json.loads(row.settings))
    return found


def _options(connection: sa.Connection) -> dict[tuple[int, int], list[Option]]:
    found: dict[tuple[int, int], list[Option]] = {}
    table = schema.custom_field_options
    for row in connection.execute(sa.select(table).order_by(table.c.position)):
        found.setdefault((row.account_id, row.field_id), []).append(Option(row.id, row.name))
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


def touch(connection: sa.Connection) -> None:
    """Tell every process that the catalog changed. Takes the row's lock, so that changes come one after the other."""
    table = schema.catalog_version
    connection.execute(sa.update(table).values(version=table.c.version + 1))


def next_id(connection: sa.Connection, table: sa.Table, account_id: int | None = None) -> int:
    """The next number within an account (or, without one, within the table)."""
    query = sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0) + 1)
    if account_id is not None:
        query = query.where(table.c.account_id == account_id)
    return int(connection.execute(query).scalar_one())
