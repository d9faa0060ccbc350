"""What the pages about sequences share: which sequence, its steps and its draft, changes of the draft."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import sqlalchemy as sa

from cartwheel import accounts
from cartwheel.accountfiles import sequencefile
from cartwheel.accountfiles.sequencefile import Finding
from cartwheel.accounts import Account, name_key
from cartwheel.data import draftstore, flowstore
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.steps import AnyStep
from cartwheel.ui.visits import NotThere, Undo, Visit

HERE = "/communication/sequences"

EMPTY = Flow(())


def sequence_of(visit: Visit) -> accounts.Sequence:
    """The one in the page's address. Raises `NotThere` for one that this account does not have."""
    found = visit.account.sequence_by_id.get(visit.path["number"])
    if found is None:
        raise NotThere
    return found


def path_of(sequence: accounts.Sequence, *more: str) -> str:
    return "/".join([HERE, str(sequence.id), *more])


class Edited(NamedTuple):
    """A sequence with the steps that run, and those that are to be."""

    sequence: accounts.Sequence
    published: Flow
    draft: Flow
    """As published, if nothing is changed."""

    @property
    def changed(self) -> bool:
        return list(self.published.steps) != list(self.draft.steps)

    @property
    def seen(self) -> str:
        """What a page says that it showed, for a form that publishes it."""
        return draftstore.digest(self.draft.steps, self.sequence.version)

    def step(self, box: str) -> AnyStep:
        found = self.draft.by_box.get(box)
        if found is None:
            raise NotThere
        return found


def read(connection: sa.Connection, account: Account, sequence: accounts.Sequence) -> Edited:
    published = flowstore.read(connection, (account.id, sequence.id, sequence.version)) or EMPTY
    draft = draftstore.read(connection, account.id, sequence.id)
    return Edited(sequence, published, published if draft is None else draft)


def edited(visit: Visit) -> Edited:
    with visit.database.read() as connection:
        return read(connection, visit.account, sequence_of(visit))


class Change:
    """The steps of a draft while they are changed: nobody else changes them meanwhile."""

    def __init__(self, found: Edited) -> None:
        self.found = found
        self.steps = list(found.draft.steps)

    def has(self, box: str) -> bool:
        return any(step.box == box for step in self.steps)

    def place(self, box: str) -> int:
        """Raises `NotThere` if there is no such box."""
        for number, step in enumerate(self.steps):
            if step.box == box:
                return number
        raise NotThere


@contextmanager
def changing(visit: Visit) -> Iterator[Change]:
    """A transaction on the draft; its steps are stored in the end if they are others."""
    account, sequence = visit.account, sequence_of(visit)
    visit.about(sequence.name)
    with visit.database.write() as connection:
        draftstore.lock(connection, account.id, sequence.id)
        change = Change(read(connection, account, sequence))
        yield change
        before = list(change.found.draft.steps)
        if change.steps != before:
            draftstore.put(connection, account.id, sequence.id, change.steps, before, visit.now)


def undo(change: Change) -> Undo:
    """The button that takes this change of the draft back, while it is the last one."""
    return undo_of(change.found.sequence, change.steps)


def undo_of(sequence: accounts.Sequence, steps: Sequence[AnyStep], **more: str) -> Undo:
    return Undo(path_of(sequence, "edit", "undo"), {"seen": draftstore.digest(steps), **more})


def with_steps(account: Account, sequence: accounts.Sequence, flow: Flow) -> Account:
    """The account as it is when the steps are published."""
    fresh = replace(
        sequence, boxes=tuple(step.box for step in flow.steps), hears=flow.hears, version=max(1, sequence.version)
    )
    return replace(account, sequences={**account.sequences, name_key(sequence.name): fresh})


def findings(account: Account, sequence: accounts.Sequence, flow: Flow) -> list[Finding]:
    """What is to be said of a draft, what stops it first."""
    found = sequencefile.findings(flow.steps, with_steps(account, sequence, flow))
    return sorted(found, key=lambda finding: not finding.stops)


def free_box(steps: Sequence[AnyStep], after: str) -> str:
    """A label for a new step: the next number in the row of boxes that `after` stands in."""
    taken = {step.box for step in steps}
    letters = (re.match(r"[A-Za-z]*", after) or [""])[0]
    numbers = [int(found[1]) for box in taken if (found := re.fullmatch(rf"{letters}(\d{{1,9}})", box))]
    number = max(numbers, default=0) + 1
    while f"{letters}{number}" in taken:
        number += 1
    return f"{letters}{number}"
