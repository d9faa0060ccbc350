"""Apps: what may call the API, and what each of them may do."""

import re
from typing import Any

from cartwheel.accountfiles import accountfile
from cartwheel.accounts import EVERY_COMMAND, LONGEST_NAME, MOST_ADDRESSES, App
from cartwheel.api.commands import COMMANDS
from cartwheel.api.registry import Command, Scope
from cartwheel.data import callstore, catalogchanges, schema
from cartwheel.errors import AccountFull, BadAccountFile, NameTaken
from cartwheel.network import read_network
from cartwheel.people import Right
from cartwheel.ui import approle
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Undo, Visit

HERE = "/integrations/api/developers"

USUAL_RATE = 20
HIGHEST_RATE = 1_000_000
LONGEST_LIST = 50 * MOST_ADDRESSES


@page(HERE, menu="apps", right=Right.INTEGRATIONS)
def show_apps(visit: Visit) -> Answer:
    with visit.database.read() as connection:
        last = callstore.last_calls(connection, visit.account.id)
    apps = sorted(visit.catalog.apps_of(visit.account.id), key=lambda app: (not app.active, app.name.casefold()))
    return visit.show("apps.html", apps=[(app, last.get(app.origin)) for app in apps])


@page(f"{HERE}/new", menu="apps", right=Right.INTEGRATIONS)
def new_app(visit: Visit) -> Answer:
    usual = (
        {EVERY_COMMAND}
        if approle.may_grant(visit.role, None)
        else {str(scope) for scope in approle.scopes_of(visit.role)}
    )
    return visit.show("app.html", app=None, **_choices(visit, usual))


@page(f"{HERE}/new", menu="apps", right=Right.INTEGRATIONS, post=True)
def make_app(visit: Visit) -> Answer:
    """Made an App."""
    return _save(visit, None)


@page(f"{HERE}/{{number:int}}", menu="apps", right=Right.INTEGRATIONS)
def show_app(visit: Visit) -> Answer:
    app = _app(visit)
    return visit.show("app.html", app=app, **_choices(visit, app.commands or {EVERY_COMMAND}))


@page(f"{HERE}/{{number:int}}", menu="apps", right=Right.INTEGRATIONS, post=True)
def change_app(visit: Visit) -> Answer:
    """Changed an App."""
    app = _app(visit)
    if not approle.may_grant(visit.role, app.commands):
        told = visit._("%s may do more than you may. Ask an owner to change it.") % app.name
        return visit.redirect(f"{HERE}/{app.id}", told, alarming=True)
    return _save(visit, app)


@page(f"{HERE}/{{number:int}}/stop", menu="apps", right=Right.INTEGRATIONS, post=True)
def stop_app(visit: Visit) -> Answer:
    """Switched an App off."""
    app = _app(visit)
    accountfile.put_app(visit.database, visit.account, app.name, visit.now, new=False, active=False)
    visit.about(app.name)
    undo = Undo(f"{HERE}/{app.id}/start")
    return visit.redirect(HERE, visit._("%s is switched off: its calls are refused.") % app.name, undo)


@page(f"{HERE}/{{number:int}}/start", menu="apps", right=Right.INTEGRATIONS, post=True)
def start_app(visit: Visit) -> Answer:
    """Switched an App on."""
    app = _app(visit)
    if not approle.may_grant(visit.role, app.commands):
        told = visit._("%s may do more than you may. Ask an owner to change it.") % app.name
        return visit.redirect(HERE, told, alarming=True)
    accountfile.put_app(visit.database, visit.account, app.name, visit.now, new=False, active=True)
    visit.about(app.name)
    return visit.redirect(HERE, visit._("%s is switched on: its calls are answered.") % app.name)


def _app(visit: Visit) -> App:
    for app in visit.catalog.apps_of(visit.account.id):
        if app.id == visit.path["number"]:
            return app
    raise NotThere


# -- the form --


