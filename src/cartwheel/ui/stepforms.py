"""Forms of steps and conditions, derived from their types: what each field is, what it says of itself, what is allowed.

A form's fields are named by their path (`condition.conditions.0.tag`), so that what was sent becomes a tree again, which
`msgspec` then reads; and what it finds wrong stands beside the field of the same path.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import inspect as types

from cartwheel.accounts import LONGEST_BODY, Account
from cartwheel.hooks.outbound import AUTOMATION
from cartwheel.leads.leadparts import PROFILE_FIELDS
from cartwheel.reference.tables import struct_of
from cartwheel.sequences.conditions import CONDITION_TYPES
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.steps import STEP_TYPES, AnyStep, EmailStep
from cartwheel.ui.stepwords import CONDITIONS, Translate
from cartwheel.ui.visits import Visit

Tree = dict[str, Any]

BODIES = ("markdown", "html", "mjml")

_BY_HAND = {"type", "box", *BODIES, "file", "attachments"}
"""Fields that no form of this module has."""

_TYPES: Mapping[str, type[msgspec.Struct]] = {
    str(cls.__struct_config__.tag): cls for cls in (*STEP_TYPES, *CONDITION_TYPES)
}

MOST_BRANCHES = 26
MOST_INSIDE = 50
DEEPEST = 4
"""So deep conditions may stand in each other on a form."""


def _(text: str) -> str:
    """Marks a text for translation; it is translated where it is shown."""
    return text


LABELS: Mapping[str, str] = {
    "delay": _("Wait before this step"),
    "at": _("On a date instead"),
    "window": _("Only at certain times"),
    "active": _("Active"),
    "next": _("Goes on with"),
    "ends": _("Ends here"),
    "subject": _("Subject"),
    "preview": _("Preview text"),
    "text": _("Plain text"),
    "sender": _("Sender"),
    "reply_to": _("Answers go to"),
    "only_if": _("Only if the lead"),
    "track_opens": _("Count who opens it"),
    "track_clicks": _("Count who clicks in it"),
    "points": _("Points"),
    "days": _("Days"),
    "tag": _("Tag"),
    "list": _("List"),
    "sequence": _("Sequence"),
    "webhook": _("Webhook"),
    "step": _("Begin at the step"),
    "condition": _("If the lead"),
    "conditions": _("Conditions"),
    "then": _("If so, go to"),
    "otherwise": _("If not, go to"),
    "branches": _("Ways"),
    "weight": _("Weight"),
    "to": _("Go to"),
    "timeout": _("Wait at most"),
    "on_timeout": _("When it is too late, go to"),
    "unmet": _("Who comes here without it"),
    "from": _("From"),
    "zone": _("Whose time"),
    "at_least": _("At least"),
    "at_most": _("At most"),
    "field": _("Field"),
    "equals": _("Is exactly"),
    "contains": _("Contains"),
    "box": _("Mail of step"),
    "within": _("Within"),
}

_OWN_LABELS: Mapping[str, str] = {"window.to": _("To"), "window.days": _("Days of the week")}

LABELS_OF: Mapping[tuple[str, str], str] = {
    ("wait", "delay"): _("Wait for"),
    ("wait", "at"): _("Wait until a date instead"),
    ("wait_until", "condition"): _("Until the lead"),
    ("goal", "condition"): _("When the lead"),
}
"""What a field is called in one type of step only."""

_DAYS: Mapping[str, str] = {
    "mon": _("Mon"), "tue": _("Tue"), "wed": _("Wed"), "thu": _("Thu"), "fri": _("Fri"), "sat": _("Sat"), "sun": _("Sun"),
}  # fmt: skip

_UNITS: Mapping[str, str] = {
    "minutes": _("minutes"), "hours": _("hours"), "days": _("days"), "weeks": _("weeks"),
}  # fmt: skip

_WORDS: Mapping[str, str] = {"go on": _("goes on"), "wait": _("waits for it"), "end": _("has completed the sequence")}


@dataclass
class Input:
    """A field of a form, or several in a frame (`inside`), with what stands in it."""

    name: str
    kind: str
    label: str
    help: str = ""
    value: Any = ""
    options: Sequence[tuple[str, str]] = ()
    unit: str = ""
    required: bool = False
    low: int | None = None
    high: int | None = None
    inside: "list[Input]" = field(default_factory=list)

    @property
    def key(self) -> str:
        """For ids: the name without dots."""
        return self.name.replace(".", "-")


# -- from the types to fields --


@dataclass
class Maker:
    """Makes the fields of a step in an account's draft."""

    account: Account
    flow: Flow
    translate: Translate

    def inputs(self, tag: str, tree: Tree, prefix: str = "") -> Iterator[Input]:
        """The fields of a type, filled with a tree."""
        return self._of_struct(struct_of(_TYPES[tag]), tree, prefix)

    def of_type(self, kind: type[msgspec.Struct], tree: Tree, prefix: str) -> list[Input]:
        """The fields of what is no step and no condition."""
        return list(self._of_struct(struct_of(kind), tree, prefix))

    def condition(self, name: str, tree: Tree) -> Input:
        """One that may be left out."""
        return self._condition(name, tree, optional=True)

    def _of_struct(self, struct: types.StructType, tree: Tree, prefix: str) -> Iterator[Input]:
        for each in struct.fields:
            if prefix or each.encode_name not in _BY_HAND:
                yield self._input(each, tree.get(each.encode_name), f"{prefix}{each.encode_name}")

    def _input(self, each: types.Field, value: Any, name: str) -> Input:
        kind, meaning = _plain(each.type)
        default = None if each.required or each.default is msgspec.NODEFAULT else each.default
        own = name if name in _OWN_LABELS else ""
        made = Input(
            name,
            "text",
            self.translate(_OWN_LABELS[own] if own else LABELS.get(each.encode_name, each.encode_name)),
            _without_markup(self.translate(meaning)) if meaning else "",
            default if value is None else value,
            required=each.required,
        )
        made.value = "" if made.value is None else made.value
        self._fit(made, each.encode_name, kind, value)
        return made

    def _fit(self, made: Input, name: str, kind: types.Type, value: Any) -> None:
        """Its look, by its type."""
        options = self._named_options(name, value)
        match kind:
            case types.BoolType():
                made.kind = "check"
            case types.IntType():
                made.kind, made.low, made.high = "number", kind.ge, kind.le
            case types.LiteralType():
                made.kind = "choice"
                made.options = [(str(each), self._word(str(each))) for each in sorted(kind.values, key=str)]
            case types.ListType() if isinstance(kind.item_type, types.LiteralType):
                made.kind, made.options = "checks", [(day, self.translate(label)) for day, label in _DAYS.items()]
                made.value = value if isinstance(value, list) else list(_DAYS)
            case types.StrType(pattern=str(pattern)) if pattern.startswith(r"^\d{1,6} (minute"):
                made.kind, made.options = "delay", self._units()
                made.value, made.unit = _delay_parts(made.value)
            case types.StrType() if name == "within":
                made.kind, made.options = "delay", self._units()
                made.value, made.unit = _delay_parts(made.value)
            case types.StrType(max_length=int(most)) if most >= LONGEST_BODY:
                made.kind = "area"
            case types.StructType() | types.ListType() | types.UnionType():
                self._fit_frame(made, kind, value)
            case _ if options is not None:
                made.kind, made.options = "choice", options
                if made.value and made.value not in dict(made.options):
                    made.options = [*options, (str(made.value), str(made.value))]

    def _fit_frame(self, made: Input, kind: types.Type, value: Any) -> None:
        struct = _struct_in(kind)
        if struct is None:
            return
        if struct.tag is not None and isinstance(kind, types.ListType):
            made.kind = "conditions"
            entries = value if isinstance(value, list) else [{}]
            made.inside = [self._condition(f"{made.name}.{at}", entry) for at, entry in enumerate(entries)]
        elif struct.tag is not None:
            inner = self._condition(made.name, value if isinstance(value, dict) else {}, optional=not made.required)
            made.kind, made.value, made.options, made.inside = "condition", inner.value, inner.options, inner.inside
        elif isinstance(kind, types.ListType):
            made.kind = "rows"
            entries = value if isinstance(value, list) else []
            rows = [*entries, *([{}] * max(1, 2 - len(entries)))][:MOST_BRANCHES]
            made.inside = [
                Input(f"{made.name}.{at}", "row", "", inside=list(self._of_struct(struct, row, f"{made.name}.{at}.")))
                for at, row in enumerate(rows)
            ]
            for row in made.inside:
                for cell in row.inside:
                    cell.required = False
        else:
            made.kind, made.value = "frame", isinstance(value, dict)
            made.inside = list(self._of_struct(struct, value if isinstance(value, dict) else {}, f"{made.name}."))

    def _condition(self, name: str, tree: Tree, *, optional: bool = False) -> Input:
        chosen = str(tree.get("type", ""))
        made = Input(name, "condition", "", value=chosen, required=not optional)
        made.options = [("", self.translate(_("(no condition)")) if optional else self.translate(_("Choose …")))]
        deep = name.count("condition") >= DEEPEST
        made.options += [
            (tag, self.translate(label))
            for tag, label in CONDITIONS.items()
            if not deep or tag not in {"all", "any", "not"}
        ]
        if chosen in CONDITIONS:
            made.inside = list(self.inputs(chosen, tree, f"{name}."))
        return made

    def _units(self) -> list[tuple[str, str]]:
        return [(unit, self.translate(label)) for unit, label in _UNITS.items()]

    def _word(self, value: str) -> str:
        return self.translate(_WORDS[value]) if value in _WORDS else value

    def _named_options(self, name: str, value: object) -> list[tuple[str, str]] | None:
        """What there is to choose from, by a field's name."""
        account, none = self.account, ("", "-")
        match name:
            case "tag" | "list" | "sequence":
                found = {
                    "tag": account.tag_names,
                    "list": account.list_names,
                    "sequence": account.sequence_choices(value),
                }[name]
                return [none, *((each, each) for each in sorted(found.values(), key=str.casefold))]
            case "webhook":
                return [none, *((each.name, each.name) for each in account.hooks if AUTOMATION in each.events)]
            case "field":
                custom = [entry.identifier for entry in account.fields.values()]
                return [none, *((entry, entry) for entry in ("email", *PROFILE_FIELDS, *custom))]
            case "next" | "then" | "otherwise" | "to" | "on_timeout":
                follows = ("", self.translate(_("the step that follows")))
                return [none if name == "to" else follows, *self._boxes()]
            case "box":
                mails = [each for each in self.flow.steps if isinstance(each, EmailStep)]
                return [("", self.translate(_("any"))), *((each.box, f"{each.box} · {each.subject}") for each in mails)]
            case "zone":
                zones = {"account": _("the account's"), "lead": _("the lead's own")}
                return [(value, self.translate(label)) for value, label in zones.items()]
        return None

    def _boxes(self) -> list[tuple[str, str]]:
        return [(each.box, each.box) for each in self.flow.steps]


