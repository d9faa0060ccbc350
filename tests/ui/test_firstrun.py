"""From the set-up link to a mail server that works."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from html import unescape

import httpx
import pytest
from cast import PASSWORD, Cast, Person
from sink import Sink

from cartwheel.data import catalog, installation, userstore
from cartwheel.mail import smtpurl
from cartwheel.people import LinkKind, Role
from cartwheel.ui import forgery, site
from conftest import Databases
from harness import Api, Server


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


def stored(api: Api) -> str:
    with api.server.database.read() as connection:
        return installation.mail_servers(connection)


def post(http: httpx.Client, path: str, **fields: str) -> httpx.Response:
    return http.post(path, data={"csrf": forgery.token(http.cookies[site.cookie_name(str(http.base_url))]), **fields})


def test_three_short_steps_make_owner_account_sender_and_mail_server(
    engine: str, databases: Databases, sink: Sink
) -> None:
    with ExitStack() as stack:
        server = Server(databases.migrated(engine))
        stack.callback(server.stop)
        with server.database.write() as connection:
            token = userstore.make_link(connection, LinkKind.SETUP, server.clock())
        http = stack.enter_context(httpx.Client(base_url=server.url, timeout=30))
        assert "data-guess" in http.get(f"/setup/{token}").text
        you = {"name": "Ada", "email": "Ada@Shop.example", "password": PASSWORD, "account": "Ada & Co.", "zone": ""}
        assert "choose a time zone" in post(http, f"/setup/{token}", **you).text
        answer = post(http, f"/setup/{token}", **you | {"zone": "Europe/Madrid"})
        assert answer.headers["location"] == "/welcome/sender"
        page = http.get("/welcome/sender").text
        assert 'value="Ada &amp; Co."' in page
        answer = post(http, "/welcome/sender", sender_name="Ada", sender_email="hi@shop.example", address="1 Road")
        assert answer.headers["location"] == "/welcome/server"
        page = post(http, "/welcome/server", host="127.0.0.1", port=str(sink.port)).text
        assert "took the test mail to ada@shop.example" in page
        assert "250" in page
        assert sink.messages[0].mail.startswith("FROM:<hi@shop.example>")
        with server.database.read() as connection:
            assert f"127.0.0.1:{sink.port}" in installation.mail_servers(connection)
            account = next(iter(catalog.newer(connection).accounts.values()))
        assert account.zone.key == "Europe/Madrid"
        assert account.mail.address == "1 Road"
        assert "No key is good" in http.get("/integrations/api/key").text
        assert http.get("/").status_code == 200
        assert "Set Cartwheel up" in http.get("/settings/audit").text
        assert httpx.get(f"{server.url}/setup/{token}").status_code == 404


def test_a_server_that_refuses_is_not_used_and_its_answer_is_shown(leader: Person, api: Api) -> None:
    with Sink(rcpt=["550 5.1.1 we do not know her"]) as sink:
        answer = leader.post("/welcome/server", host="127.0.0.1", port=sink.port)
        assert answer.status_code == 422
        assert "550 5.1.1 we do not know her" in unescape(answer.text)
        assert "It does not take mail to you" in answer.text
        assert stored(api) == ""
        assert leader.post("/welcome/server", host="127.0.0.1", port=sink.port, do="keep").status_code == 303
        assert str(sink.port) in stored(api)


def test_a_server_that_is_not_there_is_told_so(leader: Person, api: Api) -> None:
    answer = leader.post("/welcome/server", host="127.0.0.1", port="1")
    assert answer.status_code == 422
    assert "did not leave" in answer.text
    assert "look at the host and the port" in answer.text
    assert stored(api) == ""


def test_without_a_port_it_is_the_one_for_mail_of_those_who_sign_in(leader: Person, api: Api) -> None:
    ports = []
    for tls in ("", "from the start"):
        assert leader.post("/welcome/server", host="127.0.0.1", tls=tls, do="keep").status_code == 303
        [route] = smtpurl.parse_routes(stored(api))
        ports.append(route.server.port)
    assert ports == [587, 465]


def test_what_is_wrong_with_a_server_stands_beside_its_field(leader: Person) -> None:
    page = leader.post("/welcome/server", host="", port="70000", user="ada").text
    assert len(re.findall('class="invalid-feedback', page)) == 3
    assert "no host" in leader.post("/welcome/server", host="mail server").text


def test_a_password_is_never_shown_again(leader: Person, api: Api, sink: Sink) -> None:
    fields = {"host": "127.0.0.1", "port": str(sink.port), "user": "ada", "password": "geheim-123", "do": "keep"}
    assert "geheim-123" not in leader.post("/welcome/server", **fields | {"port": "0"}).text
    assert leader.post("/welcome/server", **fields).status_code == 303
    [route] = smtpurl.parse_routes(stored(api))
    assert route.server.password == "geheim-123"
    assert "geheim-123" not in leader.get("/welcome/server").text


@pytest.mark.usefixtures("leader")
def test_owners_of_another_account_leave_the_mail_servers_alone(cast: Cast, api: Api) -> None:
    other = cast.person(Role.OWNER)
    assert other.post("/welcome/server", host="127.0.0.1", port="25", do="keep").status_code == 404
    assert stored(api) == ""
