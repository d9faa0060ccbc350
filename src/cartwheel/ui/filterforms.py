"""A filter for leads as a form that works without scripts: a row a condition, groups in groups, buttons that add and remove.

Each row has a place, like `0` or `1.0` in the group `1`; its inputs have names like `tag.1.0`. Rows are always whole: a new
one has values that make sense, so that there is nothing to complain of.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, cast

from starlette.datastructures import QueryParams

from cartwheel.accounts import Account, CustomField
from cartwheel.leads import filters
from cartwheel.leads.filters import All, AnyOf, Condition, Group, Not
from cartwheel.leads.leadparts import PROFILE_FIELDS, RunStatus
from cartwheel.readers import EXACT_DIGITS, digits


def _(text: str) -> str:
    """Marks a text for translation; it is translated where it is shown."""
    return text


KINDS = {
    "tag": _("Tag"),
    "list": _("List"),
    "sequence": _("Sequence"),
    "seen": _("Opened or clicked"),
    "score": _("Score"),
    "field": _("Field"),
    "joined": _("Date added"),
    "mail": _("Mail status"),
    "deleted": _("Deleted"),
    "group": _("A group of conditions"),
}

_PLACE = re.compile(r"\d{1,2}(\.\d{1,2}){0,2}")


@dataclass(frozen=True)
class Row:
    """A row of the form. Of a group, `rows` are those in it."""

    place: str
    kind: str
    negated: bool
    condition: Condition
    rows: tuple["Row", ...] = ()


def rows(tree: Group, inside: str = "") -> tuple[Row, ...]:
    """The conditions of a group as rows."""
    return tuple(_row(condition, f"{inside}{number}") for number, condition in enumerate(tree.conditions))


def _row(condition: Condition, place: str) -> Row:
    negated = isinstance(condition, Not)
    while isinstance(condition, Not):
        condition = condition.condition
    if isinstance(condition, All | AnyOf):
        return Row(place, "group", negated, condition, rows(condition, f"{place}."))
    return Row(place, str(condition.__struct_config__.tag), negated, condition)


def read(sent: QueryParams, account: Account, today: date) -> Group:
    """The tree that a form describes, after what its button does. Raises `BadFilter`."""
    places = [place for place in sent.getlist("p")[: filters.MOST_CONDITIONS] if _PLACE.fullmatch(place)]
    does, _, where = sent.get("do", "").partition(":")
    if does == "remove":
        places = [place for place in places if place != where and not place.startswith(f"{where}.")]
    tree = _group(sent, account, places, "", (where, today) if does == "add" else None)
    return filters.read(filters.written(tree))


_Addition = tuple[str, date] | None


def _group(sent: QueryParams, account: Account, places: list[str], inside: str, adds: _Addition) -> Group:
    depth = inside.count(".")
    here = [place for place in places if place.startswith(inside) and place.count(".") == depth]
    found = [entry for place in here if (entry := _condition(sent, account, places, place, adds)) is not None]
    if adds and adds[0] == inside.removesuffix("."):
        kind = sent.get(f"add.{adds[0]}", "tag")
        found += [default for default in [fresh(kind, account, adds[1])] if default is not None]
    conditions: tuple[Any, ...] = tuple(found)
    return AnyOf(conditions) if sent.get(f"match.{inside.removesuffix('.')}") == "any" else All(conditions)


def _condition(sent: QueryParams, account: Account, places: list[str], place: str, adds: _Addition) -> Condition | None:
    kind = sent.get(f"kind.{place}", "")
    condition: Any
    if kind == "group":
        condition = _group(sent, account, places, f"{place}.", adds)
    else:
        condition = _simple(kind, lambda name: sent.get(f"{name}.{place}", "").strip()[:255], account)
    return Not(condition) if condition is not None and sent.get(f"not.{place}") == "1" else condition


def _simple(kind: str, value: Any, account: Account) -> Condition | None:
    match kind:
        case "tag":
            return filters.HasTag(_number(value("tag")) or 0)
        case "list":
            return filters.OnList(_number(value("list")) or 0)
        case "sequence":
            status = value("status")
            known = RunStatus(status) if status in set(RunStatus) else None
            return filters.InSequence(_number(value("sequence")) or 0, known, value("step"))
        case "score":
            return filters.Score(_number(value("least")), _number(value("most")))
        case "field":
            return _field(value("field"), value("how"), value("text"), account)
        case "joined":
            return filters.Joined(_day(value("since")), _day(value("until")))
        case "mail":
            return filters.MailStatus(value("status") if value("status") in filters.MAIL_STATUS else "mailable")
        case "seen":
            what: Any = "clicked" if value("what") == "clicked" else "opened"
            return filters.Seen(what, _number(value("sequence")) or 0)
        case "deleted":
            return filters.Deleted()
    return None


def _field(name: str, how: str, text: str, account: Account) -> Condition:
    field = custom_field(name, account)
    if field is not None and not field.type.is_text:
        chosen = (str(option.id) for option in field.options if option.name.casefold() == text.casefold())
        text, how = next(chosen, text), how if how in {"filled", "empty"} else "is"
    known = name if field is not None or name in {*PROFILE_FIELDS, "email"} else "email"
    asked: Any = how if how in filters.Field.said else "is"
    return filters.Field(known, asked, text)


def custom_field(name: str, account: Account) -> CustomField | None:
    return next((field for field in account.fields.values() if str(field.id) == name), None)


def typed(condition: filters.Field, account: Account) -> str:
    """What stands in the form: of an option, its name."""
    field = custom_field(condition.field, account)
    if field is None or field.type.is_text:
        return condition.text
    return next((option.name for option in field.options if str(option.id) == condition.text), condition.text)


def told(tree: Condition, account: Account) -> str:
    """The filter in words, with the names of options."""

    def named(condition: Condition) -> Condition:
        if isinstance(condition, filters.Field):
            return filters.Field(condition.field, condition.how, typed(condition, account)[:255])
        if isinstance(condition, Not):
            return Not(cast("Any", named(condition.condition)))
        if isinstance(condition, All | AnyOf):
            return type(condition)(cast("Any", tuple(named(each) for each in condition.conditions)))
        return condition

    return named(tree).told(account.names)


def fresh(kind: str, account: Account, today: date) -> Condition | None:
    """A condition to begin with; None when the account has nothing of the kind."""
    first = {
        "tag": next(iter(account.tag_names), None),
        "list": next(iter(account.list_names), None),
        "sequence": next(iter(account.sequence_choices()), None),
    }
    match kind:
        case "group":
            return AnyOf(cast("Any", tuple(filter(None, [fresh("tag", account, today)]))))
        case "tag" | "list" | "sequence" if first[kind] is None:
            return None
        case "tag" | "list" | "sequence":
            return _simple(kind, lambda _: str(first[kind]), account)
        case "score":
            return filters.Score(at_least=1)
        case "field":
            return filters.Field("city", "filled")
        case "joined":
            return filters.Joined(since=today - timedelta(days=30))
    return _simple(kind, lambda _: "", account)


def _number(text: str) -> int | None:
    number = digits(text.removeprefix("-"), EXACT_DIGITS)
    return number if number is None or not text.startswith("-") else -number


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def fields(account: Account, translate: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """What a condition on a field can be about: (name, label)."""
    yield "email", translate(_("E-mail address"))
    for name in PROFILE_FIELDS:
        yield name, translate(name.replace("_", " ")).capitalize()
    for field in account.fields.values():
        yield str(field.id), field.identifier
