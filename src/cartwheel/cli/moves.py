"""The verbs that move an account in from elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NoReturn

import typer

from cartwheel.cli.imports import Delimiter, Encoding, RefusedFile
from cartwheel.cli.shared import TROUBLE, AccountName, AsJson
from cartwheel.errors import BadSetting

if TYPE_CHECKING:
    from cartwheel.accounts import Account
    from cartwheel.client.kartra import KartraClient
    from cartwheel.data.db import Database
    from cartwheel.data.importstore import Import
    from cartwheel.moving.answers import MovePlan
    from cartwheel.moving.origin import Origin

move_cli = typer.Typer(no_args_is_help=True, help="Move an account in from elsewhere.")

KARTRA = "https://app.kartra.com"
CREDENTIALS = ("app_id", "api_key", "api_password")

AddressFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="The addresses: a CSV or TXT file as Kartra exports it, or one address a line.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Url = Annotated[str, typer.Option(metavar="URL", help="Where the account is; another Cartwheel will do.")]
CredentialsFile = Annotated[
    Path | None,
    typer.Option(
        "--credentials",
        metavar="FILE",
        help="A TOML file with app_id, api_key and api_password; else KARTRA_APP_ID, KARTRA_API_KEY and "
        "KARTRA_API_PASSWORD of the environment, else they are asked for.",
        dir_okay=False,
        show_default=False,
    ),
]
Rate = Annotated[float, typer.Option(metavar="CALLS", min=0.01, max=1000, help="So many calls a second at the most.")]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="So long an answer is waited for.")]
Zone = Annotated[str, typer.Option(metavar="ZONE", help="The zone of the times that the API tells.")]
BatchTag = Annotated[str, typer.Option(metavar="NAME", help="A tag for all that are moved. Empty for none.")]
StartSequences = Annotated[
    bool,
    typer.Option(
        "--start-sequences",
        help="Go on with those who are in a sequence, at the step where they stand, if it is here. They are mailed.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count, and tell what would be made.")]


@move_cli.command("from-kartra")
def move_from_kartra(
    file: AddressFile,
    account: AccountName = None,
    url: Url = KARTRA,
    credentials: CredentialsFile = None,
    rate: Rate = 1.0,
    timeout: Timeout = 30.0,
    zone: Zone = "America/New_York",
    batch_tag: BatchTag = "Moved from Kartra",
    encoding: Encoding = "",
    delimiter: Delimiter = "",
    refused: RefusedFile = None,
    *,
    start_sequences: StartSequences = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Move the leads of a Kartra account in, with what its API tells of each: fields, lists, tags, points, consent.

    Lists, tags and custom fields that there are not are made, sequences as drafts without steps. A lead that there is
    gets what it lacks; nothing that it has is replaced. Nobody is mailed because of it, unless --start-sequences says so.

        cartwheel move from-kartra contacts.csv --dry-run

        cartwheel move from-kartra contacts.csv --refused refused.csv

    Whatever breaks it off, the same command goes on from there. `cartwheel imports undo` takes it back.
    """
    from cartwheel.cli import context
    from cartwheel.client.trouble import ClientError
    from cartwheel.moving import fetching, origin

    _check_url(url)
    secrets = _credentials(credentials)
    with (
        context.opened(account) as (database, owner),
        file.open("rb") as opened,
        fetching.new_client(url, secrets, rate, timeout) as client,
    ):
        how = {"encoding": encoding, "delimiter": "\t" if delimiter == "\\t" else delimiter}
        plan = _plan(owner, opened, how, url=url, zone=zone, batch_tag=batch_tag, start_sequences=start_sequences)
        try:
            there = origin.fetch(client)
        except ClientError as error:
            _refuse(f"{url}: {error}")
        if dry_run:
            _count(database, owner, plan, there, opened, how, rate, as_json=as_json)
            return
        found = _begin(database, owner, plan, file.name, opened, how)
        done = _run(database, found, client, rate, there)
        _end(database, done, refused, as_json=as_json)


def _check_url(url: str) -> None:
    if not url.startswith(("https://", "http://")):
        raise BadSetting(f"--url: {url} is no address of a server: it begins with https://")


def _credentials(file: Path | None) -> dict[str, str]:
    """From the file, the environment, or whoever sits there: never from the arguments, which everybody can see."""
    import os
    import sys
    import tomllib

    if file is None:
        found = {name: os.environ.get(f"KARTRA_{name.upper()}", "") for name in CREDENTIALS}
    else:
        try:
            read = tomllib.loads(file.read_text())
        except OSError as error:
            raise BadSetting(f"--credentials: {file} cannot be read: {error.strerror}") from error
        except ValueError as error:  # not TOML, or not even text
            raise BadSetting(f"--credentials: {file} is no TOML: {error}") from error
        found = {name: str(read.get(name, "")) for name in CREDENTIALS}
    for name in CREDENTIALS:
        if not found[name] and file is None and sys.stdin.isatty():
            found[name] = typer.prompt(name, hide_input=name != "app_id", err=True)
    missing = [name for name, value in found.items() if not value]
    if missing and file is not None:
        raise BadSetting(f"--credentials: {file} has no {', '.join(missing)}")
    if missing:
        names = ", ".join(f"KARTRA_{name.upper()}" for name in missing)
        raise BadSetting(f"{names}: set in the environment, or give --credentials FILE")
    return found