def _choices(visit: Visit, permitted: frozenset[str] | set[str]) -> dict[str, Any]:
    """The permissions that the visitor may give, by scope; `permitted` are those whose boxes are checked."""
    groups: dict[Scope, list[Command]] = {}
    mine = approle.scopes_of(visit.role)
    for command in COMMANDS.values():
        groups.setdefault(command.scope, []).append(command)
    return {
        "scopes": [
            (scope, _scope_label(visit, scope), groups[scope]) for scope in Scope if scope in groups and scope in mine
        ],
        "may_all": approle.may_grant(visit.role, None),
        "permitted": permitted,
        "every": EVERY_COMMAND,
        "usual_rate": USUAL_RATE,
    }


def _scope_label(visit: Visit, scope: Scope) -> str:
    return {
        Scope.ACCOUNT_READ: visit._("Look at the account"),
        Scope.FIELDS_WRITE: visit._("Make custom fields"),
        Scope.LEADS_READ: visit._("Look at leads"),
        Scope.LEADS_WRITE: visit._("Make and change leads"),
        Scope.LISTS_WRITE: visit._("Put leads on lists"),
        Scope.POINTS_WRITE: visit._("Give points"),
        Scope.SEQUENCES_WRITE: visit._("Start and stop sequences"),
        Scope.TAGS_WRITE: visit._("Tag leads"),
    }[scope]


def _save(visit: Visit, app: App | None) -> Answer:
    values, errors = _read(visit)
    name = visit.text("name", LONGEST_NAME + 1)
    if not errors.get("permissions") and not approle.may_grant(visit.role, values["commands"]):
        errors["permissions"] = visit._("An App may do no more than you may. Ask an owner to give it more.")
    if not errors:
        try:
            if app is not None and app.name != name:
                with catalogchanges.changing(visit.database, visit.account.id) as connection:
                    catalogchanges.rename(connection, schema.apps, visit.account.id, app.id, name)
            new = app is None
            accountfile.put_app(visit.database, visit.account, name, visit.now, new=new, **values)
        except NameTaken:
            errors["name"] = visit._("There is an App of this name.")
        except (AccountFull, BadAccountFile) as trouble:
            errors["name"] = str(trouble)
    if errors:
        return visit.refuse("app.html", errors, app=app, **_choices(visit, set(visit.texts("permissions"))))
    visit.about(name)
    if app is not None:
        return visit.redirect(HERE, visit._("%s is changed.") % name)
    made = visit.renew_catalog().app_named(visit.account.id, name)
    assert made is not None
    told = visit._("%s is there. Its app_id is below; the API key and password are the account's.") % name
    return visit.redirect(f"{HERE}/{made.id}", told)


def _read(visit: Visit) -> tuple[dict[str, Any], dict[str, str]]:
    """What was sent, and what is wrong with it."""
    errors: dict[str, str] = {}
    name = visit.text("name", LONGEST_NAME + 1)
    if not name:
        errors["name"] = visit._("An App needs a name.")
    elif len(name) > LONGEST_NAME:
        errors["name"] = visit._("At most %d characters, please.") % LONGEST_NAME
    rate = visit.number("rate_limit")
    if rate is None or rate > HIGHEST_RATE:
        errors["rate_limit"] = visit._("A whole number, please; 0 for no limit.")
    addresses = [part for part in re.split(r"[\s,]+", visit.text("allow_ips", LONGEST_LIST)) if part]
    wrong = [address for address in addresses if not _is_network(address)]
    if wrong:
        errors["allow_ips"] = visit._("%s is no address and no network.") % wrong[0]
    elif len(addresses) > MOST_ADDRESSES:
        errors["allow_ips"] = visit._("At most %d addresses, please.") % MOST_ADDRESSES
    known = {EVERY_COMMAND, *COMMANDS, *map(str, Scope)}
    permissions = sorted(known & set(visit.texts("permissions")))
    if not permissions:
        errors["permissions"] = visit._("An App that may do nothing is of no use. Choose what it may do.")
    values = {
        "mode": "test" if visit.text("mode") == "test" else "live",
        "rate_limit": rate,
        "allow_ips": addresses,
        "commands": [EVERY_COMMAND] if EVERY_COMMAND in permissions else permissions,
    }
    return values, errors


def _is_network(text: str) -> bool:
    try:
        read_network(text)
    except ValueError:
        return False
    return True