def _plain(kind: types.Type) -> tuple[types.Type, str]:
    """The type without what is said of it and without None, and what is said."""
    meaning = ""
    while True:
        if isinstance(kind, types.Metadata):
            meaning = meaning or str((kind.extra_json_schema or {}).get("description", ""))
            kind = kind.type
        elif isinstance(kind, types.UnionType):
            inner = [each for each in kind.types if not isinstance(each, types.NoneType)]
            if len(inner) > 1:
                return kind, meaning
            kind = inner[0]
        else:
            return kind, meaning


def _struct_in(kind: types.Type) -> types.StructType | None:
    match kind:
        case types.StructType():
            return kind
        case types.ListType():
            return _struct_in(_plain(kind.item_type)[0])
        case types.UnionType():
            return next((found for each in kind.types if (found := _struct_in(_plain(each)[0]))), None)
    return None


def _without_markup(text: str) -> str:
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("`", "")


def _delay_parts(value: Any) -> tuple[str, str]:
    found = re.fullmatch(r"(\d+) (minute|hour|day|week)s?", str(value))
    return (found[1], f"{found[2]}s") if found else ("", "days")


# -- from what was sent to a step --


def sent_tree(visit: Visit, tag: str, prefix: str = "") -> Tree:
    """What was sent of a type's fields, not checked yet; what is empty is left out, unless it is needed."""
    return {"type": tag} | _sent_struct(visit, struct_of(_TYPES[tag]), prefix)


