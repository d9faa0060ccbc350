"""The verbs about people who sign in to the pages."""

from typing import Annotated

import typer

from cartwheel.cli.shared import AccountName, AsJson
from cartwheel.errors import NoSuchName
from cartwheel.people import Role

user_cli = typer.Typer(no_args_is_help=True, help="The people who sign in to the pages.")

Address = Annotated[str, typer.Argument(metavar="EMAIL", help="The person's address.", show_default=False)]


@user_cli.command("list")
def list_users(*, as_json: AsJson = False) -> None:
    """List everybody who has a login, and where they are members."""
    from cartwheel.cli import context
    from cartwheel.data import userstore
    from cartwheel.views import tables, terminal

    with context.open_database() as database:
        known = context.load_catalog(database)
        with database.read() as connection:
            people = [(user, userstore.roles_of(connection, user.id)) for user in userstore.everybody(connection)]
    entries = [
        {
            "email": user.email,
            "name": user.name,
            "second_factor": bool(user.totp_secret),
            "accounts": {
                known.accounts[number].name: role.value for number, role in roles.items() if number in known.accounts
            },
        }
        for user, roles in people
    ]
    if as_json:
        terminal.show_json(entries)
    else:
        terminal.show(*tables.users(entries))


@user_cli.command("add")
def add_user(
    email: Address,
    role: Annotated[Role, typer.Option(help="What they are in the account.")] = Role.MARKETER,
    account: AccountName = None,
) -> None:
    """Print a link by which somebody becomes a member, once, within seven days.

    cartwheel user add ada@shop.example --role owner
    """
    from cartwheel import times
    from cartwheel.cli import context
    from cartwheel.data import userstore
    from cartwheel.people import LinkKind

    email = _read(email)
    with context.opened(account) as (database, owner), database.write() as connection:
        token = userstore.make_link(
            connection, LinkKind.INVITATION, times.now(), account_id=owner.id, email=email, role=role
        )
    _tell(f"/invitation/{token}")


@user_cli.command("reset")
def reset_user(
    email: Address,
    *,
    without_factor: Annotated[
        bool, typer.Option("--without-factor", help="Switch the second factor off, too: the phone is lost.")
    ] = False,
) -> None:
    """Print a link by which somebody sets a new password, once, within a day."""
    from cartwheel import times
    from cartwheel.cli import context
    from cartwheel.data import factors, userstore
    from cartwheel.people import LinkKind

    email = _read(email)
    with context.open_database() as database, database.write() as connection:
        user = userstore.user_of(connection, email)
        if user is None:
            raise NoSuchName(f"nobody here has the address {email}: see `cartwheel user list`")
        if without_factor:
            factors.switch_off(connection, user.id)
            userstore.sign_out(connection, user)
        token = userstore.make_link(connection, LinkKind.PASSWORD, times.now(), email=email)
    _tell(f"/password/{token}")


def _read(email: str) -> str:
    from cartwheel.emails import EmailNotValid, read_email

    try:
        return read_email(email)
    except EmailNotValid:
        raise typer.BadParameter(f"{email} is no e-mail address", param_hint="EMAIL") from None


def _tell(path: str) -> None:
    """The whole address, as far as the settings know it."""
    from cartwheel.config import Settings

    settings = Settings.load()
    typer.echo((settings.public_url.rstrip("/") or f"http://{settings.host}:{settings.port}") + path)
