"""Whom the pages ask for: what is typed, filtered and sorted by, as it stands in an address."""

from urllib.parse import urlencode

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


def address(path: str = "/leads", **values: str) -> str:
    """With those values that are not empty."""
    kept = {name: value for name, value in values.items() if value}
    return path + (f"?{urlencode(kept)}" if kept else "")
