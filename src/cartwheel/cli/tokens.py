"""The verbs about bearer tokens: what programs show that call /v1."""

from datetime import timedelta
from typing import Annotated

import typer

from cartwheel.cli.shared import AccountName, AsJson

token_cli = typer.Typer(no_args_is_help=True, help="The bearer tokens of an account, for /v1, its client and MCP.")


@token_cli.command("list")
def list_tokens(account: AccountName = None, *, as_json: AsJson = False) -> None:
    """List the account's tokens that are good, without what is secret about them."""
    from cartwheel import times
    from cartwheel.cli import context
    from cartwheel.data import tokenstore
    from cartwheel.views import tables, terminal

    with context.open_database() as database:
        known = context.load_catalog(database)
        owner = context.find_account(known, account)
        with database.read() as connection:
            used = tokenstore.used(connection, owner.id)
    tokens = [token for token in known.tokens_of(owner.id) if token.good(times.now())]
    data = [tables.token_data(token, used.get(token.number)) for token in tokens]
    if as_json:
        terminal.show_json(data)
    else:
        terminal.show(*tables.tokens(data))


@token_cli.command("create")
def create_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.", show_default=False)],
    scope: Annotated[
        list[str],
        typer.Option(
            metavar="SCOPE", help="What it may do: leads:read, lists:write, …; repeatable.", show_default=False
        ),
    ],
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="How long it is good.", show_default="until it is revoked")
    ] = None,
    rate_limit: Annotated[int, typer.Option(help="Calls a second; 0 for no limit.")] = 20,
    account: AccountName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Make a token, and show it, this once: only a hash of it is stored.

    cartwheel token create "Nightly sync" --scope leads:read --scope leads:write
    """
    from cartwheel import times
    from cartwheel.accountfiles import tokens
    from cartwheel.cli import context
    from cartwheel.views import terminal

    now = times.now()
    ends = None if days is None else now + timedelta(days=days)
    with context.opened(account) as (database, owner):
        number, secret = tokens.make(database, owner, name, scope, now, rate_limit=rate_limit, expires_at=ends)
    told = {"account": owner.name, "number": number, "name": name.strip(), "token": secret}
    if as_json:
        terminal.show_json(told)
    else:
        terminal.show(*terminal.pairs(told.items()))


@token_cli.command("revoke")
def revoke_token(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="As `list` tells it.", show_default=False)],
    account: AccountName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Refuse a token from now on."""
    from cartwheel import times
    from cartwheel.accountfiles import tokens
    from cartwheel.cli import context
    from cartwheel.views import terminal

    with context.opened(account) as (database, owner):
        tokens.revoke(database, owner, number, times.now())
    told = {"account": owner.name, "number": number, "revoked": True}
    if as_json:
        terminal.show_json(told)
    else:
        terminal.show(*terminal.pairs(told.items()))
