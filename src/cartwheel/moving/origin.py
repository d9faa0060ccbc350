"""What the other account has beside leads, and making it here: lists, tags, custom fields with their options, sequences' names."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from cartwheel.accountfiles import drafting
from cartwheel.accountfiles.fileparts import SequencePart
from cartwheel.accounts import FIELD_IDENTIFIER, LONGEST_NAME, Account, CustomField, FieldType, name_key
from cartwheel.api import wire
from cartwheel.client.kartra import KartraClient
from cartwheel.data import catalog, catalogchanges, fieldoptions, importstore
from cartwheel.data.db import Database
from cartwheel.data.importstore import Import
from cartwheel.moving import reports
from cartwheel.moving.answers import text_of
from cartwheel.readers import digits


class FieldThere(NamedTuple):
    """A custom field; `type` is None if there is none of this name here."""

    identifier: str
    type: FieldType | None
    called: str
    options: tuple[tuple[int, str], ...]


class Origin(NamedTuple):
    lists: list[str]
    tags: list[str]
    sequences: list[str]
    fields: list[FieldThere]


def fetch(client: KartraClient) -> Origin:
    """Raises `ClientError`."""
    return Origin(
        [text_of(name) for name in client.retrieve_account_lists()],
        [text_of(name) for name in client.retrieve_account_tags()],
        [text_of(name) for name in client.retrieve_account_sequences()],
        [_field(entry) for entry in client.retrieve_custom_fields() if isinstance(entry, Mapping)],
    )


def _field(entry: Mapping[str, Any]) -> FieldThere:
    called = text_of(entry.get("field_type"))
    kind = FieldType(called) if called in set(FieldType) else None
    sent = entry.get("field_value")
    options = tuple(
        (digits(text_of(option.get("option_id"))) or 0, text_of(option["option_value"]).strip())
        for option in wire.items(sent) or ()
        if isinstance(option, Mapping) and text_of(option.get("option_value")).strip()
    )
    return FieldThere(text_of(entry.get("field_identifier")), kind, called, options)


def names_to_make(origin: Origin, account: Account) -> dict[str, list[str]]:
    """By kind, what is not here and can be."""
    fields = [field.identifier for field in origin.fields if _why_not(field, account) == ""]
    named = {"lists": origin.lists, "tags": origin.tags, "sequences": origin.sequences, "fields": fields}
    known = {"lists": account.lists, "tags": account.tags, "sequences": account.sequences, "fields": account.fields}
    found: dict[str, list[str]] = {}
    for kind, names in named.items():
        first = {name_key(name): name.strip() for name in reversed(names) if 0 < len(name.strip()) <= LONGEST_NAME}
        found[kind] = [name for key, name in reversed(first.items()) if key not in known[kind]]
    return found


def _why_not(field: FieldThere, account: Account) -> str:
    """Why it cannot be made; empty if it can, or is there."""
    if account.field(field.identifier) is not None:
        return ""
    if field.type is None:
        return f"its type is {field.called[:50]}"
    if not re.fullmatch(FIELD_IDENTIFIER, field.identifier):
        return "fields have letters, digits, dashes and underscores in their names"
    return "that is the name of a built-in field" if account.reserves(field.identifier) else ""


def make(database: Database, found: Import, origin: Origin, account: Account, now: datetime) -> None:
    """What is not here yet, all in one transaction. Raises `AccountFull`."""
    wanted = names_to_make(origin, account)
    fields = {field.identifier: field for field in origin.fields}
    with catalogchanges.changing(database, account.id) as connection:
        for kind in ("lists", "tags"):
            for name in wanted[kind]:
                importstore.make_named(connection, found, kind, name, now)
        for identifier in wanted["fields"]:
            field = fields[identifier]
            assert field.type is not None
            importstore.make_named(connection, found, "fields", identifier, now, field.type.value)
        for name in wanted["sequences"]:
            drafting.add(connection, account.id, SequencePart(name), [], now)
        _note(connection, found, wanted["sequences"])
    with catalogchanges.changing(database, account.id) as connection:
        for there in origin.fields:
            _make_options(connection, there, catalog.of(connection, account.id).accounts[account.id])


def _note(connection: sa.Connection, found: Import, drafts: list[str]) -> None:
    again = importstore.get(connection, found.account_id, found.id)
    assert again is not None
    report = reports.read(again.report)
    report.drafts += drafts
    importstore.change(connection, found.account_id, found.id, report=reports.written(report))


def _make_options(connection: sa.Connection, there: FieldThere, account: Account) -> None:
    here = account.field(there.identifier)
    if here is None or here.type.is_text:
        return
    fieldoptions.add_numbered(connection, account.id, here.id, _more_options(there, here))


def _more_options(there: FieldThere, here: CustomField) -> list[tuple[int, str]]:
    """Two of one name are two here as well."""
    left = [name_key(option.name) for option in here.options]
    more = []
    for number, name in there.options:
        if name_key(name) in left:
            left.remove(name_key(name))
        else:
            more.append((number, name[:LONGEST_NAME]))
    return more


# -- what is another thing here --


def differences(origin: Origin, account: Account) -> Iterator[str]:
    """In words; `account` has what could be made."""
    for kind, names, known in (
        ("list", origin.lists, account.lists),
        ("tag", origin.tags, account.tags),
        ("sequence", origin.sequences, account.sequences),
    ):
        seen: dict[str, str] = {}
        for name in names:
            key = name_key(name)
            entry: Any = known.get(key)
            if key in seen:
                yield f"the {kind}s {_quoted(seen[key])} and {_quoted(name)} are one here"
            elif entry is None:
                yield f"the {kind} {_quoted(name[:100])} cannot be made: a name has 1 to {LONGEST_NAME} characters"
            elif entry.name != name:
                yield f"the {kind} {_quoted(name)} is called {_quoted(entry.name)} here; both names find it"
            seen.setdefault(key, name)
    for field in origin.fields:
        yield from _field_differences(field, account)


def _field_differences(there: FieldThere, account: Account) -> Iterator[str]:
    here = account.field(there.identifier)
    if here is None:
        yield f"the custom field {_quoted(there.identifier[:100])} cannot be made: {_why_not(there, account)}"
        return
    if here.type is not there.type:
        yield f"the custom field {there.identifier} is a {here.type.value} here, and a {there.called[:50]} at Kartra"
    if here.type.is_text:
        return
    numbers = {option.id: name_key(option.name) for option in here.options}
    others = [f"{name} ({number})" for number, name in there.options if numbers.get(number) != name_key(name)]
    if others:
        yield (
            f"the custom field {there.identifier} has other ids here than Kartra for its options "
            f"{', '.join(others[:20])}: programs that send the ids have to be changed"
        )


def _quoted(name: str) -> str:
    return msgspec.json.encode(name).decode()
