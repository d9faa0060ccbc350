"""Importing leads from a file: what its columns are about, what would happen, how far it has come, and back again."""

import json
from typing import Any

import msgspec
from starlette.datastructures import UploadFile

from cartwheel.accounts import LONGEST_NAME
from cartwheel.data import importstore
from cartwheel.data.importstore import Import, State
from cartwheel.errors import AccountFull
from cartwheel.imports import columns, keeping, refused
from cartwheel.imports.deciding import Plan
from cartwheel.imports.dialects import BadFile
from cartwheel.imports.running import BadPlan, check_plan, plan_of, report_of
from cartwheel.imports.sheets import LARGEST_FILE
from cartwheel.people import Right
from cartwheel.times import to_micros
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, Download, NotThere, Visit

HERE = "/leads/import"
SHOWN = 20
MOST_DOWNLOADED = 50_000
"""Refused rows in one download; `cartwheel imports refused` has no bound."""

MAKING = (Right.TAGS_WRITE, Right.LISTS_WRITE, Right.FIELDS_WRITE)


def _(text: str) -> str:
    """Marks a text for translation; it is translated where it is shown."""
    return text


STATES = {
    State.DRAFT: _("Not begun"),
    State.CHECKING: _("Being tried out"),
    State.RUNNING: _("Being imported"),
    State.MOVING: _("Being moved from Kartra"),
    State.STOPPED: _("Stopped"),
    State.FINISHED: _("Imported"),
    State.UNDOING: _("Being taken back"),
    State.UNDONE: _("Taken back"),
}
COUNTS = {
    "made": _("New"),
    "changed": _("Changed"),
    "same": _("Unchanged"),
    "refused": _("Refused"),
    "repeated": _("A second time in the file"),
}
CONSENTS = {"": _("As the file says"), "accepted": _("All have agreed"), "not accepted": _("Nobody has agreed")}
BLOCKED = {
    "": _("As the file says"),
    "unsubscribed": _("All have unsubscribed"),
    "bounced": _("No address works"),
    "complaint": _("All have complained"),
}


@page(HERE, menu="leads", right=Right.LEADS_WRITE)
def show_imports(visit: Visit) -> Answer:
    return visit.show("imports.html", **_all(visit))


def _all(visit: Visit) -> dict[str, Any]:
    with visit.database.read() as connection:
        newest = importstore.newest(connection, visit.account.id, SHOWN)
    return {"imports": newest, "states": STATES, "largest": LARGEST_FILE >> 20}


@page(HERE, menu="leads", right=Right.LEADS_WRITE, post=True, largest=LARGEST_FILE + (1 << 20))
def upload_import(visit: Visit) -> Answer:
    """Uploaded a file of leads."""
    file = visit.form.get("file")
    if not isinstance(file, UploadFile) or not file.filename:
        return visit.refuse("imports.html", {"file": visit._("Please choose a file.")}, **_all(visit))
    how = {
        "encoding": visit.text("encoding", 40),
        "delimiter": {"tab": "\t"}.get(visit.text("delimiter"), visit.text("delimiter", 1)),
    }
    account = visit.account.id
    try:
        number = keeping.keep(visit.database, account, visit.user.id, file.filename, file.file, visit.now, **how)
    except BadFile as bad:
        return visit.refuse("imports.html", {"file": str(bad)}, **_all(visit))
    visit.about(file.filename[:200])
    return visit.redirect(f"{HERE}/{number}")


@page(f"{HERE}/{{number:int}}", menu="leads", right=Right.LEADS_WRITE)
def show_import(visit: Visit) -> Answer:
    found = _found(visit)
    if found.state is State.DRAFT and visit.htmx:  # whoever watched it being tried out sees now what was found
        return visit.redirect(f"{HERE}/{found.id}")
    if found.state is State.DRAFT:
        return visit.show("import.html", **_draft(visit, found, visit.query.get("template", "")))
    return visit.show("import_job.html", block="progress" if visit.htmx else "", **_job(visit, found))


