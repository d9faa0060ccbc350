"""Taking data away: leads, what happened to them, and mails; and everything of one lead."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from cartwheel.cli.shared import TROUBLE, AccountName
from cartwheel.errors import BadSetting
from cartwheel.exports.formats import Format

if TYPE_CHECKING:
    from cartwheel.accounts import Account
    from cartwheel.data.db import Database
    from cartwheel.data.leadconditions import Question

export_cli = typer.Typer(no_args_is_help=True, help="Take data away, as a table or as JSON lines, however much it is.")

Filter = Annotated[
    str,
    typer.Option(
        "--filter",
        metavar="QUERY",
        help="Only these: what stands behind the `?` in the address of the page that shows them.",
        show_default=False,
    ),
]
Form = Annotated[Format, typer.Option("--format", help="A table, or a JSON object a line.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write; `-` for stdout.", allow_dash=True)
]
Raw = Annotated[
    bool,
    typer.Option("--raw", help="Put no apostrophe before what a spreadsheet would take for a formula."),
]


@contextmanager
def written(file: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    """A file that gets its name when it is whole, or stdout for `-`."""
    if str(file) == "-":
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # whoever reads it has had enough
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the program lasts
            raise typer.Exit(TROUBLE) from None
        return
    if file.exists() and not replace:
        raise BadSetting(f"there is a file {file} already (--replace takes its place)")
    unfinished = file.with_name(f"{file.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        with unfinished.open("wb") as out:
            yield out
        unfinished.replace(file)
    except OSError as error:
        raise BadSetting(f"{file} cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)


@export_cli.command("leads")
def export_leads(
    wanted: Filter = "",
    form: Form = Format.CSV,
    output: Output = Path("-"),
    account: AccountName = None,
    *,
    raw: Raw = False,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Everything of all leads, for `cartwheel import-whole` elsewhere: JSON lines."),
    ] = False,
) -> None:
    r"""Write leads: their fields, score, consent, tags and lists.

    Several tags, lists or options stand in one cell, with semicolons between them; `\;` is one within a name. Times are in
    UTC. What a spreadsheet would take for a formula gets an apostrophe before it, unless --raw says no.

    cartwheel export leads --filter 'q=ada' --output leads.csv
    """
    from cartwheel.exports import streams

    if whole:
        if wanted or raw:
            raise BadSetting("--whole is everything of all leads: neither --filter nor --raw goes with it")
        _write(account, output, streams.whole)
        return
    _write(
        account,
        output,
        lambda database, owner: streams.leads(database, _question(database, owner, wanted), form, raw=raw),
    )


@export_cli.command("events")
def export_events(
    wanted: Filter = "",
    form: Form = Format.CSV,
    output: Output = Path("-"),
    account: AccountName = None,
    *,
    raw: Raw = False,
) -> None:
    """Write what happened to leads, one lead after the other. --filter says to which, as the page *Leads* has it.

    cartwheel export events --format jsonl --output events.jsonl
    """
    from cartwheel.exports import streams

    _write(
        account,
        output,
        lambda database, owner: streams.events(database, _question(database, owner, wanted), form, raw=raw),
    )


@export_cli.command("messages")
def export_messages(
    wanted: Filter = "",
    form: Form = Format.CSV,
    output: Output = Path("-"),
    account: AccountName = None,
    *,
    raw: Raw = False,
) -> None:
    """Write the ledger of mail, newest first. --filter says which, as the page *Mail* has it.

    cartwheel export messages --filter 'state=failed&since=2026-01-01'
    """
    from cartwheel.exports import streams
    from cartwheel.ui import mailquestions

    asked = _asked(wanted, {*mailquestions.ASKED})

    def make(database: "Database", owner: "Account") -> Iterator[bytes]:
        return streams.messages(database, owner, mailquestions.wish(owner, asked), form, raw=raw)

    _write(account, output, make)


@export_cli.command("lead")
def export_lead(
    email: Annotated[str, typer.Argument(help="The lead's e-mail address, or its id.", show_default=False)],
    output: Output = Path("-"),
    account: AccountName = None,
) -> None:
    """Write everything that is stored of one lead, as it gets it on its own page: JSON.

    cartwheel export lead ada@example.com --output ada.json
    """
    from cartwheel.cli import context
    from cartwheel.leads.leadparts import Part
    from cartwheel.public import publicdata
    from cartwheel.sending.tracking import LookWork

    with context.opened(account) as (database, owner):
        key = context.find_lead(database, owner, email)
        lead = context.submit(database, LookWork(key, Part.ALL | Part.SUPPRESSION))
        with written(output, replace=True) as out:
            out.write(publicdata.as_json(database, lead, owner) + b"\n")


def _write(account: str | None, output: Path, make: "Callable[[Database, Account], Iterator[bytes]]") -> None:
    from cartwheel.cli import context

    with context.opened(account) as (database, owner), written(output, replace=True) as out:
        for block in make(database, owner):
            out.write(block)


def _question(database: "Database", account: "Account", wanted: str) -> "Question":
    from cartwheel.data.leadconditions import Order, Question
    from cartwheel.leads import filters

    asked = _asked(wanted, {"filter", "q", "order"})
    try:
        tree = filters.read(asked.get("filter", ""))
    except filters.BadFilter as error:
        raise BadSetting(f"--filter cannot be read: {error}") from None
    return Question(account, tree, filters.search(asked.get("q", "")), Order.NEWEST, database.name == "postgresql")


def _asked(wanted: str, known: set[str]) -> dict[str, Any]:
    """The query of a page's address; a name that no page has is most likely misspelt."""
    from urllib.parse import parse_qsl

    asked = dict(parse_qsl(wanted.removeprefix("?")))
    if wanted and not asked:
        raise BadSetting("--filter is what stands behind the `?` in a page's address, as `q=ada`")
    for name in asked.keys() - known - {"after", "editing"}:
        raise BadSetting(f"--filter: there is no {name}; there are: {', '.join(sorted(known))}")
    return asked


def import_whole(
    file: Annotated[Path, typer.Argument(help="A file that `export leads --whole` wrote.", show_default=False)],
    account: AccountName = None,
) -> None:
    """Take in everything of all leads of an account, into one that `apply` has made from its file and that has no leads yet.

    It is all there at the end, or nothing is. What is due there is due here, too: let only one of the two go on.

    cartwheel apply shop.toml && cartwheel import-whole leads.jsonl
    """
    from cartwheel.cli import context
    from cartwheel.data import wholeimport

    with context.opened(account) as (database, owner):
        head = wholeimport.take_in(database, owner, file)
    typer.echo(f"The leads of {head.account} are in {owner.name}.")
    if head.erased_addresses:
        typer.echo(
            f"{head.erased_addresses:,} addresses of erased leads are not known here: only `backup` takes them along.",
            err=True,
        )
