"""Moving runs to another version of their sequence: who goes where, who stays, and why. Pure.

The rules, and why they are so, stand in docs/decisions/0012-moving-runs.md.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from cartwheel.sequences.flows import Flow
from cartwheel.sequences.steps import EmailStep

MailKey = tuple[int, str]
"""(version, box) of a step that sends a mail."""


class Way(NamedTuple):
    """Where a run goes, or, without a box, why it stays."""

    box: str | None
    why: str = ""


@dataclass(frozen=True, eq=False)
class Move:
    """What an owner has asked for."""

    to: int
    flow: Flow
    """Of the version `to`."""
    sources: Mapping[int, Flow]
    """Of the versions whose runs are moved."""
    letters: Mapping[MailKey, str]
    """The mails of all versions, told apart by what they say."""
    boxes: Mapping[str, str]
    """Where those go whose box has another name in the version `to`."""

    def way(self, version: int, box: str, got: Collection[MailKey]) -> Way:
        """Of a run that stands at this box, and has got these mails."""
        landing = self._landing(box)
        if landing is None:
            renamed = self.boxes.get(box, box)
            return Way(None, f"version {self.to} has no step {renamed}")
        kept = self.again(version, box)
        again = {kept[mail] for mail in got if mail in kept}
        return Way(None, sent_again(again)) if again else Way(landing)

    @lru_cache  # noqa: B019 - there is one move in the life of a process
    def again(self, version: int, box: str) -> Mapping[MailKey, str]:
        """The mails that keep a run at this box where it is if it has got them, with the step that would send them again.

        What its own version would send once more is none of these: there it goes in a circle on purpose.
        """
        landing = self._landing(box)
        if landing is None:
            return {}
        source = self.sources.get(version)
        usual = {(step.box, letter(step)) for step in _mails_ahead(source, box)} if source else set()
        coming = {(step.box, letter(step)) for step in _mails_ahead(self.flow, landing)}
        found: dict[MailKey, str] = {}
        for (past, old), text in self.letters.items():
            if _twin(old, text, usual) is None:
                twin = _twin(self.boxes.get(old, old), text, coming)
                if twin is not None:
                    found[past, old] = twin
        return found

    def _landing(self, box: str) -> str | None:
        landing = self.boxes.get(box, box)
        return landing if landing in self.flow.by_box else None


def sent_again(boxes: Collection[str]) -> str:
    """Why such a run stays."""
    return f"it would be sent the mail of step {', '.join(sorted(boxes))} again"


def letter(step: EmailStep) -> str:
    """The same for steps whose mails say the same, whatever their boxes."""
    said = "\0".join([step.subject, step.html or step.mjml or step.markdown or ""])
    return hashlib.sha256(said.encode()).hexdigest()


def _mails_ahead(flow: Flow, box: str) -> Iterator[EmailStep]:
    return (step for each in flow.ahead(box) if isinstance(step := flow.by_box[each], EmailStep) and step.active)


def _twin(box: str, text: str, among: Collection[tuple[str, str]]) -> str | None:
    """The box of the mail that is the same as this one: under the same label, or in the same words."""
    return next((other for other, words in sorted(among) if other == box or words == text), None)
