"""Addresses that are not mailed: why, since when, and how they may be mailed again."""

from typing import Any

from cartwheel.data import erasures, leadstore, suppressionstore
from cartwheel.data.suppressionstore import Place, Suppressed
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.leads.leadparts import SAID_BY_THE_PERSON, SuppressionReason
from cartwheel.people import Right
from cartwheel.readers import digits
from cartwheel.ui import mailwords
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Undo, Visit
from cartwheel.work.leadwork import BY_OWNER, SuppressionWork

HERE = "/mail/suppressed"
MOST = 50
MOST_COUNTED = 10_000
LONGEST_DETAILS = 200


@page(HERE, menu="suppressions", right=Right.LEADS_READ)
def show_suppressed(visit: Visit) -> Answer:
    return visit.show("suppressed.html", block="rows" if visit.htmx else "", **_list(visit))


def _list(visit: Visit) -> dict[str, Any]:
    begins = visit.query.get("address", "").strip().lower()[:300]
    asked = visit.query.get("reason", "")
    reason, number = asked if asked in set(SuppressionReason) else "", visit.account.id
    after: Place | None = None
    with visit.database.read() as connection:
        if begins:
            rows = suppressionstore.starting(connection, number, begins, reason=reason, most=MOST)
        else:
            place = _place(visit.query.get("after", ""))
            rows, after = suppressionstore.newest(connection, number, reason=reason, after=place, most=MOST)
        erased = suppressionstore.erased(connection, number, MOST_COUNTED)
        erased_at = erasures.erased_at(connection, number, begins) if "@" in begins and not rows else None
    return {
        "rows": rows,
        "after": f"{after[0]} {after[1]}" if after else "",
        "begins": begins,
        "reason": reason,
        "reasons": mailwords.reasons(visit),
        "by_person": SAID_BY_THE_PERSON,
        "erased": erased,
        "erased_at": erased_at,
        "most": MOST,
        "most_counted": MOST_COUNTED,
    }


def _place(text: str) -> Place | None:
    first, _, email = text.partition(" ")
    return None if (at := digits(first)) is None else (at, email)


@page(HERE, menu="suppressions", right=Right.MAIL_WRITE, post=True)
def suppress(visit: Visit) -> Answer:
    """Suppressed an address."""
    asked = visit.text("reason")
    reason = SuppressionReason(asked) if asked in set(SuppressionReason) else SuppressionReason.DO_NOT_CONTACT
    details = visit.text("details", LONGEST_DETAILS) or BY_OWNER
    try:
        email = read_email(visit.text("email"))
    except EmailNotValid:
        return visit.refuse("suppressed.html", {"email": visit._("This is no e-mail address.")}, **_list(visit))
    with visit.database.read() as connection:
        known = suppressionstore.of(connection, visit.account.id, email)
    if known is not None:
        told = visit._("%s is not mailed already.") % email
        return visit.redirect(HERE, told, alarming=True)
    lead_id = _living_lead(visit, email)
    if lead_id is not None:
        key, origin = (visit.account.id, lead_id), visit.user.origin
        visit.submit(SuppressionWork(key, suppressed=True, origin=origin, reason=reason, details=details))
    else:
        with visit.database.write() as connection:
            suppressionstore.put(connection, visit.account.id, email, reason.value, details, visit.now)
    visit.about(email)
    undo = Undo(f"{HERE}/allow", {"email": email, "asked": visit._("It was suppressed by mistake.")})
    return visit.redirect(HERE, visit._("%s is not mailed any more.") % email, undo)


@page(f"{HERE}/allow", menu="suppressions", right=Right.MAIL_WRITE, post=True)
def allow(visit: Visit) -> Answer:
    """Allowed an address to be mailed again."""
    email, asked = visit.text("email", 320).lower(), visit.text("asked", LONGEST_DETAILS)
    with visit.database.read() as connection:
        known = suppressionstore.of(connection, visit.account.id, email)
    if known is None:
        raise NotThere
    if known.reason in SAID_BY_THE_PERSON and not asked:
        told = {
            "asked": visit._("The person wanted no mail. Say how it asked for mail again: it is kept in the audit log.")
        }
        return visit.refuse("allow.html", told, **_one(visit, known))
    lead_id = _living_lead(visit, email)
    if lead_id is not None:
        key = (visit.account.id, lead_id)
        visit.submit(SuppressionWork(key, suppressed=False, origin=visit.user.origin))
    else:
        with visit.database.write() as connection:
            suppressionstore.lift(connection, visit.account.id, email)
    visit.about(f"{email}: {asked}" if asked else email)
    undo = Undo(HERE, {"email": email, "reason": known.reason, "details": known.details})
    return visit.redirect(HERE, visit._("%s may be mailed again.") % email, undo)


@page(f"{HERE}/allow", menu="suppressions", right=Right.MAIL_WRITE)
def ask_to_allow(visit: Visit) -> Answer:
    with visit.database.read() as connection:
        known = suppressionstore.of(connection, visit.account.id, visit.query.get("email", "").lower())
    if known is None:
        raise NotThere
    return visit.show("allow.html", **_one(visit, known))


def _one(visit: Visit, known: Suppressed) -> dict[str, Any]:
    return {"known": known, "told": mailwords.reasons(visit).get(SuppressionReason(known.reason), known.reason)}


def _living_lead(visit: Visit, email: str) -> int | None:
    with visit.database.read() as connection:
        return leadstore.find_lead(connection, visit.account.id, email)
