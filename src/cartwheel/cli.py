"""The command line. Each verb is one function; what it does is done elsewhere."""

import json
import os
from pathlib import Path

import typer
import uvicorn

from cartwheel import accountfile, times
from cartwheel.config import Settings
from cartwheel.db import Database

cli = typer.Typer(add_completion=False, no_args_is_help=True)


@cli.command()
def serve(host: str = "127.0.0.1", port: int = 8080):
    os.environ.setdefault("CARTWHEEL_HOST", host)
    uvicorn.run(
        "cartwheel.app:from_environment",
        factory=True,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        loop="uvloop",
        http="httptools",
        proxy_headers=False,
        server_header=False,
        lifespan="on",
        ws="none",
    )


@cli.command()
def apply(file: Path):
    d = Database(Settings.load().database)
    d.migrate()
    print(json.dumps(accountfile.apply(d, accountfile.read_file(file), times.now())))


def main():
    cli()
