"""The verbs about who is in a sequence: look, pause, let go on, take to another version."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cartwheel.cli.sequences import SequenceName
from cartwheel.cli.shared import ORIGIN, AccountName, AsJson

if TYPE_CHECKING:
    from cartwheel import accounts
    from cartwheel.accounts import Account
    from cartwheel.data.db import Database
    from cartwheel.work.moveplans import MovePlan

sequence_cli = typer.Typer(no_args_is_help=True, help="Who is in the sequences: look, pause, resume, mend, move.")

Everybody = Annotated[bool, typer.Option("--all", help="Everybody who is parked in it.")]


@sequence_cli.command("list")
def list_sequences(account: AccountName = None, *, as_json: AsJson = False) -> None:
    """List the account's sequences: how many leads are in each, have completed it, have left it, are parked."""
    from collections import Counter

    from cartwheel.cli import context
    from cartwheel.data import runstore
    from cartwheel.views import runviews, terminal

    with context.opened(account) as (database, owner), database.read() as connection:
        runs = runstore.counted(connection, owner.id)
    if as_json:
        entries = owner.sequences.values()
        terminal.show_json([runviews.sequence_data(entry, runs.get(entry.id, Counter())) for entry in entries])
    else:
        terminal.show(*runviews.sequences(owner, runs))


@sequence_cli.command("show")
def show_sequence(sequence: SequenceName, account: AccountName = None, *, as_json: AsJson = False) -> None:
    """Show the steps of a sequence, and how many leads stand at each, by version.

    Older versions are shown as long as somebody is in them: whoever is under way keeps to the version it began with.
    """
    from cartwheel.data import flowstore, runstore
    from cartwheel.sequences.flows import Flow
    from cartwheel.views import runviews, terminal

    with _at(sequence, account) as (database, owner, entry), database.read() as connection:
        places = runstore.standing(connection, owner.id, entry.id)
        numbers = sorted({entry.version, *(place.version for place in places)} - {0}, reverse=True)
        flows = {number: flowstore.read(connection, (owner.id, entry.id, number)) or Flow(()) for number in numbers}
    versions = {
        number: runviews.version_data(flow, [place for place in places if place.version == number])
        for number, flow in flows.items()
    }
    if as_json:
        told = [{"version": number, "steps": steps} for number, steps in versions.items()]
        terminal.show_json({"name": entry.name, "paused": entry.paused, "version": entry.version, "versions": told})
    else:
        terminal.show(*runviews.sequence(entry, versions))


@sequence_cli.command("pause")
def pause_sequence(sequence: SequenceName, account: AccountName = None) -> None:
    """Have everybody in a sequence wait where they are; its queued mails wait, too."""
    _pause(sequence, account, paused=True)


@sequence_cli.command("resume")
def resume_sequence(sequence: SequenceName, account: AccountName = None) -> None:
    """Let a paused sequence go on. What leads wait for at their step begins anew, so that not all is due at once."""
    _pause(sequence, account, paused=False)


def _pause(sequence: str, account: str | None, *, paused: bool) -> None:
    from cartwheel import times
    from cartwheel.accountfiles import sequencefile

    with _at(sequence, account) as (database, owner, entry):
        changed = sequencefile.pause(database, owner.id, entry.id, times.now(), paused=paused)
    state = "paused" if paused else "running"
    typer.echo(f"{entry.name} is {state} now." if changed else f"{entry.name} is {state} already.")


@sequence_cli.command("parked")
def list_parked(
    sequence: SequenceName,
    account: AccountName = None,
    most: Annotated[int, typer.Option(min=1, help="How many are shown at the most.")] = 100,
    *,
    as_json: AsJson = False,
) -> None:
    """Show who cannot go on in a sequence, and why."""
    from collections import Counter

    from cartwheel.data import runstore
    from cartwheel.leads.leadparts import RunStatus
    from cartwheel.views import runviews, terminal

    with _at(sequence, account) as (database, owner, entry), database.read() as connection:
        count = runstore.counted(connection, owner.id).get(entry.id, Counter())[RunStatus.PARKED]
        rows = runstore.parked(connection, owner.id, entry.id, most)
    if as_json:
        terminal.show_json({"count": count, "parked": [runviews.parked_data(owner, row) for row in rows]})
    else:
        terminal.show(*runviews.parked(owner, entry, rows, count))


