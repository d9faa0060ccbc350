"""The operations as OpenAPI describes them: everything here is derived from their table."""

from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

from cartwheel.rest import problems
from cartwheel.rest.operations import Param
from cartwheel.rest.problems import PROBLEMS, Problem
from cartwheel.rest.records import ProblemRecord
from cartwheel.rest.table import OPERATIONS, Operation

Schema = dict[str, Any]

SECURITY: dict[str, Schema] = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token, as the page “Tokens” or `cartwheel token create` shows it once. Each has scopes.",
    }
}

DRY_RUN: Schema = {
    "name": "dry_run",
    "in": "query",
    "description": "`true` decides without keeping anything: the answer is what it would be.",
    "schema": {"type": "boolean", "default": False},
}

KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "For 24 hours the same key with the same call gets the stored answer; nothing is done twice.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": r"^[\x21-\x7e]+$"},
}

_TEMPLATE = "#/components/schemas/{name}"


def schemas() -> dict[str, Schema]:
    """Of everything that is sent and answered, by name."""
    types = {kind for one in OPERATIONS.values() for kind in (one.body, one.answer) if kind is not None}
    ordered = sorted({*types, ProblemRecord}, key=lambda kind: kind.__name__)
    _, components = msgspec.json.schema_components(ordered, ref_template=_TEMPLATE)
    return dict(components)


def paths() -> dict[str, Schema]:
    """Each address with its methods."""
    found: dict[str, Schema] = {}
    for one in OPERATIONS.values():
        found.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return found


def _operation(one: Operation) -> Schema:
    scopes = ", ".join(f"`{name}` needs `{scope}`" for name, scope in one.also.items())
    beside = f" Beside it, {scopes}." if scopes else ""
    described: Schema = {
        "operationId": one.name,
        "tags": [one.about],
        "summary": one.doc.partition("\n")[0],
        "description": f"{one.doc}\n\nNeeds the scope `{one.scope}`.{beside}",
        "security": [{"token": []}],
        "parameters": [*map(_parameter, one.params.values()), *([DRY_RUN, KEY] if one.writes else [])],
        "responses": _responses(one),
    }
    for shown in described["parameters"]:
        if shown["name"] in one.example:
            shown["example"] = one.example[shown["name"]]
    if one.body is not None:
        content: Schema = {"schema": _ref(one.body)}
        content["examples"] = {"usual": {"value": one.example["body"]}}
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    return described


def _parameter(param: Param) -> Schema:
    schema = dict(param.schema)
    definitions = schema.pop("$defs", {})
    if "$ref" in schema:  # a closed set of words
        schema = dict(definitions[schema["$ref"].rpartition("/")[2]])
    description = schema.pop("description", "")
    if not param.required and param.default is not None:
        schema["default"] = param.default
    return {
        "name": param.name,
        "in": "path" if param.in_path else "query",
        "required": param.in_path or param.required,
        **({"description": description} if description else {}),
        "schema": schema,
    }


def _responses(one: Operation) -> Schema:
    headers = {"X-Request-Id": {"description": "Stands in the server's log, too.", "schema": {"type": "string"}}}
    answers: Schema = {
        str(status): {
            "description": "Made." if status == HTTPStatus.CREATED else "Done.",
            "headers": headers,
            "content": {"application/json": {"schema": _ref(one.answer)}},
        }
        for status in one.statuses
    }
    return answers | {
        str(status): {
            "description": " ".join(f"{problem.title} (`{problem.name}`)." for problem in kinds),
            "headers": headers,
            "content": {problems.MEDIA_TYPE: {"schema": _ref(ProblemRecord)}},
        }
        for status, kinds in by_status(one.all_problems).items()
    }


def by_status(kinds: Iterable[Problem]) -> dict[int, list[Problem]]:
    """In the order of the status."""
    found: dict[int, list[Problem]] = {}
    for kind in sorted(kinds, key=PROBLEMS.index):
        found.setdefault(kind.status.value, []).append(kind)
    return dict(sorted(found.items()))


@cache
def _name(kind: type) -> str:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_TEMPLATE)
    return str(schema["$ref"])


def _ref(kind: type) -> Schema:
    return {"$ref": _name(kind)}
