"""Mail servers: which ones there are, who sends by which, their limits, and a test of each."""

from typing import Any

from cartwheel.data import installation
from cartwheel.errors import BadSetting
from cartwheel.mail.smtpurl import Route, Server
from cartwheel.people import Right
from cartwheel.ui import mailservers
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Undo, Visit

HERE = "/settings/servers"

UNDO = Undo(f"{HERE}/undo")


@page(HERE, menu="servers", right=Right.SETTINGS)
def show_servers(visit: Visit) -> Answer:
    return visit.show("servers.html", tried=None, **_context(visit))


def _context(visit: Visit) -> dict[str, Any]:
    routes = mailservers.in_force(visit)
    may_see = mailservers.may_see(visit)
    return {
        "routes": routes if may_see else (),
        "leaves": bool(routes),
        "may_see": may_see,
        "outside": mailservers.are_set_outside(visit),
        "may_change": mailservers.may_change(visit),
    }


@page(f"{HERE}/new", menu="servers", right=Right.SETTINGS)
def show_new_server(visit: Visit) -> Answer:
    _check_may_change(visit)
    return visit.show("server.html", server=None, domain="", tried=None)


@page(f"{HERE}/new", menu="servers", right=Right.SETTINGS, post=True)
def add_server(visit: Visit) -> Answer:
    """Added a mail server."""
    return _save(visit, None)


@page(f"{HERE}/{{number:int}}", menu="servers", right=Right.SETTINGS)
def show_server(visit: Visit) -> Answer:
    _check_may_change(visit)
    route = _route(visit, visit.path["number"])
    domain = "" if route.domain == "*" else route.domain
    return visit.show("server.html", server=route.server, domain=domain, tried=None)


@page(f"{HERE}/{{number:int}}", menu="servers", right=Right.SETTINGS, post=True)
def change_server(visit: Visit) -> Answer:
    """Changed a mail server."""
    return _save(visit, visit.path["number"])


def _save(visit: Visit, number: int | None) -> Answer:
    _check_may_change(visit)
    routes = list(mailservers.in_force(visit))
    before = None if number is None else _route(visit, number)
    known: Server | None = before.server if before else None
    context = {"server": known, "domain": visit.text("domain", 255)}
    server, errors = mailservers.read(visit, known)
    if server is None:
        return visit.refuse("server.html", errors, tried=None, **context)
    if visit.text("do") == "try":
        tried = mailservers.try_out(visit, server)
        if not tried.accepted:
            return visit.refuse("server.html", {"tried": tried.answer}, tried=tried, **context)
    route = Route(visit.text("domain", 255).lower().removeprefix("@") or "*", server)
    routes = [route if number == place else other for place, other in enumerate(routes)]
    try:
        mailservers.store(visit, routes if number is not None else [*routes, route])
    except BadSetting as error:
        return visit.refuse("server.html", {"domain": str(error)}, tried=None, **context)
    visit.about(server.name)
    return visit.redirect(HERE, visit._("Workers use %s within seconds.") % server.name, UNDO)


@page(f"{HERE}/remove", menu="servers", right=Right.SETTINGS, post=True)
def remove_server(visit: Visit) -> Answer:
    """Removed a mail server."""
    _check_may_change(visit)
    gone = _route(visit, visit.number("number"))
    kept = [route for route in mailservers.in_force(visit) if route != gone]
    try:
        mailservers.store(visit, kept)
    except BadSetting:
        told = visit._("This one sends for all who have no server of their own: remove those first.")
        return visit.redirect(HERE, told, alarming=True)
    visit.about(gone.server.name)
    return visit.redirect(HERE, visit._("No mail leaves by %s any more.") % gone.server.name, UNDO)


@page(f"{HERE}/undo", menu="servers", right=Right.SETTINGS, post=True)
def undo_servers(visit: Visit) -> Answer:
    """Took the last change of the mail servers back."""
    _check_may_change(visit)
    with visit.database.write() as connection:
        installation.lock(connection)
        installation.undo_mail_servers(connection)
    return visit.redirect(HERE, visit._("The mail servers are as they were before."))


@page(f"{HERE}/test", menu="servers", right=Right.SETTINGS, post=True)
def try_server(visit: Visit) -> Answer:
    """Sent a test mail."""
    if not mailservers.may_see(visit):
        raise NotThere
    route = _route(visit, visit.number("number"))
    visit.about(route.server.name)
    return visit.show("servers.html", tried=mailservers.try_out(visit, route.server), **_context(visit))


def _route(visit: Visit, number: int | None) -> Route:
    routes = mailservers.in_force(visit)
    if number is None or number >= len(routes):
        raise NotThere
    return routes[number]


def _check_may_change(visit: Visit) -> None:
    if not mailservers.may_change(visit):
        raise NotThere
