"""The command line. Each verb is one function; what it does is done elsewhere.

A verb imports what it works with itself, so that nobody waits for what only others need.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from cartwheel import config
from cartwheel.cli import accounts, assistants, backups, exports, imports, mail, sequences
from cartwheel.cli.accounts import app_cli, key_cli
from cartwheel.cli.automations import automation_cli
from cartwheel.cli.exports import export_cli
from cartwheel.cli.hooks import webhook_cli
from cartwheel.cli.imports import imports_cli
from cartwheel.cli.leads import lead_cli
from cartwheel.cli.mail import domain_cli, mail_cli, mailbox_cli
from cartwheel.cli.moves import move_cli
from cartwheel.cli.people import user_cli
from cartwheel.cli.runs import sequence_cli
from cartwheel.cli.shared import TROUBLE, USAGE, AsJson
from cartwheel.cli.tokens import token_cli
from cartwheel.config import Settings
from cartwheel.errors import BadAccountFile, BadSetting, CartwheelError, Unavailable

cli = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Cartwheel: self-hosted marketing automation that speaks Kartra's API.",
    epilog="Settings come from the environment: see `cartwheel config`. The tour is `cartwheel demo`.",
)

RUNNING, ACCOUNTS, LEADS, MAIL, CARE = "Running", "Accounts", "Leads", "Mail", "Care"
"""The parts of the help."""


def _version(asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if asked:
        from importlib.metadata import version

        typer.echo(f"cartwheel {version('cartwheel')}")
        raise typer.Exit


@cli.callback()
def _options(
    *,
    _show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None: ...


def main() -> None:
    """What the command `cartwheel` runs: trouble is told in one line."""
    try:
        sys.exit(cli(prog_name="cartwheel", standalone_mode=False))
    except TyperException as error:
        _misunderstood(error)
    except typer.Abort:
        _give_up("broken off", TROUBLE)
    except (BadSetting, BadAccountFile) as error:
        _give_up(str(error), USAGE)
    except Unavailable as error:
        _give_up(f"the database cannot be used: {error}", TROUBLE)
    except CartwheelError as error:
        _give_up(str(error), TROUBLE)


def _misunderstood(error: TyperException) -> NoReturn:
    message = error.format_message().strip()
    if not message:  # nothing was asked for, and the help was shown
        sys.exit(error.exit_code)
    context: typer.Context | None = getattr(error, "ctx", None)
    command = context.command_path if context else "cartwheel"
    _give_up(f"{message.removesuffix('.')} (see `{command} --help`)", error.exit_code)


def _give_up(message: str, code: int) -> NoReturn:
    typer.echo(f"cartwheel: {' '.join(message.split())}", err=True)
    sys.exit(code)


# -- running --


@cli.command(rich_help_panel=RUNNING)
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on.", show_default="CARTWHEEL_HOST")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.", show_default="CARTWHEEL_PORT")] = None,
    processes: Annotated[
        int | None,
        typer.Option(help="How many processes; PostgreSQL only.", show_default="CARTWHEEL_PROCESSES"),
    ] = None,
) -> None:
    """Run the server until SIGTERM or Ctrl-C; calls in flight are answered before it stops.

    The tables are brought up to date first. What it has to say goes to stderr, a JSON object a line.

        cartwheel serve --host 0.0.0.0 --port 8080

        CARTWHEEL_DATABASE=postgresql://user:password@host/name cartwheel serve --processes 4
    """
    from cartwheel import serving

    given = {"host": host, "port": port, "processes": processes}
    flags = {config.PREFIX + name.upper(): str(value) for name, value in given.items() if value is not None}
    os.environ.update(flags)  # where each process of the server looks
    serving.serve(Settings.load())


@cli.command("worker", rich_help_panel=RUNNING)
def run_worker() -> None:
    """Take leads along their sequences and send their mail, until SIGTERM or Ctrl-C.

    `serve` starts one by itself unless CARTWHEEL_WORKER is `no`. On PostgreSQL any number of them share the work.
    """
    import signal

    from cartwheel import worker
    from cartwheel.process import observe

    settings = Settings.load()
    if not settings.public_url:
        raise BadSetting("CARTWHEEL_PUBLIC_URL: a worker by itself has to know where the links in mails lead")
    observe.start_logging(settings.log_level)
    worker.run(settings, settings.public_url, until=[signal.SIGTERM, signal.SIGINT])


@cli.command("demo", rich_help_panel=RUNNING)
def run_demo(
    port: Annotated[
        int | None, typer.Option(help="The port to listen on.", show_default="8080, or any free one")
    ] = None,
) -> None:
    """Show what Cartwheel does: a server with an account to try, some calls and their answers.

    It keeps serving until Ctrl-C; its database is thrown away then. Settings are ignored.
    """
    from cartwheel import demo

    demo.run(port)


cli.command("mcp", rich_help_panel=RUNNING)(assistants.run_mcp)
cli.command("apply", rich_help_panel=ACCOUNTS)(accounts.apply)
cli.command("export-account", rich_help_panel=ACCOUNTS)(accounts.export_account)
cli.command("retention", rich_help_panel=ACCOUNTS)(accounts.show_retention)
cli.add_typer(app_cli, name="app", rich_help_panel=ACCOUNTS)
cli.add_typer(key_cli, name="key", rich_help_panel=ACCOUNTS)
cli.add_typer(token_cli, name="token", rich_help_panel=ACCOUNTS)
cli.add_typer(user_cli, name="user", rich_help_panel=ACCOUNTS)
cli.add_typer(webhook_cli, name="webhook", rich_help_panel=ACCOUNTS)
cli.add_typer(lead_cli, name="lead", rich_help_panel=LEADS)
cli.add_typer(export_cli, name="export", rich_help_panel=LEADS)
cli.command("import-whole", rich_help_panel=LEADS)(exports.import_whole)
cli.add_typer(sequence_cli, name="sequence", rich_help_panel=LEADS)
cli.command("import", rich_help_panel=LEADS)(imports.import_leads)
cli.add_typer(imports_cli, name="imports", rich_help_panel=LEADS)
cli.add_typer(move_cli, name="move", rich_help_panel=LEADS)
cli.add_typer(automation_cli, name="automation", rich_help_panel=LEADS)
cli.command("why", rich_help_panel=LEADS)(sequences.why)
cli.command("simulate", rich_help_panel=LEADS)(sequences.simulate)
cli.add_typer(domain_cli, name="domain", rich_help_panel=MAIL)
cli.add_typer(mail_cli, name="mail", rich_help_panel=MAIL)
cli.add_typer(mailbox_cli, name="mailbox", rich_help_panel=MAIL)
cli.command("bounce", rich_help_panel=MAIL)(mail.bounce)


@cli.command(rich_help_panel=CARE)
def migrate() -> None:
    """Bring the tables up to date. `serve` and `apply` do it by themselves."""
    from cartwheel.data.db import Database

    database = Database(Settings.load().database)
    try:
        ran = database.migrate()
    finally:
        database.close()
    typer.echo(f"Ran {', '.join(ran)}." if ran else "Nothing to do: the tables are up to date.")


@cli.command("config", rich_help_panel=CARE)
def show_config(*, as_json: AsJson = False) -> None:
    """Show every setting: its value, where it comes from, what it is for. Passwords are masked."""
    from cartwheel.views import terminal

    Settings.load()  # what one setting by itself cannot tell is checked, too
    found, unknown = config.find(), config.unknown()
    if as_json:
        settings = [
            {"name": entry.variable, "value": entry.shown, "source": entry.source, "help": entry.row.help}
            for entry in found
        ]
        terminal.show_json({"settings": settings, "unknown": unknown})
        return
    terminal.show(*terminal.settings(found, unknown))


@cli.command("doctor", rich_help_panel=CARE)
def run_doctor(*, as_json: AsJson = False) -> None:
    """Check that the data keeps its promises; exit code 1 if something is wrong.

    It only reads, and a server may be at work meanwhile.
    """
    from cartwheel import times
    from cartwheel.cli import context
    from cartwheel.data import doctor
    from cartwheel.data.db import Database
    from cartwheel.views import tables, terminal

    database = Database(Settings.load().database)
    try:
        context.check_there(database)
        found = doctor.examine(database, times.now())
    finally:
        database.close()
    if as_json:
        terminal.show_json(found.as_data())
    else:
        terminal.show(*tables.report(found))
    if not found.healthy:
        raise typer.Exit(TROUBLE)


cli.command("backup", rich_help_panel=CARE)(backups.backup)
cli.command("restore", rich_help_panel=CARE)(backups.restore)


@cli.command("reference", rich_help_panel=CARE)
def write_reference(
    folder: Annotated[Path, typer.Argument(help="Where the pages are.", file_okay=False)] = Path("docs/reference"),
    *,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 if a page differs.")] = False,
) -> None:
    """Write the reference pages from the code: API, settings, events, account files, command line."""
    stale = {name: text for name, text in pages().items() if not _holds(folder / name, text)}
    if check and stale:
        typer.echo(f"cartwheel: not as the code has it: {', '.join(stale)} (`cartwheel reference` mends it)", err=True)
        raise typer.Exit(TROUBLE)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in stale.items():
        (folder / name).write_text(text)
        typer.echo(f"Wrote {folder / name}")


def pages() -> dict[str, str]:
    """The reference pages, this command line's among them."""
    from cartwheel.reference import pages

    command = typer.main.get_command(cli)
    assert isinstance(command, TyperGroup)  # it has verbs
    return pages.pages(command)


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text() == text
