"""Account files, read, checked and applied."""

import json
import tomllib
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import sqlalchemy as sa

from cartwheel import accounts
from cartwheel.accountfiles import automationfile, sequencefile, webhookfile
from cartwheel.accountfiles.accountrows import Row, Rows
from cartwheel.accountfiles.fileparts import (
    IDENTIFIER_FORM,
    NAME_FORM,
    UNSPACED_FORM,
    AccountFile,
    AccountPart,
    AppPart,
    FieldPart,
    Part,
    SequencePart,
    WebhookPart,
    app_part,
    laid_over,
    note_said,
)
from cartwheel.accounts import EVERY_COMMAND, Account, ApiKey, App, name_key
from cartwheel.api.commands import COMMANDS
from cartwheel.api.credentials import hash_password, matches, new_secret
from cartwheel.api.registry import Scope
from cartwheel.data import catalog, catalogchanges, hookstore, schema
from cartwheel.data.catalog import Catalog, key_digest
from cartwheel.data.db import Database
from cartwheel.errors import AccountFull, BadAccountFile, NameTaken, NoSuchName
from cartwheel.network import read_network
from cartwheel.sequences.stepparts import BOX_FORM, DELAY_FORM, FROM_FORM, TO_FORM
from cartwheel.times import to_micros

# -- reading --


def read_file(path: Path) -> AccountFile:
    """Read and check a file; raises `BadAccountFile` with the place of the mistake."""
    try:
        return read_text(path.read_text(), path.parent)
    except OSError as error:
        raise BadAccountFile(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, BadAccountFile) as error:
        raise BadAccountFile(f"{path}: {error}") from error


def read_text(text: str, folder: Path) -> AccountFile:
    """Check a file's text; `file =` of a step is looked up in `folder`."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadAccountFile(str(error)) from error
    try:
        read = msgspec.convert(tree, AccountFile)
    except msgspec.ValidationError as error:
        place = sequencefile.place_in(tree, str(error)) or automationfile.place_in(tree, str(error))
        raise BadAccountFile(_plainly(str(error)) + place) from error
    note_said(read, tree)
    _check(read)
    for sequence in read.sequences:
        sequence.steps = [
            sequencefile.with_files(step, folder, f"sequence {sequence.name}, step {step.box}")
            for step in sequence.steps
        ]
    return read


_FORMS = {
    NAME_FORM: "without space around it",
    UNSPACED_FORM: "without space in it",
    IDENTIFIER_FORM: "of 1 to 100 letters, digits, dashes and underscores",
    BOX_FORM: "of 1 to 20 letters and digits",
    FROM_FORM: "like `09:00`",
    TO_FORM: "like `17:00` or `24:00`",
    DELAY_FORM: "like `2 days`",
}

_HINTS = {f"matching regex {form!r}": words for form, words in _FORMS.items()} | {
    "Invalid enum value": "There is no such choice:",
    "Object contains unknown field": "There is no key",
    "Object missing required field": "There has to be a key",
}
"""The library's words, and ours."""


def _plainly(message: str) -> str:
    for theirs, ours in _HINTS.items():
        message = message.replace(theirs, ours)
    return message.replace("- at `$.", "- at `").replace("- at `$`", "- at the top")


