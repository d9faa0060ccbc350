"""For how long the account keeps what happened; what would go is told before it does."""

from typing import Any

from cartwheel.accounts import LONGEST_KEPT, Retention
from cartwheel.data import catalogchanges, retention
from cartwheel.data.retention import Going
from cartwheel.people import Right
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, Visit

HERE = "/settings/retention"

MOST_LOOKED = 100_000
"""So many rows of each table are looked at for one page; beyond that it says how much goes at the least."""


@page(HERE, menu="account", right=Right.SETTINGS)
def show_retention(visit: Visit) -> Answer:
    return visit.show("retention.html", **_context(visit, visit.account.retention))


@page(HERE, menu="account", right=Right.SETTINGS, post=True)
def change_retention(visit: Visit) -> Answer:
    """Changed for how long data is kept."""
    days = {name: visit.number(name) for name in Retention.__struct_fields__}
    wrong = visit._("A number of days, please, of at most %d.") % LONGEST_KEPT
    errors = {name: wrong for name, number in days.items() if number is None or number > LONGEST_KEPT}
    if errors:
        return visit.refuse("retention.html", errors, **_context(visit, visit.account.retention))
    kept = Retention(**{name: number or 0 for name, number in days.items()})
    context = _context(visit, kept)
    going: Going = context["going"]
    if going.anything and kept != visit.account.retention and visit.text("seen") != context["seen"]:
        return visit.refuse("retention.html", {}, **context | {"asks": True})
    with catalogchanges.changing(visit.database, visit.account.id) as connection:
        catalogchanges.change_retention(connection, visit.account.id, kept)
    visit.about(", ".join(f"{name}: {number}" for name, number in days.items()))
    return visit.redirect(HERE, visit._("The settings are changed."))


def _context(visit: Visit, kept: Retention) -> dict[str, Any]:
    with visit.database.read() as connection:
        going = retention.going(connection, visit.account.id, kept, visit.now, most=MOST_LOOKED)
    labels = {
        "opens_and_clicks": visit._("What leads have opened and clicked"),
        "events": visit._("What else happened to leads"),
        "mails": visit._("Mails in the ledger that are settled"),
        "deleted_leads": visit._("Deleted leads, until they are erased for good"),
    }
    return {
        "kept": kept,
        "labels": labels,
        "going": going,
        "counts": [(label, getattr(going, name)) for name, label in labels.items() if getattr(going, name)],
        "seen": " ".join(str(getattr(kept, name)) for name in labels),
        "asks": False,
    }
