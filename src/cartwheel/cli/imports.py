"""The verbs that import leads from files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartwheel.cli.shared import TROUBLE, AccountName, AsJson

if TYPE_CHECKING:
    from cartwheel.accounts import Account
    from cartwheel.data.db import Database
    from cartwheel.data.importstore import Import
    from cartwheel.imports.deciding import Plan

imports_cli = typer.Typer(no_args_is_help=True, help="Imports that were begun: go on with one, or take it back.")

BETWEEN_LOOKS_S = 0.5

Number = Annotated[int, typer.Argument(metavar="NUMBER", help="The import's number.", show_default=False)]
RefusedFile = Annotated[
    Path | None,
    typer.Option("--refused", metavar="FILE", help="Where the rows that are refused go, each with the reason."),
]


LeadsFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A CSV or TXT file.", exists=True, dir_okay=False, show_default=False)
]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="SYSTEM",
        help="Whose export it is: kartra, mailchimp, kit or activecampaign.",
        show_default="found out",
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=MEANING",
        help="What a column is about: `Handy=phone`, `Size=field:shoe_size`, `Size=new:size`, `Id=`.",
    ),
]
Template = Annotated[str | None, typer.Option(metavar="NAME", help="Take what columns are about from this template.")]
SaveTemplate = Annotated[str | None, typer.Option(metavar="NAME", help="Keep it under this name.")]
ForAllTags = Annotated[list[str] | None, typer.Option(metavar="NAME", help="A tag for all.")]
ForAllLists = Annotated[list[str] | None, typer.Option("--list", metavar="NAME", help="A list for all.")]
BatchTag = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A tag for this import; made if there is none. Empty for none.",
        show_default="Import of today",
    ),
]
Consent = Annotated[
    str, typer.Option(metavar="STATUS", help="The GDPR status of all that say none themselves: `accepted`, …")
]
Blocked = Annotated[
    str,
    typer.Option(metavar="REASON", help="None of them is to be mailed: `unsubscribed`, `bounced`, `complaint`."),
]
Start = Annotated[
    str | None, typer.Option(metavar="SEQUENCE", help="Start all in this sequence; otherwise nobody is mailed.")
]
AtStep = Annotated[str, typer.Option(metavar="BOX", help="At this step.", show_default="the first one")]
Encoding = Annotated[str, typer.Option(metavar="NAME", help="The file's encoding.", show_default="found out")]
Delimiter = Annotated[str, typer.Option(metavar="SIGN", help="What stands between cells.", show_default="found out")]
Make = Annotated[
    bool,
    typer.Option("--make", help="Make tags and lists that there are not; else rows that name them are refused."),
]
MakeFields = Annotated[
    bool, typer.Option("--make-fields", help="Make a custom field of each column that is about nothing else.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count what would happen, and show some of it.")]


def import_leads(
    file: LeadsFile,
    account: AccountName = None,
    preset: Preset = None,
    column: Columns = None,
    template: Template = None,
    save_template: SaveTemplate = None,
    tag: ForAllTags = None,
    list_: ForAllLists = None,
    batch_tag: BatchTag = None,
    consent: Consent = "",
    blocked: Blocked = "",
    start: Start = None,
    at: AtStep = "",
    encoding: Encoding = "",
    delimiter: Delimiter = "",
    refused: RefusedFile = None,
    *,
    make: Make = False,
    make_fields: MakeFields = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Import leads from a file that some other system has exported.

    Delimiter, quotes and encoding are found out; what the columns are about is guessed, and shown. Leads that there are
    get what the file says beside what they have; empty cells change nothing. Of rows with one address the first counts.

        cartwheel import contacts.csv --dry-run

        cartwheel import contacts.csv --make --list Newsletter --refused refused.csv

    Nobody is mailed because of it, unless --start says so. It goes on after a crash, and can be taken back for 14 days.
    """
    from cartwheel.cli import context
    from cartwheel.imports.running import check_plan

    with context.opened(account) as (database, owner):
        found = _keep(database, owner, file, encoding=encoding, delimiter=delimiter)
        try:
            targets = _columns(database, owner, found, preset, column or [], template, make_fields=make_fields)
            plan = _plan(owner, targets, tag or [], list_ or [], batch_tag, make=make)
            plan.consent, plan.blocked = consent, blocked
            plan.sequence, plan.step = _start(owner, start, at)
            check_plan(plan, owner)
        except BaseException:
            _drop(database, found)
            raise
        if save_template:
            _save(database, owner, save_template, found, plan)
        if not as_json:
            _show_columns(found, plan)
        if dry_run:
            _try_out(database, found, plan, as_json=as_json)
        else:
            _run(database, found, plan)
            _end(database, found, refused, as_json=as_json)


