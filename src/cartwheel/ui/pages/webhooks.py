"""Webhooks: which other systems are told what happens, and what came of it."""

from typing import Any, NamedTuple

from cartwheel.accounts import LONGEST_NAME
from cartwheel.data import bygones, catalogchanges, hookstore, schema
from cartwheel.data.hookfeed import DELIVERED, PARKED, QUEUED
from cartwheel.data.hookstore import Delivery, Health, Wish
from cartwheel.data.leadstore import find_lead
from cartwheel.errors import AccountFull, NameTaken
from cartwheel.hooks import byhand
from cartwheel.hooks.outbound import AUTOMATION, LONGEST_URL, OUTBOUND, REACHES_SCORE, Endpoint, Outbound, wrong_url
from cartwheel.people import Right
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Undo, Visit
from cartwheel.views import hookviews

HERE = "/integrations/webhooks"

MOST_ROWS = 50
MOST_REPLAYED = 500
MOST_BYGONES = 20


class Row(NamedTuple):
    """A webhook as the list shows it."""

    endpoint: Endpoint
    health: Health
    state: str
    told: list[str]


@page(HERE, menu="webhooks", right=Right.INTEGRATIONS)
def show_webhooks(visit: Visit) -> Answer:
    account = visit.account
    with visit.database.read() as connection:
        health = hookstore.health(connection, account.id)
        gone = bygones.those_of(connection, schema.hook_endpoints, account.id, visit.now, MOST_BYGONES)
    rows = [
        Row(entry, known, hookviews.state_of(entry, known), hookviews.wishes(entry, account))
        for entry in account.hooks
        if (known := health.get(entry.id)) is not None
    ]
    return visit.show("webhooks.html", rows=rows, bygones=gone, most=hookstore.MOST_COUNTED)


def _endpoint(visit: Visit) -> Endpoint:
    for entry in visit.account.hooks:
        if entry.id == visit.path["number"]:
            return entry
    raise NotThere


# -- the form --


@page(f"{HERE}/new", menu="webhooks", right=Right.INTEGRATIONS)
def new_webhook(visit: Visit) -> Answer:
    return visit.show("webhook.html", entry=None, **_form(visit, None))


@page(f"{HERE}/new", menu="webhooks", right=Right.INTEGRATIONS, post=True)
def make_webhook(visit: Visit) -> Answer:
    """Made a webhook."""
    return _save(visit, None)


@page(f"{HERE}/{{number:int}}", menu="webhooks", right=Right.INTEGRATIONS)
def show_webhook(visit: Visit) -> Answer:
    entry = _endpoint(visit)
    return visit.show("webhook.html", entry=entry, **_form(visit, entry))


@page(f"{HERE}/{{number:int}}", menu="webhooks", right=Right.INTEGRATIONS, post=True)
def change_webhook(visit: Visit) -> Answer:
    """Changed a webhook."""
    return _save(visit, _endpoint(visit))


def _form(visit: Visit, entry: Endpoint | None) -> dict[str, Any]:
    """What there is to choose; what was sent stands before what is."""
    account, sent = visit.account, bool(visit.form)
    things = {"tag": account.tag_names, "list": account.list_names, "sequence": account.sequence_names}
    known = entry.events if entry else {}
    chosen = set(visit.texts("events")) if sent else set(known)
    only = {action: visit.text(f"only_{action}") if sent else str(known.get(action) or "") for action in OUTBOUND}
    apps = visit.catalog.apps_of(account.id)
    skipped = set(visit.texts("not_from")) if sent else set(entry.not_from if entry else ())
    return {
        "events": [
            (row, _label(visit, row), row.action in chosen, only[row.action], things.get(row.about, {}))
            for row in OUTBOUND.values()
        ],
        "apps": [(app, app.origin in skipped) for app in apps],
        "reaches_score": REACHES_SCORE,
        "health": _health(visit, entry) if entry else None,
    }


def _health(visit: Visit, entry: Endpoint) -> Health:
    with visit.database.read() as connection:
        return hookstore.health(connection, visit.account.id)[entry.id]


def _label(visit: Visit, row: Outbound) -> str:
    return {
        "assign_tag": visit._("A lead gets a tag"),
        "unassign_tag": visit._("A lead loses a tag"),
        "list_subscription": visit._("A lead joins a list"),
        "list_unsubscription": visit._("A lead leaves a list"),
        "sequence_subscription": visit._("A lead starts a sequence"),
        "sequence_unsubscription": visit._("A lead leaves a sequence"),
        "sequence_completion": visit._("A lead completes a sequence"),
        REACHES_SCORE: visit._("A lead's score reaches, for the first time"),
        AUTOMATION: visit._("An automation tells it of a lead"),
    }[row.action]


