"""A move of runs to another version of their sequence, as it is asked for, and what would become of whom."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from cartwheel import accounts
from cartwheel.accounts import Account
from cartwheel.data import flowstore, runstore
from cartwheel.data.runstore import Standing
from cartwheel.errors import NoSuchName
from cartwheel.leads.leadparts import RunStatus
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.moving import MailKey, Move, letter, sent_again
from cartwheel.sequences.steps import EmailStep


class Line(NamedTuple):
    """Leads of one version at one box: where they go, or, with `to` None, why they stay."""

    version: int
    box: str
    parked: bool
    leads: int
    to: str | None
    why: str


@dataclass(frozen=True)
class MovePlan:
    """A move and its preview."""

    account: Account
    sequence: accounts.Sequence
    move: Move
    lines: Sequence[Line]

    @property
    def going(self) -> int:
        return sum(line.leads for line in self.lines if line.to is not None)

    @property
    def staying(self) -> int:
        return sum(line.leads for line in self.lines if line.to is None)

    def as_data(self) -> dict[str, Any]:
        return {
            "account": self.account.name,
            "sequence": self.sequence.name,
            "to": self.move.to,
            "lines": [line._asdict() for line in self.lines],
            "going": self.going,
            "staying": self.staying,
        }


def plan(
    connection: sa.Connection,
    account: Account,
    sequence: accounts.Sequence,
    boxes: Mapping[str, str],
    *,
    source: int | None,
    everybody: bool,
    to: int | None,
    draft: Flow | None = None,
    counting: Callable[..., Any] | None = None,
) -> MovePlan:
    """With a `draft`, as if that were version `to`. `counting` calls what counts runs, if it is not to be called for each look.

    Raises `NoSuchName` where a version or a box is named that is not there, or has to be named.
    """
    counting = counting or (lambda count, *of: count(connection, account.id, *of))
    places: list[Standing] = counting(runstore.standing, sequence.id)
    wanted = sequence.version if to is None else to
    sources = _sources(sequence, {place.version for place in places}, wanted, source, everybody=everybody)
    flows: dict[int, Flow] = {}
    letters: dict[MailKey, str] = {}
    for version, flow in flowstore.versions(connection, account.id, sequence.id):
        letters |= {(version, step.box): letter(step) for step in flow.steps if isinstance(step, EmailStep)}
        if version in sources or version == wanted:
            flows[version] = flow
    if draft is not None:
        letters |= {(wanted, step.box): letter(step) for step in draft.steps if isinstance(step, EmailStep)}
        flows[wanted] = draft
    if wanted not in flows:
        raise NoSuchName(f"the sequence {sequence.name} has no version {wanted}; the newest is {sequence.version}")
    if source is not None and source not in flows and source not in {place.version for place in places}:
        raise NoSuchName(f"the sequence {sequence.name} has no version {source}; the newest is {sequence.version}")
    there = {place.box for place in places if place.version in sources}.union(
        *(flows[version].by_box for version in sources if version in flows)
    )
    for old, new in boxes.items():
        if sources and old not in there:
            raise NoSuchName(f"--map {old}={new}: no version that is moved has a step {old}")
        if new not in flows[wanted].by_box:
            raise NoSuchName(f"--map {old}={new}: version {wanted} has no step {new}")
    move = Move(wanted, flows[wanted], {number: flows.get(number, Flow(())) for number in sources}, letters, boxes)
    order = {step.box: number for flow in flows.values() for number, step in enumerate(flow.steps)}
    lines = [
        line
        for place in sorted(places, key=lambda place: (place.version, order.get(place.box, -1), place.status))
        if place.version in sources
        for line in _lines(counting, sequence.id, move, place)
    ]
    return MovePlan(account, sequence, move, lines)


def _sources(sequence: accounts.Sequence, held: set[int], to: int, source: int | None, *, everybody: bool) -> set[int]:
    others = held - {to}
    if source is not None:
        return {source} - {to}
    if len(others) > 1 and not everybody:
        numbers = ", ".join(map(str, sorted(others)))
        raise NoSuchName(f"leads of {sequence.name} are in versions {numbers}: name one with --from, or take --all")
    return others


def _lines(counting: Callable[..., Any], sequence_id: int, move: Move, place: Standing) -> Iterator[Line]:
    kept = move.again(place.version, place.box)
    staying: int = counting(runstore.who_got, sequence_id, place, frozenset(kept))
    going = place.leads - staying
    parked = place.status is RunStatus.PARKED
    if going:
        way = move.way(place.version, place.box, ())
        yield Line(place.version, place.box, parked, going, way.box, way.why)
    if staying:
        yield Line(place.version, place.box, parked, staying, None, sent_again(set(kept.values())))
