"""Who works on an account: roles, invitations, the log of what they changed, and several accounts of one person."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import sqlalchemy as sa
from cast import PASSWORD, Cast, Person
from sink import Sink

from cartwheel.data import installation, schema, userstore
from cartwheel.people import Role
from cartwheel.ui import forgery, site
from commandline import Cartwheel, name_of
from harness import Api, Server, new_api


def post(http: httpx.Client, path: str, **fields: str) -> httpx.Response:
    http.get("/signin")
    return http.post(path, data={"csrf": forgery.token(http.cookies[site.cookie_name(str(http.base_url))]), **fields})


def role_of(api: Api, person: Person) -> Role | None:
    with api.server.database.read() as connection:
        return userstore.role_in(connection, api.account_id, person.user_id)


def invite(person: Person, email: str, role: Role) -> str:
    """Returns the link's path."""
    page = person.post("/settings/people", email=email, role=role.value).text
    assert 'data-copy="invitation-link"' in page
    found = re.search(r"(/invitation/[\w-]+)", page)
    assert found is not None, page
    return found[1]


def test_who_is_invited_becomes_a_member_once(cast: Cast, boss: Person) -> None:
    path = invite(boss, "new@shop.example", Role.VIEWER)
    assert "new@shop.example" in boss.get("/settings/people").text
    http = cast.visitor()
    assert "new@shop.example" in http.get(path).text
    assert post(http, path, name="", password="short").status_code == 422
    assert post(http, path, name="New", password=PASSWORD).status_code == 303
    assert http.get("/communication/lists").status_code == 200
    assert http.get("/settings/people").status_code == 403
    assert http.get(path).status_code == 404


def test_who_has_a_login_comes_in_with_its_password_and_switches_accounts(cast: Cast, boss: Person, api: Api) -> None:
    elsewhere = new_api(api.server)
    somebody = cast.person(Role.VIEWER, elsewhere)
    path = invite(boss, somebody.email, Role.MARKETER)
    http = cast.visitor()
    assert post(http, path, password="wrong password").status_code == 422
    assert post(http, path, password=PASSWORD).status_code == 303
    assert role_of(api, somebody) is Role.MARKETER
    assert name_of(elsewhere) in http.get("/profile").text
    assert post(http, "/profile/account", account=str(elsewhere.account_id)).status_code == 303
    assert name_of(elsewhere) in http.get("/profile").text
    nobodys = new_api(api.server)
    assert post(http, "/profile/account", account=str(nobodys.account_id)).status_code == 404


def test_an_invitation_taken_back_or_renewed_does_not_work(cast: Cast, boss: Person) -> None:
    first = invite(boss, "new@shop.example", Role.VIEWER)
    second = invite(boss, "new@shop.example", Role.OWNER)
    http = cast.visitor()
    assert http.get(first).status_code == 404
    assert http.get(second).status_code == 200
    assert boss.post("/settings/people/revoke", email="new@shop.example").status_code == 303
    assert http.get(second).status_code == 404
    assert boss.post("/settings/people/revoke", email="new@shop.example").status_code == 404


@pytest.mark.parametrize("way", ["remove", "role"])
def test_who_is_removed_or_demoted_does_not_come_back_by_an_invitation(cast: Cast, boss: Person, way: str) -> None:
    other = cast.person(Role.OWNER)
    path, kept = invite(other, "back@shop.example", Role.OWNER), invite(boss, "new@shop.example", Role.VIEWER)
    http = cast.visitor()
    assert http.get(path).status_code == 200
    assert boss.post(f"/settings/people/{way}", user=other.user_id, role="viewer").status_code == 303
    assert http.get(path).status_code == 404
    assert post(http, path, name="Back", password=PASSWORD).status_code == 404
    assert "back@shop.example" not in boss.get("/settings/people").text
    assert http.get(kept).status_code == 200, "invitations of others stay"


def test_an_invitation_gives_no_more_than_its_sender_has_then(cast: Cast, boss: Person, api: Api) -> None:
    """Also if the invitation survived the change of role."""
    path = invite(boss, "new@shop.example", Role.OWNER)
    with api.server.database.write() as connection:
        mine = {"account_id": api.account_id, "user_id": boss.user_id}
        connection.execute(sa.update(schema.memberships).filter_by(**mine).values(role="marketer"))
    assert post(cast.visitor(), path, name="New", password=PASSWORD).status_code == 404


def test_an_account_keeps_an_owner(cast: Cast, boss: Person, api: Api) -> None:
    for path in ("/settings/people/remove", "/settings/people/role"):
        assert boss.post(path, user=boss.user_id, role="viewer").status_code == 303
        assert role_of(api, boss) is Role.OWNER
    assert "needs an owner" in boss.get("/settings/people").text
    other = cast.person(Role.OWNER)
    assert boss.post("/settings/people/role", user=boss.user_id, role="viewer").status_code == 303
    assert role_of(api, boss) is Role.VIEWER
    assert other.post("/settings/people/remove", user=other.user_id).status_code == 303
    assert role_of(api, other) is Role.OWNER


