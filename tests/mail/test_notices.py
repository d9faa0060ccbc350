"""People are told of what automations see: once, by mail, if they work on the account."""

from pathlib import Path
from typing import Any

import pytest
import tomli_w
from cast import Cast
from office import Office

from cartwheel.accountfiles import accountfile
from cartwheel.data import catalog, schema
from cartwheel.people import Role
from harness import Api, Server, new_api


@pytest.fixture
def people(server: Server) -> Any:  # noqa: ARG001 - theirs
    made: list[Cast] = []

    def person(api: Api) -> str:
        made.append(Cast(api))
        return made[-1].person(Role.OWNER).email

    yield person
    for cast in made:
        cast.__exit__(None, None, None)


def account(server: Server, *to: str, sender: str = "Shop <hello@shop.example>") -> Api:
    rule = {
        "name": "Ring them",
        "when": {"type": "assign_tag", "tag": "Customer"},
        "then": [{"type": "notify", "to": each, "text": "Ring them today"} for each in to],
    }
    file: dict[str, Any] = {
        "account": {"mail": {"sender": sender}},
        "apps": [{"name": "Website"}],
        "tags": [{"name": "Customer"}],
    }
    return new_api(server, file=tomli_w.dumps(file | {"automations": [rule] if to else []}))


def happens(api: Api) -> None:
    api.create("ada@shop.example")
    api.on("ada@shop.example", "assign_tag", tag_name="Customer")


def notify(office: Office) -> None:
    office._run(office.worker.notifier.round)


@pytest.fixture
def office(server: Server) -> Any:
    made = Office(server)
    yield made
    made.close()


def test_who_is_nobody_of_the_account_is_not_mailed_and_that_is_kept(server: Server, office: Office) -> None:
    api = account(server, "stranger@else.example")
    happens(api)
    assert [row["attempts"] for row in api.rows(schema.notices)] == [0]
    notify(office)
    [row] = api.rows(schema.notices)
    assert (row["next_at"], row["reply"]) == (None, "stranger@else.example is nobody of this account")
    assert api.rows(schema.test_mailbox) == []


def test_a_person_gets_one_mail_of_each_event(server: Server, office: Office, people: Any) -> None:
    api = account(server)
    email = people(api)
    rule = {
        "name": "Ring them",
        "when": {"type": "assign_tag"},
        "then": [{"type": "notify", "to": email, "text": "Ring them today"}],
    }
    publish(api, rule)
    happens(api)
    for _ in range(3):
        notify(office)
    [kept] = api.rows(schema.test_mailbox)
    assert (kept["recipient"], kept["subject"]) == (email, "Ring them: ada@shop.example")
    text = kept["message"].decode()
    for part in ("Ring them today", "Got the tag Customer", "https://mail.shop.example/leads/"):
        assert part in text
    assert api.rows(schema.notices) == []


def test_one_that_cannot_be_made_is_tried_again_and_given_up_in_the_end(
    server: Server, office: Office, people: Any
) -> None:
    api = account(server, sender="")
    publish(api, {"name": "Ring them", "when": {"type": "assign_tag"}, "then": [{"type": "notify", "to": people(api)}]})
    happens(api)
    for _ in range(12):
        notify(office)
        server.clock.forward(hours=13)
    [row] = api.rows(schema.notices)
    assert row["next_at"] is None
    assert "sender" in row["reply"]


def publish(api: Api, rule: dict[str, Any]) -> None:
    """Give the account an automation."""
    database = api.server.database
    with database.read() as connection:
        name = catalog.of(connection, api.account_id).accounts[api.account_id].name
    text = tomli_w.dumps({"account": {"name": name}, "automations": [rule]})
    accountfile.apply(database, accountfile.read_text(text, Path()), api.server.clock())