def _save(visit: Visit, entry: Endpoint | None) -> Answer:
    wanted, errors = _read(visit, entry)
    account = visit.account
    if not errors:
        try:
            with catalogchanges.changing(visit.database, account.id) as connection:
                if entry is None:
                    number = hookstore.add(connection, account.id, wanted, visit.now)
                else:
                    number = entry.id
                    hookstore.change(connection, account.id, wanted)
        except NameTaken:
            errors["name"] = visit._("There is a webhook of this name.")
        except AccountFull as trouble:
            errors["name"] = str(trouble)
    if errors:
        return visit.refuse("webhook.html", errors, entry=entry, **_form(visit, entry))
    visit.about(wanted.name)
    if entry is not None:
        return visit.redirect(HERE, visit._("%s is changed.") % wanted.name)
    told = visit._("%s is there, and is told what happens from now on. Its secret is below.") % wanted.name
    return visit.redirect(f"{HERE}/{number}", told)


def _read(visit: Visit, entry: Endpoint | None) -> tuple[Endpoint, dict[str, str]]:
    """What was sent, and what is wrong with it."""
    errors: dict[str, str] = {}
    url = visit.text("url", LONGEST_URL + 1)
    if trouble := wrong_url(url):
        errors["url"] = visit._("This cannot be called: %s") % trouble
    name = visit.text("name", LONGEST_NAME + 1) or url[:LONGEST_NAME]
    if len(name) > LONGEST_NAME:
        errors["name"] = visit._("At most %d characters, please.") % LONGEST_NAME
    events = {action: _only(visit, OUTBOUND[action]) for action in visit.texts("events") if action in OUTBOUND}
    if not events:
        errors["events"] = visit._("Choose at least one event.")
    score = visit.number("score") or 0
    if REACHES_SCORE in events and score == 0:
        errors["score"] = visit._("A whole number of points, please.")
    origins = [app.origin for app in visit.catalog.apps_of(visit.account.id)]
    wanted = Endpoint(
        entry.id if entry else 0,
        name,
        url,
        "enabled" in visit.form,
        entry.secret if entry else hookstore.new_secret(),
        events,
        score if REACHES_SCORE in events else 0,
        "numbers_as_strings" in visit.form,
        tuple(origin for origin in origins if origin in visit.texts("not_from")),
    )
    return wanted, errors


def _only(visit: Visit, row: Outbound) -> int | None:
    account = visit.account
    things = {"tag": account.tag_names, "list": account.list_names, "sequence": account.sequence_names}
    number = visit.number(f"only_{row.action}")
    return number if number in things.get(row.about, {}) else None


# -- on and off --


@page(f"{HERE}/{{number:int}}/pause", menu="webhooks", right=Right.INTEGRATIONS, post=True)
def pause_webhook(visit: Visit) -> Answer:
    """Paused a webhook."""
    entry = _endpoint(visit)
    with visit.database.write() as connection:
        hookstore.pause(connection, visit.account.id, entry.id, visit.now)
    visit.about(entry.name)
    undo = Undo(f"{HERE}/{entry.id}/resume")
    return visit.redirect(
        HERE, visit._("%s is paused. What it would be told waits, and none is lost.") % entry.name, undo
    )


@page(f"{HERE}/{{number:int}}/resume", menu="webhooks", right=Right.INTEGRATIONS, post=True)
def resume_webhook(visit: Visit) -> Answer:
    """Resumed a webhook."""
    entry = _endpoint(visit)
    with visit.database.write() as connection:
        hookstore.resume(connection, visit.account.id, entry.id, visit.now)
    visit.about(entry.name)
    return visit.redirect(HERE, visit._("%s goes on, with all that waited.") % entry.name)


@page(f"{HERE}/{{number:int}}/delete", menu="webhooks", right=Right.INTEGRATIONS, post=True)
def delete_webhook(visit: Visit) -> Answer:
    """Deleted a webhook."""
    entry = _endpoint(visit)
    with catalogchanges.changing(visit.database, visit.account.id) as connection:
        bygones.delete(connection, schema.hook_endpoints, visit.account.id, entry.id, visit.now)
    visit.about(entry.name)
    return visit.redirect(HERE, visit._("%s is deleted.") % entry.name, Undo(f"{HERE}/{entry.id}/restore"))


