"""Calls that people try on our own pages: really run, as an App in test mode, and then shown as the inspector has them."""

import json
from collections.abc import Mapping
from typing import Any

from cartwheel.accountfiles import accountfile
from cartwheel.accounts import App, Mode
from cartwheel.api.dispatch import Request
from cartwheel.network import Client
from cartwheel.ui.visits import Visit

NAME = "Inspector"


def try_call(visit: Visit, call: Mapping[str, Any]) -> str:
    """Run it; returns its request id."""
    body = json.dumps(call, ensure_ascii=False).encode()
    client = Client(None, secure=True)
    return visit.rehearse(Request(client, b"", "application/json", None, body), _app(visit))


def _app(visit: Visit) -> App:
    """The account's test-mode App for this, made if there is none: it may use every command, and has no limits."""
    number = 1
    while True:
        name = NAME if number == 1 else f"{NAME} {number}"
        app = visit.catalog.app_named(visit.account.id, name)
        if app is None:
            return _made(visit, name)
        if app.active and app.mode is Mode.TEST and app.commands is None:
            return app
        number += 1


def _made(visit: Visit, name: str) -> App:
    accountfile.put_app(visit.database, visit.account, name, visit.now, new=True, mode=Mode.TEST.value)
    app = visit.renew_catalog().app_named(visit.account.id, name)
    assert app is not None
    return app
