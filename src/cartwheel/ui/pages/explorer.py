"""The API explorer: every command as a form, made from the registry, and really run in test mode."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cartwheel.accounts import FieldType, MailingList, Sequence, Tag
from cartwheel.api import wire
from cartwheel.api.commands import COMMANDS
from cartwheel.api.registry import Command, Param, Scope
from cartwheel.data import callstore
from cartwheel.leads.leadparts import PROFILE_FIELDS
from cartwheel.people import Right
from cartwheel.readers import EXACT_DIGITS, digits
from cartwheel.reference.examples import LEAD, provocations
from cartwheel.ui.explaining import explain, loaded
from cartwheel.ui.registry import page
from cartwheel.ui.snippets import snippets
from cartwheel.ui.trying import try_call
from cartwheel.ui.visits import Answer, NotThere, Visit

HERE = "/integrations/api/explorer"

FIRST = "create_lead"

LONGEST_VALUE = 20_000

MOST_SUGGESTED = 200


@dataclass(frozen=True, slots=True)
class Box:
    """A parameter as a field of the form. `suggested` are names that the account has."""

    name: str
    kind: str
    required: bool
    value: str
    suggested: list[str]
    least: int | None = None
    most: int | None = None


@page(HERE, menu="explorer", right=Right.INTEGRATIONS)
def show_explorer(visit: Visit) -> Answer:
    command = _command(visit.query.get("cmd", "") or FIRST)
    example = next(provocations(command))
    lead = dict(example.lead)
    values = {name: _written(value) for name, value in example.parameters.items()}
    values["email"] = str(lead.pop("email", LEAD["email"]))
    values["fields"] = "\n".join(f"{name}: {value}" for name, value in lead.items())
    return visit.show("explorer.html", **_context(visit, command, values), ran=None)


@page(HERE, menu="explorer", right=Right.INTEGRATIONS, post=True)
def run_command(visit: Visit) -> Answer:
    """Tried an API command in test mode."""
    command = _command(visit.text("cmd", 100))
    values = {name: visit.text(name, LONGEST_VALUE) for name in [*command.params, "email", "fields"]}
    call = _call_of(command, values)
    request_id = try_call(visit, call)
    with visit.database.read() as connection:
        kept = callstore.one(connection, visit.account.id, request_id)
    if kept is None:
        raise NotThere
    visit.about(command.name)
    ran = {
        "call": kept,
        "request": json.dumps(call, indent=2, ensure_ascii=False),
        "answer": json.dumps(loaded(kept.answer), indent=2, ensure_ascii=False),
        "explained": explain(visit, kept),
        "snippets": snippets(call, visit.base_url),
    }
    return visit.show(
        "explorer.html", block="result" if visit.htmx else "", **_context(visit, command, values), ran=ran
    )


def _command(name: str) -> Command:
    if name not in COMMANDS:
        raise NotThere
    return COMMANDS[name]


def _context(visit: Visit, command: Command, values: Mapping[str, str]) -> dict[str, Any]:
    groups: dict[Scope, list[Command]] = {}
    for entry in COMMANDS.values():
        groups.setdefault(entry.scope, []).append(entry)
    return {
        "groups": list(groups.items()),
        "command": command,
        "boxes": [_box(visit, command, name, values.get(name, "")) for name in command.params],
        "email": values["email"],
        "fields": values["fields"],
        "takes_lead": command.needs_lead or command.top_level,
        "takes_fields": command.first,
        "lead_fields": [*PROFILE_FIELDS, *([] if command.makes_lead else ["new_email"])],
        "test_domain": visit.house.settings.test_domain,
    }


def _box(visit: Visit, command: Command, name: str, value: str) -> Box:
    param, schema = command.params[name], command.params[name].schema
    kind = {"integer": "number", "array": "lines"}.get(schema.get("type", ""), "text")
    least, most = schema.get("minimum"), schema.get("maximum")
    return Box(name, kind, param.empty is not None, value, list(_suggested(visit, name)), least, most)


def _suggested(visit: Visit, name: str) -> Iterable[str]:
    account = visit.account
    if name == "custom_field_type":
        return [kind.value for kind in FieldType]
    named: dict[str, Iterable[Tag | MailingList | Sequence]] = {
        "tag_name": account.tags.values(),
        "list_name": account.lists.values(),
        "sequence_name": [entry for entry in account.sequences.values() if entry.archived_at is None],
    }
    return [entry.name for entry in named.get(name, ())][:MOST_SUGGESTED]


# -- between a form's texts and a call --


def _written(value: Any) -> str:
    """An example's value as it stands in the form: of an array, a line for each element."""
    if isinstance(value, list):
        return "\n".join(str(next(iter(entry.values()))) if isinstance(entry, dict) else str(entry) for entry in value)
    return wire.text(value) or ""


def _read(param: Param, text: str) -> Any:
    """What the form holds as the call has it. What does not fit is sent as it is: the answer says what is wrong."""
    schema = param.schema
    if schema.get("type") == "integer" and (number := digits(text, EXACT_DIGITS)) is not None:
        return number
    if schema.get("type") == "array":
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        [name, *_] = schema.get("items", {}).get("properties", {"": None})
        return [{name: line} for line in lines] if name else lines
    return text


def _call_of(command: Command, values: Mapping[str, str]) -> dict[str, Any]:
    lead: dict[str, Any] = {"email": values["email"]}
    if command.first:
        for line in values["fields"].splitlines():
            name, colon, value = line.partition(":")
            if colon and name.strip():
                lead[name.strip()] = value.strip()
    if command.top_level:
        return {command.name: lead}
    given = {name: _read(param, values[name]) for name, param in command.params.items() if values[name]}
    action = {"cmd": command.name, **given}
    return {**({"lead": lead} if command.needs_lead else {}), "actions": [action]}