def _keep(database: "Database", owner: "Account", file: Path, *, encoding: str, delimiter: str) -> "Import":
    from cartwheel import times
    from cartwheel.imports import keeping

    with file.open("rb") as opened:
        how = {"encoding": encoding, "delimiter": "\t" if delimiter == "\\t" else delimiter}
        number = keeping.keep(database, owner.id, None, file.name, opened, times.now(), **how)
    return _get(database, owner, number)


def _start(owner: "Account", sequence: str | None, box: str) -> tuple[int, str]:
    from cartwheel.cli import context

    if not sequence:
        return 0, ""
    found = context.find_sequence(owner, sequence)
    return found.id, found.check_box(box) if box else ""


def _columns(
    database: "Database",
    owner: "Account",
    found: "Import",
    preset: str | None,
    said: list[str],
    template: str | None,
    *,
    make_fields: bool,
) -> list[str]:
    """What each column is about: as it is said, as the template has it, or guessed."""
    import json

    from cartwheel.data import importstore
    from cartwheel.errors import NoSuchName
    from cartwheel.imports import columns

    headers = found.headers
    if preset is not None and preset not in columns.PRESETS:
        raise NoSuchName(f"there is no preset {preset}; there are: {', '.join(columns.PRESETS)}")
    kept = {}
    if template is not None:
        with database.read() as connection:
            known = importstore.templates(connection, owner.id)
        if template not in known:
            raise NoSuchName(f"there is no template {template}; there are: {', '.join(known) or 'none'}")
        kept = {
            name: target
            for name, written in known[template].items()
            if (target := columns.read(written, owner)) is not None
        }
    guessed = columns.guess(headers, json.loads(found.samples), owner, preset or columns.preset_of(headers), kept)
    for entry in said:
        name, _, meaning = entry.rpartition("=")
        target = columns.read(meaning, owner)
        places = [place for place, header in enumerate(headers) if columns.plain(header) == columns.plain(name)]
        if not places:
            raise NoSuchName(f"the file has no column {name}; there are: {', '.join(headers)}")
        if target is None:
            meanings = ", ".join(filter(None, columns.TARGETS))
            raise NoSuchName(
                f"{meaning} is nothing that a column can be about; it is field:NAME, new:NAME, or one of: {meanings}"
            )
        if target not in columns.SEVERAL:
            guessed = ["" if other == target else other for other in guessed]
        guessed[places[0]] = target
    if make_fields:
        said_names = {columns.plain(entry.rpartition("=")[0]) for entry in said}
        for place, header in enumerate(headers):
            if not guessed[place] and columns.plain(header) not in said_names:
                field = columns.new_field(header, owner)
                guessed[place] = field if field not in guessed else ""
    return guessed


def _plan(
    owner: "Account", targets: list[str], tags: list[str], lists: list[str], batch_tag: str | None, *, make: bool
) -> "Plan":
    from cartwheel import times
    from cartwheel.imports.deciding import Plan

    today = times.now().astimezone(owner.zone).date()
    return Plan(
        columns=targets,
        tags=[owner.tag_named(name).id for name in tags],
        lists=[owner.list_named(name).id for name in lists],
        batch_tag=f"Import of {today}" if batch_tag is None else batch_tag,
        make=make,
    )


def _show_columns(found: "Import", plan: "Plan") -> None:
    from cartwheel.views import terminal

    terminal.show(terminal.plain(f"{found.file}: {found.rows:,} rows ({found.dialect})", "bold"))
    terminal.show(
        *terminal.pairs(
            (header, target or "left out") for header, target in zip(found.headers, plan.columns, strict=True)
        )
    )


