"""Doing something to many leads: what and to whom, how far it has come, and back again."""

from typing import Any

from cartwheel.data import bulkstore, leadsearch
from cartwheel.data.bulkstore import Job, State, Who
from cartwheel.data.leadsearch import Count, LeadLine
from cartwheel.leads import acts, filters
from cartwheel.leads.filters import All, BadFilter
from cartwheel.people import Right
from cartwheel.readers import digits
from cartwheel.ui import bulkforms, filterforms, leadquestions
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Visit

HERE = "/leads/bulk"
MOST_CHECKED = 200
SHOWN = 10


@page(HERE, menu="leads", right=Right.LEADS_WRITE)
def preview_bulk(visit: Visit) -> Answer:
    kind = visit.query.get("act", "")
    if kind not in bulkforms.LABELS:
        return visit.redirect("/leads")
    try:
        chosen = leadquestions.among(visit, visit.query.get("among", ""))
    except BadFilter:
        raise NotThere from None
    sought = Who(filter=chosen or visit.query.get("filter", ""), q=visit.query.get("q", "")[:200])
    who = _who(visit.query.get("whom", ""), visit.query.getlist("lead"), sought)
    if who is None:
        return _nobody(visit, sought)
    begun = {name: visit.query[name] for name in ("tag", "list", "sequence") if name in visit.query}
    return visit.show("bulk.html", **_context(visit, kind, who), sent=begun)


def _who(whom: str, checked: list[str], sought: Who) -> Who | None:
    """All that are sought only if that is said, else those that are checked. None for nobody."""
    if whom == "all":
        return sought
    ids = _numbers(checked)
    return Who(ids=ids) if ids else None


def _nobody(visit: Visit, sought: Who) -> Answer:
    there = leadquestions.address(filter=sought.filter, q=sought.q)
    return visit.redirect(there, visit._("Please check some leads first."), alarming=True)


def _numbers(texts: list[str]) -> tuple[int, ...]:
    numbers = map(digits, texts[:MOST_CHECKED])
    return tuple(dict.fromkeys(number for number in numbers if number is not None))


def _context(visit: Visit, kind: str, who: Who) -> dict[str, Any]:
    act = acts.KINDS[kind]
    lines, count, told = _whom(visit, who)
    fields = act.__struct_fields__
    return {
        "kind": kind,
        "label": visit._(bulkforms.LABELS[kind]),
        "who": who,
        "lines": lines,
        "count": count,
        "told": told,
        "choices": {name: bulkforms.options(visit, name) for name in fields if name in {"tag", "list", "sequence"}},
        "needed": fields,
    }


def _whom(visit: Visit, who: Who) -> tuple[list[LeadLine], Count, str]:
    """The first few, how many, and what they have in common. Raises `NotThere` for a filter that cannot be read."""
    with visit.database.read() as connection:
        if who.ids:
            lines = leadsearch.lines(connection, leadquestions.question(visit, All(), ""), who.ids)
            return lines[:SHOWN], Count(len(lines), exact=True), ""
        try:
            tree = filters.read(who.filter)
        except BadFilter:
            raise NotThere from None
        question = leadquestions.question(visit, tree, who.q)
        found, count = leadsearch.find(connection, question, None, SHOWN)
        told = visit.say(filterforms.told(tree, visit.account)) if tree.conditions else ""
        return list(found.leads), count, told


@page(HERE, menu="leads", right=Right.LEADS_WRITE, post=True)
def start_bulk(visit: Visit) -> Answer:
    """Did something to many leads."""
    kind = visit.text("act")
    if kind not in bulkforms.LABELS:
        raise NotThere
    if not visit.may(acts.KINDS[kind].right):
        return visit.show("forbidden.html", status=403)
    sought = Who(filter=visit.text("filter", filters.LONGEST), q=visit.text("q", 200))
    who = _who(visit.text("whom"), visit.texts("lead"), sought)
    if who is None:
        return _nobody(visit, sought)
    act = bulkforms.read(kind, visit.text)
    if act is None or (isinstance(act, acts.StartSequence) and not _has_step(visit, act)):
        told = visit._("Please say which, or how many.")
        return visit.refuse("bulk.html", {"act": told}, **_context(visit, kind, who))
    _whom(visit, who)
    with visit.database.write() as connection:
        number = bulkstore.begin(connection, visit.account.id, visit.user.id, acts.written(act), who, visit.now)
    visit.about(act.told(visit.account))
    return visit.redirect(f"{HERE}/{number}")


def _has_step(visit: Visit, act: acts.StartSequence) -> bool:
    sequence = visit.account.sequence_by_id.get(act.sequence)
    return sequence is not None and (not act.step or act.step in sequence.boxes)


@page(f"{HERE}/{{number:int}}", menu="leads", right=Right.LEADS_READ)
def show_bulk(visit: Visit) -> Answer:
    job = _job(visit)
    act = acts.read(job.act)
    back = act.opposite()
    new = job.changed > 0 and job.undone_at is None and not job.is_too_old(visit.now)
    undoable = back is not None and new and visit.may(back.right) and visit.may(Right.LEADS_WRITE)
    return visit.show(
        "bulk_job.html",
        block="progress" if visit.htmx else "",
        job=job,
        told=visit.say(act.told(visit.account)),
        running=job.state is State.RUNNING,
        undoable=undoable,
    )


@page(f"{HERE}/{{number:int}}/stop", menu="leads", right=Right.LEADS_WRITE, post=True)
def stop_bulk(visit: Visit) -> Answer:
    """Stopped what was done to many leads."""
    job = _job(visit)
    with visit.database.write() as connection:
        stopped = bulkstore.stop(connection, job.account_id, job.id, visit.now)
    if not stopped:
        return visit.redirect(f"{HERE}/{job.id}", visit._("It was done already."), alarming=True)
    visit.about(acts.read(job.act).told(visit.account))
    return visit.redirect(f"{HERE}/{job.id}")


@page(f"{HERE}/{{number:int}}/undo", menu="leads", right=Right.LEADS_WRITE, post=True)
def undo_bulk(visit: Visit) -> Answer:
    """Took back what was done to many leads."""
    job = _job(visit)
    back = acts.read(job.act).opposite()
    if back is None:
        raise NotThere
    if not visit.may(back.right):
        return visit.show("forbidden.html", status=403)
    with visit.database.write() as connection:
        number = bulkstore.undo(connection, job, visit.user.id, acts.written(back), visit.now)
    if number is None:
        return visit.redirect(
            f"{HERE}/{job.id}",
            visit._("It was taken back already, is not done yet, or is more than two weeks old."),
            alarming=True,
        )
    visit.about(acts.read(job.act).told(visit.account))
    return visit.redirect(f"{HERE}/{number}")


def _job(visit: Visit) -> Job:
    """Raises `NotThere`."""
    with visit.database.read() as connection:
        job = bulkstore.get(connection, visit.account.id, visit.path["number"])
    if job is None:
        raise NotThere
    return job
