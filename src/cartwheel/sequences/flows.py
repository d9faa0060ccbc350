"""What one version of a sequence does: its steps, how they are connected, and how a run is taken along them. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from cartwheel.accounts import Account
from cartwheel.errors import DomainError
from cartwheel.leads.events import LeadEdited
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Enrolment, Part, Parts
from cartwheel.phrases import phrase
from cartwheel.sequences import conditions
from cartwheel.sequences.steps import (
    AnyStep,
    EmailStep,
    End,
    GoalStep,
    GoTo,
    Situation,
    Stay,
    Step,
    WaitUntilStep,
    needs,
)

MOST_MOVES_AT_ONCE = 100
"""A run that comes through more steps than that without a pause goes in a circle, unless the sequence is that long."""


class Problem(NamedTuple):
    """What keeps a flow from being used, with the box where it is."""

    box: str
    text: str

    def __str__(self) -> str:
        return f"box {self.box}: {self.text}"


@dataclass(frozen=True)
class Flow:
    """The steps in the order in which they were written."""

    steps: Sequence[AnyStep]

    @cached_property
    def by_box(self) -> Mapping[str, AnyStep]:
        return {step.box: step for step in self.steps}

    @cached_property
    def parts(self) -> Parts:
        """What of a lead has to be loaded to take it along."""
        total = Part.SEQUENCES
        for step in self.steps:
            total |= needs(step)
        return total

    @cached_property
    def hears(self) -> frozenset[str]:
        """The kinds of events that may end somebody's waiting, make a goal come true, or open another window."""
        waiting = [step.condition for step in self.steps if isinstance(step, WaitUntilStep | GoalStep)]
        zones = {LeadEdited.kind} if any(step.asks_zone for step in self.steps) else set()
        return frozenset(zones).union(*(conditions.hears(condition) for condition in waiting))

    def follower(self, step: Step) -> str | None:
        """The box that a run comes to after the step."""
        if step.ends:
            return None
        return step.next or self._written_next.get(step.box)

    @cached_property
    def _written_next(self) -> Mapping[str, str]:
        boxes = [step.box for step in self.steps]
        return dict(pairwise(boxes))

    @cached_property
    def _place(self) -> Mapping[str, int]:
        return {step.box: number for number, step in enumerate(self.steps)}

    @cached_property
    def _goals(self) -> Sequence[GoalStep]:
        return [step for step in self.steps if isinstance(step, GoalStep) and step.active]

    def goal_ahead(self, situation: Situation) -> GoalStep | None:
        """The first goal ahead of the run whose condition is true."""
        return next((goal for goal in self._goals_of(situation.run.step) if situation.holds(goal.condition)), None)

    def _goals_of(self, box: str) -> Sequence[GoalStep]:
        """Those that lie ahead of a box, which is gone if it is none of these."""
        if box not in self._known_goals:
            self._known_goals[box] = [
                goal for goal in self._goals if box not in self.by_box or self._is_before(goal, box)
            ]
        return self._known_goals[box]

    def _is_before(self, goal: GoalStep, box: str) -> bool:
        """Whether the connections lead from the box to the goal; in a circle, the box is also written before it.

        To a goal that they lead nobody to, everything written before it leads.
        """
        in_order = self._place[box] < self._place[goal.box]
        back = box in self._reached([goal.box])
        if goal in self._islands:
            return in_order and not back
        return goal.box in self._reached([box]) and (in_order or not back)

    @cached_property
    def _known_goals(self) -> dict[str, Sequence[GoalStep]]:
        """By box, as they are asked for."""
        return {}

    @cached_property
    def _islands(self) -> Sequence[GoalStep]:
        """The goals that nobody who starts at the first step comes to without a jump."""
        reached = self._reached([step.box for step in self.steps[:1]])
        return [goal for goal in self._goals if goal.box not in reached]

    # -- what is wrong with it --

    def problems(self, account: Account) -> Iterator[Problem]:
        """What keeps it from being used."""
        seen: set[str] = set()
        for step in self.steps:
            if step.box in seen:
                yield Problem(step.box, phrase("there are two of them"))
            seen.add(step.box)
        for step in self.steps:
            for box in (*step.targets(), *([step.next] if step.next else [])):
                if box not in self.by_box:
                    yield Problem(step.box, phrase("there is no box {step} to go to", step=box))
            try:
                step.check(account)
            except DomainError as error:
                yield Problem(step.box, phrase(str(error)))
            for condition in (inner for each in step.conditions() for inner in each.inside()):
                asked = getattr(condition, "box", None)
                if asked is not None and not isinstance(self.by_box.get(asked), EmailStep):
                    yield Problem(step.box, phrase("box {step}, whose mail it asks about, sends none", step=asked))

    def unreachable(self) -> list[str]:
        """The boxes that nobody who starts at the first one ever comes to, goals not counted."""
        reached = self._reached([step.box for step in self.steps[:1]] + [goal.box for goal in self._goals])
        return [step.box for step in self.steps if step.box not in reached]

    def ahead(self, box: str) -> set[str]:
        """The boxes that a run at this one may ever come to, this one among them."""
        reached = self._reached([box])
        while goals := self._goals_after(reached) - reached:
            reached |= self._reached(list(goals))
        return reached

    def _goals_after(self, boxes: set[str]) -> set[str]:
        first = min((self._place[box] for box in boxes), default=len(self.steps))
        return {goal.box for goal in self._islands if self._place[goal.box] > first}

    def _reached(self, waiting: list[str]) -> set[str]:
        """The boxes that those at these come to, goals not counted."""
        reached: set[str] = set()
        while waiting:
            box = waiting.pop()
            if box in reached or box not in self.by_box:
                continue
            reached.add(box)
            step = self.by_box[box]
            follower = self.follower(step)
            waiting += [*(step.targets() if step.active else ()), *([follower] if follower else [])]
        return reached


