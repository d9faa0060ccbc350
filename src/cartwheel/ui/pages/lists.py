"""Lists: what contacts subscribe to, and see on their page."""

from typing import Any

from cartwheel.accounts import LONGEST_NAME, MailingList
from cartwheel.data import catalogchanges, membercounts, schema
from cartwheel.data.membercounts import What
from cartwheel.errors import NameTaken
from cartwheel.people import Right
from cartwheel.ui import naming
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, Visit

HERE = "/communication/lists"


@page(HERE, menu="lists", right=Right.ACCOUNT_READ)
def show_lists(visit: Visit) -> Answer:
    return visit.show("lists.html", block="rows" if visit.htmx else "", **_context(visit))


def _context(visit: Visit) -> dict[str, Any]:
    return {
        "found": naming.find(visit, visit.account.lists.values()),
        "counts": membercounts.read(visit.database, visit.account.id, What.LISTS, visit.now),
        "bygones": naming.bygone_of(visit, MailingList),
    }


@page(HERE, menu="lists", right=Right.LISTS_WRITE, post=True)
def add_list(visit: Visit) -> Answer:
    """Made a list."""
    name, public_name = visit.text("name", LONGEST_NAME + 1), visit.text("public_name", LONGEST_NAME + 1)
    errors = _complaints(visit, name, public_name)
    if not errors:
        try:
            with catalogchanges.changing(visit.database, visit.account.id) as connection:
                catalogchanges.add_named(
                    connection, schema.lists, visit.account.id, name, visit.now, public_name=public_name
                )
        except NameTaken:
            errors["name"] = visit._("There is a list of this name.")
    if errors:
        return visit.refuse("lists.html", errors, **_context(visit))
    visit.about(name)
    return visit.redirect(HERE, visit._("The list %s is there. Your integrations can subscribe leads to it.") % name)


@page(f"{HERE}/{{number:int}}", menu="lists", right=Right.ACCOUNT_READ)
def show_list(visit: Visit) -> Answer:
    entry = naming.numbered(visit, visit.account.lists.values())
    return visit.show("list.html", list=entry, uses=naming.users_of(visit, entry))


@page(f"{HERE}/{{number:int}}", menu="lists", right=Right.LISTS_WRITE, post=True)
def change_list(visit: Visit) -> Answer:
    """Changed a list."""
    entry = naming.numbered(visit, visit.account.lists.values())
    name, public_name = visit.text("name", LONGEST_NAME + 1), visit.text("public_name", LONGEST_NAME + 1)
    errors = _complaints(visit, name, public_name)
    used = naming.users_of(visit, entry)
    if used and naming.differs(entry, name):
        errors.setdefault("name", visit._("Steps of sequences or automations call it by this name."))
    if not errors:
        try:
            with catalogchanges.changing(visit.database, visit.account.id) as connection:
                catalogchanges.rename(
                    connection, schema.lists, visit.account.id, entry.id, name, public_name=public_name
                )
        except NameTaken:
            errors["name"] = visit._("There is a list of this name.")
    if errors:
        return visit.refuse("list.html", errors, list=entry, uses=used)
    visit.about(name)
    return visit.redirect(HERE, visit._("The list %s is changed.") % name)


@page(f"{HERE}/{{number:int}}/delete", menu="lists", right=Right.LISTS_WRITE, post=True)
def delete_list(visit: Visit) -> Answer:
    """Deleted a list."""
    entry = naming.numbered(visit, visit.account.lists.values())
    if used := naming.users_of(visit, entry):
        return visit.refuse("list.html", {}, list=entry, uses=used)
    undo = naming.delete(visit, entry)
    return visit.redirect(HERE, visit._("The list %s is deleted.") % entry.name, undo)


@page(f"{HERE}/{{number:int}}/restore", menu="lists", right=Right.LISTS_WRITE, post=True)
def restore_list(visit: Visit) -> Answer:
    """Took back the deletion of a list."""
    try:
        bygone = naming.restore(visit, MailingList)
    except NameTaken:
        told = visit._("It cannot come back: there is another list of its name now. Rename that one first.")
        return visit.redirect(HERE, told, alarming=True)
    return visit.redirect(HERE, visit._("The list %s is back, with its leads.") % bygone.name)


def _complaints(visit: Visit, name: str, public_name: str) -> dict[str, str]:
    errors = naming.too_long(visit, name=name, public_name=public_name)
    if not name:
        errors["name"] = visit._("A list needs a name.")
    return errors
