"""For the tests of those who write sequences: what a lead goes through, straight from the account file.

story = simulate("account.toml", "Welcome", fields={"first_name": "Ada"}, what_if=["opened:1"])
assert [mail.subject for mail in story.mails] == ["Welcome, Ada", "Three things to try"]
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from cartwheel.sequences import schedule
from cartwheel.simulation import madeup, simulator, whatifs, worlds
from cartwheel.simulation.stories import BadSimulation, Ended, Happening, Story, StoryMail, What
from cartwheel.simulation.whatifs import WhatIf

__all__ = ["BadSimulation", "Ended", "Happening", "Story", "StoryMail", "What", "WhatIf", "simulate"]

A_MONDAY = "2027-01-04 09:00"


def simulate(
    file: str | Path,
    sequence: str,
    *,
    fields: Mapping[str, str] = {},
    tags: Iterable[str] = (),
    lists: Iterable[str] = (),
    consent: bool = True,
    start: str = A_MONDAY,
    length: str = "60 days",
    step: str | None = None,
    what_if: Iterable[str] = (),
    number: int = 1,
) -> Story:
    """What a made-up lead goes through that starts in the sequence at `start`, a time of the account's zone.

    `step` is where it starts, if not at the first step. Leads of different `number`s go different ways at a random split.
    Raises a `CartwheelError` that says what is wrong with the file, or with what was asked for.
    """
    world = worlds.of_file(Path(file))
    account = world.account
    begun = worlds.moment(start, account)
    lead = madeup.made_up(account, begun, fields, number=number, tags=tags, lists=lists, consent=consent)
    return simulator.simulate(
        world,
        lead,
        worlds.sequence_named(sequence, account).id,
        begun,
        schedule.length(length),
        step=step,
        what_ifs=[whatifs.read(text) for text in what_if],
    )
