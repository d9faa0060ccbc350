"""The verbs about one lead."""

from typing import TYPE_CHECKING, Annotated

import typer

from cartwheel.cli.shared import ORIGIN, USAGE, AccountName, AsJson

if TYPE_CHECKING:
    from collections.abc import Callable

    from cartwheel.data.leadstore import LeadKey
    from cartwheel.work.batches import Work

lead_cli = typer.Typer(no_args_is_help=True, help="One lead: look at it, delete or erase it, say whether it is mailed.")

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

    from cartwheel.cli import context
    from cartwheel.views import leadcard, tables, terminal

    with context.open_database() as database:
        known = context.load_catalog(database)
        key = context.find_lead(database, context.find_account(known, account), email)
        card = asyncio.run(leadcard.read_card(database, known, key, most_events=events))
    if as_json:
        terminal.show_json(card.as_data())
    else:
        terminal.show(*tables.card(card))


@lead_cli.command("delete")
def delete_lead(email: LeadName, account: AccountName = None) -> None:
    """Delete a lead: it leaves its sequences, and what waits to be sent to it is not.

    Its address stays taken, the API answers that it is deleted, and `restore` brings it back. For good, see `erase`.
    """
    from cartwheel.work.leadwork import DeletionWork

    _submit(email, account, lambda key: DeletionWork(key, deleted=True, origin=ORIGIN))
    typer.echo(f"{email} is deleted now. `cartwheel lead restore {email}` brings it back.")


@lead_cli.command("restore")
def restore_lead(email: LeadName, account: AccountName = None) -> None:
    """Bring a deleted lead back, with its fields, tags, lists and points. The sequences that it was in do not go on."""
    from cartwheel.work.leadwork import DeletionWork

    _submit(email, account, lambda key: DeletionWork(key, deleted=False, origin=ORIGIN))
    typer.echo(f"{email} is there again.")


@lead_cli.command("erase")
def erase_lead(
    email: LeadName,
    account: AccountName = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase all that a lead can be known by, for good: nothing brings it back.

    Only numbers stay, and a keyed hash of the address: whoever comes with it again is not mailed, unless `allow` says so.
    """
    from cartwheel import times
    from cartwheel.cli import context
    from cartwheel.data import userstore
    from cartwheel.work.leadwork import EraseWork

    with context.opened(account) as (database, owner):
        key = context.find_lead(database, owner, email)
        if not yes:
            _ask(f"Erase everything about {email} in {owner.name}, for good?")
        context.submit(database, EraseWork(key, ORIGIN))
        with database.write() as connection:
            userstore.audit_erasure(connection, owner.id, times.now(), "command line", key[1])
    typer.echo(f"{email} is erased. Backups and logs may still tell of it.")


def _ask(question: str) -> None:
    """Ends the program unless somebody at a terminal says yes."""
    import sys

    if not sys.stdin.isatty():
        typer.echo("cartwheel: there is nobody to ask, so nothing was done: --yes does it without asking", err=True)
        raise typer.Exit(USAGE)
    typer.confirm(question, abort=True)


@lead_cli.command("untrack")
def untrack_lead(email: LeadName, account: AccountName = None) -> None:
    """Record no more what a lead opens and clicks."""
    from cartwheel.sending.tracking import TrackWork

    _submit(email, account, lambda key: TrackWork(key, on=False, origin=ORIGIN))
    typer.echo(f"What {email} opens and clicks is not recorded any more.")


@lead_cli.command("track")
def track_lead(email: LeadName, account: AccountName = None) -> None:
    """Record again what a lead opens and clicks."""
    from cartwheel.sending.tracking import TrackWork

    _submit(email, account, lambda key: TrackWork(key, on=True, origin=ORIGIN))
    typer.echo(f"What {email} opens and clicks is recorded.")


@lead_cli.command("agree")
def agree(email: LeadName, account: AccountName = None) -> None:
    """Note that a lead has agreed to commercial mail, which an account under the GDPR needs. Keep the proof of it."""
    from cartwheel.work.leadwork import ConsentWork

    _submit(email, account, lambda key: ConsentWork(key, agreed=True, origin=ORIGIN))
    typer.echo(f"{email} has agreed to commercial mail. `cartwheel lead disagree {email}` takes it back.")


@lead_cli.command("disagree")
def disagree(email: LeadName, account: AccountName = None) -> None:
    """Note that a lead does not agree to commercial mail: it gets none any more, whether the account is under the GDPR or not."""
    from cartwheel.work.leadwork import ConsentWork

    _submit(email, account, lambda key: ConsentWork(key, agreed=False, origin=ORIGIN))
    typer.echo(f"{email} does not agree to commercial mail any more.")


@lead_cli.command("suppress")
def suppress_lead(email: LeadName, account: AccountName = None) -> None:
    """Do not mail a lead's address any more, whatever it is in."""
    from cartwheel.work.leadwork import SuppressionWork

    _submit(email, account, lambda key: SuppressionWork(key, suppressed=True, origin=ORIGIN))
    typer.echo(f"{email} is not mailed any more. `cartwheel lead allow {email}` takes it back.")


@lead_cli.command("allow")
def allow_lead(email: LeadName, account: AccountName = None) -> None:
    """Mail a lead's address again, for example after a bounce that was no fault of it."""
    from cartwheel.work.leadwork import SuppressionWork

    _submit(email, account, lambda key: SuppressionWork(key, suppressed=False, origin=ORIGIN))
    typer.echo(f"{email} may be mailed.")


def _submit(email: str, account: str | None, make: "Callable[[LeadKey], Work[object]]") -> None:
    """A piece of work on the lead."""
    from cartwheel.cli import context

    with context.opened(account) as (database, owner):
        context.submit(database, make(context.find_lead(database, owner, email)))