def _run(database: "Database", found: "Import", plan: "Plan") -> None:
    import msgspec

    from cartwheel.data.importstore import State

    _begin(database, found, State.RUNNING, plan=msgspec.json.encode(plan).decode())
    _go_on(database, found)


def _try_out(database: "Database", found: "Import", plan: "Plan", *, as_json: bool) -> None:
    import msgspec

    from cartwheel.data.importstore import State
    from cartwheel.imports.running import report_of
    from cartwheel.views import terminal

    _begin(database, found, State.CHECKING, plan=msgspec.json.encode(plan).decode())
    try:
        report = report_of(_go_on(database, found))
    finally:
        _drop(database, found)
    if as_json:
        terminal.show_json(msgspec.to_builtins(report))
        return
    words = {
        "made": "new",
        "changed": "changed",
        "same": "unchanged",
        "refused": "refused",
        "repeated": "a second time",
    }
    terminal.show(*terminal.pairs((word, f"{report.counts.get(name, 0):,}") for name, word in words.items()))
    for line, email, reason in report.samples.get("refused", []):
        terminal.show(terminal.plain(f"  line {line:,}: {f'{email}: ' if email else ''}{reason}"))
    for kind, names in (("tags", report.tags), ("lists", report.lists), ("fields", report.fields)):
        if names:
            terminal.show(terminal.plain(f"new {kind}: {', '.join(names)}"))
    terminal.show(terminal.plain("Nothing was imported: this was a dry run."))


def _begin(database: "Database", found: "Import", state: str, **values: Any) -> None:
    """As ours: no worker takes it for a while."""
    from cartwheel import times
    from cartwheel.data import importstore
    from cartwheel.times import to_micros

    until = to_micros(times.now() + importstore.TAKEN_FOR)
    with database.write() as connection:
        importstore.change(connection, found.account_id, found.id, state=str(state), next_at=until, **values)


def _go_on(database: "Database", found: "Import") -> "Import":
    """Until it is done, with a bar where somebody looks."""
    import asyncio
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from cartwheel import times
    from cartwheel.data.checkpoints import Checkpointer
    from cartwheel.imports.running import ImportRunner

    async def rounds(progress: Progress) -> "Import":
        runner = ImportRunner(database, clock=times.now)
        task = progress.add_task(found.state.value, total=found.slices)
        again = _get_by_key(database, found)
        try:
            while again.next_at is not None:
                await runner.go_on(again, BETWEEN_LOOKS_S)
                again = _get_by_key(database, found)
                progress.update(task, completed=again.done, description=again.state.value)
        finally:
            await runner.close()
        return again

    checkpoints = Checkpointer(database.file) if database.file else None
    if checkpoints:
        checkpoints.start()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
            return asyncio.run(rounds(progress))
    finally:
        if checkpoints:
            checkpoints.stop()


def _end(database: "Database", found: "Import", refused: Path | None, *, as_json: bool) -> None:
    """Says what became of it; exit code 1 if it was stopped."""
    from cartwheel.data.importstore import State
    from cartwheel.imports import refused as refused_file
    from cartwheel.views import terminal

    done = _get_by_key(database, found)
    if refused is not None:
        with refused.open("w", newline="", encoding="utf-8") as file:
            file.writelines(refused_file.written(database, done))
    counts = {name: getattr(done, name) for name in ("rows", "made", "changed", "same", "refused", "repeated")}
    if as_json:
        terminal.show_json({"number": done.id, "state": done.state.value, **counts, "told": done.told})
    else:
        terminal.show(
            terminal.plain(
                f"Import {done.id} is {done.state}: {done.made:,} new, {done.changed:,} changed, {done.same:,} unchanged, "
                f"{done.refused:,} refused, {done.repeated:,} a second time."
            ),
            terminal.plain(f"`cartwheel imports undo {done.id}` takes it back."),
        )
    if done.state is not State.FINISHED:
        typer.echo(f"cartwheel: {done.told or 'the import was stopped'}", err=True)
        raise typer.Exit(TROUBLE)


