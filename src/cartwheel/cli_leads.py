"""The verbs about one lead."""

from typing import Annotated

import typer

from cartwheel.cli_shared import AccountName, AsJson

lead_cli = typer.Typer(no_args_is_help=True, help="Look at one lead, delete it, bring it back.")

LeadName = Annotated[
    str, typer.Argument(metavar="EMAIL", help="The lead's e-mail address, or its id.", show_default=False)
]


@lead_cli.command("show")
def show_lead(
    email: LeadName,
    account: AccountName = None,
    events: Annotated[int, typer.Option(min=1, help="How much of what happened is told: the newest events.")] = 100,
    *,
    as_json: AsJson = False,
) -> None:
    """Show everything about a lead: fields, tags, lists, sequences, points, and what happened when.

    Times are in the account's time zone.
    """
    import asyncio

    from cartwheel import cli_work, leadcard, terminal, views

    with cli_work.open_database() as database:
        known = cli_work.load_catalog(database)
        key = cli_work.find_lead(database, cli_work.find_account(known, account), email)
        card = asyncio.run(leadcard.read_card(database, known, key, most_events=events))
    if as_json:
        terminal.show_json(card.as_data())
    else:
        terminal.show(*views.card(card))


@lead_cli.command("delete")
def delete_lead(email: LeadName, account: AccountName = None) -> None:
    """Delete a lead. Its address stays taken, the API answers that it is deleted, and `restore` brings it back."""
    _work_on(email, account, deleted=True)
    typer.echo(f"{email} is deleted now. `cartwheel lead restore {email}` brings it back.")


@lead_cli.command("restore")
def restore_lead(email: LeadName, account: AccountName = None) -> None:
    """Bring a deleted lead back as it was."""
    _work_on(email, account, deleted=False)
    typer.echo(f"{email} is there again.")


@lead_cli.command("untrack")
def untrack_lead(email: LeadName, account: AccountName = None) -> None:
    """Record no more what a lead opens and clicks."""
    _track(email, account, on=False)
    typer.echo(f"What {email} opens and clicks is not recorded any more.")


@lead_cli.command("track")
def track_lead(email: LeadName, account: AccountName = None) -> None:
    """Record again what a lead opens and clicks."""
    _track(email, account, on=True)
    typer.echo(f"What {email} opens and clicks is recorded.")


def _track(email: str, account: str | None, *, on: bool) -> None:
    from cartwheel import cli_work
    from cartwheel.tracking import TrackWork

    with cli_work.open_database() as database:
        owner = cli_work.find_account(cli_work.load_catalog(database), account)
        cli_work.submit(database, TrackWork(cli_work.find_lead(database, owner, email), on=on, origin="cli"))


@lead_cli.command("suppress")
def suppress_lead(email: LeadName, account: AccountName = None) -> None:
    """Do not mail a lead's address any more, whatever it is in."""
    _suppress(email, account, suppressed=True)
    typer.echo(f"{email} is not mailed any more. `cartwheel lead allow {email}` takes it back.")


@lead_cli.command("allow")
def allow_lead(email: LeadName, account: AccountName = None) -> None:
    """Mail a lead's address again, for example after a bounce that was no fault of it."""
    _suppress(email, account, suppressed=False)
    typer.echo(f"{email} may be mailed.")


def _suppress(email: str, account: str | None, *, suppressed: bool) -> None:
    from cartwheel import cli_work
    from cartwheel.leadwork import SuppressionWork

    with cli_work.open_database() as database:
        owner = cli_work.find_account(cli_work.load_catalog(database), account)
        key = cli_work.find_lead(database, owner, email)
        cli_work.submit(database, SuppressionWork(key, suppressed=suppressed, origin="cli"))


def _work_on(email: str, account: str | None, *, deleted: bool) -> None:
    from cartwheel import cli_work
    from cartwheel.leadwork import DeletionWork

    with cli_work.open_database() as database:
        owner = cli_work.find_account(cli_work.load_catalog(database), account)
        key = cli_work.find_lead(database, owner, email)
        cli_work.submit(database, DeletionWork(key, deleted=deleted, origin="cli"))
