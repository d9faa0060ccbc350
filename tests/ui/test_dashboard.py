"""The first page."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from cast import Cast, Person
from playwright.sync_api import Browser
from shop import MailShop, opened

from browser import Watched
from cartwheel.data import hookstore, importstore, schema
from cartwheel.leads.leadparts import RunStatus
from cartwheel.people import Role
from cartwheel.ui import site
from harness import Server, new_api

EMAILS = ("ada@shop.example", "grace@shop.example")


@pytest.fixture
def shop(server: Server) -> Iterator[MailShop]:
    with opened(server) as shop:
        yield shop


@pytest.fixture
def owner_of(shop: MailShop, cast: Cast) -> Person:
    return cast.person(Role.OWNER, shop.api)


def plots(page: str) -> Any:
    return json.loads(page.partition('id="plot-data">')[2].partition("</script>")[0])


def test_it_shows_what_happened_by_the_day(shop: MailShop, owner_of: Person) -> None:
    shop.start(*EMAILS)
    shop.api.server.clock.forward(days=3)
    shop.office.settle()
    for span in (7, 30, 90):
        data = plots(owner_of.get(f"/?days={span}").text)
        assert len(data["days"]) == span
        sent, leads = data["plots"][0]["series"][0]["values"], data["plots"][1]["series"][0]["values"]
        assert (sent[-4], sent[-1], sum(sent)) == (2, 2, 4)
        assert (leads[-4], sum(leads)) == (2, 2)
    assert len(plots(owner_of.get("/?days=9999").text)["days"]) == 30


def test_the_same_numbers_stand_in_a_table(shop: MailShop, owner_of: Person) -> None:
    shop.start(*EMAILS)
    page = owner_of.get("/?days=7").text
    assert "<tr><th>Day</th>" in page
    assert page.count('<th scope="row"') == 7


def test_a_fresh_account_sees_the_steps_to_its_first_mail(shop: MailShop, owner_of: Person, cast: Cast) -> None:
    page = owner_of.get("/").text
    assert "Four steps to the first mail" in page
    assert page.count("step-done") == 2
    fresh = new_api(shop.api.server, file='[account]\nname = ""\n[[apps]]\nname = "Website"\n')
    assert cast.person(Role.OWNER, fresh).get("/").text.count("step-done") == 0
    shop.start(*EMAILS)
    assert "Four steps to the first mail" not in owner_of.get("/").text


def test_it_names_what_somebody_has_to_see_to(shop: MailShop, owner_of: Person, cast: Cast, boss: Person) -> None:
    shop.start(*EMAILS)
    shop.change(EMAILS[0], state="in doubt", next_at=None)
    shop.change(EMAILS[1], state="queued", trouble_since=1, next_at=None)
    page = owner_of.get("/").text
    for told in (
        "1 mail is in doubt",
        "1 mail was tried in vain",
        "No mail server is set",
        "not signed",
        "No public address",
    ):
        assert told in page
    assert "No postal address" not in page
    assert "in doubt" not in boss.get("/").text
    assert (
        "/settings"
        not in cast.person(Role.VIEWER, shop.api)
        .get("/")
        .text.partition("What needs attention")[2]
        .partition("</ul>")[0]
    )


def test_a_webhook_that_fails_is_one_click_away(shop: MailShop, owner_of: Person) -> None:
    row = {"account_id": shop.api.account_id, "url": "https://x.example/", "enabled": True, "events": "{}", "score": 0}
    row |= {"numbers_as_strings": False, "not_from": "[]", "secret": "", "created_at": 1, **hookstore.NEW}
    ways = [("CRM", {"failing_since": 5}), ("Till", {"failing_since": 5, "paused_at": 7}), ("Well", {})]
    with shop.api.server.database.write() as connection:
        for number, (name, values) in enumerate(ways, 1):
            connection.execute(
                sa.insert(schema.hook_endpoints).values(**row | values, id=number, name=name, name_key=name)
            )
    page = owner_of.get("/").text
    assert "The webhook CRM fails" in page
    assert "The webhook Till is paused" in page
    assert "Well" not in page
    assert 'href="/integrations/webhooks/1"' in page


def test_an_import_that_stopped_by_itself_is_one_click_away(shop: MailShop, owner_of: Person) -> None:
    with shop.api.server.database.write() as connection:
        for file, told in (("full.csv", "There is no room for more lists."), ("by-hand.csv", "")):
            number = importstore.begin(
                connection, shop.api.account_id, None, file, shop.api.server.clock(), samples="[]"
            )
            importstore.change(connection, shop.api.account_id, number, state="stopped", told=told)
    page = owner_of.get("/").text
    assert "The import of full.csv has stopped" in page
    assert 'href="/leads/import/1"' in page
    assert "by-hand.csv" not in page


def test_who_is_stuck_is_one_click_away(shop: MailShop, owner_of: Person) -> None:
    shop.start(*EMAILS)
    table, row = schema.enrolments, shop.row(EMAILS[0])
    with shop.api.server.database.write() as connection:
        connection.execute(
            sa.update(table)
            .where(table.c.account_id == shop.api.account_id, table.c.lead_id == row["lead_id"])
            .values(status=RunStatus.PARKED, due_at=None, reason="the sequence has no step 7")
        )
    task = re.search(r'<a href="([^"]*)">1 lead is stuck in the sequence Flow</a>', owner_of.get("/").text)
    assert task is not None
    path, _, place = task[1].partition("#")
    page = owner_of.get(path).text
    [where] = re.findall(rf'<section[^>]*id="{place}".*?</section>', page, re.DOTALL)
    assert EMAILS[0] in where
    assert "the sequence has no step 7" in where
    assert "Mend what stands under" in where
    assert "arked" not in page


@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_finds_nothing_wrong(
    shop: MailShop, owner_of: Person, chromium: Browser, pytestconfig: pytest.Config, width: int
) -> None:
    shop.start(*EMAILS)
    shop.change(EMAILS[1], state="in doubt", next_at=None, sent_at=None)
    owner_of.post("/mail/suppressed", email="gone@shop.example", reason="hard bounce", details="550 gone")
    server = shop.api.server
    context = chromium.new_context(viewport={"width": width, "height": 900}, bypass_csp=False)
    context.add_cookies([{"name": site.cookie_name(server.url), "value": owner_of.cookie, "url": server.url}])
    try:
        watched = Watched(context.new_page(), pytestconfig)
        kept = shop.path(EMAILS[0]).replace("/mail/", "/mail/test/")
        for path in ("/", "/mail", "/mail?state=in+doubt", "/mail/test", "/mail/suppressed", f"{kept}?show=headers"):
            watched.page.goto(server.url + path)
            assert watched.faults() == [], path
        watched.page.goto(server.url)
        assert watched.page.locator("canvas").count() == 3
    finally:
        context.close()
