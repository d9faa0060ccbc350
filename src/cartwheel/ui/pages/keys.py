"""The API key: made and shown once, replaced while the old one is good still, revoked."""

from datetime import timedelta
from typing import Any

from cartwheel.accountfiles import accountkeys
from cartwheel.data import catalogchanges
from cartwheel.errors import NoSuchName
from cartwheel.people import Right
from cartwheel.ui import approle
from cartwheel.ui.registry import page
from cartwheel.ui.snippets import PLACEHOLDERS, snippets
from cartwheel.ui.visits import Answer, NotThere, Undo, Visit

HERE = "/integrations/api/key"

EXAMPLE = {"lead": {"email": "ada@shop.example", "first_name": "Ada"}, "actions": [{"cmd": "create_lead"}]}

OVERLAPS = (0, 1, 24, 168, 720)
"""In hours."""

USUAL_OVERLAP = 24


@page(HERE, menu="keys", right=Right.INTEGRATIONS)
def show_key(visit: Visit) -> Answer:
    return visit.show("keys.html", **_context(visit))


def _context(visit: Visit) -> dict[str, Any]:
    with visit.database.read() as connection:
        used = catalogchanges.keys_used(connection, visit.account.id)
    keys = [key for key in visit.catalog.keys_of(visit.account.id) if key.good(visit.now)]
    labels = {
        0: visit._("Not at all: it stops at once"),
        1: visit._("One hour"),
        24: visit._("One day"),
        168: visit._("One week"),
        720: visit._("30 days"),
    }
    return {
        "keys": [(key, used.get(key.key_digest)) for key in keys],
        "overlaps": [(hours, labels[hours]) for hours in OVERLAPS],
        "usual": USUAL_OVERLAP,
        "examples": snippets(EXAMPLE, visit.base_url)[:2],
        "may_make": approle.may_hold_key(visit.role, visit.catalog.apps_of(visit.account.id)),
    }


@page(HERE, menu="keys", right=Right.INTEGRATIONS, post=True)
def make_key(visit: Visit) -> Answer:
    """Made an API key and password."""
    context = _context(visit)
    if not context["may_make"]:
        told = visit._(
            "With a key one may do all that the Apps may do, which is more than you may. Ask an owner for one."
        )
        return visit.refuse("keys.html", {"overlap": told}, **context)
    hours = visit.number("overlap")
    overlap = timedelta(hours=hours if hours in OVERLAPS else USUAL_OVERLAP)
    old = [key for key in visit.catalog.keys_of(visit.account.id) if key.good(visit.now)]
    made = accountkeys.rotate(visit.database, visit.account, visit.now, overlap)
    until = visit.now + overlap if old and overlap else None
    credentials = {**PLACEHOLDERS, **made}
    visit.about(visit.account.name)
    return visit.show(
        "key_made.html", made=made, until=until, examples=snippets(EXAMPLE, visit.base_url, credentials)[:2]
    )


@page(f"{HERE}/revoke", menu="keys", right=Right.INTEGRATIONS, post=True)
def revoke_key(visit: Visit) -> Answer:
    """Revoked an API key."""
    digest = visit.text("digest", 64)
    try:
        accountkeys.revoke(visit.database, visit.account, digest, visit.now)
    except NoSuchName:
        raise NotThere from None
    visit.about(digest[:8])
    undo = Undo(f"{HERE}/restore", {"digest": digest})
    return visit.redirect(HERE, visit._("The key is void from now on. Calls with it are refused."), undo)


@page(f"{HERE}/restore", menu="keys", right=Right.INTEGRATIONS, post=True)
def restore_key(visit: Visit) -> Answer:
    """Took back that an API key was revoked."""
    digest = visit.text("digest", 64)
    if all(key.key_digest != digest for key in visit.catalog.keys_of(visit.account.id)):
        raise NotThere
    try:
        accountkeys.restore(visit.database, visit.account, digest, visit.now)
    except NoSuchName:
        told = visit._("That can be taken back only shortly after. Please make a new key.")
        return visit.redirect(HERE, told, alarming=True)
    visit.about(digest[:8])
    return visit.redirect(HERE, visit._("The key is as good as it was."))
