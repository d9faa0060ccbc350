"""Automations: when something happens to a lead, and a condition holds, something is done. Pure.

They are decided in the piece of work whose events start them, over the same lead: what they do is stored with what started
them, or not at all (docs/decisions/0021-automations.md).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Annotated, NamedTuple

import msgspec

from cartwheel.accounts import Account, Automation, name_key
from cartwheel.errors import DomainError
from cartwheel.leads.events import (
    AutomationRan,
    AutomationRefused,
    AutomationSkipped,
    PointsExpired,
    PointsGiven,
    PointsRemoved,
    by_automation,
)
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part, Parts
from cartwheel.phrases import form, joined, phrase
from cartwheel.sequences import conditions
from cartwheel.sequences.actions import AnyAction, Doing, Notify, Points
from cartwheel.sequences.conditions import All, AnyCondition, Clicked, Condition, Opened, Subject
from cartwheel.sequences.triggers import AnyTrigger, Happened, Trigger

MOST_ACTIONS = 20
MOST_DEEP = 10
"""So long a row of automations that start each other is followed."""

MOST_RUNS = 100
"""So many automations run in one piece of work, for one lead."""

MOST_SKIPS = 20
"""So many that did not run because of their conditions are told of one piece of work."""


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """What an automation is about."""

    when: Annotated[AnyTrigger, msgspec.Meta(description="What starts it.")]
    then: Annotated[
        list[AnyAction],
        msgspec.Meta(min_length=1, max_length=MOST_ACTIONS, description="What is done, one after the other."),
    ]
    condition: Annotated[AnyCondition | None, msgspec.Meta(description="Only if this holds; without it, always.")] = (
        None
    )

    @cached_property
    def hears(self) -> str:
        """The kind of event that may start it."""
        return self.when.event.kind

    @cached_property
    def parts(self) -> Parts:
        """What of a lead has to be loaded for it."""
        total = conditions.parts(self.condition) if self.condition else Part.NONE
        if total & Part.MAILS:
            total |= Part.SEQUENCES
        for action in self.then:
            total |= action.parts
        return total

    def problems(self, account: Account) -> Iterator[str]:
        """What keeps it from being used."""
        for part in (self.when, *self.then, *([self.condition] if self.condition else [])):
            try:
                part.check(account)
            except DomainError as error:
                yield phrase(str(error))
        asks_mail = self.condition and any(isinstance(each, Opened | Clicked) for each in self.condition.inside())
        if asks_mail and "sequence_id" not in self.when.event.__struct_fields__:
            yield phrase("it asks about a mail of the sequence that started it, and no sequence starts it")

    def told(self) -> str:
        """All of it in one sentence."""
        then = joined("{first} and {rest}", [action.told() for action in self.then])
        if self.condition is None:
            return phrase("When {event}, then {actions}.", event=self.when.told(), actions=then)
        text = form("When {event}, and {condition}, then {actions}.")
        return phrase(text, event=self.when.told(), condition=self.condition.told(), actions=then)


def plan_of(automation: Automation) -> Plan | None:
    """None for one that this version of Cartwheel cannot read."""
    plan = automation.plan
    assert plan is None or isinstance(plan, Plan)
    return plan


# -- what they do --


class Notice(NamedTuple):
    """A word to a person about a lead."""

    automation: Automation
    action: Notify
    event: str
    """What started it, in words."""


@dataclass
class Reaction:
    """`origins` says of each of the lead's events who brought it about."""

    origins: list[str]
    notices: list[Notice]


@dataclass
class _Cause:
    """Where an event came from: `ran` are the automations that have run since the event at the beginning of it all."""

    origin: str
    ran: set[int]
    deep: int
    happened: Happened
    refused: set[int] = field(default_factory=set)


def starts_any(lead: Lead, account: Account) -> bool:
    """Whether some automation hears what has happened to the lead, who has to be there still."""
    started = account.reactions
    if not started or lead.deleted_at is not None:
        return False
    return not started.keys().isdisjoint(event.kind for event in lead.events)


def react(lead: Lead, account: Account, now: datetime, origin: str) -> Reaction:
    """Run the automations that the lead's events start, and those that theirs do; `origin` is whose the events are."""
    return _Reacting(lead, account, now, origin).run()


