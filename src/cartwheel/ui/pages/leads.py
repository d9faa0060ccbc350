"""Leads: looked for, filtered, kept as segments, and added."""

from typing import Any

from cartwheel.accounts import LONGEST_NAME
from cartwheel.data import leadsearch, schema, segments
from cartwheel.data.catalogchanges import rename
from cartwheel.data.segments import Segment
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.errors import AccountFull, LeadExists, LeadIsDeleted, NameTaken
from cartwheel.leads import filters
from cartwheel.leads.filters import BadFilter
from cartwheel.people import Right
from cartwheel.ui import bulkforms, filterforms, leadquestions
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Undo, Visit
from cartwheel.work.leadwork import NewLeadWork

HERE = "/leads"
ON_A_PAGE = 50
NAMES = ("first_name", "last_name", "phone", "company", "city", "country")
"""Beside the address, what the form for a new lead asks."""


@page(HERE, menu="leads", right=Right.LEADS_READ)
def show_leads(visit: Visit) -> Answer:
    question, wrong = leadquestions.read(visit)
    after = visit.query.get("after")
    with visit.database.read() as connection:
        try:
            found, count = leadsearch.find(connection, question, after, ON_A_PAGE)
        except ValueError:
            raise NotThere from None
        kept = [] if visit.htmx else segments.listed(connection, visit.account.id)
    written = filters.written(question.tree)
    editing = visit.query.get("editing") == "1"
    return visit.show(
        "leads.html",
        block="rows" if visit.htmx else "",
        found=found,
        count=count,
        wrong=wrong,
        q=visit.query.get("q", ""),
        within=_within(visit.query.get("q", "")),
        filter=written,
        told=visit.say(filterforms.told(question.tree, visit.account)) if written else "",
        order=question.order.value,
        first=after is None,
        segments=kept,
        segment=next((entry for entry in kept if entry.filter == written), None) if written else None,
        editing=editing,
        acts=bulkforms.choices(visit),
        **(_editor(visit, question.tree) if not visit.htmx else {}),
    )


def _within(q: str) -> str:
    """The filter that looks for a text anywhere in addresses and names."""
    text = q.strip()[:200]
    named = (filters.Field(name, "contains", text) for name in ("email", "first_name", "last_name"))
    return filters.written(filters.AnyOf(tuple(named))) if text else ""


def _editor(visit: Visit, tree: filters.Group) -> dict[str, Any]:
    account = visit.account
    return {
        "tree": tree,
        "rows": filterforms.rows(tree),
        "kinds": [(name, visit._(label)) for name, label in filterforms.KINDS.items() if _has(visit, name)],
        "fields": list(filterforms.fields(account, visit._)),
        "typed": lambda condition: filterforms.typed(condition, account),
    }


def _has(visit: Visit, kind: str) -> bool:
    return kind == "group" or filterforms.fresh(kind, visit.account, visit.now.date()) is not None


@page(f"{HERE}/filter", menu="leads", right=Right.LEADS_READ)
def build_filter(visit: Visit) -> Answer:
    """The form's way back to the page that shows what is found."""
    today = visit.now.astimezone(visit.account.zone).date()
    does = visit.query.get("do", "")
    try:
        tree = filterforms.read(visit.query, visit.account, today)
    except BadFilter:
        told = visit._("A filter has at most %d conditions, in groups of groups.") % filters.MOST_CONDITIONS
        return visit.redirect(_back(visit), told, alarming=True)
    return visit.redirect(_back(visit, filters.written(tree), editing=bool(does)))


def _back(visit: Visit, written: str = "", *, editing: bool = False) -> str:
    return leadquestions.address(
        filter=written, q=visit.query.get("q", ""), order=visit.query.get("order", ""), editing="1" if editing else ""
    )


# -- segments --


@page(f"{HERE}/segments", menu="leads", right=Right.LEADS_WRITE, post=True)
def save_segment(visit: Visit) -> Answer:
    """Saved a segment."""
    name = visit.text("name", LONGEST_NAME)
    try:
        tree = filters.read(visit.text("filter", filters.LONGEST))
    except BadFilter:
        raise NotThere from None
    there = leadquestions.address(filter=filters.written(tree))
    if not name:
        return visit.redirect(there, visit._("A segment needs a name."), alarming=True)
    visit.about(name)
    try:
        with visit.database.write() as connection:
            segments.save(connection, visit.account.id, name, tree, visit.now)
    except AccountFull:
        told = visit._("There are %d segments already. Please delete one first.") % segments.MOST
        return visit.redirect(there, told, alarming=True)
    return visit.redirect(there, visit._("The segment %s is saved.") % name)


@page(f"{HERE}/segments/{{number:int}}", menu="leads", right=Right.LEADS_WRITE, post=True)
def rename_segment(visit: Visit) -> Answer:
    """Renamed a segment."""
    entry, name = _segment(visit), visit.text("name", LONGEST_NAME)
    there = leadquestions.address(filter=entry.filter)
    if not name:
        return visit.redirect(there, visit._("A segment needs a name."), alarming=True)
    try:
        with visit.database.write() as connection:
            rename(connection, schema.segments, visit.account.id, entry.id, name)
    except NameTaken:
        return visit.redirect(there, visit._("There is a segment called %s already.") % name, alarming=True)
    visit.about(name)
    return visit.redirect(there, visit._("The segment is called %s now.") % name)


@page(f"{HERE}/segments/{{number:int}}/delete", menu="leads", right=Right.LEADS_WRITE, post=True)
def delete_segment(visit: Visit) -> Answer:
    """Deleted a segment."""
    entry = _segment(visit)
    with visit.database.write() as connection:
        segments.remove(connection, visit.account.id, entry.id)
    visit.about(entry.name)
    undo = Undo(f"{HERE}/segments", {"name": entry.name, "filter": entry.filter})
    told = visit._("The segment %s is deleted. Its leads stay as they are.") % entry.name
    return visit.redirect(HERE, told, undo)


def _segment(visit: Visit) -> Segment:
    with visit.database.read() as connection:
        for entry in segments.listed(connection, visit.account.id):
            if entry.id == visit.path["number"]:
                return entry
    raise NotThere


# -- a new lead --


@page(f"{HERE}/add", menu="leads", right=Right.LEADS_WRITE)
def show_add_lead(visit: Visit) -> Answer:
    return visit.show("lead_add.html")


@page(f"{HERE}/add", menu="leads", right=Right.LEADS_WRITE, post=True)
def add_lead(visit: Visit) -> Answer:
    """Added a lead."""
    errors = {}
    try:
        email = read_email(visit.text("email"))
    except EmailNotValid:
        return visit.refuse("lead_add.html", {"email": visit._("This is no e-mail address.")})
    profile = {name: text for name in NAMES if (text := visit.text(name))}
    try:
        number = visit.submit(NewLeadWork(visit.account.id, email, profile, visit.user.origin))
    except LeadExists:
        errors["email"] = visit._("There is a lead with this address.")
    except LeadIsDeleted:
        errors["email"] = visit._("A deleted lead has this address: it can be restored.")
    if errors:
        return visit.refuse("lead_add.html", errors, there=leadquestions.address(q=email))
    visit.about(email)
    return visit.redirect(f"{HERE}/{number}", visit._("The lead %s is there.") % email)
