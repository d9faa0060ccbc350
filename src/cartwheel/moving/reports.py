"""What a move has to tell: what could not be moved and why, and where leads stand in sequences. Pure."""

from collections.abc import Iterable

import msgspec

SHOWN = 5
"""Lines of the file that are named, of those with whom something is amiss: no addresses, because reports outlive leads."""

MOST_KINDS = 500
OTHERS = "other things"

NOWHERE = ""
"""The step of a lead that is not in the sequence any more, or whose step is not told."""


class Loss(msgspec.Struct):
    """Something that is not here as it was there."""

    leads: int = 0
    some: list[int] = []
    """Their lines in the file."""


class Report(msgspec.Struct, omit_defaults=True):
    """It grows with each slice, in the transaction that moves its leads."""

    losses: dict[str, Loss] = {}
    places: dict[str, dict[str, dict[str, int]]] = {}
    """Sequence, step, status: leads."""
    started: dict[str, int] = {}
    """Leads whose place in the sequence was taken over."""
    drafts: list[str] = []
    """Sequences that were made without steps."""
    differences: list[str] = []
    """What is another thing here for all leads: names, types of fields."""

    def lose(self, line: int, what: Iterable[str]) -> None:
        for each in what:
            known = each in self.losses or len(self.losses) < MOST_KINDS
            loss = self.losses.setdefault(each if known else OTHERS, Loss())
            loss.leads += 1
            if len(loss.some) < SHOWN:
                loss.some.append(line)

    def place(self, sequence: str, step: str, status: str) -> None:
        statuses = self.places.setdefault(sequence, {}).setdefault(step, {})
        statuses[status] = statuses.get(status, 0) + 1

    def start(self, sequence: str) -> None:
        self.started[sequence] = self.started.get(sequence, 0) + 1


def read(text: str) -> Report:
    return msgspec.json.decode(text, type=Report) if text else Report()


def written(report: Report) -> str:
    return msgspec.json.encode(report).decode()
