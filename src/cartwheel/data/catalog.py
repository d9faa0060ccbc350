"""What rarely changes: accounts, their keys and Apps, their lists, tags, sequences and custom fields.

Each process holds all of it as one immutable `Catalog`. Whoever changes it raises the catalog's version in the same
transaction; each batch reads the version and loads the catalog anew when it differs.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from cartwheel.accounts import (
    AS_USUAL,
    EVERY_COMMAND,
    FOR_EVER,
    Account,
    ApiKey,
    App,
    Automation,
    CustomField,
    Deleted,
    FieldType,
    MailingList,
    MailSettings,
    Mode,
    Option,
    Retention,
    Sequence,
    Tag,
    Token,
    name_key,
)
from cartwheel.data import schema
from cartwheel.data.catalogtables import api_tokens
from cartwheel.data.lanes import Change, Insert, Row, Write
from cartwheel.hooks.outbound import Endpoint
from cartwheel.leads.leadparts import ANY_TIME, Entry
from cartwheel.network import read_networks
from cartwheel.sequences.automations import Plan
from cartwheel.times import from_micros, moment_or_none

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Catalog:
    """All accounts at one version."""

    version: int
    accounts: Mapping[int, Account]
    apps: Mapping[str, App]
    keys: Mapping[str, ApiKey]
    tokens: Mapping[str, Token] = field(default_factory=dict)
    """By their digests."""

    def account_named(self, name: str) -> Account | None:
        key = name_key(name)
        return next((account for account in self.accounts.values() if name_key(account.name) == key), None)

    def apps_of(self, account_id: int) -> list[App]:
        """Oldest first."""
        return sorted((app for app in self.apps.values() if app.account_id == account_id), key=lambda app: app.id)

    def app_named(self, account_id: int, name: str) -> App | None:
        key = name_key(name)
        return next((app for app in self.apps_of(account_id) if name_key(app.name) == key), None)

    def keys_of(self, account_id: int) -> list[ApiKey]:
        """Also those that have expired; newest first."""
        keys = (key for key in self.keys.values() if key.account_id == account_id)
        return sorted(keys, key=lambda key: (key.created_at, key.key_digest), reverse=True)

    def tokens_of(self, account_id: int) -> list[Token]:
        """Also those that have expired; newest first."""
        tokens = (token for token in self.tokens.values() if token.account_id == account_id)
        return sorted(tokens, key=lambda token: token.number, reverse=True)

    def key_of(self, account_id: int) -> ApiKey | None:
        """The newest of the account's keys that do not expire."""
        return next((key for key in self.keys_of(account_id) if key.expires_at is None), None)

    def with_account(self, account: Account) -> "Catalog":
        return replace(self, accounts={**self.accounts, account.id: account})


def key_digest(api_key: str) -> str:
    """How an API key is stored. Looking up a digest also takes the same time for near misses as for far ones."""
    return hashlib.sha256(api_key.encode()).hexdigest()


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
        {k: token for k, token in known.tokens.items() if token.account_id not in changed.accounts}
        | dict(changed.tokens),
    )


def only(connection: sa.Connection, name: str) -> Catalog:
    """A catalog of just the account of this name, if there is one."""
    return _read(connection, sa.select(schema.accounts).where(schema.accounts.c.name_key == name_key(name)))


def account_numbers(connection: sa.Connection) -> list[int]:
    """Of all accounts, oldest first."""
    return list(connection.execute(sa.select(schema.accounts.c.id).order_by(schema.accounts.c.id)).scalars())


def of(connection: sa.Connection, account_id: int) -> Catalog:
    """A catalog of just this account."""
    return _read(connection, sa.select(schema.accounts).where(schema.accounts.c.id == account_id))


def _read(connection: sa.Connection, accounts: sa.Select[Any]) -> Catalog:
    rows = _Rows(connection, connection.execute(accounts).all())
    lists = rows.named(schema.lists, _list)
    tags = rows.named(schema.tags, _tag)
    options: dict[tuple[int, int], list[Option]] = {}
    for row in rows.of(schema.custom_field_options, "position"):
        options.setdefault((row.account_id, row.field_id), []).append(Option(row.id, row.name))
    sequences = rows.named(schema.sequences, _sequence)

    def custom_field(row: Any) -> CustomField:
        chosen_from = tuple(options.get((row.account_id, row.id), ()))
        return CustomField(row.id, row.identifier, FieldType(row.type), chosen_from)

    fields = rows.named(schema.custom_fields, custom_field)
    hooks = _hooks(rows)
    automations = rows.named(schema.automations, _automation)
    deleted_automations = rows.deleted(schema.automations, _automation)
    deleted_lists = rows.deleted(schema.lists, _list)
    deleted_tags = rows.deleted(schema.tags, _tag)
    deleted_fields = rows.deleted(schema.custom_fields, custom_field)
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
                mail=AS_USUAL if row.mail == "{}" else msgspec.json.decode(row.mail, type=MailSettings),
                retention=FOR_EVER if row.retention == "{}" else msgspec.json.decode(row.retention, type=Retention),
                deleted=Deleted(
                    deleted_lists.get(row.id, {}),
                    deleted_tags.get(row.id, {}),
                    deleted_fields.get(row.id, {}),
                    deleted_automations.get(row.id, {}),
                ),
                hooks=hooks.get(row.id, ()),
                automations=automations.get(row.id, {}),
            )
            for row in rows.accounts
        },
        {row.app_id: _app(row) for row in rows.of(schema.apps, "id")},
        {row.key_digest: _api_key(row) for row in rows.of(schema.api_keys, "key_digest")},
        {row.digest: _token(row) for row in rows.of(api_tokens, "id")},
    )


