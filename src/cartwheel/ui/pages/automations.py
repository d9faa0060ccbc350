"""Automations: what is done when something happens."""

from typing import Any

import msgspec

from cartwheel.accountfiles import automationfile
from cartwheel.accounts import LONGEST_NAME, Automation
from cartwheel.data import catalogchanges, leadfeed, noticestore
from cartwheel.errors import NameTaken
from cartwheel.people import Right
from cartwheel.sequences import automations
from cartwheel.sequences.automations import plan_of
from cartwheel.times import from_micros
from cartwheel.ui import automationforms, naming
from cartwheel.ui.registry import page
from cartwheel.ui.stepforms import Tree
from cartwheel.ui.visits import Answer, Visit
from cartwheel.views import automationviews

HERE = "/communication/automations"
MOST_RUNS = 20
MOST_TROUBLES = 5


@page(HERE, menu="automations", right=Right.ACCOUNT_READ)
def show_automations(visit: Visit) -> Answer:
    return visit.show(
        "automations.html",
        block="rows" if visit.htmx else "",
        found=naming.find(visit, visit.account.automations.values()),
        sentence=automationviews.sentence,
        bygones=naming.bygone_of(visit, Automation),
        warnings=automations.warnings(visit.account),
    )


@page(f"{HERE}/add", menu="automations", right=Right.SEQUENCES_WRITE)
def begin_automation(visit: Visit) -> Answer:
    return visit.show("automation.html", **_form(visit, {}, "", None))


@page(f"{HERE}/add", menu="automations", right=Right.SEQUENCES_WRITE, post=True)
def add_automation(visit: Visit) -> Answer:
    """Made an automation."""
    return _save(visit, None)


@page(f"{HERE}/{{number:int}}", menu="automations", right=Right.ACCOUNT_READ)
def show_automation(visit: Visit) -> Answer:
    entry = _entry(visit)
    plan = plan_of(entry)
    tree: Tree = msgspec.to_builtins(plan) if plan else {}
    return visit.show("automation.html", **_form(visit, tree, entry.name, entry))


@page(f"{HERE}/{{number:int}}", menu="automations", right=Right.SEQUENCES_WRITE, post=True)
def change_automation(visit: Visit) -> Answer:
    """Changed an automation."""
    return _save(visit, _entry(visit))


@page(f"{HERE}/form", menu="automations", right=Right.SEQUENCES_WRITE, post=True, quiet=True)
def reshape_automation(visit: Visit) -> Answer:
    """Showed the form of an automation again, with other fields."""
    number = visit.number("number")
    entry = next((each for each in visit.account.automations.values() if each.id == number), None)
    context = _form(visit, automationforms.sent(visit), visit.text("name", LONGEST_NAME + 1), entry)
    return visit.show("automation_fields.html" if visit.htmx else "automation.html", **context)


@page(f"{HERE}/{{number:int}}/pause", menu="automations", right=Right.SEQUENCES_WRITE, post=True)
def pause_automation(visit: Visit) -> Answer:
    """Paused an automation."""
    return _switch(visit, active=False)


@page(f"{HERE}/{{number:int}}/resume", menu="automations", right=Right.SEQUENCES_WRITE, post=True)
def resume_automation(visit: Visit) -> Answer:
    """Had an automation run again."""
    return _switch(visit, active=True)


@page(f"{HERE}/{{number:int}}/delete", menu="automations", right=Right.SEQUENCES_WRITE, post=True)
def delete_automation(visit: Visit) -> Answer:
    """Deleted an automation."""
    entry = _entry(visit)
    undo = naming.delete(visit, entry)
    return visit.redirect(HERE, visit._("The automation %s is deleted.") % entry.name, undo)


@page(f"{HERE}/{{number:int}}/restore", menu="automations", right=Right.SEQUENCES_WRITE, post=True)
def restore_automation(visit: Visit) -> Answer:
    """Took back the deletion of an automation."""
    try:
        bygone = naming.restore(visit, Automation)
    except NameTaken:
        told = visit._("It cannot come back: there is another automation of its name now. Rename that one first.")
        return visit.redirect(HERE, told, alarming=True)
    return visit.redirect(HERE, visit._("The automation %s is back.") % bygone.name)


def _entry(visit: Visit) -> Automation:
    return naming.numbered(visit, visit.account.automations.values())


def _switch(visit: Visit, *, active: bool) -> Answer:
    entry = _entry(visit)
    visit.about(entry.name)
    with catalogchanges.changing(visit.database, visit.account.id) as connection:
        automationfile.switch(connection, visit.account.id, entry.id, active=active)
    if active:
        return visit.redirect(HERE, visit._("The automation %s runs again.") % entry.name)
    told = visit._("The automation %s is paused. What happens meanwhile does not start it later.") % entry.name
    return visit.redirect(HERE, told)


def _save(visit: Visit, entry: Automation | None) -> Answer:
    tree, name = automationforms.sent(visit), visit.text("name", LONGEST_NAME + 1)
    plan, errors = automationforms.read(visit, tree)
    errors |= naming.too_long(visit, name=name)
    if not name:
        errors["name"] = visit._("An automation needs a name.")
    if plan and not errors:
        try:
            with catalogchanges.changing(visit.database, visit.account.id) as connection:
                if entry is None:
                    automationfile.add(connection, visit.account.id, name, plan, visit.now)
                else:
                    automationfile.change(connection, visit.account.id, entry.id, name, plan)
        except NameTaken:
            errors["name"] = visit._("There is an automation of this name.")
    if errors:
        return visit.refuse("automation.html", errors, **_form(visit, tree, name, entry))
    visit.about(name)
    account = visit.renew_catalog().accounts[visit.account.id]
    if circles := [circle for circle in automations.circles(account) if name in circle]:
        told = visit._("The automation %(name)s is saved, but these start each other in a circle: %(names)s.")
        names = " → ".join([*circles[0], circles[0][0]])
        return visit.redirect(HERE, told % {"name": name, "names": names}, alarming=True)
    return visit.redirect(HERE, visit._("The automation %s is saved.") % name)


def _form(visit: Visit, tree: Tree, name: str, entry: Automation | None) -> dict[str, Any]:
    runs, troubles = [], []
    if entry is not None and visit.may(Right.LEADS_READ):
        with visit.database.read() as connection:
            found = leadfeed.runs_of_automation(connection, visit.account.id, entry.id, MOST_RUNS)
            gone = noticestore.given_up(connection, visit.account.id, entry.id, visit.now, MOST_TROUBLES)
        troubles = [(row.recipient, row.reply, from_micros(row.at)) for row in gone]
        runs = [(row.lead_id, row.email, from_micros(row.at)) for row in found]
    return {
        "entry": entry,
        "name": name,
        "form": automationforms.form(visit, tree),
        "told": automationviews.sentence(entry) if entry else "",
        "runs": runs,
        "troubles": troubles,
    }
