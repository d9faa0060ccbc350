"""The verbs about accounts: the file of one, its Apps, its key."""

import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cartwheel.cli.shared import AccountName, AsJson
from cartwheel.errors import BadAccountFile

app_cli = typer.Typer(no_args_is_help=True, help="The Apps of an account: what may call the API.")
key_cli = typer.Typer(no_args_is_help=True, help="The API key and password of an account.")

AppName = Annotated[str, typer.Argument(metavar="NAME", help="The App's name.", show_default=False)]


def apply(
    file: Annotated[Path, typer.Argument(help="An account file: TOML.", show_default=False)],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Needless: the answer is JSON always.")] = False,
) -> None:
    """Make an account what the file says. Doing it again changes nothing.

    What was done is told on stderr. The answer, on stdout, is one JSON object: the account, whether anything changed, each App's `app_id`, and `api_key` and
    `api_password` if they were made just now. These two are stored as hashes: they are never shown again.
    """
    from cartwheel import times
    from cartwheel.accountfiles import accountfile
    from cartwheel.cli import context
    from cartwheel.views import terminal

    del as_json
    wanted = accountfile.read_file(file)
    with context.open_database(migrate=True) as database:
        answer = accountfile.apply(database, wanted, times.now(), tell=_tell_changes)
    terminal.show_json(answer)


def _tell_changes(done: Sequence[str]) -> None:
    for line in done or ["nothing changed"]:
        typer.echo(line, err=True)


def export_account(
    name: Annotated[
        str | None, typer.Argument(help="The account; needless when there is only one.", show_default=False)
    ] = None,
    output: Annotated[Path | None, typer.Option(help="A file to write instead of stdout.", show_default=False)] = None,
) -> None:
    """Write an account as an account file, as `apply` takes it.

    Each App's `app_id` is in it, so keep it to yourself. The API key and password are not: only their hashes are known.

    cartwheel export-account "My shop" --output shop.toml
    """
    from cartwheel.accountfiles import accountexport, sequencefile
    from cartwheel.cli import context

    with context.open_database() as database:
        known = context.load_catalog(database)
        account = context.find_account(known, name)
        with database.read() as connection:
            sequences = list(sequencefile.parts(connection, account))
    text = accountexport.write(account, known.apps_of(account.id), sequences)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.touch(mode=0o600)  # the `app_id`s in it are half of what a caller needs
        output.write_text(text)
    except OSError as error:
        raise BadAccountFile(f"{output} cannot be written: {error.strerror}") from error


# -- Apps and keys --


@app_cli.command("list")
def list_apps(account: AccountName = None, *, as_json: AsJson = False) -> None:
    """List the account's Apps, without what is secret about them."""
    from cartwheel.cli import context
    from cartwheel.views import tables, terminal

    with context.open_database() as database:
        known = context.load_catalog(database)
    apps = known.apps_of(context.find_account(known, account).id)
    if as_json:
        terminal.show_json([tables.app_data(app) for app in apps])
    else:
        terminal.show(*tables.apps(apps))


@app_cli.command("create")
def create_app(
    name: AppName,
    mode: Annotated[
        Literal["live", "test"], typer.Option(help="`test`: its leads get addresses that nobody has.")
    ] = "live",
    rate_limit: Annotated[int, typer.Option(help="Calls a second; 0 for no limit.")] = 20,
    allow_ip: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="An address or network that it may call from; repeatable."),
    ] = None,
    command: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A command or scope that it may use; repeatable.", show_default="all"),
    ] = None,
    account: AccountName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Add an App, and show its `app_id`.

    cartwheel app create WordPress --command lists:write --command create_lead --allow-ip 203.0.113.7
    """
    values: dict[str, Any] = {"mode": mode, "rate_limit": rate_limit, "allow_ips": allow_ip or []}
    if command:
        values["commands"] = command
    _put_app(name, account, as_json=as_json, tell_id=True, new=True, **values)


@app_cli.command("rotate")
def rotate_app(name: AppName, account: AccountName = None, *, as_json: AsJson = False) -> None:
    """Give an App a new `app_id`, and show it. The old one is void at once."""
    from cartwheel.api.credentials import new_secret

    _put_app(name, account, as_json=as_json, tell_id=True, app_id=new_secret())


@app_cli.command("disable")
def disable_app(name: AppName, account: AccountName = None, *, as_json: AsJson = False) -> None:
    """Refuse an App's calls from now on."""
    _put_app(name, account, as_json=as_json, active=False)


