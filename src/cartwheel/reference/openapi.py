"""The API as an OpenAPI document, for programs: everything in it is derived from the registry and from `wire`."""

from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any
from urllib.parse import urlencode

import msgspec

from cartwheel.api import wire
from cartwheel.api.commands import COMMANDS
from cartwheel.api.registry import Command
from cartwheel.api.wire import Reply
from cartwheel.leads.leadparts import PROFILE_FIELDS
from cartwheel.reference.examples import Provocation, form, provocations
from cartwheel.rest import description

Schema = dict[str, Any]

CREDENTIALS = {
    "app_id": "Which App calls.",
    "api_key": "Whose account it works on.",
    "api_password": "The account's API password.",
}

ARRAYS = ("lead", "get_lead", "actions")

ACTIONS = [command for command in COMMANDS.values() if not command.top_level]
TOP_LEVEL = [command for command in COMMANDS.values() if command.top_level]


def document(server: str) -> dict[str, Any]:
    """The whole document; `server` is the address at which the API is."""
    return {**_document(), "servers": [{"url": server}]}


@cache
def _document() -> dict[str, Any]:
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Cartwheel",
            "version": version("cartwheel"),
            "description": "`/api` is Kartra's inbound API: one address takes every call, and `actions` say what is to be done. "
            "`/v1` is Cartwheel's own, for what that one cannot do.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {"/api": {"post": _operation()}, **description.paths()},
        "components": {
            "schemas": dict(sorted({**description.schemas(), **_schemas()}.items())),
            "securitySchemes": {**description.SECURITY, **_credentials()},
        },
    }


def _credentials() -> dict[str, Any]:
    return {
        name: {
            "type": "apiKey",
            "in": "query",
            "name": name,
            "description": f"{what} In the body, where it belongs, it counts before this one.",
        }
        for name, what in CREDENTIALS.items()
    }


def _operation() -> dict[str, Any]:
    return {
        "operationId": "call",
        "summary": "Run actions on a lead or on the account, and look at a lead.",
        "description": (
            "All actions of a call are committed together, durably, before the answer leaves. "
            "The credentials stand in the body; whoever cannot put them there may put them into the query string."
        ),
        "security": [{}, {name: [] for name in CREDENTIALS}],
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "For 24 hours the same key with the same body gets the stored answer; nothing is done twice.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _ref("Call"), "examples": _requests()},
                "application/x-www-form-urlencoded": {
                    "schema": _ref("Call"),
                    "encoding": {name: {"style": "deepObject", "explode": True} for name in ARRAYS},
                    "examples": _requests(as_form=True),
                },
            },
        },
        "responses": {
            str(HTTPStatus.OK.value): {
                "description": "The answer to every call that does not come too often, be it a success or an error.",
                "content": {
                    "application/json": {
                        "schema": {"anyOf": [_ref("Answer"), _ref("Refusal")]},
                        "examples": _answers(),
                    }
                },
            },
            str(HTTPStatus.TOO_MANY_REQUESTS.value): {
                "description": "Too many calls. Nothing was done.",
                "headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}},
                "content": {"application/json": {"schema": _ref("TooMany")}},
            },
        },
    }


# -- examples --


def _requests(*, as_form: bool = False) -> dict[str, Any]:
    """Every command's own example, as JSON or as a form."""
    credentials = {name: f"YOUR_{name.upper()}" for name in CREDENTIALS}
    found = {}
    for command in COMMANDS.values():
        call = {**credentials, **next(provocations(command)).call}
        value = urlencode(list(form(call)), safe="[]@") if as_form else call
        found[command.name] = {"summary": _headline(command), "value": value}
    return found


def _answers() -> dict[str, Any]:
    """The answers that are known without asking: those that hold nothing but their message."""
    answers = {}
    for command in ACTIONS:
        if command.success and not command.result:
            told = dict(command.success.fields)
            answers[command.name] = {
                "summary": _headline(command),
                "value": {**told, "actions": [{command.name: told}]},
            }
    return {**answers, "refused": {"summary": "Nothing was done.", "value": dict(wire.API_KEY_UNKNOWN.fields)}}


# -- schemas --


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas() -> dict[str, Schema]:
    types = [kind for command in COMMANDS.values() for kind in command.result.values()]
    _, shapes = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    actions = {command.name: _action(command) for command in ACTIONS}
    answers = {_answer_name(command): _answer(command) for command in ACTIONS if command.success}
    return {
        "Call": _call(),
        "Lead": _lead(),
        "LeadReference": {
            "type": "object",
            "description": "Which lead: with both, the id counts.",
            "properties": {name: _lead()["properties"][name] for name in ("id", "email")},
        },
        "Action": {
            "oneOf": [_ref(name) for name in actions],
            "discriminator": {"propertyName": "cmd", "mapping": {name: _ref(name)["$ref"] for name in actions}},
        },
        "Answer": _whole_answer(),
        "Refusal": _refusal(),
        "TooMany": {"oneOf": [_reply(reply) for reply in TOO_MANY]},
        **actions,
        **answers,
        **shapes,
    }


def _call() -> Schema:
    looks = {command.name: {**_ref("LeadReference"), "description": _about(command)} for command in TOP_LEVEL}
    return {
        "type": "object",
        "properties": {
            **{name: {"type": "string", "description": what} for name, what in CREDENTIALS.items()},
            "lead": _ref("Lead"),
            **looks,
            "actions": {
                "type": "array",
                "minItems": 1,
                "description": "What is to be done, in this order.",
                "items": _ref("Action"),
            },
        },
        "anyOf": [{"required": [name]} for name in ("actions", *looks)],
    }