def sent_of_type(visit: Visit, kind: type[msgspec.Struct], prefix: str) -> Tree:
    """The same of what is no step and no condition."""
    return {"type": str(kind.__struct_config__.tag)} | _sent_struct(visit, struct_of(kind), prefix)


def _sent_struct(visit: Visit, struct: types.StructType, prefix: str) -> Tree:
    tree: Tree = {}
    for each in struct.fields:
        name = each.encode_name
        if not prefix and name in _BY_HAND:
            continue
        value = _sent(visit, each, f"{prefix}{name}")
        if value is not None:
            tree[name] = value
    return tree


def _sent(visit: Visit, each: types.Field, name: str) -> Any:
    kind, _meaning = _plain(each.type)
    match kind:
        case types.BoolType():
            return bool(visit.text(name))
        case types.IntType():
            text = visit.text(name, 16)
            return int(text) if re.fullmatch(r"-?[0-9]{1,15}", text) else (text or ("" if each.required else None))
        case types.ListType() if isinstance(kind.item_type, types.LiteralType):
            return visit.texts(name)
        case types.StructType() | types.ListType() | types.UnionType():
            return _sent_frame(visit, kind, name, required=each.required)
        case types.StrType(max_length=int(most)) if most >= LONGEST_BODY:
            return visit.text(name, LONGEST_BODY + 1).replace("\r\n", "\n") or None
    if f"{name}.amount" in visit.form:
        amount, unit = visit.text(f"{name}.amount", 10), visit.text(f"{name}.unit", 10)
        return f"{amount} {unit}" if amount else None
    text = visit.text(name, 2000)
    if name == "at":
        text = text.replace("T", " ")
    return text if text or each.required else None


