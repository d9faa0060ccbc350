"""Whom the pages ask for: what is typed, filtered and sorted by, as it stands in an address."""

from urllib.parse import urlencode

from cartwheel.data import segments
from cartwheel.data.leadconditions import Order, Question
from cartwheel.leads import filters
from cartwheel.leads.filters import EVERYBODY, BadFilter
from cartwheel.ui.visits import Visit


def read(visit: Visit) -> tuple[Question, bool]:
    """The question of this visit's address; true if its filter cannot be read, so that nobody is filtered out."""
    asked = visit.query.get("order", "")
    order = Order(asked) if asked in set(Order) else Order.NEWEST
    try:
        return question(visit, filters.read(visit.query.get("filter", "")), visit.query.get("q", ""), order), False
    except BadFilter:
        return question(visit, EVERYBODY, visit.query.get("q", ""), order), True


def question(visit: Visit, tree: filters.Group, q: str, order: Order = Order.NEWEST) -> Question:
    return Question(visit.account, tree, filters.search(q), order, visit.database.name == "postgresql")


def choices(visit: Visit) -> list[tuple[str, list[tuple[str, str]]]]:
    """Whom one can choose by a name: (kind, (what `among` reads, name)), the segments first."""
    with visit.database.read() as connection:
        kept = [
            (f"segment:{entry.id}", entry.name) for entry in segments.listed(connection, visit.account.id) if entry.tree
        ]
    account = visit.account
    kinds = [(visit._("Segments"), kept)]
    for kind, label, names in (
        ("list", visit._("Lists"), account.list_names),
        ("tag", visit._("Tags"), account.tag_names),
    ):
        found = sorted(names.items(), key=lambda entry: entry[1].casefold())
        kinds.append((label, [(f"{kind}:{number}", name) for number, name in found]))
    return [(label, entries) for label, entries in kinds if entries]


def among(visit: Visit, chosen: str) -> str:
    """The filter of what was chosen; empty for everybody. Raises `BadFilter` for what this account does not have."""
    if not chosen:
        return ""
    kind, _, text = chosen.partition(":")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0  # noqa: PLR2004
    if kind == "segment":
        with visit.database.read() as connection:
            for entry in segments.listed(connection, visit.account.id):
                if entry.id == number and entry.tree is not None:
                    return entry.filter
    elif kind == "list" and number in visit.account.list_names:
        return filters.written(filters.All((filters.OnList(number),)))
    elif kind == "tag" and number in visit.account.tag_names:
        return filters.written(filters.All((filters.HasTag(number),)))
    raise BadFilter("there is nobody of this kind")


def address(path: str = "/leads", **values: str) -> str:
    """With those values that are not empty."""
    kept = {name: value for name, value in values.items() if value}
    return path + (f"?{urlencode(kept)}" if kept else "")
