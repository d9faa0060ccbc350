"""Webhooks are made and looked at in account files, on the command line and on the page."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
import tomli_w
from cast import Person
from hookshop import Teller, deliveries, endpoint, health
from receiver import Receiver

from cartwheel import times
from cartwheel.accountfiles import accountexport, accountfile, sequencefile
from cartwheel.accounts import Account
from cartwheel.data import catalog, hookstore
from cartwheel.errors import BadAccountFile
from commandline import Cartwheel, name_of
from harness import Api

ADA = "ada@shop.example"
HERE = "/integrations/webhooks"

WEBHOOK = {
    "name": "CRM",
    "url": "https://crm.example/hooks?key=a%20b&x=1",
    "events": ["reaches_score", "assign_tag", "list_subscription"],
    "only": {"assign_tag": "customer"},
    "score": 100,
    "numbers_as_strings": True,
    "not_from": ["website"],
}


def apply(api: Api, *webhooks: dict[str, object], name: str = "") -> bool:
    """Whether anything changed."""
    text = tomli_w.dumps({"account": {"name": name or name_of(api)}, "webhooks": list(webhooks)})
    answer = accountfile.apply(api.server.database, accountfile.read_text(text, Path()), api.server.clock())
    return bool(answer["changed"])


def exported(api: Api) -> str:
    with api.server.database.read() as connection:
        known = catalog.of(connection, api.account_id)
        account = known.accounts[api.account_id]
        steps = list(sequencefile.parts(connection, account))
    return accountexport.write(account, known.apps_of(account.id), steps)


# -- account files --


def test_what_is_exported_is_applied_without_a_change(api: Api) -> None:
    assert apply(api, WEBHOOK, {"url": "http://other.example/", "events": ["unassign_tag"], "only": "Trial user"})
    assert not apply(api, WEBHOOK)
    text = exported(api)
    read = accountfile.read_text(text, Path())
    assert not accountfile.apply(api.server.database, read, api.server.clock())["changed"]
    assert exported(api) == text
    [first, second] = read.webhooks
    assert (first.only, second.only) == ({"assign_tag": "Customer"}, {"unassign_tag": "Trial user"})
    assert first.not_from == ["Website"]


def test_a_file_changes_what_it_says_and_keeps_the_secret(api: Api) -> None:
    apply(api, WEBHOOK)
    [before] = catalog_of(api).hooks
    assert apply(
        api, {"name": "crm", "url": WEBHOOK["url"], "events": WEBHOOK["events"], "score": 50, "enabled": False}
    )
    [after] = catalog_of(api).hooks
    assert (after.score, after.enabled, after.secret) == (50, False, before.secret)
    assert after.numbers_as_strings


def catalog_of(api: Api) -> Account:
    with api.server.database.read() as connection:
        return catalog.of(connection, api.account_id).accounts[api.account_id]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"url": "ftp://x"}, "http"),
        ({"url": "http://u:p@x/"}, "user and password"),
        ({"events": ["asign_tag"]}, "no event asign_tag"),
        ({"events": []}, "length"),
        ({"score": 0}, "go together"),
        ({"only": {"assign_tag": "Nobody"}}, "no tag Nobody"),
        ({"only": {"tag": "Customer"}}, "no event tag"),
        ({"not_from": ["Nobody"]}, "no app Nobody"),
        ({"secret": "whsec_x"}, "base64"),
    ],
)
def test_a_mistake_is_told_and_changes_nothing(api: Api, change: dict[str, object], told: str) -> None:
    with pytest.raises(BadAccountFile, match=told):
        apply(api, WEBHOOK | change)
    assert catalog_of(api).hooks == ()


# -- the command line --


def test_the_verbs_go_through_a_webhooks_life(owner: Api, cartwheel: Cartwheel) -> None:
    account = ("--account", name_of(owner))
    owner.server.clock.now = times.now() + timedelta(hours=1)  # the verbs go by the real one
    with Receiver([500]) as receiver, Teller(owner) as teller:
        endpoint(owner, receiver.url(), {"assign_tag": None}, name="CRM")
        assert "paused now" in cartwheel("webhook", "pause", "crm", *account).out
        assert "paused already" in cartwheel("webhook", "pause", "1", *account).out
        token = cartwheel("webhook", "test", "CRM", *account).out.split()[2].rstrip(":")
        teller.settle()
        assert receiver.got == []
        [shown] = cartwheel("webhook", "list", "--json", *account).json
        assert (shown["state"], shown["waiting"], shown["events"]) == ("paused", 1, ["assign_tag"])
        assert "whsec" not in json.dumps(shown)
        assert "running now" in cartwheel("webhook", "resume", "CRM", *account).out
        teller.settle()
        [row] = cartwheel("webhook", "log", "CRM", "--json", *account).json
        assert (row["delivery"], row["state"], row["status"], row["tries"]) == (token, "queued", 500, 1)
        assert json.loads(row["request"])["action"] == "assign_tag"
        owner.server.clock.forward(seconds=2)
        teller.settle()
        assert "delivered" in cartwheel("webhook", "log", "CRM", token, *account).out
        assert "1 delivery is" in cartwheel("webhook", "replay", "CRM", token, *account).out
        teller.settle()
    assert len(receiver.got) == 3
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert "no delivery 7-8" in cartwheel("webhook", "replay", "CRM", "7-8", *account).trouble
    assert "0 deliveries" in cartwheel("webhook", "replay", "CRM", "--parked", *account).out
    assert "no webhook X" in cartwheel("webhook", "log", "X", *account).trouble
    assert "no event x" in cartwheel("webhook", "test", "CRM", "--event", "x", *account).trouble


# -- the page --


def test_a_webhook_is_made_tried_and_looked_at_on_the_page(api: Api, boss: Person) -> None:
    with Receiver([500]) as receiver, Teller(api) as teller:
        fields = {"url": receiver.url(), "name": "CRM", "enabled": "on", "events": ["assign_tag", "reaches_score"]}
        refused = boss.post(f"{HERE}/new", **fields)
        assert refused.status_code == 422
        assert "A whole number of points" in refused.text
        assert boss.post(f"{HERE}/new", **(fields | {"url": "javascript:alert(1)"})).status_code == 422
        made = boss.post(f"{HERE}/new", **fields, score="7").headers["location"]
        [entry] = catalog_of(api).hooks
        assert entry.secret in boss.get(made).text
        assert boss.post(f"{HERE}/new", **fields, score="7").status_code == 422
        api.create(ADA)
        api.on(ADA, "assign_tag", tag_name="Customer")
        teller.settle()
        log = boss.get(f"{made}/log?email={ADA}&state=queued&event=assign_tag").text
        assert "500" in log
        assert "assign_tag" not in boss.get(f"{made}/log?state=parked").text.partition('id="rows"')[2]
        [row] = deliveries(api)
        delivery = f"{made}/log/{row['lead_id']}-{row['id']}"
        shown = boss.get(delivery).text
        assert ADA in shown
        assert "{&#34;status&#34;: 500}" in shown
        api.server.clock.forward(seconds=2)
        teller.settle()
        boss.post(f"{delivery}/replay")
        teller.settle()
        boss.post(f"{made}/replay", delivery=f"{row['lead_id']}-{row['id']}")
        teller.settle()
    assert len(receiver.got) == 4


def test_a_webhook_is_paused_deleted_and_taken_back_on_the_page(api: Api, boss: Person) -> None:
    number = endpoint(api, "https://crm.example/", {"assign_tag": None}, name="CRM")
    here = f"{HERE}/{number}"
    boss.post(f"{here}/pause")
    assert health(api, number).paused_at == api.server.clock()
    assert "CRM is paused" in boss.get("/").text
    boss.post(f"{here}/resume")
    assert health(api, number).paused_at is None
    boss.post(f"{here}/delete")
    assert catalog_of(api).hooks == ()
    assert boss.get(here).status_code == 404
    boss.post(f"{here}/restore")
    assert [entry.name for entry in catalog_of(api).hooks] == ["CRM"]


def test_the_log_goes_on_page_by_page(api: Api) -> None:
    number = endpoint(api, "https://crm.example/", {"assign_tag": None, "unassign_tag": None})
    api.create(ADA)
    for _ in range(4):
        api.on(ADA, "assign_tag", tag_name="Customer")
        api.on(ADA, "unassign_tag", tag_name="Customer")
    for wish, most in ((hookstore.Wish(), 8), (hookstore.Wish(action="assign_tag"), 4)):
        seen, after = [], None
        with api.server.database.read() as connection:
            while True:
                found = hookstore.page(connection, api.account_id, number, wish, after=after, most=3)
                seen += [row.id for row in found.rows]
                after = found.after
                if after is None:
                    break
        assert len(seen) == most
        assert seen == sorted(seen, reverse=True)
