"""The form of an automation: what starts it, what is asked, what is done; derived from their types as steps' forms are."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from cartwheel.accountfiles import automationfile
from cartwheel.accounts import name_key
from cartwheel.data import userstore
from cartwheel.sequences.actions import ACTION_TYPES
from cartwheel.sequences.automations import MOST_ACTIONS, Plan
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.triggers import TRIGGER_TYPES
from cartwheel.ui import stepforms
from cartwheel.ui.stepforms import Input, Maker, Tree
from cartwheel.ui.visits import Visit


def _(text: str) -> str:
    """Marks a text for translation; it is translated where it is shown."""
    return text


TRIGGERS: Mapping[str, str] = {
    "assign_tag": _("gets a tag"),
    "unassign_tag": _("loses a tag"),
    "list_subscription": _("joins a list"),
    "list_unsubscription": _("leaves a list"),
    "sequence_subscription": _("starts a sequence"),
    "sequence_unsubscription": _("leaves a sequence"),
    "sequence_completion": _("completes a sequence"),
    "reaches_score": _("reaches a score"),
    "mail_opened": _("opens a mail"),
    "mail_clicked": _("clicks in a mail"),
    "lead_created": _("is added to the account"),
    "lead_edited": _("has a field changed"),
}

ACTIONS: Mapping[str, str] = {
    "assign_tag": _("assign a tag"),
    "unassign_tag": _("take a tag away"),
    "subscribe_list": _("subscribe it to a list"),
    "unsubscribe_list": _("take it off a list"),
    "start_sequence": _("start a sequence"),
    "stop_sequence": _("take it out of a sequence"),
    "points": _("give or take points"),
    "webhook": _("tell a webhook"),
    "notify": _("mail somebody of your team"),
}

_KINDS_OF_TRIGGER = {str(kind.__struct_config__.tag): kind for kind in TRIGGER_TYPES}
_KINDS_OF_ACTION = {str(kind.__struct_config__.tag): kind for kind in ACTION_TYPES}

_LABELS: Mapping[str, str] = {"when.step": _("Mail of step"), "to": _("Who"), "text": _("What it says besides")}


class Form(NamedTuple):
    when: Input
    condition: Input
    then: Sequence[Input]


def form(visit: Visit, tree: Tree) -> Form:
    """The fields, filled with what was sent or is stored."""
    maker = Maker(visit.account, Flow(()), visit._)
    condition = maker.condition("condition", tree.get("condition") or {})
    condition.label = visit._("Only if the lead")
    when = _choice(visit, maker, "when", tree.get("when") or {}, TRIGGERS, _KINDS_OF_TRIGGER)
    when.label, when.required = visit._("When a lead"), True
    actions = [*(tree.get("then") or [{}])][:MOST_ACTIONS]
    then = [_choice(visit, maker, f"then.{at}", entry, ACTIONS, _KINDS_OF_ACTION) for at, entry in enumerate(actions)]
    for entry in then:
        entry.label = visit._("Then")
    return Form(when, condition, then)


def _choice(
    visit: Visit, maker: Maker, name: str, tree: Tree, labels: Mapping[str, str], kinds: Mapping[str, type[Any]]
) -> Input:
    chosen = str(tree.get("type", ""))
    made = Input(name, "condition", "", value=chosen if chosen in kinds else "")
    made.options = [("", visit._("Choose …")), *((tag, visit._(label)) for tag, label in labels.items())]
    made.inside = maker.of_type(kinds[chosen], tree, f"{name}.") if chosen in kinds else []
    for field in made.inside:
        last = field.name.rpartition(".")[2]
        label = _LABELS.get(field.name) or (_LABELS.get(last) if chosen == "notify" else None)
        field.label = visit._(label) if label else field.label
        if field.kind == "choice" and not field.required:
            field.options = [("", visit._("any")), *field.options[1:]]
        if (chosen, last) == ("notify", "to"):
            field.kind, field.options = "choice", _people(visit, str(tree.get("to", "")))
    return made


def _people(visit: Visit, chosen: str) -> list[tuple[str, str]]:
    with visit.database.read() as connection:
        emails = [member.user.email for member in userstore.members(connection, visit.account.id)]
    known = {name_key(email) for email in emails}
    others = [chosen] if chosen and name_key(chosen) not in known else []
    return [("", "-"), *((email, email) for email in (*emails, *others))]


def sent(visit: Visit) -> Tree:
    """The tree of what was sent; actions that were not chosen are left out."""
    when, condition = visit.text("when.type", 30), stepforms.sent_condition(visit, "condition")
    then = []
    for at in range(MOST_ACTIONS):
        kind = _KINDS_OF_ACTION.get(visit.text(f"then.{at}.type", 30))
        if kind is not None:
            then.append(stepforms.sent_of_type(visit, kind, f"then.{at}."))
    found = _KINDS_OF_TRIGGER.get(when)
    then = [*(then or [{}]), {}] if visit.text("then.more") else then
    tree: Tree = {"when": stepforms.sent_of_type(visit, found, "when.") if found else {}, "then": then}
    return tree | ({"condition": condition} if condition else {})


def read(visit: Visit, tree: Tree) -> tuple[Plan | None, dict[str, str]]:
    """The plan, or what is wrong with it, by the names of its fields; "" for what is wrong with all of it."""
    whole = tree | {"then": [entry for entry in tree["then"] if entry]}
    if not whole["when"]:
        return None, {"when": visit._("This is needed.")}
    if not whole["then"]:
        return None, {"then.0": visit._("This is needed.")}
    try:
        plan = msgspec.convert(whole, Plan)
    except msgspec.ValidationError as error:
        return None, stepforms.errors_of(str(error), whole, visit._)
    problems = [visit.say(problem) for problem in plan.problems(visit.account)]
    with visit.database.read() as connection:
        problems += [visit.say(each) for each in automationfile.strangers(connection, visit.account.id, plan)]
    return (None, {"": " ".join(f"{problem}." for problem in problems)}) if problems else (plan, {})