def _plan(owner: "Account", opened: BinaryIO, how: dict[str, str], **said: Any) -> "MovePlan":
    import hashlib
    import zoneinfo

    from cartwheel.imports import columns
    from cartwheel.imports.dialects import BadFile
    from cartwheel.imports.sheets import Sheet
    from cartwheel.moving.answers import MovePlan

    try:
        zoneinfo.ZoneInfo(said["zone"])
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise BadSetting(f"--zone: there is no time zone {said['zone']}") from None
    sheet = Sheet(opened, **how)
    try:
        guessed = columns.guess(
            sheet.columns, [line.cells for line in sheet.samples], owner, columns.preset_of(sheet.columns)
        )
    finally:
        sheet.close()
    if columns.EMAIL not in guessed:
        raise BadFile("no column of the file holds e-mail addresses")
    opened.seek(0)
    digest = hashlib.sha256()
    while piece := opened.read(1 << 20):
        digest.update(piece)
    opened.seek(0)
    said["batch_tag"] = said["batch_tag"].strip()
    return MovePlan(digest=digest.hexdigest(), column=guessed.index(columns.EMAIL), **said)


def _begin(
    database: "Database", owner: "Account", plan: "MovePlan", name: str, opened: BinaryIO, how: dict[str, str]
) -> "Import":
    from cartwheel import times
    from cartwheel.moving import running

    found = running.unfinished(database, owner, plan)
    if found is None:
        return running.begin(database, owner, plan, name, opened, times.now(), **how)
    typer.echo(f"Going on with move {found.id}, after {found.looked:,} of {found.rows:,} rows.", err=True)
    return found


def _run(database: "Database", found: "Import", client: "KartraClient", rate: float, there: "Origin") -> "Import":
    """Until it is done, with a bar where somebody looks."""
    import asyncio
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from cartwheel import times
    from cartwheel.data.checkpoints import Checkpointer
    from cartwheel.moving.fetching import Stopped
    from cartwheel.moving.running import AnotherMoves, MoveRunner

    reached = found.looked
    checkpoints = Checkpointer(database.file) if database.file else None
    if checkpoints:
        checkpoints.start()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("moving", total=found.rows, completed=reached)

            def tell(now: "Import") -> None:
                nonlocal reached
                reached = now.looked
                progress.update(task, completed=reached)

            runner = MoveRunner(database, found, client, rate, clock=times.now)
            return asyncio.run(runner.run(there, tell))
    except AnotherMoves as error:
        _refuse(str(error))
    except Stopped as error:
        _refuse(f"{error}; {_how_to_go_on(reached, found.rows)}")
    except KeyboardInterrupt:
        _refuse(f"broken off {_how_to_go_on(reached, found.rows)}")
    finally:
        if checkpoints:
            checkpoints.stop()


def _how_to_go_on(reached: int, rows: int) -> str:
    return f"after {reached:,} of {rows:,} rows: the same command goes on from there"


def _count(
    database: "Database",
    owner: "Account",
    plan: "MovePlan",
    there: "Origin",
    opened: BinaryIO,
    how: dict[str, str],
    rate: float,
    *,
    as_json: bool,
) -> None:
    """What would be moved, as far as can be told without asking for each lead."""
    from cartwheel.moving import counting
    from cartwheel.views import terminal

    counted = counting.count(database, owner, plan, there, opened, how)
    if as_json:
        terminal.show_json(counted)
    else:
        terminal.show(*counting.lines(counted, rate))


def _end(database: "Database", done: "Import", refused: Path | None, *, as_json: bool) -> None:
    from cartwheel.imports import refused as refused_file
    from cartwheel.moving import telling
    from cartwheel.views import terminal

    if refused is not None:
        with refused.open("w", newline="", encoding="utf-8") as file:
            file.writelines(refused_file.written(database, done))
    told = telling.told(database, done)
    if as_json:
        terminal.show_json(told)
    else:
        terminal.show(*telling.lines(told))


@move_cli.command("report")
def show_report(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The move's number.", show_default=False)],
    account: AccountName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show again what a move has moved, and what it could not move."""
    from cartwheel.cli import context
    from cartwheel.data import importstore
    from cartwheel.errors import NoSuchName
    from cartwheel.moving import telling
    from cartwheel.views import terminal

    with context.opened(account) as (database, owner):
        with database.read() as connection:
            found = importstore.get(connection, owner.id, number)
        if found is None or not telling.is_move(found):
            raise NoSuchName(f"the account {owner.name} has no move {number}")
        told = telling.told(database, found)
    if as_json:
        terminal.show_json(told)
    else:
        terminal.show(*telling.lines(told))


def _refuse(told: str) -> NoReturn:
    typer.echo(f"cartwheel: {' '.join(told.split())}", err=True)
    raise typer.Exit(TROUBLE)
