"""The verbs about one lead."""

import asyncio
from typing import Annotated, Any

import typer

from cartwheel import leadcard, leadstore, terminal, times
from cartwheel.batches import Batches, Work
from cartwheel.catalog import Account
from cartwheel.cli_shared import AccountName, AsJson, find_account, load_catalog, open_database
from cartwheel.db import Database
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.errors import NoSuchName
from cartwheel.leadstore import LeadKey
from cartwheel.leadwork import DeletionWork

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
    with open_database() as database:
        known = load_catalog(database)
        key = _lead_key(database, find_account(known, account), email)
        card = asyncio.run(leadcard.read_card(database, known, key, most_events=events))
    if as_json:
        terminal.show_json(card.as_data())
    else:
        terminal.show(*terminal.card(card))


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


def _work_on(email: str, account: str | None, *, deleted: bool) -> None:
    with open_database() as database:
        key = _lead_key(database, find_account(load_catalog(database), account), email)
        asyncio.run(_run(database, DeletionWork(key, deleted=deleted, origin="cli")))


def _lead_key(database: Database, account: Account, lead: str) -> LeadKey:
    if lead.isascii() and lead.isdigit() and len(lead) <= _LONGEST_ID:
        return (account.id, int(lead))
    try:
        email = read_email(lead)
    except EmailNotValid:
        raise NoSuchName(f"{lead} is no e-mail address") from None
    with database.read() as connection:
        lead_id = leadstore.find_lead(connection, account.id, email)
    if lead_id is None:
        raise NoSuchName(f"the account {account.name} has no lead {email}")
    return (account.id, lead_id)


_LONGEST_ID = 18


async def _run(database: Database, work: Work[Any]) -> None:
    """One piece of work, through the batches like any other."""
    batches = Batches(database, clock=times.now, most_waiting=1)
    await batches.start()
    try:
        await batches.submit(work)
    finally:
        await batches.stop()
