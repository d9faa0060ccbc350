"""Steps and conditions in the words of people who build sequences, in their language."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cartwheel.phrases import said
from cartwheel.sequences import schedule, telling
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.steps import (
    CompleteStep,
    GoalStep,
    GoToStep,
    PointsStep,
    RandomSplitStep,
    SplitStep,
    Step,
    UnsubscribeStep,
    WaitUntilStep,
)

Translate = Callable[[str], str]


def _(text: str) -> str:
    """Marks a text for translation; it is translated where it is shown."""
    return text


@dataclass(frozen=True)
class Kind:
    """A type of step as people choose it."""

    tag: str
    label: str
    help: str
    icon: str


KINDS = (
    Kind("email", _("E-mail"), _("Send a mail."), icon="mail"),
    Kind("wait", _("Wait"), _("Wait some days or hours, until a date, or for a time of the day. Then go on."), icon="clock"),
    Kind("wait_until", _("Wait until"), _("Wait until something is true of the lead: it has a tag, has clicked, has so many points."), icon="hourglass"),
    Kind("split", _("Split by a condition"), _("One way if something is true of the lead, another if not."), icon="git-branch"),
    Kind("random_split", _("Split by chance"), _("Divide leads by weights, to try things out."), icon="arrows-split-2"),
    Kind("goal", _("Goal"), _("Who meets it jumps here from any step before."), icon="flag"),
    Kind("go_to", _("Go to"), _("Jump to another step."), icon="corner-up-right"),
    Kind("assign_tag", _("Assign a tag"), _("The lead gets the tag."), icon="tag"),
    Kind("unassign_tag", _("Take a tag away"), _("The lead has the tag no longer."), icon="tag-off"),
    Kind("subscribe_list", _("Subscribe to a list"), _("The lead is on the list from then on."), icon="list-check"),
    Kind("unsubscribe_list", _("Take off a list"), _("The lead leaves the list."), icon="list-details"),
    Kind("points", _("Points"), _("Give points, or take them."), icon="star"),
    Kind("start_sequence", _("Start a sequence"), _("The lead starts another sequence as well."), icon="player-play"),
    Kind("stop_sequence", _("Stop a sequence"), _("The lead leaves a sequence."), icon="player-stop"),
    Kind("complete", _("Complete"), _("Nothing more happens; the lead stays in the sequence."), icon="circle-check"),
    Kind("unsubscribe", _("Leave"), _("The lead leaves this sequence, and may start it again."), icon="door-exit"),
)  # fmt: skip

KIND_OF: Mapping[str, Kind] = {kind.tag: kind for kind in KINDS}

CONDITIONS: Mapping[str, str] = {
    "has_tag": _("has a tag"),
    "on_list": _("is on a list"),
    "in_sequence": _("is in a sequence, or completed it"),
    "completed": _("has completed a sequence"),
    "left": _("has left a sequence"),
    "score": _("has so many points"),
    "field": _("has a field with a value"),
    "opened": _("has opened a mail of this sequence"),
    "clicked": _("has clicked in a mail of this sequence"),
    "all": _("meets all of these"),
    "any": _("meets any of these"),
    "not": _("does not meet this"),
}


def kind_of(step: Step) -> Kind:
    return KIND_OF[str(step.__struct_config__.tag)]


def summary(step: Step, translate: Translate) -> str:
    """What it does, in a few words: a mail's subject, a tag's name, a condition."""
    match step:
        case PointsStep():
            told = translate(_("%d points")) % step.points
            return told + (" · " + translate(_("for %d days")) % step.days if step.days else "")
        case SplitStep() | GoalStep() | WaitUntilStep():
            return _first_big(said(step.condition.told(), translate))
        case GoToStep():
            return translate(_("step %s")) % step.to
        case _:
            return telling.about(step)


def _first_big(text: str) -> str:
    return text[:1].upper() + text[1:]


def timing(step: Step, translate: Translate) -> str:
    """What a lead waits for before the step, if for anything."""
    parts = []
    if step.at:
        parts.append(translate(_("on %s")) % step.at)
    elif not step.delay.startswith("0 "):
        parts.append(translate(_("after %s")) % said(schedule.told(step.delay), translate))
    if step.window:
        parts.append(said(telling.window(step.window), translate))
    if isinstance(step, WaitUntilStep) and step.timeout:
        parts.append(translate(_("at most %s")) % said(schedule.told(step.timeout), translate))
    return " · ".join(parts)


class Way(NamedTuple):
    """Where a step may lead; without `to`, to the end."""

    to: str | None
    label: str


def ways(step: Step, flow: Flow, translate: Translate) -> Iterator[Way]:
    """All of them, each with what decides."""
    follower = flow.follower(step)
    if not step.active:
        yield Way(follower, "")
        return
    match step:
        case SplitStep():
            yield Way(step.then or follower, translate(_("yes")))
            yield Way(step.otherwise or follower, translate(_("no")))
        case RandomSplitStep():
            total = sum(branch.weight for branch in step.branches)
            for branch in step.branches:
                yield Way(branch.to, f"{100 * branch.weight / total:.3g} %")
        case GoToStep():
            yield Way(step.to, "")
        case CompleteStep() | UnsubscribeStep():
            return
        case WaitUntilStep() if step.on_timeout:
            yield Way(follower, translate(_("yes")))
            yield Way(step.on_timeout, translate(_("too late")))
        case _:
            yield Way(follower, "")


def ends(step: Step) -> bool:
    """Whether nothing ever follows it."""
    return isinstance(step, CompleteStep | UnsubscribeStep)
