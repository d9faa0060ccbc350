"""The API inspector: what it keeps, what it never keeps, and what it says."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from cast import Cast, Person
from shop import MailShop, opened

from cartwheel.api import redaction
from cartwheel.data import callstore, schema
from cartwheel.people import Role
from cartwheel.work.housekeeping import Housekeeping
from cartwheel.work.leadwork import EraseWork
from harness import API_PASSWORD, Api, Server
from waiting import wait_until, waiting_for_locks

PAGE = "/integrations/api/calls"
ADA = "ada@shop.example"


def flush(api: Api) -> None:
    api.server.run(api.server.application.recorder.flush)


def kept(api: Api) -> list[dict[str, Any]]:
    """Oldest first."""
    flush(api)
    return sorted(api.rows(schema.api_calls), key=lambda row: row["at"])


def last(api: Api, boss: Person) -> str:
    """The newest call's page."""
    return boss.get(f"{PAGE}/{kept(api)[-1]['request_id']}").text


def test_a_call_is_shown_as_sent_as_read_and_as_answered(api: Api, boss: Person) -> None:
    api.form("lead[email]=ada@shop.example&lead[first_name]=Ada&actions[0][cmd]=create_lead")
    page = last(api, boss)
    assert "actions[0][cmd]=create_lead" in page
    assert "&#34;first_name&#34;: &#34;Ada&#34;" in page
    assert "Lead created" in page
    assert ADA in boss.get(PAGE).text


