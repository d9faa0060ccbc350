"""The API inspector: the last calls, how each was read, and why it was answered so."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from babel.dates import format_datetime

from cartwheel.api import wire
from cartwheel.api.commands import COMMANDS
from cartwheel.data import callstore
from cartwheel.data.callstore import Call, Filter
from cartwheel.people import Right
from cartwheel.readers import digits
from cartwheel.times import to_micros
from cartwheel.ui.explaining import app_of, explain, loaded
from cartwheel.ui.registry import page
from cartwheel.ui.snippets import plain, snippets, without_credentials
from cartwheel.ui.trying import try_call
from cartwheel.ui.visits import Answer, Download, NotThere, Visit

HERE = "/integrations/api/calls"

MOST_ROWS = 50

UNCHANGED = 204


@dataclass(frozen=True, slots=True)
class Row:
    """A call as the list shows it. `link` leads to the next ones after it."""

    call: Call
    time: str
    app: str
    commands: list[str]

    @property
    def ms(self) -> float:
        return round(self.call.micros / 1000, 1)


@page(HERE, menu="calls", right=Right.INTEGRATIONS)
def show_calls(visit: Visit) -> Answer:
    wanted = Filter(
        visit.query.get("app", "")[:100],
        visit.query.get("command", "")[:100],
        visit.query.get("result", "")[:10],
        visit.query.get("email", "").strip()[:200],
    )
    before = _place(visit.query.get("before", ""))
    with visit.database.read() as connection:
        found = callstore.newest(connection, visit.account.id, wanted, before, MOST_ROWS + 1)
    shown, seen = found[:MOST_ROWS], visit.query.get("seen")
    newest = shown[0].request_id if shown else ""
    if visit.htmx and seen is not None and seen == newest:
        return Download(b"", "text/html", status=UNCHANGED)
    live = visit.query.get("live") != "off" and before is None
    return visit.show(
        "calls.html",
        block="rows" if visit.htmx else "",
        rows=[_row(visit, call) for call in shown],
        next=_token(shown[-1]) if len(found) > MOST_ROWS else "",
        wanted=wanted,
        filtered=wanted != Filter(),
        paged=before is not None,
        live=live,
        poll=visit.here(seen=newest or "-", before=None),
        apps=[*((app.origin, app.name) for app in visit.catalog.apps_of(visit.account.id))],
        not_admitted=callstore.NOT_ADMITTED,
        commands=list(COMMANDS),
        kept=visit.house.settings.inspector_calls,
    )


def _token(call: Call) -> str:
    return f"{to_micros(call.at)}_{call.request_id}"


def _place(token: str) -> tuple[int, str] | None:
    first, _, request_id = token[:100].partition("_")
    return None if (at := digits(first)) is None else (at, request_id)


def _row(visit: Visit, call: Call) -> Row:
    app = app_of(visit, call.app)
    name = app.name if app else visit._("App of another account") if call.app else visit._("unknown App")
    return Row(call, time_of(visit, call.at), name, [cmd for cmd, _ in loaded(call.told) or []])


def time_of(visit: Visit, at: datetime) -> str:
    """With seconds."""
    return str(format_datetime(at, "d MMM, HH:mm:ss", tzinfo=visit.account.zone, locale=visit.language.locale))


# -- one call --


@page(f"{HERE}/{{request_id}}", menu="calls", right=Right.INTEGRATIONS)
def show_call(visit: Visit) -> Answer:
    call = _call(visit)
    tree = loaded(call.tree)
    kept = without_credentials(plain(tree)) if isinstance(tree, dict) else None
    return visit.show(
        "call.html",
        row=_row(visit, call),
        call=call,
        app=app_of(visit, call.app),
        explained=explain(visit, call),
        tree="" if tree is None else _pretty(tree),
        answer=_pretty(loaded(call.answer)) if loaded(call.answer) is not None else call.answer,
        repeatable=kept is not None,
        snippets=snippets(kept, visit.base_url) if kept is not None else [],
    )


def _call(visit: Visit) -> callstore.WholeCall:
    with visit.database.read() as connection:
        call = callstore.one(connection, visit.account.id, visit.path["request_id"])
    if call is None:
        raise NotThere
    return call


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


@page(f"{HERE}/{{request_id}}/repeat", menu="calls", right=Right.INTEGRATIONS, post=True)
def repeat_call(visit: Visit) -> Answer:
    """Repeated a call in test mode."""
    call = _call(visit)
    tree = loaded(call.tree)
    if not isinstance(tree, dict):
        return visit.redirect(f"{HERE}/{call.request_id}", visit._("The call was not kept whole."), alarming=True)
    again = without_credentials(plain(tree))
    request_id = try_call(visit, again)
    visit.about(call.request_id)
    told = visit._("Repeated in test mode: this is what came of it. No real lead was touched.")
    if call.email and _was_unknown(visit, request_id):
        try_call(visit, {"lead": {"email": call.email}, "actions": [{"cmd": "create_lead"}]})
        request_id = try_call(visit, again)
        told += " " + visit._("There was no test lead of this address yet: it was made first.")
    return visit.redirect(f"{HERE}/{request_id}", told)


def _was_unknown(visit: Visit, request_id: str) -> bool:
    """Whether the call was refused because there is no such lead."""
    with visit.database.read() as connection:
        call = callstore.one(connection, visit.account.id, request_id)
    return call is not None and any(reply.message in call.refused + call.answer for reply in _UNKNOWN)


_UNKNOWN = (wire.LEAD_UNKNOWN, wire.LEAD_UNKNOWN_ON_GET)
