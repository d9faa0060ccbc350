"""An account's settings, its sender domains, and the installation's mail servers."""

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from html import unescape
from typing import Any

import pytest
from cast import Cast, Person
from nameserver import NameServer
from sink import Sink

from cartwheel.accounts import Account, Retention
from cartwheel.data import catalog, installation, signingkeys
from cartwheel.mail.smtpurl import Route, Tls, parse_routes, write_routes
from cartwheel.people import Role
from cartwheel.ui.dnscheck import Dns
from harness import Api, new_api

ALL: dict[str, Any] = {
    "name": "Zoë's shop 🦊",
    "zone": "Europe/Madrid",
    "sender_name": 'Zoë "Z" Ltd.',
    "sender_email": "hi@shop.example",
    "reply_to": "answers@shop.example",
    "address": "1 Road\nTown",
    "track_clicks": "on",
    "soft_bounces": "7",
    "in_doubt": "resend",
}


def account_of(api: Api) -> Account:
    with api.server.database.read() as connection:
        return catalog.of(connection, api.account_id).accounts[api.account_id]


# -- for how long data is kept --


def test_what_would_go_is_told_before_it_does(boss: Person, api: Api) -> None:
    api.create("ada@shop.example")
    api.delete("ada@shop.example")
    api.server.clock.forward(days=20)
    none = {"opens_and_clicks": "0", "events": "0", "mails": "0", "deleted_leads": "0"}
    assert boss.post("/settings/retention", **none | {"mails": "30"}).status_code == 303, "nothing goes"
    asked = boss.post("/settings/retention", **none | {"deleted_leads": "10"})
    assert asked.status_code == 422
    assert "Nothing is changed yet" in asked.text
    assert account_of(api).retention == Retention(mails=30)
    [seen] = re.findall(r'name="seen" value="([^"]*)"', asked.text)
    other = boss.post("/settings/retention", **none | {"deleted_leads": "5"}, seen=seen)
    assert other.status_code == 422, "that is not what was shown"
    assert boss.post("/settings/retention", **none | {"deleted_leads": "10"}, seen=seen).status_code == 303
    assert account_of(api).retention == Retention(deleted_leads=10)


@pytest.mark.parametrize("value", ["", "-1", "1.5", "many", "36501", "9" * 30])
def test_a_period_that_is_no_number_of_days_changes_nothing(boss: Person, api: Api, value: str) -> None:
    none = {"opens_and_clicks": "0", "events": "0", "mails": "0", "deleted_leads": "0"}
    assert boss.post("/settings/retention", **none | {"events": value}).status_code == 422
    assert account_of(api).retention == Retention()


# -- the account --


def test_settings_are_what_the_form_says(boss: Person, api: Api) -> None:
    sent = ALL | {"name": f"Zoë's shop 🦊 {api.account_id}"}
    assert boss.post("/settings", **sent).status_code == 303
    account = account_of(api)
    assert account.zone.key == "Europe/Madrid"
    assert account.mail.sender == '"Zoë \\"Z\\" Ltd." <hi@shop.example>'
    assert (account.mail.track_opens, account.mail.track_clicks) == (False, True)
    assert (account.mail.soft_bounces, account.mail.in_doubt.value) == (7, "resend")
    page = unescape(boss.get("/settings").text)
    assert 'value="Zoë "Z" Ltd."' in page
    assert boss.post("/settings", **sent).status_code == 303
    assert account_of(api).mail == account.mail


def test_the_public_address_is_told_where_the_dashboard_leads(boss: Person) -> None:
    assert "/settings#public-address" in boss.get("/").text
    place = boss.get("/settings").text.partition('id="public-address"')[2]
    assert "It is not set" in place
    assert "CARTWHEEL_PUBLIC_URL=https://" in place


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 256),
        ("zone", "Europe/Nowhere"),
        ("sender_email", "nonsense"),
        ("sender_email", ""),
        ("reply_to", "nonsense"),
        ("soft_bounces", "0"),
        ("soft_bounces", "many"),
        ("in_doubt", "perhaps"),
    ],
)
def test_settings_that_cannot_be_change_nothing(boss: Person, api: Api, field: str, value: str) -> None:
    before = account_of(api)
    answer = boss.post("/settings", **ALL | {field: value})
    assert answer.status_code == 422
    assert "is-invalid" in answer.text
    assert account_of(api) == before


def test_two_accounts_do_not_have_one_name(boss: Person, api: Api) -> None:
    other = account_of(new_api(api.server))
    assert boss.post("/settings", **ALL | {"name": other.name.upper()}).status_code == 422


# -- sender domains --


@pytest.fixture
def names(api: Api) -> Iterator[NameServer]:
    with NameServer() as running:
        house = api.server.application.site._house
        house.dns = running.dns
        yield running
        house.dns = Dns()


def record(page: str) -> str:
    found = re.search(r"v=DKIM1; k=rsa; p=[\w+/=]+", page)
    assert found is not None
    return found[0]