def _sent_frame(visit: Visit, kind: types.Type, name: str, *, required: bool) -> Any:
    struct = _struct_in(kind)
    if struct is None:
        return None
    if struct.tag is not None and isinstance(kind, types.ListType):
        entries = [entry for at in range(MOST_INSIDE) if (entry := sent_condition(visit, f"{name}.{at}"))]
        return entries + [{}] * bool(visit.text(f"{name}.more")) or [{}]
    if struct.tag is not None:
        return sent_condition(visit, name) or ({} if required else None)
    if isinstance(kind, types.ListType):
        rows = [_sent_struct(visit, struct, f"{name}.{at}.") for at in range(MOST_BRANCHES)]
        return [row for row in rows if any(value != "" for value in row.values())]
    return _sent_struct(visit, struct, f"{name}.") if visit.text(f"{name}.given") else None


def sent_condition(visit: Visit, name: str) -> Tree:
    tag = visit.text(f"{name}.type", 30)
    if tag not in CONDITIONS or name.count("condition") > DEEPEST + 1:
        return {}
    return sent_tree(visit, tag, f"{name}.")


def sent_step(visit: Visit, tag: str, box: str, kept: AnyStep | None) -> Tree:
    """The tree of a whole step as it was sent; a mail keeps its attachments."""
    tree = sent_tree(visit, tag) | {"box": box}
    if tag == "email":
        kind = visit.text("kind", 10)
        body = visit.text("body", LONGEST_BODY + 1).replace("\r\n", "\n")
        tree[kind if kind in BODIES else BODIES[0]] = body
        if isinstance(kept, EmailStep) and kept.attachments:
            tree["attachments"] = msgspec.to_builtins(kept.attachments)
    return tree


_PATH = re.compile(r" - at `\$\.?([^`]*)`$")
_MISSING = re.compile(r"missing required field `(\w+)`")


def read_step(tree: Tree, translate: Translate) -> tuple[AnyStep | None, dict[str, str]]:
    """The step, or what is wrong with it, by the names of its fields; "" for what is wrong with all of it."""
    try:
        step: AnyStep = msgspec.convert(tree, AnyStep)
    except msgspec.ValidationError as error:
        return None, errors_of(str(error), tree, translate)
    return step, {}


def errors_of(message: str, tree: Tree, translate: Translate) -> dict[str, str]:
    found = _PATH.search(message)
    path = re.sub(r"\[(\d+)\]", r".\1", found[1]) if found else ""
    text = _PATH.sub("", message)
    missing = _MISSING.search(text)
    if missing:
        path = ".".join(filter(None, [path, missing[1]]))
    if not path:
        needs_time = tree.get("type") == "wait" and "delay" in text
        told = _("A wait needs a time, a date, or certain times of the day.")
        return {"delay": translate(told)} if needs_time else {"": text.replace("`", "")}
    value: Any = tree
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) and part.isdigit() else (value or {}).get(part, "")
        if not isinstance(value, list | dict):
            break
    if missing or value in ("", [], {}, None):
        return {path.removesuffix(".type"): translate(_("This is needed."))}
    return {path: text.replace("`", "")}