def _lead() -> Schema:
    text = {"type": "string"}
    value = {
        "description": "A text; the id of an option; for a `checkbox` an array of ids. An empty string clears.",
        "anyOf": [{"type": ["string", "integer"]}, {"type": "array", "items": {"type": ["string", "integer"]}}],
    }
    return {
        "type": "object",
        "description": "Whom the actions are about, and for `create_lead` and `edit_lead` its fields. "
        "What is not sent stays; what is unknown is ignored.",
        "properties": {
            "id": {"type": ["string", "integer"], "description": "Counts more than `email`."},
            "email": {"type": "string", "format": "email"},
            "new_email": {
                "type": "string",
                "format": "email",
                "description": "For `edit_lead`: its address from now on.",
            },
            **dict.fromkeys(PROFILE_FIELDS, text),
            "custom_fields": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"field_identifier": text, "field_value": value},
                    "required": ["field_identifier", "field_value"],
                },
            },
        },
    }


def _action(command: Command) -> Schema:
    parameters = {name: dict(param.schema) for name, param in command.params.items()}
    return {
        "type": "object",
        "description": _about(command),
        "properties": {"cmd": {"const": command.name}, **parameters},
        "required": ["cmd", *(name for name, param in command.params.items() if param.empty)],
    }


def _headline(command: Command) -> str:
    return command.doc.partition("\n")[0]


def _about(command: Command) -> str:
    """All that the reference says of a command, but for the examples."""
    refusals = [f"- {_titled(reply)}: {' '.join(whys)}" for reply, whys in _refusals(command).items()]
    return "\n".join([command.doc, "", command.conditions, *(["", *refusals] if refusals else [])])


def _refusals(command: Command) -> dict[Reply, list[str]]:
    """Each refusal that the command can cause, with what causes it."""
    found: dict[Reply, list[str]] = {}
    for entry in provocations(command):
        if entry.reply not in {None, command.success}:
            found.setdefault(_known(entry), []).append(entry.why.partition("\n")[0])
    return found


def _known(entry: Provocation) -> Reply:
    assert entry.reply is not None  # only a retrieval that succeeds has none
    return entry.reply


# -- answers --


def _titled(reply: Reply) -> str:
    return f"{reply.type} {reply.message}".strip()


def _reply(reply: Reply, result: Mapping[str, Any] = {}, whys: Iterable[str] = ()) -> Schema:
    """The reply, to the letter, and what it holds beside the message."""
    description = " ".join(whys)
    return {
        "type": "object",
        "title": _titled(reply),
        **({"description": description} if description else {}),
        "properties": {**{name: {"const": value} for name, value in reply.fields.items()}, **_results(result)},
        "required": [*reply.fields, *result],
    }


def _results(result: Mapping[str, Any]) -> dict[str, Schema]:
    names = list(result)
    schemas, _ = msgspec.json.schema_components(result.values(), ref_template="#/components/schemas/{name}")
    return dict(zip(names, schemas, strict=True))


def _unreadable(reply: Reply) -> Schema:
    """A reply whose message is put together: `reply` is one of its kind."""
    return {
        "type": "object",
        "title": f"{reply.type} …",
        "properties": {
            "status": {"const": reply.status},
            "message": {"type": "string", "pattern": reply.message.replace(".", r"\.") + "$"},
            "type": {"const": reply.type},
        },
        "required": list(reply.fields),
    }


UNREADABLE = _unreadable(wire.unreadable(""))


def _answer_name(command: Command) -> str:
    return f"{command.name}_answer"


def _answer(command: Command) -> Schema:
    """What stands in `actions` about a command."""
    assert command.success is not None  # a retrieval, which has none, is not there
    refusals = [] if command.refuses_call else [_reply(reply, {}, whys) for reply, whys in _of_action(command).items()]
    elsewhere = [_reply(wire.not_first(command.name))] if command.first else []
    return {"oneOf": [_reply(command.success, command.result), *refusals, *elsewhere]}


def _of_action(command: Command) -> dict[Reply, list[str]]:
    """The refusals of the action alone: without a lead, the whole call is refused."""
    return {
        reply: whys for reply, whys in _refusals(command).items() if reply not in {wire.LEAD_UNKNOWN, wire.LEAD_DELETED}
    }


def _whole_answer() -> Schema:
    found = {
        name: schema
        for command in COMMANDS.values()
        if not command.success
        for name, schema in _results(command.result).items()
    }
    element = {
        "type": "object",
        "description": "One command and what it was answered.",
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {command.name: _ref(_answer_name(command)) for command in ACTIONS if command.success},
        "additionalProperties": UNREADABLE,
    }
    return {
        "type": "object",
        "description": "Of a call that was made. With exactly one action, what it answers stands at the top, too.",
        "properties": {
            "status": {"enum": ["Success", "Error"]},
            "message": {"type": "string"},
            "type": {"type": "string"},
            "actions": {"type": "array", "minItems": 1, "items": element},
            **found,
        },
        "required": ["status"],
        "anyOf": [{"required": [name]} for name in ("actions", *found)],
    }


TOO_MANY = [wire.TOO_MANY_REQUESTS, wire.SERVER_BUSY]


def _refusal() -> Schema:
    """Whatever is not the answer to an action alone can be the answer to the call."""
    of_actions = {reply for command in ACTIONS if not command.refuses_call for reply in _of_action(command)}
    errors = [reply for reply in wire.replies() if reply.status == wire.ERROR and reply not in {*of_actions, *TOO_MANY}]
    return {
        "description": "The call was refused as a whole: nothing was done.",
        "anyOf": [*map(_reply, errors), UNREADABLE],
    }