@sequence_cli.command("unpark")
def unpark(
    sequence: SequenceName,
    email: Annotated[
        str | None, typer.Argument(metavar="[EMAIL]", help="A lead's e-mail address, or its id.", show_default=False)
    ] = None,
    account: AccountName = None,
    *,
    everybody: Everybody = False,
) -> None:
    """Have a parked lead, or all of them, try again where they stand. Who fails again is parked again.

    cartwheel sequence unpark Welcome ada@shop.example
    """
    import asyncio

    from cartwheel import times
    from cartwheel.cli import context
    from cartwheel.errors import NoSuchName
    from cartwheel.leads.leadparts import RunStatus
    from cartwheel.work import runwork

    if (email is None) is not everybody:
        raise typer.BadParameter("name a lead, or give --all")
    with _at(sequence, account) as (database, owner, entry):
        if email is not None:
            key = context.find_lead(database, owner, email)
            if not context.submit(database, runwork.UnparkWork(key, entry.id, ORIGIN)):
                raise NoSuchName(f"{email} is not parked in {entry.name}")
            typer.echo(f"{email} tries again.")
            return
        done = asyncio.run(
            runwork.work_through(
                database,
                (owner.id, entry.id),
                [RunStatus.PARKED],
                lambda key: runwork.UnparkWork(key, entry.id, ORIGIN),
                clock=times.now,
            )
        )
    typer.echo(f"{done[True]:,} {'lead tries' if done[True] == 1 else 'leads try'} again.")


@sequence_cli.command("move")
def move_runs(
    sequence: SequenceName,
    source: Annotated[
        int | None, typer.Option("--from", metavar="VERSION", help="Whom to move.", show_default="the only other one")
    ] = None,
    to: Annotated[int | None, typer.Option(metavar="VERSION", help="Where to.", show_default="the newest")] = None,
    boxes: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="OLD=NEW", help="A step that has another box there; repeatable."),
    ] = None,
    account: AccountName = None,
    *,
    everybody: Annotated[bool, typer.Option("--all", help="Move those of all other versions.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, only show who would go where.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take those who are under way to another version of the steps; they keep to theirs otherwise.

    Each goes to the step with the same box, or where `--map` says. Who finds no such step, or would be sent a mail again,
    stays. What a lead waits for at its step goes on from when it came there; queued mails still go out as they are. Done
    again, for example after a crash, it moves those who are left.

        cartwheel sequence move Welcome --from 1 --map 3=4

        cartwheel sequence move Welcome --from 1 --map 3=4 --yes
    """
    from cartwheel.views import runviews, terminal
    from cartwheel.work import moveplans

    if source is not None and everybody:
        raise typer.BadParameter("give --from or --all, not both")
    renamed = dict(_pair(text) for text in boxes or [])
    with _at(sequence, account) as (database, owner, entry):
        with database.read() as connection:
            plan = moveplans.plan(connection, owner, entry, renamed, source=source, everybody=everybody, to=to)
        if not as_json:
            terminal.show(*runviews.move(plan))
        moved, stayed = _move(database, plan) if yes and plan.going else (0, plan.staying)
    if as_json:
        terminal.show_json(plan.as_data() | {"done": yes, "moved": moved, "stayed": stayed})
    elif yes:
        typer.echo(f"{moved:,} moved, {stayed:,} stayed.")
    elif plan.lines:
        typer.echo(f"{plan.going:,} would move, {plan.staying:,} would stay. Nothing is done without --yes.")


def _pair(text: str) -> tuple[str, str]:
    old, equals, new = (part.strip() for part in text.partition("="))
    if not (old and equals and new):
        raise typer.BadParameter(f"--map {text}: give it as OLD=NEW, two boxes")
    return old, new


def _move(database: "Database", plan: "MovePlan") -> tuple[int, int]:
    import asyncio

    from cartwheel import times
    from cartwheel.data import runstore
    from cartwheel.work import runwork

    sequence_id = plan.sequence.id
    done = asyncio.run(
        runwork.work_through(
            database,
            (plan.account.id, sequence_id),
            runstore.IN_IT,
            lambda key: runwork.MoveWork(key, sequence_id, plan.move, ORIGIN),
            versions=plan.move.sources.keys(),
            clock=times.now,
        )
    )
    moved = sum(count for way, count in done.items() if way is not None and way.box is not None)
    stayed = sum(count for way, count in done.items() if way is not None and way.box is None)
    return moved, stayed


@contextmanager
def _at(sequence: str, account: str | None) -> "Iterator[tuple[Database, Account, accounts.Sequence]]":
    """The database, the account and the sequence that are meant."""
    from cartwheel.cli import context

    with context.opened(account) as (database, owner):
        yield database, owner, context.find_sequence(owner, sequence)
