"""Backups: made while everything is at work, and restored into an empty database."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cartwheel.cli.exports import written
from cartwheel.cli.shared import AsJson

if TYPE_CHECKING:
    from cartwheel.data.backups import Manifest


def backup(
    file: Annotated[
        Path, typer.Argument(help="The file to write; `-` for stdout.", allow_dash=True, show_default=False)
    ],
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the whole database into one file, as it is at this moment, while everything goes on.

    Both engines read it: so it also moves an installation from SQLite to PostgreSQL, and back. All that is stored is in it,
    secrets too, so keep it to yourself; the settings are not.

    cartwheel backup cartwheel-monday.zip
    """
    from importlib.metadata import version

    from cartwheel import config, times
    from cartwheel.cli import context
    from cartwheel.data import backups

    settings = sorted(found.source for found in config.find() if found.source != "default")
    with context.open_database() as database, written(file, replace=replace) as out:
        manifest = backups.write(database, out, times.now(), version=version("cartwheel"), settings=settings)
    _tell(manifest, f"{manifest.rows:,} rows are in {file}.", as_json=as_json, err=str(file) == "-")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `backup` wrote.", show_default=False)],
    *,
    check: Annotated[bool, typer.Option("--check", help="Only see whether the file is whole.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fill the empty database of the settings with a backup, whichever engine it came from.

    The whole file is checked first: one that is broken, or no backup, changes nothing.

    CARTWHEEL_DATABASE=sqlite:///new.db cartwheel restore cartwheel-monday.zip
    """
    from cartwheel.config import Settings
    from cartwheel.data import backups
    from cartwheel.data.db import Database

    with backups.opened(file) as found:
        manifest = found.manifest
        if check:
            _tell(manifest, f"{file} is whole: {manifest.rows:,} rows.", as_json=as_json)
            return
        database = Database(Settings.load().database)
        try:
            backups.restore(database, found)
        finally:
            database.close()
    _tell(manifest, f"{manifest.rows:,} rows are restored.", as_json=as_json)
    if manifest.settings:
        typer.echo(f"Where it was made, these settings were given, too: {', '.join(manifest.settings)}", err=True)


def _tell(manifest: "Manifest", told: str, *, as_json: bool, err: bool = False) -> None:
    from cartwheel.views import terminal

    if as_json and not err:
        made_at = manifest.made_at.isoformat()
        facts = {"made_at": made_at, "cartwheel": manifest.cartwheel, "engine": manifest.engine}
        counts = {name: part.rows for name, part in manifest.tables.items()}
        terminal.show_json({**facts, "settings": manifest.settings, "rows": counts})
        return
    typer.echo(
        f"{told} (Cartwheel {manifest.cartwheel}, {manifest.engine}, {manifest.made_at:%Y-%m-%d %H:%M} UTC)", err=err
    )