@page(f"{HERE}/{{number:int}}/restore", menu="webhooks", right=Right.INTEGRATIONS, post=True)
def restore_webhook(visit: Visit) -> Answer:
    """Took back the deletion of a webhook."""
    table, account_id = schema.hook_endpoints, visit.account.id
    with visit.database.read() as connection:
        gone = bygones.those_of(connection, table, account_id, visit.now, hookstore.MOST_COUNTED)
    for bygone in gone:
        if bygone.id == visit.path["number"]:
            try:
                with catalogchanges.changing(visit.database, account_id) as connection:
                    bygones.restore(connection, table, account_id, bygone)
            except NameTaken:
                return visit.redirect(HERE, visit._("There is a webhook of this name."), alarming=True)
            visit.about(bygone.name)
            return visit.redirect(HERE, visit._("%s is back.") % bygone.name)
    raise NotThere


@page(f"{HERE}/{{number:int}}/test", menu="webhooks", right=Right.INTEGRATIONS, post=True)
def try_webhook(visit: Visit) -> Answer:
    """Sent a test event to a webhook."""
    entry = _endpoint(visit)
    action = visit.text("event")
    if action not in OUTBOUND:
        action = next(iter(entry.events))
    token = byhand.send_test(visit.database, visit.account, entry, action, visit.now)
    visit.about(entry.name)
    told = visit._("The test is on its way: look again in a moment for what came of it.")
    return visit.redirect(f"{HERE}/{entry.id}/log/{token}", told)


# -- the log --


@page(f"{HERE}/{{number:int}}/log", menu="webhooks", right=Right.INTEGRATIONS)
def show_log(visit: Visit) -> Answer:
    entry = _endpoint(visit)
    state, action = visit.query.get("state", ""), visit.query.get("event", "")
    email = visit.query.get("email", "").strip().lower()[:200]
    with visit.database.read() as connection:
        lead_id = (find_lead(connection, visit.account.id, email) or -1) if email else None
        wish = Wish(state if state in _states(visit) else "", action if action in OUTBOUND else "", lead_id)
        before = hookstore.read_token(visit.query.get("before", ""))
        found = hookstore.page(
            connection, visit.account.id, entry.id, wish, after=before and (before[1], before[0]), most=MOST_ROWS
        )
    return visit.show(
        "webhook_log.html",
        block="rows" if visit.htmx else "",
        entry=entry,
        rows=found.rows,
        next=f"{found.after[1]}-{found.after[0]}" if found.after else "",
        wish=wish,
        email=email,
        filtered=bool(wish != Wish() or before),
        states=_states(visit),
        actions=list(OUTBOUND),
        health=_health(visit, entry),
        most=hookstore.MOST_COUNTED,
    )


def _states(visit: Visit) -> dict[str, str]:
    return {QUEUED: visit._("waiting"), DELIVERED: visit._("delivered"), PARKED: visit._("parked")}


@page(f"{HERE}/{{number:int}}/log/{{delivery}}", menu="webhooks", right=Right.INTEGRATIONS)
def show_delivery(visit: Visit) -> Answer:
    entry = _endpoint(visit)
    return visit.show("webhook_delivery.html", entry=entry, row=_delivery(visit, entry), states=_states(visit))


def _delivery(visit: Visit, entry: Endpoint) -> Delivery:
    place = hookstore.read_token(visit.path["delivery"])
    if place is not None:
        with visit.database.read() as connection:
            found = hookstore.one(connection, visit.account.id, entry.id, place)
        if found is not None:
            return found
    raise NotThere


@page(f"{HERE}/{{number:int}}/log/{{delivery}}/replay", menu="webhooks", right=Right.INTEGRATIONS, post=True)
def replay_delivery(visit: Visit) -> Answer:
    """Sent a delivery of a webhook again."""
    entry = _endpoint(visit)
    row = _delivery(visit, entry)
    with visit.database.write() as connection:
        hookstore.replay(connection, visit.account.id, [(row.lead_id, row.id, entry.id)], visit.now)
    visit.about(entry.name)
    told = visit._("It is sent again: look again in a moment for what came of it.")
    return visit.redirect(f"{HERE}/{entry.id}/log/{row.token}", told)


@page(f"{HERE}/{{number:int}}/replay", menu="webhooks", right=Right.INTEGRATIONS, post=True)
def replay_deliveries(visit: Visit) -> Answer:
    """Sent deliveries of a webhook again."""
    entry = _endpoint(visit)
    places = [place for token in visit.texts("delivery")[:MOST_REPLAYED] if (place := hookstore.read_token(token))]
    with visit.database.write() as connection:
        if "parked" in visit.form:
            count = hookstore.replay_parked(connection, visit.account.id, entry.id, visit.now)
        else:
            numbers = [(*place, entry.id) for place in places]
            count = hookstore.replay(connection, visit.account.id, numbers, visit.now) if numbers else 0
    visit.about(entry.name)
    told = visit.language.ngettext("%d delivery is sent again.", "%d deliveries are sent again.", count) % count
    return visit.redirect(f"{HERE}/{entry.id}/log", told)
