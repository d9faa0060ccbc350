"""The OpenAPI document is one, says all, and says nothing that is not so."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import openapi_spec_validator
import pytest
from openapi_schema_validator import OAS31Validator

from cartwheel.api import wire
from cartwheel.api.commands import COMMANDS
from cartwheel.reference import openapi
from cartwheel.reference.examples import Examples, form, run_examples
from harness import Api

DOCUMENT = openapi.document("https://cartwheel.example")
SCHEMAS = DOCUMENT["components"]["schemas"]
CALL = DOCUMENT["paths"]["/api"]["post"]
REQUESTS = CALL["requestBody"]["content"]
ANSWER = CALL["responses"]["200"]["content"]["application/json"]


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object anywhere in it."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from objects(inner)


def closed(schema: Any) -> Any:
    """The schema, allowing no property that it does not name."""
    if isinstance(schema, list):
        return [closed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {name: closed(inner) for name, inner in schema.items()}
    return {"additionalProperties": False, **inside} if isinstance(schema.get("properties"), dict) else inside


CLOSED = {"schemas": closed(SCHEMAS)}


def complaints(value: Any, schema: Any) -> list[str]:
    validator = OAS31Validator({**schema, "components": CLOSED})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


@pytest.fixture(scope="module")
def examples() -> Examples:
    return run_examples()


def test_it_is_an_openapi_document() -> None:
    openapi_spec_validator.validate(DOCUMENT)


def test_it_is_served_with_the_servers_address(api: Api) -> None:
    answer = api.server.http.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == openapi.document(api.server.url)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_it_with_its_parameters(name: str) -> None:
    command = COMMANDS[name]
    if command.top_level:
        assert command.doc in SCHEMAS["Call"]["properties"][name]["description"]
        return
    action = SCHEMAS[name]
    assert {"$ref": f"#/components/schemas/{name}"} in SCHEMAS["Action"]["oneOf"]
    assert action["properties"].keys() == {"cmd", *command.params}
    assert {*action["required"]} == {"cmd", *(key for key, param in command.params.items() if param.empty)}
    assert command.doc in action["description"]
    assert command.scope in action["description"]


def test_every_reply_is_in_it() -> None:
    shapes = [found["properties"] for found in objects(SCHEMAS) if "message" in found.get("properties", {})]
    told = [{name: shape.get(name, {}).get("const") for name in ("status", "message", "type")} for shape in shapes]
    missing = [row for row in wire.replies() if {"type": None, **row.fields} not in told]
    assert missing == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_in_both_forms(name: str) -> None:
    as_json = REQUESTS["application/json"]["examples"][name]["value"]
    assert complaints(as_json, {"$ref": "#/components/schemas/Call"}) == []
    as_form = REQUESTS["application/x-www-form-urlencoded"]["examples"][name]["value"]
    assert dict(parse_qsl(as_form)) == {key: str(value) for key, value in form(as_json)}


def test_every_answer_that_is_really_given_fits(examples: Examples) -> None:
    shown = [shown for entries in examples.commands.values() for _, shown in entries]
    shown += [rung.shown for rung in examples.gate]
    shown += examples.shapes.values()
    assert {given.status for given in shown} == {200, 429}
    for given in shown:
        schema = ANSWER["schema"] if given.status == 200 else {"$ref": "#/components/schemas/TooMany"}
        assert complaints(given.answer, schema) == [], given.answer


def test_every_answer_that_is_an_example_fits() -> None:
    assert len(ANSWER["examples"]) > 5
    for name, example in ANSWER["examples"].items():
        assert complaints(example["value"], ANSWER["schema"]) == [], name


def test_what_is_wrong_does_not_fit() -> None:
    """Or the tests above would prove nothing."""
    told = {"status": "Success", "message": "Tag added to lead", "type": "103"}
    assert complaints({**told, "actions": [{"assign_tag": told}]}, ANSWER["schema"]) == []
    assert complaints({**told, "actions": [{"assign_tag": {**told, "type": "104"}}]}, ANSWER["schema"])
    assert complaints({**told, "actions": [{"assign_tag": {**told, "more": 1}}]}, ANSWER["schema"])
    assert complaints({"status": "Error", "message": "Tag does not exist", "type": "212"}, ANSWER["schema"])
