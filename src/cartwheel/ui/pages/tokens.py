"""Tokens: what programs show that call the modern API, each with what it may do."""

from datetime import timedelta
from typing import Any

from cartwheel.accountfiles import tokens
from cartwheel.accounts import LONGEST_NAME
from cartwheel.data import tokenstore
from cartwheel.errors import AccountFull, NoSuchName
from cartwheel.people import RIGHTS, Right
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Undo, Visit

HERE = "/integrations/api/tokens"

LIVES = (0, 30, 90, 365)
"""In days."""


@page(HERE, menu="tokens", right=Right.INTEGRATIONS)
def show_tokens(visit: Visit) -> Answer:
    return visit.show("tokens.html", **_context(visit))


def _context(visit: Visit) -> dict[str, Any]:
    with visit.database.read() as connection:
        used = tokenstore.used(connection, visit.account.id)
    good = [token for token in visit.catalog.tokens_of(visit.account.id) if token.good(visit.now)]
    lives = {
        0: visit._("Until it is revoked"),
        30: visit._("30 days"),
        90: visit._("90 days"),
        365: visit._("One year"),
    }
    labels = _labels(visit)
    return {
        "tokens": [(token, used.get(token.number)) for token in good],
        "scopes": [(scope, labels[scope]) for scope in tokens.SCOPES if scope in RIGHTS[visit.role]],
        "sent_scopes": set(visit.texts("scopes")),
        "lives": [(days, lives[days]) for days in LIVES],
        "usual_rate": tokens.USUAL_RATE,
    }


def _labels(visit: Visit) -> dict[Right, str]:
    return {
        Right.ACCOUNT_READ: visit._("Look at lists, tags, fields and sequences"),
        Right.LEADS_READ: visit._("Look at leads"),
        Right.LEADS_WRITE: visit._("Make, change and delete leads"),
        Right.LISTS_WRITE: visit._("Make lists, and put leads on them"),
        Right.TAGS_WRITE: visit._("Make tags, and tag leads"),
        Right.FIELDS_WRITE: visit._("Make custom fields"),
        Right.POINTS_WRITE: visit._("Give points"),
        Right.SEQUENCES_WRITE: visit._("Write and publish sequences, start and stop leads in them"),
        Right.MAIL_WRITE: visit._("Say which addresses are not mailed"),
    }


@page(HERE, menu="tokens", right=Right.INTEGRATIONS, post=True)
def make_token(visit: Visit) -> Answer:
    """Made a token."""
    name, rate, days = visit.text("name", LONGEST_NAME + 1), visit.number("rate_limit"), visit.number("days") or 0
    scopes = set(visit.texts("scopes")) & {scope for scope in tokens.SCOPES if scope in RIGHTS[visit.role]}
    errors = {}
    if not name:
        errors["name"] = visit._("A token needs a name.")
    elif len(name) > LONGEST_NAME:
        errors["name"] = visit._("At most %d characters, please.") % LONGEST_NAME
    if rate is None or rate > tokens.HIGHEST_RATE:
        errors["rate_limit"] = visit._("A whole number, please; 0 for no limit.")
    if not scopes:
        errors["scopes"] = visit._("A token that may do nothing is of no use. Choose what it may do.")
    if errors:
        return visit.refuse("tokens.html", errors, **_context(visit))
    ends = visit.now + timedelta(days=days) if days in LIVES and days else None
    try:
        _, secret = tokens.make(
            visit.database, visit.account, name, scopes, visit.now, rate_limit=rate or 0, expires_at=ends
        )
    except AccountFull as full:
        return visit.refuse("tokens.html", {"name": str(full)}, **_context(visit))
    visit.about(name)
    return visit.show("token_made.html", name=name, token=secret, until=ends)


@page(f"{HERE}/{{number:int}}/revoke", menu="tokens", right=Right.INTEGRATIONS, post=True)
def revoke_token(visit: Visit) -> Answer:
    """Revoked a token."""
    number = visit.path["number"]
    try:
        tokens.revoke(visit.database, visit.account, number, visit.now)
    except NoSuchName:
        raise NotThere from None
    visit.about(str(number))
    undo = Undo(f"{HERE}/{number}/restore")
    return visit.redirect(HERE, visit._("The token is void from now on. Calls with it are refused."), undo)


@page(f"{HERE}/{{number:int}}/restore", menu="tokens", right=Right.INTEGRATIONS, post=True)
def restore_token(visit: Visit) -> Answer:
    """Took back that a token was revoked."""
    number = visit.path["number"]
    if all(token.number != number for token in visit.catalog.tokens_of(visit.account.id)):
        raise NotThere
    try:
        tokens.restore(visit.database, visit.account, number, visit.now)
    except NoSuchName:
        told = visit._("That can be taken back only shortly after. Please make a new token.")
        return visit.redirect(HERE, told, alarming=True)
    visit.about(str(number))
    return visit.redirect(HERE, visit._("The token is as good as it was."))
