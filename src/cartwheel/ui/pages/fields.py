"""Custom fields: what the account wants to know of its leads beside name and address."""

import re
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from cartwheel.accounts import FIELD_IDENTIFIER, LONGEST_NAME, Account, CustomField, FieldType, name_key
from cartwheel.data import catalogchanges, fieldoptions, membercounts, schema
from cartwheel.data.membercounts import What
from cartwheel.errors import NameTaken
from cartwheel.people import Right
from cartwheel.ui import naming
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, Visit

HERE = "/communication/custom-fields"

FEWEST_OPTIONS = 2

_BUILT_IN = Account(0, "", ZoneInfo("UTC"), gdpr=False, active=True)
"""An account without fields of its own."""


@page(HERE, menu="fields", right=Right.ACCOUNT_READ)
def show_fields(visit: Visit) -> Answer:
    return visit.show("fields.html", block="rows" if visit.htmx else "", **_context(visit))


def _context(visit: Visit) -> dict[str, Any]:
    return {
        "found": naming.find(visit, visit.account.fields.values()),
        "counts": membercounts.read(visit.database, visit.account.id, What.FIELDS, visit.now),
        "bygones": naming.bygone_of(visit, CustomField),
        "types": _types(visit),
    }


def _types(visit: Visit) -> dict[str, str]:
    return {
        FieldType.INPUT_FIELD: visit._("One line of text"),
        FieldType.TEXT_AREA: visit._("Longer text"),
        FieldType.DROP_DOWN: visit._("One of a menu"),
        FieldType.RADIO_BUTTON: visit._("One of some buttons"),
        FieldType.CHECKBOX: visit._("Any of some boxes"),
    }


@page(HERE, menu="fields", right=Right.FIELDS_WRITE, post=True)
def add_field(visit: Visit) -> Answer:
    """Made a custom field."""
    name, kind = visit.text("name", LONGEST_NAME), visit.text("type")
    options = [line.strip() for line in visit.text("options", 100_000).splitlines() if line.strip()]
    errors = _complaints(visit, name)
    if kind not in set(FieldType):
        errors["type"] = visit._("Please choose a type.")
    elif not FieldType(kind).is_text:
        errors |= _option_complaints(visit, options)
    if not errors:
        try:
            with catalogchanges.changing(visit.database, visit.account.id) as connection:
                number = catalogchanges.add_named(
                    connection, schema.custom_fields, visit.account.id, name, visit.now, type=kind
                )
                if not FieldType(kind).is_text:
                    fieldoptions.add(connection, visit.account.id, number, options)
        except NameTaken:
            errors["name"] = visit._("There is a field of this name.")
    if errors:
        return visit.refuse("fields.html", errors, **_context(visit))
    visit.about(name)
    return visit.redirect(HERE, visit._("The field %s is there. Mails can use it as well.") % name)


@page(f"{HERE}/{{number:int}}", menu="fields", right=Right.ACCOUNT_READ)
def show_field(visit: Visit) -> Answer:
    return visit.show("field.html", **_about(visit, naming.numbered(visit, visit.account.fields.values())))


def _about(visit: Visit, entry: CustomField) -> dict[str, Any]:
    return {"entry": entry, "type": _types(visit)[entry.type], "uses": naming.users_of(visit, entry)}


@page(f"{HERE}/{{number:int}}", menu="fields", right=Right.FIELDS_WRITE, post=True)
def change_field(visit: Visit) -> Answer:
    """Changed a custom field."""
    entry = naming.numbered(visit, visit.account.fields.values())
    name, more = visit.text("name", LONGEST_NAME), visit.text("new_option", LONGEST_NAME + 1)
    texts = {option.id: visit.text(f"option_{option.id}", LONGEST_NAME + 1) for option in entry.options}
    about = _about(visit, entry)
    errors = _complaints(visit, name)
    if about["uses"] and naming.differs(entry, name):
        errors.setdefault("name", visit._("Steps of sequences or automations call it by this name."))
    if entry.options:
        errors |= _option_complaints(visit, [*texts.values(), *([more] if more else [])])
    if not errors:
        try:
            with catalogchanges.changing(visit.database, visit.account.id) as connection:
                catalogchanges.rename(connection, schema.custom_fields, visit.account.id, entry.id, name)
                if entry.options:
                    order = _moved(list(texts), visit.text("move", 30))
                    fieldoptions.put(connection, visit.account.id, [(number, texts[number]) for number in order])
                    fieldoptions.add(connection, visit.account.id, entry.id, [more] if more else [])
        except NameTaken:
            errors["name"] = visit._("There is a field of this name.")
    if errors:
        return visit.refuse("field.html", errors, **about)
    visit.about(name)
    stays = bool(visit.text("move") or more)
    return visit.redirect(f"{HERE}/{entry.id}" if stays else HERE, visit._("The field %s is changed.") % name)


def _moved(numbers: Sequence[int], wanted: str) -> list[int]:
    """The options in their new order: `up 12` has the option 12 change places with the one above it."""
    order, (way, _, number) = list(numbers), wanted.partition(" ")
    if number.isascii() and number.isdigit() and int(number) in order:
        here = order.index(int(number))
        there = here + (1 if way == "down" else -1)
        if 0 <= there < len(order):
            order[here], order[there] = order[there], order[here]
    return order


@page(f"{HERE}/{{number:int}}/delete", menu="fields", right=Right.FIELDS_WRITE, post=True)
def delete_field(visit: Visit) -> Answer:
    """Deleted a custom field."""
    entry = naming.numbered(visit, visit.account.fields.values())
    about = _about(visit, entry)
    if about["uses"]:
        return visit.refuse("field.html", {}, **about)
    undo = naming.delete(visit, entry)
    return visit.redirect(HERE, visit._("The field %s is deleted.") % entry.name, undo)


@page(f"{HERE}/{{number:int}}/restore", menu="fields", right=Right.FIELDS_WRITE, post=True)
def restore_field(visit: Visit) -> Answer:
    """Took back the deletion of a custom field."""
    try:
        bygone = naming.restore(visit, CustomField)
    except NameTaken:
        told = visit._("It cannot come back: there is another field of its name now. Rename that one first.")
        return visit.redirect(HERE, told, alarming=True)
    return visit.redirect(HERE, visit._("The field %s is back, with its values.") % bygone.name)


def _complaints(visit: Visit, name: str) -> dict[str, str]:
    if not re.fullmatch(FIELD_IDENTIFIER, name):
        return {"name": visit._("Letters, digits, dashes and underscores only, 100 at most.")}
    if _BUILT_IN.reserves(name):
        return {"name": visit._("Every lead has a field of this name already.")}
    return {}


def _option_complaints(visit: Visit, options: Sequence[str]) -> dict[str, str]:
    if len(options) < FEWEST_OPTIONS:
        return {"options": visit._("Two options at least, each on a line of its own.")}
    if not all(options):
        return {"options": visit._("An option needs a name.")}
    if len(set(map(name_key, options))) < len(options):
        return {"options": visit._("Two options have the same name.")}
    return naming.too_long(visit, options=max(options, key=len))