BODIES = {
    "form": lambda api: (
        api.post,
        f"app_id={api.app_id}&api_key={api.api_key}&api_password={API_PASSWORD}&get_lead[id]=1",
    ),
    "escaped": lambda api: (
        api.post,
        f"app%5Fid={api.app_id}&api_key={quote(api.api_key).replace('-', '%2D')}&api_password={API_PASSWORD}",
    ),
    "json": lambda api: (api.post, json.dumps({**api.credentials, "lead": {"first_name": api.api_key}})),
    "json with escapes": lambda api: (
        api.post,
        json.dumps(api.credentials).replace("api_key", "api\\u005fkey").replace("the-key", "\\u0074he-key"),
    ),
    "broken json": lambda api: (api.post, json.dumps(api.credentials)[:-1] + ', "lead": oops}'),
    "broken json, cut": lambda api: (api.post, json.dumps(api.credentials)[:-6]),
    "wrong password": lambda api: (api.post, json.dumps({**api.credentials, "api_password": f"x{API_PASSWORD}"})),
    "unknown cmd": lambda api: (api.post, json.dumps({**api.credentials, "actions": [{"cmd": api.api_key}]})),
    "elsewhere": lambda api: (
        api.post,
        json.dumps({**api.credentials, "actions": [{"cmd": "assign_tag", "api_password": API_PASSWORD}]}),
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_credentials_are_never_stored(api: Api, name: str) -> None:
    post, body = BODIES[name](api)
    post(body.encode())
    stored = json.dumps(kept(api))
    for secret in api.credentials.values():
        assert secret not in stored
        assert secret.replace("-", "%2D") not in stored


def test_credentials_in_the_query_and_in_multipart_are_not_stored_either(api: Api) -> None:
    api.post(b"get_lead[id]=1", "?" + "&".join(f"{name}={value}" for name, value in api.credentials.items()))
    parts = {**api.credentials, "get_lead[id]": "2"}
    body = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in parts.items()
    )
    api.post((body + "--b--\r\n").encode(), Content_Type="multipart/form-data; boundary=b")
    rows = kept(api)
    assert [json.loads(row["tree"])["get_lead"] for row in rows] == [{"id": "1"}, {"id": "2"}]
    assert not [secret for secret in api.credentials.values() if secret in json.dumps(rows)]


def test_what_cannot_be_read_is_kept_only_if_its_credentials_were_found() -> None:
    hidden = redaction.redact_unread(
        b'{"app_id": "aaaaaaaa", "api_key": "bbbbbbbb", "api_password": "cccccccc", "lead": {'
    )
    assert '"lead"' in hidden
    assert not re.search("aaaa|bbbb|cccc", hidden)
    quoted = redaction.redact_unread(
        b"{'app_id': 'aaaa&\"a', \"api_key\": \"bb\\\"bb&b\", 'api_password' => 'cccc,c', "
    )
    assert not re.search("[abc]{1,4}[&\"',]", quoted.replace("api_", "").replace("app_id", ""))
    assert redaction.redact_unread(b'{"app_id": "aaaaaaaa", "api\\u005fkey": "bbbbbbbb"') == redaction.NOT_KEPT


def test_refused_calls_are_kept_as_far_as_they_can_be_told_apart(api: Api, boss: Person) -> None:
    api.call({"cmd": "retrieve_account_tags"}, api_password="quite wrong here")
    api.call({"cmd": "retrieve_account_tags"}, api_key="no-such-key-anywhere")
    api.call({"cmd": "retrieve_account_tags"}, app_id="no-such-app-anywhere")
    refused = [row["refused"].split()[0] for row in kept(api)]
    assert refused == ["233", "203", "239"]
    page = boss.get(PAGE + "?app=not+let+in").text
    assert page.count('id="call-') == 3
    api.call({"cmd": "retrieve_account_tags"}, app_id="no-such-app-anywhere", api_key="no-such-key-anywhere")
    assert len(kept(api)) == 3


REASONS = {
    "There is no tag called “Custmer”. Is it meant to be “Customer”?": ("assign_tag", {"tag_name": "Custmer"}),
    "There is no list called “zzz”. The account has “Newsletter”": ("subscribe_lead_to_list", {"list_name": "zzz"}),
    "tag_name is missing or empty.": ("assign_tag", {}),
    "There is no command of this name. Is it meant to be “assign_tag”": ("asign_tag", {}),
    "points is “many”.": ("give_points_to_lead", {"points": "many"}),
}


@pytest.mark.parametrize("why", REASONS)
def test_a_refusal_is_explained(api: Api, boss: Person, why: str) -> None:
    api.create(ADA)
    cmd, parameters = REASONS[why]
    api.on(ADA, cmd, **parameters)
    assert why in last(api, boss)


def test_a_refused_call_says_where_it_is_mended(api: Api, boss: Person) -> None:
    api.on("nobody@shop.example", "assign_tag", tag_name="Customer")
    assert "There is no lead “nobody@shop.example” in this account." in last(api, boss)
    api.call({"cmd": "retrieve_account_tags"}, api_password="quite wrong here")
    assert 'href="/integrations/api/key">See the API key' in last(api, boss)


def test_filters_find_calls(api: Api, boss: Person) -> None:
    api.create(ADA)
    api.create("grace@shop.example")
    api.on(ADA, "assign_tag", tag_name="No such tag")
    flush(api)

    def count(query: str) -> int:
        return boss.get(f"{PAGE}?{query}").text.count('id="call-')

    assert count("") == 3
    assert count("email=ADA") == 2
    assert count("email=%25") == 0
    assert count("command=assign_tag") == count("result=refused") == 1
    assert count("result=ok") == 2
    assert count("app=app%3A1/999") == 0
    assert count("command=assign_tag&email=grace") == 0


def test_the_list_is_read_page_by_page(api: Api, boss: Person) -> None:
    for number in range(120):
        api.form(f"get_lead[id]={number + 1}")
    flush(api)
    seen, path = [], PAGE
    while path:
        page = boss.get(path).text
        seen += re.findall(r'id="call-([^"]+)"', page)
        more = re.search(r'class="more"><a class="btn" href="([^"]+)"', page)
        path = more[1].replace("&amp;", "&") if more else ""
    assert len(seen) == len(set(seen)) == 120


def test_polling_sends_nothing_until_something_is_new(api: Api, boss: Person) -> None:
    api.create(ADA)
    newest = kept(api)[-1]["request_id"]
    poll = f"{PAGE}?seen={newest}"
    assert boss.get(poll, **{"HX-Request": "true"}).status_code == 204
    api.create("grace@shop.example")
    flush(api)
    assert "Nothing found" in boss.get(f"{PAGE}?email=nobody", **{"HX-Request": "true"}).text
    fragment = boss.get(poll, **{"HX-Request": "true"}).text
    assert fragment.lstrip().startswith('<section class="card" id="rows"')
    assert "grace@shop.example" in fragment
    assert "hx-get" not in re.split("<form", boss.get(f"{PAGE}?live=off").text)[-1].split("</form>")[1]


def test_each_app_keeps_its_newest_calls(api: Api) -> None:
    most = api.server.application.settings.inspector_calls
    for number in range(most + 30):
        api.form(f"get_lead[id]={number + 1}")
        if number % 50 == 0:
            flush(api)
    rows = kept(api)
    assert len(rows) == most
    assert json.loads(rows[0]["tree"])["get_lead"]["id"] == "31"


def test_calls_are_forgotten_after_a_week(api: Api) -> None:
    api.create(ADA)
    flush(api)
    server = api.server
    housekeeping = Housekeeping(server.database, server.application.batches, clock=server.clock)
    server.clock.now += timedelta(days=7)
    server.run(housekeeping.round)
    assert kept(api)
    server.clock.now += timedelta(seconds=1)
    while server.run(housekeeping.round):  # so many at a time, and other tests have made some, too
        pass
    assert not kept(api)


def test_who_is_erased_is_gone_from_here_too_also_from_what_was_not_written_yet(api: Api) -> None:
    number = int(api.create(ADA))
    api.create("grace@shop.example")
    flush(api)
    api.on("grace@shop.example", "assign_tag", tag_name="Customer")
    api.lead(ADA)
    api.server.run(lambda: api.server.application.batches.submit(EraseWork((api.account_id, number), origin="tests")))
    assert "ada" not in json.dumps(kept(api)).lower()
    assert len(kept(api)) == 2


@contextmanager
def being_written(api: Api) -> Iterator[None]:
    """Ada's first call is written down once more, which takes its time."""
    again = kept(api)[0] | {"at": 1, "request_id": "again"}
    with api.server.database.write() as connection:
        callstore.write(connection, [again], {}, 10)
        yield


@pytest.fixture
def shop(engine: str, server: Server) -> Iterator[MailShop]:
    if engine == "sqlite":
        pytest.skip("SQLite has one writer: nobody does anything meanwhile")
    with opened(server) as shop:
        shop.api.create(ADA)
        yield shop


def test_a_lead_whose_calls_are_written_down_is_called_about_and_taken_along_meanwhile(shop: MailShop) -> None:
    with being_written(shop.api):
        shop.api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Flow", step="1")
        shop.office.settle()
        assert shop.row(ADA)["state"] == "accepted"


def test_who_is_erased_while_calls_are_written_down_is_gone_from_them_too(shop: MailShop) -> None:
    [row] = shop.api.rows_of_leads()
    work = EraseWork((shop.api.account_id, row["id"]), origin="tests")
    with ThreadPoolExecutor() as pool:
        with being_written(shop.api):
            erased = pool.submit(shop.office.do, work)
            wait_until(lambda: bool(waiting_for_locks(shop.api.server)), "the erasure waits for what is being written")
        erased.result(30)
    assert "ada" not in json.dumps(kept(shop.api)).lower()


def test_a_call_is_repeated_in_test_mode(api: Api, boss: Person) -> None:
    api.create(ADA, first_name="Ada")
    path = f"{PAGE}/{kept(api)[-1]['request_id']}"
    answer = boss.post(f"{path}/repeat")
    page = boss.get(answer.headers["location"]).text
    assert "Lead created" in page
    assert "Inspector" in page
    assert {row["email"] for row in api.rows_of_leads()} == {ADA, "ada@test.invalid"}
    again = boss.get(boss.post(f"{path}/repeat").headers["location"]).text
    assert "Lead already exists" in again
    assert [app["name"] for app in api.rows(schema.apps)].count("Inspector") == 1


def test_a_question_about_a_lead_is_repeated_although_no_test_lead_was_there(api: Api, boss: Person) -> None:
    api.create(ADA, first_name="Ada")
    api.lead(ADA)
    answer = boss.post(f"{PAGE}/{kept(api)[-1]['request_id']}/repeat")
    page = boss.get(answer.headers["location"]).text
    assert "it was made first" in page
    assert "ada@test.invalid" in page
    assert "There is no lead" not in page
    again = boss.post(f"{PAGE}/{kept(api)[-1]['request_id']}/repeat")
    assert "it was made first" not in boss.get(again.headers["location"]).text


def test_an_app_called_inspector_that_is_live_is_left_alone(api: Api, boss: Person) -> None:
    sent = {"name": "Inspector", "mode": "live", "rate_limit": "20", "permissions": "*"}
    boss.post("/integrations/api/developers/new", **sent)
    api.create(ADA)
    boss.post(f"{PAGE}/{kept(api)[-1]['request_id']}/repeat")
    assert {row["email"] for row in api.rows_of_leads()} == {ADA, "ada@test.invalid"}


def test_another_account_sees_nothing_of_it(api: Api, stranger: Api, cast: Cast) -> None:
    api.create(ADA)
    path = f"{PAGE}/{kept(api)[-1]['request_id']}"
    theirs = cast.person(Role.OWNER, stranger)
    assert theirs.get(path).status_code == theirs.post(f"{path}/repeat").status_code == 404
    assert ADA not in theirs.get(PAGE).text


def test_hostile_values_are_inert(api: Api, boss: Person) -> None:
    nasty = "<script>alert(1)</script>\u202e😀" + "x" * 300
    api.create(ADA, first_name=nasty)
    api.on(ADA, "assign_tag", tag_name=nasty)
    page = last(api, boss)
    assert "<script>alert" not in page
    assert "<script>alert" not in boss.get(PAGE).text


def test_the_same_call_can_be_copied_in_four_languages(api: Api, boss: Person) -> None:
    api.create(ADA, first_name='O\'Brien \\ "x"')
    page = last(api, boss)
    for text in ("curl ", "&lt;?php", "import requests", "await fetch("):
        assert text in page
    assert page.count("YOUR_API_PASSWORD") == 4
