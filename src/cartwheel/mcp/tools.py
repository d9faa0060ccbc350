"""Each operation of /v1 as a tool: its name, what it takes, and the call that it becomes."""

from collections.abc import Mapping
from typing import Any

import msgspec

from cartwheel.rest.description import DRY_RUN
from cartwheel.rest.operations import Operation
from cartwheel.rest.table import OPERATIONS

INSTRUCTIONS = (
    "These tools work on one account of Cartwheel, a marketing-automation server: leads, their tags, lists and sequences of "
    "mail. Whatever writes takes `dry_run`: try it so first, and show the person what would happen. Publishing a sequence, "
    "starting leads in it and suppressing addresses decide what mail real people get."
)


def input_schema(operation: Operation) -> dict[str, Any]:
    """Parameters and, in one object with them, what the body has."""
    properties: dict[str, Any] = {name: dict(param.schema) for name, param in operation.params.items()}
    required = [name for name, param in operation.params.items() if param.in_path or param.required]
    definitions: dict[str, Any] = {}
    for schema in properties.values():
        definitions |= schema.pop("$defs", {})
    if operation.body is not None:
        definitions |= msgspec.json.schema(operation.body)["$defs"]
        body = definitions.pop(operation.body.__name__)
        properties |= body["properties"]
        required += body.get("required", [])
    if operation.writes:
        properties["dry_run"] = {**DRY_RUN["schema"], "description": DRY_RUN["description"]}
    whole = {"type": "object", "properties": properties, "additionalProperties": False}
    return whole | ({"required": required} if required else {}) | ({"$defs": definitions} if definitions else {})


def description(operation: Operation) -> str:
    more = "".join(f" `{name}` needs `{scope}`." for name, scope in operation.also.items())
    return f"{operation.doc}\n\nNeeds the scope `{operation.scope}`.{more}"


def request(name: str, arguments: Mapping[str, Any]) -> tuple[Operation, dict[str, Any], dict[str, Any]]:
    """The operation, its parameters, and what of the arguments is its body. Raises `KeyError` for one that is not there."""
    operation = OPERATIONS[name]
    of_call = {*operation.params, "dry_run"}
    params = {key: value for key, value in arguments.items() if key in of_call and value is not None}
    body = {key: value for key, value in arguments.items() if key not in of_call}
    return operation, params, body