def test_a_domain_is_added_published_and_checked(boss: Person, names: NameServer) -> None:
    assert boss.post("/settings/domains", domain="hi@Shop.example").headers["location"].endswith("/shop.example")
    key = record(boss.get("/settings/domains/shop.example").text)
    page = boss.get("/settings/domains/shop.example?check=1").text
    assert page.count("Not there yet") == 2
    names.records["cartwheel-rsa._domainkey.shop.example"] = ["v=DKIM1; p=AAAA"]
    names.records["shop.example"] = ["something", "v=spf1 mx ~all"]
    page = boss.get("/settings/domains/shop.example?check=1").text
    assert "Says something else" in page
    assert "v=spf1 mx ~all" in page
    names.records["cartwheel-rsa._domainkey.shop.example"] = [key]
    names.records["_dmarc.shop.example"] = ["v=DMARC1; p=reject"]
    page = boss.get("/settings/domains/shop.example?check=1").text
    assert page.count(">Found<") == 2
    names.silent = True
    assert "The DNS did not answer" in boss.get("/settings/domains/shop.example?check=1").text


def test_a_removed_key_signs_nothing_and_comes_back(boss: Person, cast: Cast, api: Api) -> None:
    boss.post("/settings/domains", domain="shop.example", algorithm="ed25519")
    key = {"domain": "shop.example", "selector": "cartwheel-ed25519"}
    stranger = cast.person(Role.OWNER, new_api(api.server))
    assert stranger.post("/settings/domains/remove", **key).status_code == 404
    assert stranger.get("/settings/domains/shop.example").status_code == 404

    def signing() -> int:
        with api.server.database.read() as connection:
            return len(signingkeys.stored(connection, api.account_id))

    assert boss.post("/settings/domains/remove", **key).status_code == 303
    assert signing() == 0
    assert "/settings/domains/restore" in boss.get("/settings/domains").text
    assert boss.post("/settings/domains/restore", **key).status_code == 303
    assert signing() == 1
    assert boss.post("/settings/domains/restore", **key).status_code == 404


def test_what_is_no_domain_gets_no_key(boss: Person) -> None:
    assert boss.post("/settings/domains", domain="no domain").status_code == 422
    assert boss.post("/settings/domains", domain="shop.example").status_code == 303
    assert "such a key already" in boss.post("/settings/domains", domain="shop.example").text


# -- mail servers --


def servers(api: Api) -> list[Route]:
    with api.server.database.read() as connection:
        return list(installation.routes(connection))


def test_servers_are_added_changed_tried_and_removed(leader: Person, api: Api) -> None:
    first = {"host": "mail.example", "user": "ada", "password": "geheim", "tls": "required", "per_hour": "1000"}
    assert leader.post("/settings/servers/new", **first).status_code == 303
    with Sink() as sink:
        second = {"host": "127.0.0.1", "port": sink.port, "domain": "Shop.example", "do": "try"}
        assert leader.post("/settings/servers/new", **second).status_code == 303
        assert [route.domain for route in servers(api)] == ["shop.example", "*"]
        page = leader.post("/settings/servers/test", number="0").text
        assert "took the test mail" in page
        assert len(sink.messages) == 2
    assert "geheim" not in page + leader.get("/settings/servers/1").text
    assert leader.post("/settings/servers/1", **first | {"password": "", "per_hour": ""}).status_code == 303
    server = servers(api)[1].server
    assert (server.password, server.per_hour, server.tls) == ("geheim", 0, Tls.REQUIRED)
    assert leader.post("/settings/servers/1", **first | {"password": "", "host": "evil.example"}).status_code == 422
    leader.post("/settings/servers/remove", number="1")
    assert len(servers(api)) == 2, "somebody has to send for all others"
    leader.post("/settings/servers/remove", number="0")
    assert [route.domain for route in servers(api)] == ["*"]
    leader.post("/settings/servers/undo")
    assert len(servers(api)) == 2


def test_the_first_server_sends_for_all(leader: Person, api: Api) -> None:
    answer = leader.post("/settings/servers/new", host="mail.example", domain="shop.example")
    assert answer.status_code == 422
    assert "without a domain" in answer.text
    assert servers(api) == []


def test_owners_of_other_accounts_neither_see_nor_try_servers(cast: Cast, leader: Person, api: Api) -> None:
    leader.post("/settings/servers/new", host="mail.example")
    other = cast.person(Role.OWNER, new_api(api.server))
    page = other.get("/settings/servers").text
    assert "mail.example" not in page
    assert "Mail leaves" in page
    assert "mail.example" not in other.get("/welcome/server").text
    assert other.post("/settings/servers/test", number="0").status_code == 404
    for path in ("/settings/servers/new", "/settings/servers/0", "/settings/servers/remove", "/settings/servers/undo"):
        assert other.post(path, host="evil.example", number="0").status_code == 404
    assert [route.server.host for route in servers(api)] == ["mail.example"]


def test_silent_mail_servers_hold_a_few_pages_only(leader: Person) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(6) as threads:
        host, port = silent.getsockname()
        leader.post("/settings/servers/new", host=host, port=str(port), tls="off", do="keep")
        held = [threads.submit(leader.post, "/settings/servers/test", number="0") for _ in range(6)]
        told = [answer.result().text for answer in as_completed(held, timeout=60)]
    assert sum("try again in a minute" in text for text in told) == 4
    assert "try again in a minute" in told[0], "who has to wait for nothing is told at once"


def test_servers_are_stored_as_the_settings_write_them() -> None:
    for text in (
        "smtp://mail.example:25",
        "smtps://me%40x:p%40%3A%2F@mail.example:465?verify=no&per_second=3",
        "shop.example=smtp://[::1]:2525?tls=off smtp://a:b@mail.example:587?connections=2",
    ):
        assert parse_routes(write_routes(parse_routes(text))) == parse_routes(text)