@imports_cli.command("list")
def list_imports(account: AccountName = None, *, as_json: AsJson = False) -> None:
    """Show the newest imports."""
    from cartwheel.cli import context
    from cartwheel.data import importstore
    from cartwheel.views import terminal

    with context.opened(account) as (database, owner), database.read() as connection:
        newest = importstore.newest(connection, owner.id, 50)
    names = ("id", "file", "state", "rows", "made", "changed", "same", "refused", "repeated", "undone", "kept")
    rows = [{name: getattr(found, name) for name in names} | {"created_at": str(found.created_at)} for found in newest]
    if as_json:
        terminal.show_json(rows)
        return
    terminal.show(
        *terminal.columns(
            [
                [terminal.plain(name, "bold") for name in names],
                *([terminal.plain(row[name]) for name in names] for row in rows),
            ]
        )
    )


@imports_cli.command("resume")
def resume_import(
    number: Number, account: AccountName = None, refused: RefusedFile = None, *, as_json: AsJson = False
) -> None:
    """Go on with an import that was broken off or stopped. A worker does that by itself, a minute later."""
    from cartwheel.cli import context
    from cartwheel.data.importstore import State

    with context.opened(account) as (database, owner):
        found = _get(database, owner, number)
        if found.state is State.MOVING:
            _refuse(f"the import {number} is a move: the command that began it goes on with it")
        if found.state not in {State.RUNNING, State.STOPPED}:
            _refuse(f"the import {number} is {found.state}")
        _begin(database, found, State.RUNNING, told="", ended_at=None)
        _go_on(database, found)
        _end(database, found, refused, as_json=as_json)


@imports_cli.command("undo")
def undo_import(number: Number, account: AccountName = None, *, as_json: AsJson = False) -> None:
    """Take an import back: leads that it made are gone, what it changed is as before. What was changed since stays."""
    from cartwheel.cli import context
    from cartwheel.data.importstore import State
    from cartwheel.views import terminal

    with context.opened(account) as (database, owner):
        found = _get(database, owner, number)
        if found.state not in {State.FINISHED, State.STOPPED, State.MOVING, State.UNDOING}:
            _refuse(f"the import {number} is {found.state}: it cannot be taken back")
        if not found.samples:
            _refuse(f"the import {number} is too old to be taken back")
        _begin(database, found, State.UNDOING)
        done = _go_on(database, found)
    if as_json:
        terminal.show_json({"number": done.id, "state": done.state.value, "undone": done.undone, "kept": done.kept})
    else:
        typer.echo(
            f"Import {number} is taken back: {done.undone:,} leads. {done.kept:,} were changed since, and stay so."
        )


@imports_cli.command("refused")
def show_refused(number: Number, account: AccountName = None) -> None:
    """Print the rows that an import has refused, as CSV with the reasons."""
    from cartwheel.cli import context
    from cartwheel.imports import refused

    with context.opened(account) as (database, owner):
        for text in refused.written(database, _get(database, owner, number)):
            typer.echo(text, nl=False)


def _get(database: "Database", owner: "Account", number: int) -> "Import":
    from cartwheel.data import importstore
    from cartwheel.errors import NoSuchName

    with database.read() as connection:
        found = importstore.get(connection, owner.id, number)
    if found is None:
        raise NoSuchName(f"the account {owner.name} has no import {number}")
    return found


def _get_by_key(database: "Database", found: "Import") -> "Import":
    from cartwheel.data import importstore

    with database.read() as connection:
        again = importstore.get(connection, found.account_id, found.id)
    assert again is not None
    return again


def _drop(database: "Database", found: "Import") -> None:
    from cartwheel.data import importstore

    with database.write() as connection:
        importstore.drop(connection, found.account_id, found.id)


def _save(database: "Database", owner: "Account", name: str, found: "Import", plan: "Plan") -> None:
    from cartwheel import times
    from cartwheel.data import importstore
    from cartwheel.imports import columns

    kept = {columns.plain(header): target for header, target in zip(found.headers, plan.columns, strict=True)}
    with database.write() as connection:
        importstore.save_template(connection, owner.id, name, kept, times.now())


def _refuse(told: str) -> None:
    typer.echo(f"cartwheel: {told}", err=True)
    raise typer.Exit(TROUBLE)
