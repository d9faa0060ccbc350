"""Automations that tell other systems: the action `webhook`."""

import tomli_w
from hookshop import Teller, deliveries
from receiver import Receiver

from cartwheel.data import catalogchanges, schema
from harness import Api, Server, new_api

ADA = "ada@shop.example"


def automated(server: Server, url: str, events: list[str], **webhook: object) -> Api:
    """Whoever gets the tag A is told to the webhook CRM."""
    rule = {"when": {"type": "assign_tag", "tag": "A"}, "then": [{"type": "webhook", "webhook": "crm"}]}
    file = {
        "account": {},
        "apps": [{"name": "Website"}, {"name": "Sync"}],
        "tags": [{"name": "A"}, {"name": "B"}],
        "webhooks": [
            {"name": "CRM", "url": url, "events": events, **webhook},
            {"name": "Other", "url": url + "&other", "events": ["automation", "unassign_tag"]},
        ],
        "automations": [{"name": "Sale", **rule}],
    }
    return new_api(server, file=tomli_w.dumps(file))


def test_the_webhook_that_is_named_is_told_of_the_lead_as_it_is_then(server: Server) -> None:
    with Receiver() as receiver:
        api = automated(server, receiver.url(), ["automation"])
        with Teller(api) as teller:
            api.create(ADA, first_name="Ada")
            api.on(ADA, "assign_tag", tag_name="B")
            api.on(ADA, "assign_tag", tag_name="A")
            teller.settle()
    [got] = receiver.got
    assert (got.target, got.action) == ("/hook?key=secret", "automation")
    assert got.json["action_details"] == {"automation": {"automation_id": 1, "automation_name": "Sale"}}
    assert (got.json["lead"]["email"], got.json["lead"]["first_name"]) == (ADA, "Ada")
    assert [row["kind"] for row in api.rows(schema.events)][-3:] == ["tag_assigned", "automation_ran", "webhook_called"]


def test_the_guard_against_loops_holds_for_it_too(server: Server) -> None:
    api = automated(server, "http://hook.example/?", ["automation"], not_from=["Website"])
    api.create(ADA)
    api.on(ADA, "assign_tag", tag_name="A")
    assert deliveries(api) == []


def test_a_webhook_that_does_not_ask_for_it_any_more_is_not_told(server: Server) -> None:
    api = automated(server, "http://hook.example/?", ["automation"])
    with catalogchanges.changing(server.database, api.account_id) as connection:
        hooks = schema.hook_endpoints
        here = (hooks.c.account_id == api.account_id) & (hooks.c.name == "CRM")
        connection.execute(hooks.update().where(here).values(events='{"assign_tag":null}'))
    api.create(ADA)
    api.on(ADA, "assign_tag", tag_name="A")
    assert [row["action"] for row in deliveries(api)] == ["assign_tag"]
    kinds = [row["kind"] for row in sorted(api.rows(schema.events), key=lambda row: row["id"])]
    assert kinds[-2:] == ["automation_ran", "automation_refused"]