def test_who_is_removed_is_out_and_a_role_is_given_back(cast: Cast, boss: Person, api: Api) -> None:
    somebody = cast.person(Role.MARKETER)
    boss.post("/settings/people/role", user=somebody.user_id, role="viewer")
    page = boss.get("/settings/people").text
    assert 'name="role" value="marketer"' in page, "the undo"
    assert boss.post("/settings/people/remove", user=somebody.user_id).status_code == 303
    assert somebody.get("/").status_code == 303
    stranger = cast.person(Role.VIEWER, new_api(api.server))
    assert boss.post("/settings/people/remove", user=stranger.user_id).status_code == 404
    assert boss.post("/settings/people/role", user=stranger.user_id, role="owner").status_code == 404


def test_the_log_says_who_changed_what_and_is_read_in_pieces(cast: Cast, boss: Person, api: Api) -> None:
    other = cast.person(Role.OWNER)
    other.post("/settings/people", email="new@shop.example", role="viewer")
    with api.server.database.write() as connection:
        user = userstore.user(connection, boss.user_id)
        assert user is not None
        for number in range(60):
            userstore.audit(connection, api.account_id, api.server.clock(), user, "Made a list", f"List {number}")
    page = boss.get("/settings/audit").text
    assert "List 59" in page
    assert "List 5<" not in page
    older = re.search(r'href="(/settings/audit\?before=\d+)"', page)
    assert older is not None
    page = boss.get(older[1]).text
    assert "List 5<" in page
    assert "Invited somebody" in page
    page = boss.get(f"/settings/audit?who={other.user_id}").text
    assert "new@shop.example: viewer" in page
    assert "List" not in page.split("<tbody>")[1]


@pytest.fixture
def sink(server: Server) -> Iterator[Sink]:
    """A mail server that is in force, and none afterwards."""
    with Sink() as running:
        with server.database.write() as connection:
            installation.put_mail_servers(connection, running.url())
        yield running
        with server.database.write() as connection:
            installation.put_mail_servers(connection, "")


def test_an_invitation_is_mailed_where_mail_leaves(cast: Cast, server: Server, sink: Sink) -> None:
    api = new_api(server, account={"mail": {"sender": "Shop <hi@shop.example>"}})
    boss = cast.person(Role.OWNER, api)
    page = boss.post("/settings/people", email="new@shop.example", role="viewer").text
    assert "The link was mailed" in page
    [taken] = sink.messages
    assert taken.rcpt == "TO:<new@shop.example>"
    assert b"/invitation/" in taken.data


# -- the command line --


@pytest.fixture
def cartwheel(server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cartwheel:
    monkeypatch.setenv("CARTWHEEL_DATABASE", server.application.settings.database)
    monkeypatch.setenv("CARTWHEEL_PUBLIC_URL", "https://cartwheel.example/")
    return Cartwheel(monkeypatch, capsys)


def test_links_are_made_on_the_command_line(cartwheel: Cartwheel, boss: Person, api: Api) -> None:
    made = cartwheel("user", "add", "Grace@shop.example", "--role", "owner", "--account", name_of(api))
    assert re.fullmatch(r"https://cartwheel.example/invitation/[\w-]{43}\n", made.out), made
    people = cartwheel("user", "list", "--json").json
    assert {"email": boss.email, "accounts": {name_of(api): "owner"}}.items() <= {
        key: value for entry in people if entry["email"] == boss.email for key, value in entry.items()
    }.items()
    assert boss.email in cartwheel("user", "list").out
    reset = cartwheel("user", "reset", boss.email)
    assert "https://cartwheel.example/password/" in reset.out
    assert "nobody here" in cartwheel("user", "reset", "nobody@shop.example").trouble
    assert cartwheel("user", "add", "nonsense").code == 2


def test_the_log_is_whole_when_many_change_something_at_once(boss: Person, api: Api) -> None:
    server = api.server

    def log(subject: str) -> None:
        with server.database.read() as connection:
            person = userstore.user(connection, boss.user_id)
        assert person is not None
        with server.database.write() as connection:
            userstore.audit(connection, api.account_id, server.clock(), person, "Made a list", subject)

    subjects = [f"List {number}" for number in range(80)]
    with ThreadPoolExecutor(8) as several:
        list(several.map(log, subjects))
    assert sorted(row["subject"] for row in api.rows(schema.audit_log)) == sorted(subjects)


def test_people_who_come_at_once_are_different_people(server: Server) -> None:
    def come(email: str) -> int:
        with server.database.write() as connection:
            return userstore.add(connection, email, "", "", server.clock()).id

    with ThreadPoolExecutor() as pool:
        numbers = list(pool.map(come, [f"someone{number}@shop.example" for number in range(12)]))
    assert len(set(numbers)) == 12


def test_what_is_refused_is_not_logged_as_done(boss: Person, api: Api) -> None:
    boss.post("/settings/people/remove", user=str(boss.user_id))
    assert "An account needs an owner" in boss.get("/settings/people").text
    boss.post("/leads/segments", name="", filter="")
    boss.post("/communication/tags", name="")
    assert api.rows(schema.audit_log) == []