def advance(lead: Lead, sequence_id: int, flow: Flow, account: Account, now: datetime) -> None:
    """Take a run as far as it goes now: it ends, waits for a time or an event, or is parked with a reason."""
    run = lead.runs[sequence_id]
    if not run.runs:
        return
    sequence = account.sequence_by_id[sequence_id]
    if account.holds(sequence_id):
        lead.wait(run, None, "", held=True)
        return
    if run.arrived_at is None:
        run = lead.arrive(run, now)
    elif sequence.resumed_at is not None and run.arrived_at < sequence.resumed_at <= now:
        run = lead.arrive(run, sequence.resumed_at)
    most = max(MOST_MOVES_AT_ONCE, 2 * len(flow.steps))
    for _ in range(most):
        try:
            moved = _take_step(Situation(lead, run, account, now), flow)
        except DomainError as error:
            lead.park(lead.runs[sequence_id], str(error))
            return
        if moved is None:
            return
        run = moved
    lead.park(run, f"it went through {most} steps without a pause, which looks like a circle")


def _take_step(situation: Situation, flow: Flow) -> Enrolment | None:
    """The run at its next step, or None when it has come to a halt."""
    lead, run, now = situation.lead, situation.run, situation.now
    goal = flow.goal_ahead(situation)
    if goal is not None:
        return lead.go_to(run, goal.box, now)
    step = flow.by_box.get(run.step)
    if step is None:
        lead.park(run, f"the sequence has no step {run.step}")
        return None
    if not step.active:
        return _follow(situation, flow, step)
    due = step.begins(situation)
    if due <= now:
        due = step.opens(situation)
    if due > now:
        lead.wait(run, due, "its time")
        return None
    outcome = step.decide(situation)
    if isinstance(outcome, End):
        return None
    if isinstance(outcome, Stay):
        lead.wait(run, outcome.until, outcome.reason)
        return None
    if isinstance(outcome, GoTo):
        return lead.go_to(run, outcome.box, now)
    return _follow(situation, flow, step)


def _follow(situation: Situation, flow: Flow, step: Step) -> Enrolment | None:
    run = situation.lead.runs[situation.run.sequence_id]  # as the step has left it
    follower = flow.follower(step)
    if follower is None:
        situation.lead.complete(run, situation.now)
        return None
    return situation.lead.go_to(run, follower, situation.now)