def _draft(visit: Visit, found: Import, template: str = "") -> dict[str, Any]:
    account, headers, samples = visit.account, found.headers, json.loads(found.samples)
    with visit.database.read() as connection:
        templates = importstore.templates(connection, account.id)
    plan, kept = plan_of(found), templates.get(template, {})
    known = {name: target for name, written in kept.items() if (target := columns.read(written, account)) is not None}
    if template or not plan.columns:
        plan.columns = columns.guess(headers, samples, account, columns.preset_of(headers), known)
    today = visit.now.astimezone(account.zone).date()
    rows = [
        {
            "header": header,
            "samples": [row[at] for row in samples if at < len(row) and row[at]][:3],
            "target": plan.columns[at],
            "new": columns.new_field(header, account),
        }
        for at, header in enumerate(headers)
    ]
    return {
        "found": found,
        "plan": plan,
        "rows": rows,
        "targets": columns.TARGETS,
        "templates": list(templates),
        "chosen": template,
        "report": report_of(found) if found.report else None,
        "counts": COUNTS,
        "consents": CONSENTS,
        "blocked": BLOCKED,
        "batch_tag": plan.batch_tag if found.report else visit._("Import of %s") % today,
        "may_make": all(map(visit.may, MAKING)),
    }


def _job(visit: Visit, found: Import) -> dict[str, Any]:
    with visit.database.read() as connection:
        rows = importstore.refusals(connection, visit.account.id, found.id)
    return {
        "found": found,
        "states": STATES,
        "counts": COUNTS,
        "working": found.state in importstore.AT_WORK,
        "undoable": found.state in {State.FINISHED, State.STOPPED, State.MOVING} and bool(found.samples),
        "refusals": [(row.line, visit.say(row.reason), row.cells[:3]) for row in rows],
        "percent": round(100 * found.done / found.slices) if found.slices else 0,
    }


@page(f"{HERE}/{{number:int}}", menu="leads", right=Right.LEADS_WRITE, post=True)
def start_import(visit: Visit) -> Answer:
    """Imported leads from a file, or tried it out."""
    found, there = _found(visit), f"{HERE}/{visit.path['number']}"
    if found.state is not State.DRAFT:
        return visit.redirect(there, visit._("It was begun already."), alarming=True)
    plan = _read_plan(visit, found)
    if (plan.make or any(target.startswith(columns.NEW_FIELD) for target in plan.columns)) and not all(
        map(visit.may, MAKING)
    ):
        return visit.show("forbidden.html", status=403)
    if plan.sequence and not visit.may(Right.SEQUENCES_WRITE):
        return visit.show("forbidden.html", status=403)
    try:
        check_plan(plan, visit.account)
    except BadPlan as bad:
        return visit.refuse("import.html", {"plan": str(bad)}, **(_draft(visit, found) | {"plan": plan}))
    if name := visit.text("save", LONGEST_NAME):
        kept = {columns.plain(header): target for header, target in zip(found.headers, plan.columns, strict=True)}
        try:
            with visit.database.write() as connection:
                importstore.save_template(connection, visit.account.id, name, kept, visit.now)
        except AccountFull as full:
            return visit.refuse("import.html", {"save": str(full)}, **(_draft(visit, found) | {"plan": plan}))
    state = State.RUNNING if visit.text("do") == "run" else State.CHECKING
    values = {"plan": msgspec.json.encode(plan).decode(), "state": state.value, "done": 0, "report": ""}
    with visit.database.write() as connection:
        due = to_micros(visit.now)
        importstore.change(connection, found.account_id, found.id, only=[State.DRAFT], next_at=due, **values)
    visit.about(found.file)
    return visit.redirect(there)


