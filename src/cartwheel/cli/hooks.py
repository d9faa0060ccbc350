"""The verbs about webhooks: who is told what happens, and what came of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cartwheel.cli.shared import AccountName, AsJson
from cartwheel.errors import NoSuchName

if TYPE_CHECKING:
    from cartwheel.accounts import Account
    from cartwheel.data.db import Database
    from cartwheel.data.hookstore import Delivery
    from cartwheel.hooks.outbound import Endpoint

webhook_cli = typer.Typer(no_args_is_help=True, help="Other systems that are told what happens.")

WebhookName = Annotated[
    str, typer.Argument(metavar="NAME", help="The webhook's name, or its number.", show_default=False)
]


@webhook_cli.command("list")
def list_webhooks(account: AccountName = None, *, as_json: AsJson = False) -> None:
    """List the account's webhooks: what each is told, and how it does. Secrets are not shown."""
    from cartwheel.cli import context
    from cartwheel.data import hookstore
    from cartwheel.views import hookviews, terminal

    with context.opened(account) as (database, owner), database.read() as connection:
        health = hookstore.health(connection, owner.id)
    if as_json:
        terminal.show_json([hookviews.data(entry, owner, health[entry.id]) for entry in owner.hooks])
    else:
        terminal.show(*hookviews.endpoints(owner, health))


@webhook_cli.command("log")
def show_log(
    webhook: WebhookName,
    delivery: Annotated[
        str | None,
        typer.Argument(metavar="[DELIVERY]", help="One of them, with its request and answer.", show_default=False),
    ] = None,
    state: Annotated[
        Literal["queued", "delivered", "parked"] | None, typer.Option(help="Only those.", show_default=False)
    ] = None,
    lead: Annotated[
        str | None, typer.Option(metavar="EMAIL", help="Only those about this lead.", show_default=False)
    ] = None,
    most: Annotated[int, typer.Option(min=1, max=5000, help="How many are shown: the newest.")] = 50,
    account: AccountName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what a webhook was sent, and what it answered, newest first.

    cartwheel webhook log CRM --state parked
    """
    from cartwheel.cli import context
    from cartwheel.data import hookstore
    from cartwheel.views import hookviews, terminal

    with _at(webhook, account) as (database, owner, entry):
        lead_id = None if lead is None else context.find_lead(database, owner, lead)[1]
        wish = hookstore.Wish(state=state or "", lead_id=lead_id)
        with database.read() as connection:
            if delivery is not None:
                rows = [_delivery(hookstore.one(connection, owner.id, entry.id, _place(delivery)), delivery)]
            else:
                rows = hookstore.page(connection, owner.id, entry.id, wish, after=None, most=most).rows
    if as_json:
        terminal.show_json([hookviews.delivery_data(row) for row in rows])
    elif delivery is not None:
        terminal.show(*hookviews.delivery(rows[0], owner))
    else:
        terminal.show(*hookviews.deliveries(rows, owner))


@webhook_cli.command("test")
def try_webhook(
    webhook: WebhookName,
    event: Annotated[
        str | None, typer.Option(metavar="ACTION", help="What it is told.", show_default="the first that it wants")
    ] = None,
    account: AccountName = None,
) -> None:
    """Have a webhook told of an event that did not happen. The worker sends it like any other; the log says what came of it.

    cartwheel webhook test CRM --event assign_tag
    """
    from cartwheel import times
    from cartwheel.hooks import byhand
    from cartwheel.hooks.outbound import OUTBOUND

    if event is not None and event not in OUTBOUND:
        raise typer.BadParameter(f"there is no event {event}; there are {', '.join(OUTBOUND)}")
    with _at(webhook, account) as (database, owner, entry):
        token = byhand.send_test(database, owner, entry, event or next(iter(entry.events)), times.now())
    typer.echo(f"Queued as {token}: `cartwheel webhook log {entry.name!r} {token}` says what came of it.")


@webhook_cli.command("replay")
def replay(
    webhook: WebhookName,
    deliveries: Annotated[
        list[str] | None, typer.Argument(metavar="DELIVERY", help="As the log names them.", show_default=False)
    ] = None,
    account: AccountName = None,
    *,
    parked: Annotated[bool, typer.Option("--parked", help="All that are parked.")] = False,
) -> None:
    """Have deliveries sent again, under the id that they had.

    cartwheel webhook replay CRM --parked
    """
    from cartwheel import times
    from cartwheel.data import hookstore

    if bool(deliveries) is parked:
        raise typer.BadParameter("name deliveries, or give --parked")
    places = [_place(token) for token in deliveries or []]
    with _at(webhook, account) as (database, owner, entry), database.write() as connection:
        for place, token in zip(places, deliveries or [], strict=True):
            _delivery(hookstore.one(connection, owner.id, entry.id, place), token)
        if parked:
            count = hookstore.replay_parked(connection, owner.id, entry.id, times.now())
        else:
            count = hookstore.replay(connection, owner.id, [(*place, entry.id) for place in places], times.now())
    typer.echo(f"{count:,} {'delivery is' if count == 1 else 'deliveries are'} sent again.")


@webhook_cli.command("pause")
def pause(webhook: WebhookName, account: AccountName = None) -> None:
    """Have a webhook's deliveries wait. None is lost."""
    _pause(webhook, account, paused=True)


@webhook_cli.command("resume")
def resume(webhook: WebhookName, account: AccountName = None) -> None:
    """Let a paused webhook go on, with all that waits."""
    _pause(webhook, account, paused=False)


def _pause(webhook: str, account: str | None, *, paused: bool) -> None:
    from cartwheel import times
    from cartwheel.data import hookstore

    with _at(webhook, account) as (database, owner, entry), database.write() as connection:
        change = hookstore.pause if paused else hookstore.resume
        changed = change(connection, owner.id, entry.id, times.now())
    state = "paused" if paused else "running"
    typer.echo(f"{entry.name} is {state} now." if changed else f"{entry.name} is {state} already.")


def _place(token: str) -> tuple[int, int]:
    from cartwheel.data import hookstore

    place = hookstore.read_token(token)
    if place is None:
        raise NoSuchName(f"there is no delivery {token}")
    return place


def _delivery(found: "Delivery | None", token: str) -> "Delivery":
    if found is None:
        raise NoSuchName(f"there is no delivery {token}")
    return found


@contextmanager
def _at(webhook: str, account: str | None) -> "Iterator[tuple[Database, Account, Endpoint]]":
    """The database, the account and the webhook that are meant."""
    from cartwheel.accounts import name_key
    from cartwheel.cli import context

    with context.opened(account) as (database, owner):
        for entry in owner.hooks:
            if name_key(entry.name) == name_key(webhook) or str(entry.id) == webhook:
                yield database, owner, entry
                return
        names = ", ".join(entry.name for entry in owner.hooks) or "none"
        raise NoSuchName(f"the account {owner.name} has no webhook {webhook}; there are: {names}")
