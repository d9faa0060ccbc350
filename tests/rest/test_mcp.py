"""MCP's own client with `cartwheel mcp` as a real process, over a real server."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from restkit import caller

from cartwheel.accountfiles import tokens
from cartwheel.mcp import tools
from cartwheel.rest.table import OPERATIONS, Operation
from harness import Api


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
def test_each_tool_takes_what_the_example_gives(operation: Operation) -> None:
    schema = tools.input_schema(operation)
    jsonschema.Draft202012Validator.check_schema(schema)
    arguments = {**operation.example, **operation.example.get("body", {})}
    arguments.pop("body", None)
    if "lead" in arguments:
        arguments["lead"] = str(arguments["lead"])
    jsonschema.validate(arguments, schema)
    assert ("dry_run" in schema["properties"]) is operation.writes
    named, params, body = tools.request(operation.name, arguments)
    assert named is operation
    assert body == operation.example.get("body", {})
    assert {**params, **body} == arguments


def test_an_assistant_lists_the_tools_and_calls_them(api: Api, tmp_path: Path) -> None:
    if api.server.database.name == "postgresql":
        pytest.skip("the process speaks HTTP: it is the same")
    api.create("ada@shop.example")
    secret = caller(api, set(tokens.SCOPES) - {"lists:write"}).token
    file = tmp_path / "token"
    file.write_text(f"{secret}\n")
    arguments = ["-m", "cartwheel", "mcp", "--url", api.server.url, "--token-file", str(file)]
    process = StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ))

    async def talk() -> tuple[set[str], list[Any]]:
        async with Client(process) as client:
            listed = await client.list_tools()
            change = {"email": "ada@shop.example", "add_tags": ["Customer"]}
            results = [
                await client.call_tool("upsert_lead", {**change, "dry_run": True}),
                await client.call_tool("read_lead", {"lead": "ada@shop.example"}),
                await client.call_tool("upsert_lead", change),
                await client.call_tool("read_lead", {"lead": "ada@shop.example"}),
                await client.call_tool("make_list", {"name": "Letter"}),
                await client.call_tool("read_tag", {"tag": 99}),
            ]
            return {tool.name for tool in listed.tools}, results

    names, (tried, before, done, after, forbidden, missing) = asyncio.run(talk())
    assert names == set(OPERATIONS)
    assert [one["kind"] for one in tried.structured_content["changes"]] == ["tag_assigned"]
    assert before.structured_content["tags"] == []
    assert done.structured_content["changes"] == tried.structured_content["changes"]
    assert after.structured_content["tags"] == ["Customer"]
    for result, status in ((forbidden, 403), (missing, 404)):
        assert result.is_error
        assert json.loads(result.content[0].text)["status"] == status
