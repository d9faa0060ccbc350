"""MCP over stdio: each call of a tool is a call of /v1 with the token, so that it may do what the token may, and no more."""

import asyncio
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import anyio
import msgspec
from mcp import types
from mcp.server import NotificationOptions, Server, ServerRequestContext
from mcp.server.stdio import stdio_server

from cartwheel.client.modern import Client, address_of
from cartwheel.client.trouble import ClientError, Refused
from cartwheel.mcp import tools
from cartwheel.rest.table import OPERATIONS, Operation


def run(url: str, token: str) -> None:
    """Until stdin ends."""
    anyio.run(_serve, url, token)


async def _serve(url: str, token: str) -> None:
    with Client(url, token) as client:
        server = make(client)
        async with stdio_server() as (receive, send):
            await server.run(receive, send, server.create_initialization_options(NotificationOptions()))


def make(client: Client) -> Server[Any]:
    """A server whose tools are the operations of /v1."""

    async def list_tools(
        _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_tool(operation) for operation in OPERATIONS.values()])

    async def call_tool(
        _context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        return await asyncio.to_thread(_call, client, params.name, params.arguments or {})

    return Server(
        "cartwheel",
        version=version("cartwheel"),
        instructions=tools.INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _tool(operation: Operation) -> types.Tool:
    return types.Tool(
        name=operation.name,
        description=tools.description(operation),
        input_schema=tools.input_schema(operation),
        annotations=types.ToolAnnotations(
            read_only_hint=not operation.writes,
            destructive_hint=operation.method == "DELETE" if operation.writes else None,
            open_world_hint=False,
        ),
    )


def _call(client: Client, name: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
    """What went wrong is told as the tool's answer, so that an assistant can mend it."""
    if name not in OPERATIONS:
        return _told(f"There is no tool {name}.", wrong=True)
    operation, params, body = tools.request(name, arguments)
    path, query = address_of(operation.path, params)
    if body and operation.body is None:
        return _told(f"{name} takes no {', '.join(body)}.", wrong=True)
    sent = None if operation.body is None else msgspec.json.encode(body)
    try:
        answer = client.call(operation.method, path, query=query, body=sent)
    except Refused as refused:
        return _told(msgspec.json.encode(refused.problem).decode(), wrong=True)
    except ClientError as error:
        return _told(str(error), wrong=True)
    return _told(answer.decode(), structured=msgspec.json.decode(answer))


def _told(text: str, *, structured: Any = None, wrong: bool = False) -> types.CallToolResult:
    content: list[types.ContentBlock] = [types.TextContent(type="text", text=text)]
    return types.CallToolResult(content=content, structured_content=structured, is_error=wrong)
