"""Acts as forms name them: which there are for a visitor, and how one is read from what was sent."""

from collections.abc import Callable

import msgspec

from cartwheel.leads import acts
from cartwheel.leads.acts import Act
from cartwheel.readers import EXACT_DIGITS, digits
from cartwheel.ui.visits import Visit


def _(text: str) -> str:
    """Marks a text for translation; it is translated where it is shown."""
    return text


LABELS = {
    "give_tag": _("Give a tag"),
    "take_tag": _("Take a tag away"),
    "join_list": _("Subscribe to a list"),
    "leave_list": _("Unsubscribe from a list"),
    "start_sequence": _("Start a sequence"),
    "stop_sequence": _("Stop a sequence"),
    "give_points": _("Give points"),
    "take_points": _("Take points"),
    "suppress": _("Do not mail any more"),
    "allow": _("Allow to be mailed again"),
    "delete": _("Delete"),
    "restore": _("Restore"),
}


def choices(visit: Visit) -> list[tuple[str, str]]:
    """(name, label) of the acts that the visitor may do, and for which the account has something."""
    there = {"tag": visit.account.tags, "list": visit.account.lists, "sequence": visit.account.sequence_choices()}
    return [
        (name, visit._(label))
        for name, label in LABELS.items()
        if visit.may(acts.KINDS[name].right)
        and all(there.get(field, True) for field in acts.KINDS[name].__struct_fields__)
    ]


def options(visit: Visit, field: str) -> list[tuple[int, str]]:
    """What a field of an act can be: (number, name)."""
    account = visit.account
    names = {"tag": account.tag_names, "list": account.list_names, "sequence": account.sequence_choices()}[field]
    return sorted(names.items(), key=lambda entry: entry[1].casefold())


def read(kind: str, value: Callable[[str], str]) -> Act | None:
    """The act of this kind with the values that were sent; None if they make none."""
    if kind not in acts.KINDS or not acts.KINDS[kind].ordered:
        return None
    sent: dict[str, object] = {"type": kind}
    for name in acts.KINDS[kind].__struct_fields__:
        text = value(name)
        if name == "step":
            sent[name] = text
        elif (number := digits(text, EXACT_DIGITS)) is not None:
            sent[name] = number
    try:
        return acts.read(msgspec.json.encode(sent).decode())
    except msgspec.DecodeError:
        return None