@app_cli.command("enable")
def enable_app(name: AppName, account: AccountName = None, *, as_json: AsJson = False) -> None:
    """Accept an App's calls again."""
    _put_app(name, account, as_json=as_json, active=True)


def _put_app(
    name: str, account: str | None, *, as_json: bool, tell_id: bool = False, new: bool = False, **values: Any
) -> None:
    from cartwheel import times
    from cartwheel.accountfiles import accountfile
    from cartwheel.cli import context

    with context.opened(account) as (database, owner):
        app = accountfile.put_app(database, owner, name, times.now(), new=new, **values)
    told: dict[str, Any] = {"account": owner.name, "app": app.name, "active": app.active}
    _tell(told | ({"app_id": app.app_id} if tell_id else {}), as_json=as_json)


@key_cli.command("rotate")
def rotate_key(
    account: AccountName = None,
    overlap: Annotated[int, typer.Option(min=0, max=8760, help="Hours for which the old ones are good as well.")] = 0,
    *,
    as_json: AsJson = False,
) -> None:
    """Give the account a new API key and password, and show them, this once. The old ones are void at once.

    With --overlap they are good as well for so many hours, while your integrations change over.

    cartwheel key rotate --overlap 24
    """
    from cartwheel import times
    from cartwheel.accountfiles import accountkeys
    from cartwheel.cli import context

    with context.opened(account) as (database, owner):
        made = accountkeys.rotate(database, owner, times.now(), timedelta(hours=overlap))
        _tell({"account": owner.name, **made}, as_json=as_json)


def _tell(told: dict[str, Any], *, as_json: bool) -> None:
    from cartwheel.views import terminal

    if as_json:
        terminal.show_json(told)
    else:
        terminal.show(*terminal.pairs((name, _word(value)) for name, value in told.items()))


def _word(value: object) -> object:
    return ("yes" if value else "no") if isinstance(value, bool) else value


_Days = Annotated[int | None, typer.Option(min=0, max=36_500, help="As if it were so many days.", show_default=False)]


def show_retention(
    opens_and_clicks: _Days = None,
    events: _Days = None,
    mails: _Days = None,
    deleted_leads: _Days = None,
    account: AccountName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show for how many days an account keeps what happened, and how much would go now. Nothing is changed.

    The periods are set on the page *Account*, or as `[account.retention]` in the account's file.

    cartwheel retention --events 365
    """
    import msgspec

    from cartwheel import times
    from cartwheel.cli import context
    from cartwheel.data import retention
    from cartwheel.views import terminal

    given = {"opens_and_clicks": opens_and_clicks, "events": events, "mails": mails, "deleted_leads": deleted_leads}
    tried = {name: days for name, days in given.items() if days is not None}
    with context.opened(account) as (database, owner), database.snapshot() as connection:
        kept = msgspec.structs.replace(owner.retention, **tried)
        going = retention.going(connection, owner.id, kept, times.now())
    periods = {name: (getattr(kept, name), getattr(going, name)) for name in given}
    if as_json:
        terminal.show_json({name: {"days": days, "would_go": count} for name, (days, count) in periods.items()})
        return
    terminal.show(
        *terminal.pairs(
            (name.replace("_", " "), f"{days} days; {count:,} would go now" if days else "kept for ever")
            for name, (days, count) in periods.items()
        )
    )
