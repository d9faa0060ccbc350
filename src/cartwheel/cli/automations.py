"""The verbs about automations: look, pause, let run again."""

from typing import TYPE_CHECKING, Annotated

import typer

from cartwheel.cli.shared import AccountName, AsJson

if TYPE_CHECKING:
    from cartwheel.accounts import Account, Automation

automation_cli = typer.Typer(no_args_is_help=True, help="What is done when something happens: look, pause, resume.")

AutomationName = Annotated[str, typer.Argument(metavar="AUTOMATION", help="Its name.", show_default=False)]


@automation_cli.command("list")
def list_automations(account: AccountName = None, *, as_json: AsJson = False) -> None:
    """List the account's automations, in the order in which they run, each in a sentence."""
    from cartwheel.cli import context
    from cartwheel.views import automationviews, terminal

    with context.opened(account) as (_, owner):
        if as_json:
            terminal.show_json([automationviews.data(entry) for entry in owner.automations.values()])
        else:
            terminal.show(*automationviews.lines(owner))


@automation_cli.command("pause")
def pause_automation(automation: AutomationName, account: AccountName = None) -> None:
    """Have an automation do nothing; what happens meanwhile does not start it later."""
    _switch(automation, account, active=False)


@automation_cli.command("resume")
def resume_automation(automation: AutomationName, account: AccountName = None) -> None:
    """Have a paused automation run again."""
    _switch(automation, account, active=True)


def _switch(name: str, account: str | None, *, active: bool) -> None:
    from cartwheel.accountfiles import automationfile
    from cartwheel.cli import context
    from cartwheel.data import catalogchanges

    with context.opened(account) as (database, owner):
        found = _find(owner, name)
        if found.active is active:
            typer.echo(f"{found.name} {'runs' if active else 'is paused'} already.")
            return
        with catalogchanges.changing(database, owner.id) as connection:
            automationfile.switch(connection, owner.id, found.id, active=active)
    typer.echo(f"{found.name} {'runs again' if active else 'is paused'}.")


def _find(owner: "Account", name: str) -> "Automation":
    from cartwheel.accounts import name_key
    from cartwheel.errors import NoSuchName

    found = owner.automations.get(name_key(name))
    if found is None:
        names = ", ".join(entry.name for entry in owner.automations.values()) or "none"
        raise NoSuchName(f"the account {owner.name} has no automation {name}; there are: {names}")
    return found
