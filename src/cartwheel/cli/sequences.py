"""The verbs that try a sequence out, and that tell why somebody got a mail or did not."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cartwheel.cli.leads import LeadName
from cartwheel.cli.shared import AccountName, AsJson

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.text import Text

    from cartwheel.leads.lead import Lead
    from cartwheel.simulation.simulator import World

SequenceName = Annotated[str, typer.Argument(metavar="SEQUENCE", help="The sequence's name.", show_default=False)]
File = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="An account file to read instead of the database.", show_default=False),
]
ByEmail = Annotated[
    str | None,
    typer.Option(metavar="EMAIL", help="A lead of the account; without it, one is made up.", show_default=False),
]
Fields = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE,…", help="What is known of a made-up lead: first_name=Ada,city=Paris."),
]
Tags = Annotated[list[str] | None, typer.Option(metavar="NAME", help="A tag that a made-up lead has from the start.")]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="When it starts: 2026-12-01 or 2026-12-01T09:00.", show_default="now"),
]
Box = Annotated[str | None, typer.Option(metavar="BOX", help="Where it starts.", show_default="the first step")]
Onward = Annotated[bool, typer.Option("--onward", help="Take --lead along from where it stands, not from the start.")]
WhatIfs = Annotated[
    list[str] | None,
    typer.Option(metavar="EVENT", help="What happens meanwhile: opened:2, clicked:2@3h, tag:Customer@2d, leave@5d."),
]
Length = Annotated[str, typer.Option("--for", metavar="TIME", help="How long to look: 3h, 2d, 8w, '60 days'.")]
MailBox = Annotated[
    str | None,
    typer.Option("--mail", metavar="BOX", help="Print the mail of this step as the lead would read it, as plain text."),
]
Leads = Annotated[int, typer.Option(min=1, max=100_000, help="Make up so many leads, and count them at each step.")]


def simulate(
    sequence: SequenceName,
    account: AccountName = None,
    file: File = None,
    lead: ByEmail = None,
    fields: Fields = None,
    tag: Tags = None,
    start: From = None,
    at_step: Box = None,
    what_if: WhatIfs = None,
    length: Length = "60 days",
    mail: MailBox = None,
    leads: Leads = 1,
    *,
    onward: Onward = False,
    as_json: AsJson = False,
) -> None:
    """Show what a lead would go through in a sequence: every step, mail and wait. Nothing is stored or sent.

    It is what the server itself does, with another clock. What can happen meanwhile: `opened` and `clicked` (the mail of a
    step), `tag`, `untag`, `list`, `unlist`, `points:5`, `field:city=Paris`, `leave`, `bounce`, `complaint`, `delete`. The
    time behind the `@` counts from the mail, or from the start.

        cartwheel simulate Welcome --fields first_name=Ada --what-if opened:1 --what-if tag:Customer@2d

        cartwheel simulate Welcome --file account.toml --leads 1000

        cartwheel simulate Welcome --mail 1
    """
    from cartwheel import times
    from cartwheel.sequences import schedule
    from cartwheel.simulation import madeup, simulator, stories, whatifs, worlds
    from cartwheel.views import storyviews

    if mail is not None and leads > 1:
        raise typer.BadParameter("--mail shows what one lead gets, not many")
    world, real = _world(sequence, account, file, lead, onward=onward)
    owner = world.account
    number = worlds.sequence_named(sequence, owner).id
    begun = worlds.moment(start, owner) if start else times.now().replace(second=0, microsecond=0)
    known = whatifs.assignments(fields or [])
    events = [whatifs.read(text) for text in what_if or []]
    until = schedule.length(length)

    def story(count: int) -> stories.Story:
        one = real or madeup.made_up(owner, begun, known, number=count, tags=tag or [])
        return simulator.simulate(world, one, number, begun, until, step=at_step, onward=onward, what_ifs=events)

    if leads == 1:
        told = story(1)
        if mail is not None:
            sent = told.mails_of(mail)
            _tell({"mails": [entry.as_data() for entry in sent]}, storyviews.mails(sent), as_json=as_json)
            return
        _tell(told.as_data(), storyviews.lines(told), as_json=as_json)
        return
    tally = stories.Tally(world.boxes(number))
    for count in range(1, leads + 1):
        tally.add(story(count))
    _tell(tally.as_data(), storyviews.counts(tally), as_json=as_json)


def why(
    email: LeadName,
    about: Annotated[
        str | None,
        typer.Argument(
            metavar="[SEQUENCE|MAIL]", help="A sequence, or a mail by its number or Message-ID.", show_default=False
        ),
    ] = None,
    account: AccountName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say in plain words why a lead got a mail or did not: what it waits for, and what became of each mail.

    cartwheel why ada@shop.example Welcome
    """
    from cartwheel import times
    from cartwheel.cli import context
    from cartwheel.views import asking, storyviews

    with context.open_database() as database:
        known = context.load_catalog(database)
        told = asking.ask(database, known, context.find_account(known, account), email, about, times.now())
    _tell(told.as_data(), storyviews.answer(told), as_json=as_json)


def _world(
    sequence: str, account: str | None, file: Path | None, email: str | None, *, onward: bool
) -> "tuple[World, Lead | None]":
    from cartwheel.cli import context
    from cartwheel.simulation import worlds

    if file is not None:
        if account is not None or email is not None:
            raise typer.BadParameter("with --file there is no --account and no --lead")
        return worlds.of_file(file), None
    if onward and email is None:
        raise typer.BadParameter("--onward needs a --lead")
    with context.opened(account) as (database, owner):
        key = context.find_lead(database, owner, email) if email else None
        return worlds.stored(database, owner, sequence, key, onward=onward)


def _tell(data: dict[str, Any], lines: "Iterable[Text]", *, as_json: bool) -> None:
    from cartwheel.views import terminal

    if as_json:
        terminal.show_json(data)
    else:
        terminal.show(*lines)
