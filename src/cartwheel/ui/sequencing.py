"""What the pages about sequences share: which sequence, its steps and its draft, changes of the draft."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from cartwheel import accounts
from cartwheel.accountfiles.drafting import EMPTY, Edited, findings, read, with_steps
from cartwheel.data import draftstore, runstore
from cartwheel.sequences.steps import AnyStep
from cartwheel.ui.visits import NotThere, Undo, Visit

__all__ = ["EMPTY", "Edited", "findings", "read", "with_steps"]
"""Those that stand elsewhere; the others stand here."""

HERE = "/communication/sequences"

T = TypeVar("T")


def sequence_of(visit: Visit) -> accounts.Sequence:
    """The one in the page's address. Raises `NotThere` for one that this account does not have."""
    found = visit.account.sequence_by_id.get(visit.path["number"])
    if found is None:
        raise NotThere
    return found


def path_of(sequence: accounts.Sequence, *more: str) -> str:
    return "/".join([HERE, str(sequence.id), *more])


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


def step_of(found: Edited, box: str) -> AnyStep:
    """Raises `NotThere`."""
    step = found.draft.by_box.get(box)
    if step is None:
        raise NotThere
    return step


def undo(change: Change) -> Undo:
    """The button that takes this change of the draft back, while it is the last one."""
    return undo_of(change.found.sequence, change.steps)


def undo_of(sequence: accounts.Sequence, steps: Sequence[AnyStep], **more: str) -> Undo:
    return Undo(path_of(sequence, "edit", "undo"), {"seen": draftstore.digest(steps), **more})


def free_box(steps: Sequence[AnyStep], after: str) -> str:
    """A label for a new step: the next number in the row of boxes that `after` stands in."""
    taken = {step.box for step in steps}
    letters = (re.match(r"[A-Za-z]*", after) or [""])[0]
    numbers = [int(found[1]) for box in taken if (found := re.fullmatch(rf"{letters}(\d{{1,9}})", box))]
    number = max(numbers, default=0) + 1
    while f"{letters}{number}" in taken:
        number += 1
    return f"{letters}{number}"


def counted(visit: Visit, connection: Any, count: Callable[..., T], *of: Any) -> T:
    """What `count` finds of the account: in a large one it is up to five minutes old, because counting takes seconds."""
    account_id = visit.account.id
    if not runstore.are_many(connection, account_id):
        return count(connection, account_id, *of)
    key = (count.__name__, account_id, *of)
    return visit.house.remembered.get(key, visit.now, lambda: count(connection, account_id, *of))
