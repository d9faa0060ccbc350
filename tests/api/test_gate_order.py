"""The order of the gate: a call that is wrong in two ways is told of the one that the contract asks about first."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import tomli_w

from cartwheel.accountfiles import accountfile
from cartwheel.api.dispatch import Request
from cartwheel.data import schema
from cartwheel.network import Client, read_address
from conftest import Databases
from harness import Api, Server, new_api

ADA = "ada@shop.example"
INSIDE, OUTSIDE = "203.0.113.7", "198.51.100.7"


@pytest.fixture(scope="module")
def server(databases: Databases) -> Iterator[Server]:
    """The order has nothing to do with the engine."""
    running = Server(databases.migrated("sqlite"))
    yield running
    running.stop()


@dataclass
class Wrong:
    """What is not as it should be, in the call and in the accounts."""

    call: dict[str, Any] = field(default_factory=dict)
    app: dict[str, Any] = field(default_factory=dict)
    inactive: str = ""
    secure: bool = True
    tired: bool = False
    """The App has used up its calls."""


WRONG = {
    "201": Wrong(secure=False),
    "238": Wrong({"app_id": ""}),
    "239": Wrong({"app_id": "no-such-app"}),
    "240": Wrong(inactive="owner of the App"),
    "202": Wrong({"api_key": ""}),
    "203": Wrong({"api_key": "no-such-key"}),
    "233": Wrong({"api_password": "not-the-password"}),
    "204": Wrong(inactive="owner of the key"),
    "242": Wrong(app={"allow_ips": [f"{INSIDE}/32"]}),
    "429": Wrong(app={"rate_limit": 1}, tired=True),
    "223": Wrong({"lead": "ada"}),
    "236": Wrong({"get_lead": "ada"}),
    "224": Wrong({"actions": "assign_tag"}),
    "254": Wrong({"actions": [{"cmd": "assign_tag", "tag_name": "Customer"}, {}]}),
    "262": Wrong(app={"commands": ["lists:write"]}),
    "206": Wrong({"lead": {}}),
}
"""In the contract's order."""

PAIRS = [
    (first, second)
    for first, second in itertools.combinations(WRONG, 2)
    if not WRONG[first].call.keys() & WRONG[second].call.keys()  # one thing cannot be wrong in two ways
]


def deactivate(api: Api) -> None:
    with api.server.database.read() as connection:
        name = connection.execute(sa.select(schema.accounts.c.name).filter_by(id=api.account_id)).scalar_one()
    read = accountfile.read_text(tomli_w.dumps({"account": {"name": name, "active": False}}), Path())
    accountfile.apply(api.server.database, read, api.server.clock())


def answered(server: Server, call: dict[str, Any], address: str, *, secure: bool = True) -> str:
    request = Request(Client(read_address(address), secure), b"", "application/json", None, json.dumps(call).encode())
    answer = server.run(lambda: server.application.dispatcher.answer(request))
    return str(json.loads(answer.body).get("type", ""))


@pytest.mark.parametrize("numbers", [*((number,) for number in WRONG), *PAIRS], ids="+".join)
def test_of_two_faults_the_earlier_one_is_told(server: Server, numbers: tuple[str, ...]) -> None:
    server.forgive()
    faults = [WRONG[number] for number in numbers]
    owner = new_api(
        server, app={"rate_limit": 0} | {name: value for wrong in faults for name, value in wrong.app.items()}
    )
    work = new_api(server)
    work.create(ADA)
    call: dict[str, Any] = {**work.credentials, "app_id": owner.app_id, "lead": {"email": ADA}}
    call["actions"] = [{"cmd": "assign_tag", "tag_name": "Customer"}]
    if any(wrong.tired for wrong in faults):
        assert answered(server, {**call, "actions": [{"cmd": "retrieve_account_tags"}]}, INSIDE) in {"", "262"}
    for inactive, api in {"owner of the App": owner, "owner of the key": work}.items():
        if any(wrong.inactive == inactive for wrong in faults):
            deactivate(api)
    server.run(server.application.batches.refresh)
    for wrong in faults:
        call |= wrong.call
    assert answered(server, call, OUTSIDE, secure=all(wrong.secure for wrong in faults)) == numbers[0]
