"""Tags: what the account notes about its leads, unseen by them."""

from typing import Any

from cartwheel.accounts import LONGEST_NAME, Tag
from cartwheel.data import catalogchanges, membercounts, schema
from cartwheel.data.membercounts import What
from cartwheel.errors import NameTaken
from cartwheel.people import Right
from cartwheel.ui import naming
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, Visit

HERE = "/communication/tags"


@page(HERE, menu="tags", right=Right.ACCOUNT_READ)
def show_tags(visit: Visit) -> Answer:
    return visit.show("tags.html", block="rows" if visit.htmx else "", **_context(visit))


def _context(visit: Visit) -> dict[str, Any]:
    return {
        "found": naming.find(visit, visit.account.tags.values()),
        "counts": membercounts.read(visit.database, visit.account.id, What.TAGS, visit.now),
        "bygones": naming.bygone_of(visit, Tag),
    }


@page(HERE, menu="tags", right=Right.TAGS_WRITE, post=True)
def add_tag(visit: Visit) -> Answer:
    """Made a tag."""
    name = visit.text("name", LONGEST_NAME + 1)
    errors = _complaints(visit, name)
    if not errors:
        try:
            with catalogchanges.changing(visit.database, visit.account.id) as connection:
                catalogchanges.add_named(connection, schema.tags, visit.account.id, name, visit.now)
        except NameTaken:
            errors["name"] = visit._("There is a tag of this name.")
    if errors:
        return visit.refuse("tags.html", errors, **_context(visit))
    visit.about(name)
    return visit.redirect(HERE, visit._("The tag %s is there. Your integrations can assign it.") % name)


@page(f"{HERE}/{{number:int}}", menu="tags", right=Right.ACCOUNT_READ)
def show_tag(visit: Visit) -> Answer:
    entry = naming.numbered(visit, visit.account.tags.values())
    return visit.show("tag.html", tag=entry, uses=naming.users_of(visit, entry))


@page(f"{HERE}/{{number:int}}", menu="tags", right=Right.TAGS_WRITE, post=True)
def rename_tag(visit: Visit) -> Answer:
    """Renamed a tag."""
    entry = naming.numbered(visit, visit.account.tags.values())
    name = visit.text("name", LONGEST_NAME + 1)
    errors = _complaints(visit, name)
    used = naming.users_of(visit, entry)
    if used and naming.differs(entry, name):
        errors.setdefault("name", visit._("Steps of sequences or automations call it by this name."))
    if not errors:
        try:
            with catalogchanges.changing(visit.database, visit.account.id) as connection:
                catalogchanges.rename(connection, schema.tags, visit.account.id, entry.id, name)
        except NameTaken:
            errors["name"] = visit._("There is a tag of this name.")
    if errors:
        return visit.refuse("tag.html", errors, tag=entry, uses=used)
    visit.about(name)
    return visit.redirect(HERE, visit._("The tag is called %s now.") % name)


@page(f"{HERE}/{{number:int}}/delete", menu="tags", right=Right.TAGS_WRITE, post=True)
def delete_tag(visit: Visit) -> Answer:
    """Deleted a tag."""
    entry = naming.numbered(visit, visit.account.tags.values())
    if used := naming.users_of(visit, entry):
        return visit.refuse("tag.html", {}, tag=entry, uses=used)
    undo = naming.delete(visit, entry)
    return visit.redirect(HERE, visit._("The tag %s is deleted.") % entry.name, undo)


@page(f"{HERE}/{{number:int}}/restore", menu="tags", right=Right.TAGS_WRITE, post=True)
def restore_tag(visit: Visit) -> Answer:
    """Took back the deletion of a tag."""
    try:
        bygone = naming.restore(visit, Tag)
    except NameTaken:
        told = visit._("It cannot come back: there is another tag of its name now. Rename that one first.")
        return visit.redirect(HERE, told, alarming=True)
    return visit.redirect(HERE, visit._("The tag %s is back, with its leads.") % bygone.name)


def _complaints(visit: Visit, name: str) -> dict[str, str]:
    errors = naming.too_long(visit, name=name)
    if not name:
        errors["name"] = visit._("A tag needs a name.")
    return errors
