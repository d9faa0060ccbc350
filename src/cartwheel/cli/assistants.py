"""The verb for assistants: the MCP server."""

from pathlib import Path
from typing import Annotated

import typer

from cartwheel.errors import BadSetting


def run_mcp(
    url: Annotated[str, typer.Option(help="Where Cartwheel is.")] = "http://127.0.0.1:8080",
    token_file: Annotated[
        Path | None,
        typer.Option(help="A file with the token; else CARTWHEEL_TOKEN holds it.", dir_okay=False, show_default=False),
    ] = None,
    token: Annotated[str, typer.Option(envvar="CARTWHEEL_TOKEN", hidden=True)] = "",
) -> None:
    """Serve the account's leads, lists and sequences to an assistant, by MCP over stdin and stdout.

    Its tools are the operations of /v1; they may do what the token may (`cartwheel token create`).

        CARTWHEEL_TOKEN=cwt_… cartwheel mcp --url https://cartwheel.example
    """
    if token_file is not None:
        try:
            token = token_file.read_text().strip()
        except OSError as error:
            raise BadSetting(f"--token-file: {token_file} cannot be read: {error.strerror}") from error
    if not token:
        raise BadSetting("CARTWHEEL_TOKEN: give a token, or --token-file (`cartwheel token create` makes one)")
    try:
        from cartwheel.mcp import server
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("mcp"):
            raise
        raise BadSetting("`cartwheel mcp` needs MCP's library: pip install 'cartwheel[mcp]'") from error
    typer.echo("Serving MCP on stdin and stdout.", err=True)  # stdout is the protocol's
    server.run(url, token)
