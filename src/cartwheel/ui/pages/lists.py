"""Lists: what contacts subscribe to, and see on their page."""

from typing import Any

from cartwheel.accounts import LONGEST_NAME, MailingList
from cartwheel.data import catalogchanges, schema
from cartwheel.errors import NameTaken
from cartwheel.people import Right
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Visit

HERE = "/communication/lists"


@page(HERE, menu="lists", right=Right.ACCOUNT_READ)
def show_lists(visit: Visit) -> Answer:
    return visit.show("lists.html", **_context(visit))


def _context(visit: Visit) -> dict[str, Any]:
    with visit.database.read() as connection:
        counts = catalogchanges.member_counts(connection, visit.account.id)
    lists = sorted(visit.account.lists.values(), key=lambda entry: entry.name.casefold())
    return {"lists": [(entry, counts.get(entry.id, 0)) for entry in lists]}


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
    return visit.show("list.html", list=_list(visit))


@page(f"{HERE}/{{number:int}}", menu="lists", right=Right.LISTS_WRITE, post=True)
def change_list(visit: Visit) -> Answer:
    """Changed a list."""
    entry = _list(visit)
    name, public_name = visit.text("name", LONGEST_NAME + 1), visit.text("public_name", LONGEST_NAME + 1)
    errors = _complaints(visit, name, public_name)
    if not errors:
        try:
            with catalogchanges.changing(visit.database, visit.account.id) as connection:
                catalogchanges.rename(
                    connection, schema.lists, visit.account.id, entry.id, name, public_name=public_name
                )
        except NameTaken:
            errors["name"] = visit._("There is a list of this name.")
    if errors:
        return visit.refuse("list.html", errors, list=entry)
    visit.about(name)
    return visit.redirect(HERE, visit._("The list %s is changed.") % name)


def _list(visit: Visit) -> MailingList:
    """Raises `NotThere` for one that this account does not have."""
    for entry in visit.account.lists.values():
        if entry.id == visit.path["number"]:
            return entry
    raise NotThere


def _complaints(visit: Visit, name: str, public_name: str) -> dict[str, str]:
    errors = {}
    if not name:
        errors["name"] = visit._("A list needs a name.")
    elif len(name) > LONGEST_NAME:
        errors["name"] = visit._("At most %d characters, please.") % LONGEST_NAME
    if len(public_name) > LONGEST_NAME:
        errors["public_name"] = visit._("At most %d characters, please.") % LONGEST_NAME
    return errors