def _read_plan(visit: Visit, found: Import) -> Plan:
    account = visit.account
    said = [columns.read(visit.text(f"column{at}", 200), account) or "" for at in range(len(found.headers))]
    targets = [target if target in columns.SEVERAL or target not in said[:at] else "" for at, target in enumerate(said)]
    sequence, tag, number = visit.number("sequence") or 0, visit.number("tag") or 0, visit.number("list") or 0
    return Plan(
        columns=targets,
        tags=[tag] if tag in account.tag_names else [],
        lists=[number] if number in account.list_names else [],
        batch_tag=visit.text("batch_tag", LONGEST_NAME),
        make=bool(visit.text("make")),
        consent=visit.text("consent") if visit.text("consent") in CONSENTS else "",
        blocked=visit.text("blocked") if visit.text("blocked") in BLOCKED else "",
        sequence=sequence if sequence in account.sequence_by_id else 0,
    )


@page(f"{HERE}/{{number:int}}/stop", menu="leads", right=Right.LEADS_WRITE, post=True)
def stop_import(visit: Visit) -> Answer:
    """Stopped an import."""
    found, there = _found(visit), f"{HERE}/{visit.path['number']}"
    stopped = {State.RUNNING: State.STOPPED, State.CHECKING: State.DRAFT}.get(found.state)
    if stopped is None:
        return visit.redirect(there, visit._("It was done already."), alarming=True)
    values: dict[str, Any] = {"state": stopped.value, "next_at": None}
    if stopped is State.STOPPED:
        values["ended_at"] = to_micros(visit.now)
    with visit.database.write() as connection:
        importstore.change(connection, found.account_id, found.id, only=[found.state], **values)
    visit.about(found.file)
    return visit.redirect(there)


@page(f"{HERE}/{{number:int}}/resume", menu="leads", right=Right.LEADS_WRITE, post=True)
def resume_import(visit: Visit) -> Answer:
    """Went on with an import."""
    return _set_going(visit, State.RUNNING, {State.STOPPED}, told="", ended_at=None)


@page(f"{HERE}/{{number:int}}/undo", menu="leads", right=Right.LEADS_WRITE, post=True)
def undo_import(visit: Visit) -> Answer:
    """Took an import back."""
    return _set_going(visit, State.UNDOING, {State.FINISHED, State.STOPPED, State.MOVING})


def _set_going(visit: Visit, state: State, only: set[State], **values: Any) -> Answer:
    found, there = _found(visit), f"{HERE}/{visit.path['number']}"
    values |= {"state": state.value, "next_at": to_micros(visit.now)}
    with visit.database.write() as connection:
        done = bool(found.samples) and importstore.change(connection, found.account_id, found.id, only=only, **values)
    if not done:
        return visit.redirect(there, visit._("That cannot be done with it any more."), alarming=True)
    visit.about(found.file)
    return visit.redirect(there)


@page(f"{HERE}/{{number:int}}/drop", menu="leads", right=Right.LEADS_WRITE, post=True)
def drop_import(visit: Visit) -> Answer:
    """Threw an uploaded file away."""
    found = _found(visit)
    if found.state is not State.DRAFT:
        return visit.redirect(f"{HERE}/{found.id}", visit._("It was begun already."), alarming=True)
    with visit.database.write() as connection:
        importstore.drop(connection, found.account_id, found.id)
    visit.about(found.file)
    return visit.redirect(HERE, visit._("The file %s is thrown away.") % found.file)


@page(f"{HERE}/{{number:int}}/refused", menu="leads", right=Right.LEADS_WRITE)
def download_refused(visit: Visit) -> Answer:
    found = _found(visit)
    parts = []
    for count, part in enumerate(refused.written(visit.database, found)):
        parts.append(part)
        if count * refused.AT_ONCE >= MOST_DOWNLOADED:
            break
    named = {"Content-Disposition": f'attachment; filename="refused-{found.id}.csv"'}
    return Download("".join(parts).encode("utf-8-sig"), "text/csv; charset=utf-8", named)


def _found(visit: Visit) -> Import:
    """Raises `NotThere`."""
    with visit.database.read() as connection:
        found = importstore.get(connection, visit.account.id, visit.path["number"])
    if found is None:
        raise NotThere
    return found