class _Reacting:
    def __init__(self, lead: Lead, account: Account, now: datetime, origin: str) -> None:
        self._lead = lead
        self._account = account
        self._now = now
        self._notices: list[Notice] = []
        self._runs = 0
        self._skips = 0
        self._causes: list[_Cause] = []
        score = lead.score
        for event in reversed(lead.events):
            before = score - _points(event)
            self._causes.append(_Cause(origin, set(), 0, Happened(event, before, score)))
            score = before
        self._causes.reverse()

    def run(self) -> Reaction:
        """Each event starts its automations in the order in which they were made, before the next event does."""
        started = self._account.reactions
        for cause in self._causes:  # which grows meanwhile
            for automation in started.get(cause.happened.event.kind, ()):
                self._consider(automation, cause)
        return Reaction([cause.origin for cause in self._causes], self._notices)

    def _consider(self, automation: Automation, cause: _Cause) -> None:
        plan = plan_of(automation)
        assert plan is not None  # it has heard something
        if not plan.when.fits(cause.happened, self._account):
            return
        if automation.id in cause.ran:
            self._refuse(automation, cause, LOOP)
        elif cause.deep >= MOST_DEEP:
            self._refuse(
                automation, cause, phrase("{count} automations in a row have started each other", count=MOST_DEEP)
            )
        elif self._runs >= MOST_RUNS:
            self._refuse(automation, cause, phrase("{count} automations have run at once", count=MOST_RUNS))
        else:
            try:
                unmet = self._unmet(plan, cause)
            except DomainError as error:
                self._refuse(automation, cause, str(error))
                return
            if unmet is None:
                self._go(automation, plan, cause)
            elif self._skips < MOST_SKIPS:
                self._skips += 1
                self._note(automation, cause, AutomationSkipped(automation.id, str(unmet.told())))

    def _unmet(self, plan: Plan, cause: _Cause) -> Condition | None:
        if plan.condition is None:
            return None
        sequence_id = getattr(cause.happened.event, "sequence_id", None)
        run = self._lead.runs.get(sequence_id) if sequence_id and self._lead.has(Part.SEQUENCES) else None
        return _first_unmet(plan.condition, Subject(self._lead, self._account, run))

    def _go(self, automation: Automation, plan: Plan, cause: _Cause) -> None:
        self._runs += 1
        cause.ran.add(automation.id)
        event = cause.happened.event
        self._note(automation, cause, AutomationRan(automation.id, event.kind))

        def notify(action: Notify) -> None:
            self._notices.append(Notice(automation, action, str(event.told(self._account.names))))

        for action in plan.then:
            try:
                action.do(Doing(self._lead, self._account, self._now, automation.id, notify))
            except DomainError as error:
                self._lead.events.append(AutomationRefused(automation.id, str(error)))
            self._follow(automation, cause)

    def _refuse(self, automation: Automation, cause: _Cause, why: str) -> None:
        """Told once of what follows from one event."""
        if automation.id not in cause.refused:
            cause.refused.add(automation.id)
            self._note(automation, cause, AutomationRefused(automation.id, str(why)))

    def _note(
        self, automation: Automation, cause: _Cause, event: AutomationRan | AutomationRefused | AutomationSkipped
    ) -> None:
        self._lead.events.append(event)
        self._follow(automation, cause)

    def _follow(self, automation: Automation, cause: _Cause) -> None:
        """The events that are new have come of the automation."""
        news = self._lead.events[len(self._causes) :]
        score = self._lead.score - sum(_points(event) for event in news)
        for event in news:
            happened = Happened(event, score, score + _points(event))
            score = happened.after
            self._causes.append(
                _Cause(by_automation(automation.id), cause.ran, cause.deep + 1, happened, cause.refused)
            )


LOOP = phrase("it has run already because of the same event: automations start each other in a circle")


def _points(event: object) -> int:
    """What an event adds to the score."""
    if isinstance(event, PointsGiven):
        return event.points
    return -event.points if isinstance(event, PointsRemoved | PointsExpired) else 0


def _first_unmet(condition: Condition, subject: Subject) -> Condition | None:
    """The first that keeps it from being true; None if it is."""
    if isinstance(condition, All):
        unmet = (_first_unmet(each, subject) for each in condition.conditions)
        return next((found for found in unmet if found is not None), None)
    return None if condition.holds(subject) else condition


# -- circles --


def circles(account: Account) -> list[list[str]]:
    """The names of automations that may start each other in a circle, each circle once."""
    plans = {each.name: plan for each in account.automations.values() if each.active and (plan := plan_of(each))}
    follows = {
        name: [other for other, its in plans.items() if _may_start(plan, its.when)] for name, plan in plans.items()
    }
    found: dict[frozenset[str], list[str]] = {}
    for name in plans:
        way = _way_back(name, follows)
        if way:
            found.setdefault(frozenset(way), way)
    return list(found.values())


def _may_start(plan: Plan, trigger: Trigger) -> bool:
    for action in plan.then:
        if action.starts is None or not isinstance(trigger, action.starts):
            continue
        if isinstance(action, Points):
            if action.points > 0:
                return True
        elif trigger.about is None or name_key(trigger.about) == name_key(action.about or ""):
            return True
    return False


def _way_back(start: str, follows: Mapping[str, Sequence[str]]) -> list[str]:
    """The shortest way from an automation to itself, without coming to it again; empty if there is none."""
    ways = [[start]]
    seen: set[str] = set()
    for way in ways:  # which grows meanwhile
        for name in follows[way[-1]]:
            if name == start:
                return way
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []


def warnings(account: Account) -> list[str]:
    """What is worth knowing of the account's automations."""
    text = form("Automations may start each other in a circle, which is broken off after one round: {names}")
    return [phrase(text, names=" → ".join([*circle, circle[0]])) for circle in circles(account)]