def _check(read: AccountFile) -> None:
    """What the types cannot say."""
    try:
        ZoneInfo(read.account.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadAccountFile(f"there is no time zone {read.account.timezone}") from None
    sequencefile.check_senders(read.account.mail.sender, read.account.mail.reply_to, "[account.mail]")
    _check_unique("apps", [app.name for app in read.apps])
    _check_unique("lists", [entry.name for entry in read.lists])
    _check_unique("tags", [tag.name for tag in read.tags])
    _check_unique("sequences", [sequence.name for sequence in read.sequences])
    _check_unique("automations", [automation.name for automation in read.automations])
    _check_unique("custom_fields", [field.identifier for field in read.custom_fields])
    _check_unique("webhooks", [webhookfile.name_of(webhook) for webhook in read.webhooks])
    for webhook in read.webhooks:
        webhookfile.check(webhook)
    for sequence in read.sequences:
        _check_unique(f"the steps of sequence {sequence.name}", [step.box for step in sequence.steps])
    for app in read.apps:
        _check_app(app)
    for field in read.custom_fields:
        if Account(0, "", ZoneInfo("UTC"), gdpr=False, active=True).reserves(field.identifier):
            raise BadAccountFile(f"custom field {field.identifier}: a built-in field has this name")
        if field.options if field.type.is_text else len(field.options) == 1:
            raise _wrong_options(field)
        _check_option_names(field)
    ids = [str(option.id) for field in read.custom_fields for option in field.options if option.id is not None]
    _check_unique("the ids of options", ids)


def _wrong_options(field: FieldPart) -> BadAccountFile:
    return BadAccountFile(f"custom field {field.identifier}: choice types have two or more options, text types none")


def _check_unique(what: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name_key(name) in seen:
            raise BadAccountFile(f"{what}: {name} is there twice")
        seen.add(name_key(name))


def _check_option_names(field: FieldPart) -> None:
    """The API lets a field have two options of one name; a file tells them apart by their ids."""
    by_id = {name_key(option.name) for option in field.options if option.id is not None}
    others = [option.name for option in field.options if option.id is None]
    _check_unique(f"the options of custom field {field.identifier}", others)
    for name in others:
        if name_key(name) in by_id:
            raise BadAccountFile(f"the options of custom field {field.identifier}: {name} is there twice")


def _check_app(app: AppPart) -> None:
    known = {EVERY_COMMAND, *COMMANDS, *Scope}
    for name in app.commands:
        if name not in known:
            raise BadAccountFile(f"app {app.name}: there is no command or scope {name}")
    for address in app.allow_ips:
        try:
            read_network(address)
        except ValueError as error:
            raise BadAccountFile(f"app {app.name}: allow_ips: {error}") from error


# -- applying --


def apply(
    database: Database,
    wanted: AccountFile,
    now: datetime,
    *,
    tell: Callable[[Sequence[str]], None] | None = None,
    with_key: bool = True,
) -> dict[str, Any]:
    """Make the account what the file says, in one transaction; `tell` is told line by line what was done.

    A new account gets an API key unless nobody is there to be told it.

    Returns what a script needs to know: the account's name and id, whether anything changed, each App's `app_id`, and
    `api_key` and `api_password` if they were made just now (they are never told again).
    """
    while True:
        password = _password(database, wanted.account)
        with database.write() as connection:
            catalog.lock(connection)
            known = catalog.only(connection, wanted.account.name)
            if password.before == _password_hash(known):
                changes = _Changes(connection, known, to_micros(now))
                told = _apply(connection, changes, wanted, password if with_key else None)
                break
    if tell is not None:
        tell(changes.done)
    return told


def _apply(
    connection: sa.Connection, changes: "_Changes", wanted: AccountFile, password: "_Password | None"
) -> dict[str, Any]:
    account_id = changes.account(wanted.account)
    made = changes.key(account_id, wanted.account, password) if password else {}
    apps = [{"name": app.name, "app_id": changes.app(account_id, app)} for app in wanted.apps]
    for entry in wanted.lists:
        changes.named(schema.lists, account_id, entry, {"name": entry.name, "public_name": entry.public_name})
    for tag in wanted.tags:
        changes.named(schema.tags, account_id, tag, {"name": tag.name})
    changes.custom_fields(account_id, wanted.custom_fields)
    numbers = [changes.sequence(account_id, sequence) for sequence in wanted.sequences]
    for number, sequence in zip(numbers, wanted.sequences, strict=True):
        changes.steps(account_id, number, sequence)
    for automation in wanted.automations:
        row = {"name": automation.name, "active": automation.active, "plan": automationfile.encode(automation.plan)}
        changes.named(schema.automations, account_id, automation, row)
    if wanted.webhooks:  # which are told of lists, tags and sequences by their numbers
        known = catalog.only(connection, wanted.account.name)
        for webhook in wanted.webhooks:
            changes.webhook(known.accounts[account_id], known.apps_of(account_id), webhook)
    account = catalog.only(connection, wanted.account.name).accounts[account_id]
    warnings = [warning for sequence in wanted.sequences for warning in sequencefile.check(sequence, account)]
    warnings += sequencefile.missing_for_mail(wanted.sequences, account)
    automationfile.check(wanted.automations, account)
    warnings += automationfile.doubts(connection, wanted.automations, account)
    if changes.done:
        _publish(connection, account_id, wanted.account.name)
    return {
        "account": wanted.account.name,
        "account_id": account_id,
        "changed": bool(changes.done),
        **made,
        "apps": apps,
        **({"warnings": warnings} if warnings else {}),
    }


def put_app(database: Database, account: Account, name: str, now: datetime, *, new: bool, **values: Any) -> AppPart:
    """Make an App, or change one, to these values; returns it as it is then."""
    with database.write() as connection:
        catalog.lock(connection)
        known = catalog.only(connection, account.name)
        current = known.app_named(account.id, name)
        if new and current is not None:
            raise NameTaken(f"there is an app {current.name} already")
        if not new and current is None:
            raise NoSuchName(f"there is no app {name}")
        sent = {"name": name} if current is None else msgspec.to_builtins(app_part(current))
        try:
            wanted = msgspec.convert({**sent, **values}, AppPart)
        except msgspec.ValidationError as error:
            raise BadAccountFile(f"app {name}: {_plainly(str(error))}") from error
        _check_app(wanted)
        changes = _Changes(connection, known, to_micros(now))
        wanted.app_id = changes.app(account.id, wanted)
        _publish(connection, account.id, account.name)
    return wanted


class _Password(NamedTuple):
    """An account's password, hashed before the transaction, which would hold up everybody for as long as that takes."""

    before: str | None
    """The hash that the account had then."""
    hash: str
    made: str | None = None


def _password(database: Database, wanted: AccountPart) -> _Password:
    with database.read() as connection:
        before = _password_hash(catalog.only(connection, wanted.name))
    if before is None and wanted.api_password is None:
        made = new_secret()
        return _Password(None, hash_password(made), made)
    if wanted.api_password is None or (before is not None and matches(before, wanted.api_password)):
        assert before is not None  # else it was made
        return _Password(before, before)
    return _Password(before, hash_password(wanted.api_password))


def _password_hash(known: Catalog) -> str | None:
    key = _key_of(known)
    return None if key is None else key.password_hash


def _key_of(known: Catalog) -> ApiKey | None:
    """The key that stays of the only account in the catalog; others may be good until they expire."""
    return next((key for number in known.accounts if (key := known.key_of(number))), None)


def _publish(connection: sa.Connection, account_id: int, name: str) -> None:
    """The end of a change: the account still has to fit, and every process has to know."""
    changed = catalog.only(connection, name)
    try:
        accounts.check_room(changed.accounts[account_id], changed.apps_of(account_id))
    except AccountFull as error:
        raise BadAccountFile(str(error)) from error
    catalog.touch(connection, account_id)


class _Changes:
    """Writes rows that differ from what is there, and remembers which."""

    def __init__(self, connection: sa.Connection, known: Catalog, now: int) -> None:
        self._connection = connection
        self._known = known
        self._now = now
        self._rows = Rows(connection, now)

    @property
    def done(self) -> list[str]:
        """A line for each kind of change."""
        return self._rows.done

    def account(self, wanted: AccountPart) -> int:
        known = next(iter(self._known.accounts.values()), None)
        mail = laid_over(known.mail, wanted.mail, wanted.said.get("mail", {})) if known else wanted.mail
        said = wanted.said.get("retention", {})
        kept = laid_over(known.retention, wanted.retention, said) if known else wanted.retention
        row = {
            "name": wanted.name,
            "timezone": wanted.timezone,
            "gdpr": wanted.gdpr,
            "active": wanted.active,
            "mail": msgspec.json.encode(mail).decode(),
            "retention": msgspec.json.encode(kept).decode(),
        }
        values = {"name_key": name_key(wanted.name), **_said_of(row, wanted)}
        return self._rows.put_account(known.id if known else None, values, row)

    def key(self, account_id: int, wanted: AccountPart, password: "_Password") -> dict[str, str]:
        """The account's key and password: as given, as they are, or made; returns those made."""
        made = {} if password.made is None else {"api_password": password.made}
        current = _key_of(self._known)
        if current is None:
            api_key = wanted.api_key or new_secret()
            self._insert_key(account_id, key_digest(api_key), password.hash)
            self._rows.note("API key and password made", wanted.name)
            return made if wanted.api_key else {"api_key": api_key, **made}
        digest = key_digest(wanted.api_key) if wanted.api_key else current.key_digest
        if (digest, password.hash) != (current.key_digest, current.password_hash):
            table = schema.api_keys
            self._connection.execute(sa.delete(table).where(table.c.account_id == account_id))
            self._insert_key(account_id, digest, password.hash)
            self._rows.note("API key or password changed", wanted.name)
        return made

    def _insert_key(self, account_id: int, digest: str, password_hash: str) -> None:
        if self._holder(schema.api_keys, key_digest=digest) not in {None, account_id}:
            raise BadAccountFile("this api_key belongs to another account")
        catalogchanges.put_key(self._connection, account_id, digest, password_hash, self._now)

    def app(self, account_id: int, wanted: AppPart) -> str:
        """Returns the App's `app_id`."""
        current = self._known.app_named(account_id, wanted.name)
        app_id = wanted.app_id or (current.app_id if current else new_secret())
        taken = self._holder(schema.apps, app_id=app_id) is not None
        if taken and (current is None or app_id != current.app_id):
            raise BadAccountFile(f"app {wanted.name}: another app has this app_id")
        commands = {EVERY_COMMAND} if EVERY_COMMAND in wanted.commands else set(wanted.commands)
        row = {
            "name": wanted.name,
            "app_id": app_id,
            "mode": wanted.mode,
            "rate_limit": wanted.rate_limit,
            "allow_ips": json.dumps(wanted.allow_ips),
            "commands": json.dumps(sorted(commands)),
            "active": wanted.active,
        }
        self.named(schema.apps, account_id, wanted, row)
        return app_id

    def _holder(self, table: sa.Table, **unique: str) -> int | None:
        """The account that has this, whichever it is."""
        query = sa.select(table.c.account_id).filter_by(**unique)
        return self._connection.execute(query).scalar_one_or_none()

    def named(self, table: sa.Table, account_id: int, part: Part, row: Row) -> int:
        """The row of the part, whose name comes first in it: of one that is there, what is said; returns its id."""
        key = name_key(next(iter(row.values())))
        return self._rows.put_named(table, account_id, key, _said_of(row, part), row)

    def custom_fields(self, account_id: int, wanted: list[FieldPart]) -> None:
        """Ids for options are given out when all are known that are taken, in the database and all over the file."""
        given = {option.id for field in wanted for option in field.options if option.id is not None}
        free = count(1 + max([0, *given, *self._rows.of(schema.custom_field_options, account_id)]))
        for field in wanted:
            field_id = self._custom_field(account_id, field)
            known = self._options_by_name(account_id, field_id, given)
            numbers = [option.id or known.get(name_key(option.name)) or next(free) for option in field.options]
            for position, (number, option) in enumerate(zip(numbers, field.options, strict=True)):
                self._option(account_id, field_id, position, option.name, number)
            if numbers:
                self._put_behind(account_id, field_id, numbers)

    def _custom_field(self, account_id: int, wanted: FieldPart) -> int:
        row = self._rows.named(schema.custom_fields, account_id, name_key(wanted.identifier))
        if row is None and not wanted.type.is_text and not wanted.options:
            raise _wrong_options(wanted)
        if row is not None and row["type"] != wanted.type.value:
            raise BadAccountFile(
                f"custom field {wanted.identifier} is a {row['type']} and cannot become a {wanted.type}"
            )
        values = {"identifier": wanted.identifier, "type": wanted.type.value}
        return self.named(schema.custom_fields, account_id, wanted, values)

    def _options_by_name(self, account_id: int, field_id: int, given: set[int]) -> dict[str, int]:
        """Which options a file may mean by their names: not those whose ids it gives to some option."""
        rows = self._rows.of(schema.custom_field_options, account_id).values()
        mine = [row for row in rows if row["field_id"] == field_id and row["id"] not in given]
        return {name_key(row["name"]): row["id"] for row in sorted(mine, key=lambda row: row["position"], reverse=True)}

    def _option(self, account_id: int, field_id: int, position: int, name: str, number: int) -> None:
        table = schema.custom_field_options
        holder = self._rows.of(table, account_id).get(number)
        fields = self._rows.of(schema.custom_fields, account_id)
        if holder and holder["field_id"] != field_id and fields[holder["field_id"]].get("deleted_at") is None:
            raise BadAccountFile(f"the option id {number} belongs to another custom field")
        self._rows.put(table, account_id, number, {"field_id": field_id, "name": name, "position": position})

    def _put_behind(self, account_id: int, field_id: int, first: list[int]) -> None:
        """The field's other options keep their order, behind these."""
        rows = self._rows.of(schema.custom_field_options, account_id).values()
        others = [row for row in rows if row["field_id"] == field_id and row["id"] not in first]
        for position, row in enumerate(sorted(others, key=lambda row: (row["position"], row["id"])), len(first)):
            self._option(account_id, field_id, position, row["name"], row["id"])

    def sequence(self, account_id: int, wanted: SequencePart) -> int:
        """The sequence without its steps; returns its id."""
        account = self._known.accounts.get(account_id)
        known = account.sequences.get(name_key(wanted.name)) if account else None
        number = self.named(schema.sequences, account_id, wanted, sequencefile.row_of(wanted, known, self._now))
        was = known is not None and known.paused
        will = sequencefile.is_paused(wanted, known)
        if "paused" in wanted.said and was != will:
            self._rows.note("sequences paused" if will else "sequences resumed", wanted.name)
        laid_aside = known is not None and known.archived_at is not None
        if wanted.archived is not None and laid_aside != wanted.archived:
            self._rows.note("sequences archived" if wanted.archived else "sequences brought back", wanted.name)
        return number

    def webhook(self, account: Account, apps: Sequence[App], wanted: WebhookPart) -> None:
        row = hookstore.values_of(webhookfile.endpoint(wanted, account, apps))
        said = {"name": row["name"], **_said_of(row, wanted)}
        self._rows.put_named(schema.hook_endpoints, account.id, name_key(row["name"]), said, row | hookstore.NEW)

    def steps(self, account_id: int, sequence_id: int, wanted: SequencePart) -> None:
        version = sequencefile.publish(self._connection, account_id, sequence_id, wanted, self._now)
        if version is not None:
            self._rows.note("steps of sequences changed", f"{wanted.name} (version {version})")


_KEYS = {
    "plan": {"when", "then", "condition"},
    "boxes": {"steps"},
    "paused": {"paused", "archived"},
    "resumed_at": {"paused"},
    "archived_at": {"archived"},
    "events": {"events", "only"},
}
"""The columns that keys of other names speak of."""


def _said_of(row: Row, part: Part) -> Row:
    """Those of the row's columns that the file says something of."""
    return {column: value for column, value in row.items() if not _KEYS.get(column, {column}).isdisjoint(part.said)}