def _api_key(row: Any) -> ApiKey:
    created_at, ends_at = from_micros(row.created_at), moment_or_none(_end(row))
    return ApiKey(row.account_id, row.key_digest, row.password_hash, created_at, ends_at)


def _token(row: Any) -> Token:
    scopes = frozenset(json.loads(row.scopes))
    created_at, expires_at = from_micros(row.created_at), moment_or_none(_end(row))
    return Token(row.account_id, row.id, row.digest, row.name, scopes, row.rate_limit, created_at, expires_at)


def _end(row: Any) -> int | None:
    """When a key stops, or has stopped."""
    return min((at for at in (row.expires_at, row.revoked_at) if at is not None), default=None)


class _Rows:
    """The rows of the catalog's tables that belong to some accounts."""

    MOST_NAMED = 500
    """More accounts than that are not named one by one: then everything is read, and the others' rows are left out."""

    def __init__(self, connection: sa.Connection, accounts: Iterable[Any]) -> None:
        self._connection = connection
        self.accounts = list(accounts)
        self._ids = {row.id for row in self.accounts}

    def of(self, table: sa.Table, order: str, where: sa.ColumnElement[bool] | None = None) -> Iterable[Any]:
        query = sa.select(table).order_by(table.c[order])
        if where is not None:
            query = query.where(where)
        if len(self._ids) <= self.MOST_NAMED:
            query = query.where(table.c.account_id.in_(self._ids))
        return (row for row in self._connection.execute(query) if row.account_id in self._ids)

    def named(self, table: sa.Table, make: Callable[[Any], Any]) -> dict[int, dict[str, Any]]:
        """As `{account_id: {name_key: object}}`, oldest first; without what was deleted."""
        found: dict[int, dict[str, Any]] = {}
        for row in self.of(table, "id", alive(table)):
            found.setdefault(row.account_id, {})[row.name_key] = make(row)
        return found

    def deleted(self, table: sa.Table, make: Callable[[Any], Any]) -> dict[int, dict[int, Any]]:
        """As `{account_id: {id: object}}`."""
        found: dict[int, dict[int, Any]] = {}
        for row in self.of(table, "id", ~alive(table)):
            found.setdefault(row.account_id, {})[row.id] = make(row)
        return found


def _hooks(rows: _Rows) -> Mapping[int, tuple[Endpoint, ...]]:
    """By account, oldest first."""
    hooks: dict[int, tuple[Endpoint, ...]] = {}
    for row in rows.of(schema.hook_endpoints, "id", alive(schema.hook_endpoints)):
        hooks[row.account_id] = (*hooks.get(row.account_id, ()), _endpoint(row))
    return hooks


def alive(table: sa.Table) -> sa.ColumnElement[bool]:
    """Which of the table's rows were not deleted."""
    return table.c.deleted_at.is_(None) if "deleted_at" in table.c else sa.true()


def _list(row: Any) -> MailingList:
    return MailingList(row.id, row.name, row.public_name)


def _tag(row: Any) -> Tag:
    return Tag(row.id, row.name)


def _sequence(row: Any) -> Sequence:
    return Sequence(
        row.id,
        row.name,
        public_name=row.public_name,
        version=row.version,
        boxes=tuple(json.loads(row.boxes)),
        hears=frozenset(json.loads(row.hears)),
        entry=ANY_TIME if row.entry == "{}" else msgspec.json.decode(row.entry, type=Entry),
        paused=bool(row.paused) or row.archived_at is not None,
        resumed_at=moment_or_none(row.resumed_at),
        archived_at=moment_or_none(row.archived_at),
    )


def _endpoint(row: Any) -> Endpoint:
    return Endpoint(
        row.id,
        row.name,
        row.url,
        bool(row.enabled),
        row.secret,
        json.loads(row.events),
        score=row.score,
        numbers_as_strings=bool(row.numbers_as_strings),
        not_from=tuple(json.loads(row.not_from)),
        created_at=from_micros(row.created_at),
    )


_plans = msgspec.json.Decoder(Plan)


def _automation(row: Any) -> Automation:
    """One that this program cannot read, such as a newer one's, must not stop all others."""
    try:
        plan = _plans.decode(row.plan)
    except msgspec.ValidationError as error:
        log.error("automation %d of account %d cannot be read: %s", row.id, row.account_id, error)  # noqa: TRY400 - a line, not a stack
        plan = None
    return Automation(row.id, row.name, bool(row.active), plan)


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


def lock_account(connection: sa.Connection, account_id: int) -> None:
    """Until the transaction ends, nobody else who begins with this writes rows with numbers of this account's."""
    table = schema.accounts
    connection.execute(sa.select(table.c.id).where(table.c.id == account_id).with_for_update(key_share=True))


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
    identity = (field.id, field.identifier, name_key(field.identifier), field.type.value)
    yield _FIELD_MADE, (account_id, *identity, now, None, None)
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
