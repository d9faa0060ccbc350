"""Getting in and out."""

import re

import pytest
from cast import PASSWORD, Cast, Person

from cartwheel.data import userstore
from cartwheel.people import SESSION, LinkKind, Role
from cartwheel.ui import forgery, site
from cartwheel.ui.attempts import Attempts, loose, strict
from harness import Api, Server

ELSEWHERE = "127.0.0.2"


def sign_in(cast: Cast, email: str, password: str, there: str = "/", address: str = "") -> tuple[int, str, str]:
    """Status, where to, and the body."""
    http = cast.visitor(address)
    http.get("/signin")
    token = forgery.token(http.cookies[site.cookie_name(str(http.base_url))])
    answer = http.post("/signin", data={"csrf": token, "email": email, "password": password, "next": there})
    return answer.status_code, answer.headers.get("location", ""), answer.text


def test_the_right_password_opens_the_page_that_was_asked_for(cast: Cast, boss: Person) -> None:
    assert sign_in(cast, boss.email, PASSWORD, "/leads?tag=1")[:2] == (303, "/leads?tag=1")
    assert sign_in(cast, f" {boss.email.upper()} ", PASSWORD)[:2] == (303, "/")


@pytest.mark.usefixtures("boss")
def test_who_has_forgotten_the_password_is_told_what_helps(cast: Cast) -> None:
    page = cast.visitor().get("/signin").text
    assert "Forgotten the password?" in page
    assert "<code>cartwheel user reset you@example.com</code>" in page


def test_nobody_learns_whether_an_address_is_known(cast: Cast, boss: Person) -> None:
    wrong, unknown = (sign_in(cast, email, "wrong password") for email in (boss.email, "nobody@shop.example"))
    assert wrong[0] == unknown[0] == 422
    strip = re.compile(r'value="[^"]*"')
    assert strip.sub("", wrong[2]) == strip.sub("", unknown[2])


def test_after_too_many_attempts_even_the_right_password_waits(cast: Cast, boss: Person) -> None:
    for _ in range(11):
        sign_in(cast, boss.email, "wrong password")
    assert "Too many attempts" in sign_in(cast, boss.email, PASSWORD)[2]
    cast.api.server.clock.forward(minutes=10)
    assert sign_in(cast, boss.email, PASSWORD)[0] == 303


def test_nobody_is_locked_out_by_others(cast: Cast, boss: Person) -> None:
    """Somebody elsewhere guesses: neither the sign-in nor the open session of the person has to wait for that."""
    for _ in range(20):
        answer = sign_in(cast, boss.email, "wrong password", address=ELSEWHERE)[2]
    assert "Too many attempts" in answer
    assert sign_in(cast, boss.email, PASSWORD)[0] == 303
    for _ in range(20):
        sign_in(cast, boss.email, "wrong password")
    new = "staple horse battery"
    assert boss.post("/profile/password", current=PASSWORD, password=new).status_code == 303


def test_many_networks_together_do_not_guess_for_ever(cast: Cast, boss: Person) -> None:
    attempts, now = Attempts(), cast.api.server.clock()
    taken = [attempts.take(now, strict(f"{number} {boss.email}"), loose(boss.email)) for number in range(120)]
    assert taken.count(True) == 100


def test_the_way_on_never_leads_to_another_site(cast: Cast, boss: Person) -> None:
    for there in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "leads", "/\nx"):
        assert sign_in(cast, boss.email, PASSWORD, there)[:2] == (303, "/")


def test_signing_out_ends_the_session(boss: Person) -> None:
    assert boss.get("/").status_code == 200
    assert boss.post("/signout").headers["location"] == "/signin"
    boss.http.cookies.set(site.cookie_name(str(boss.http.base_url)), boss.cookie)
    assert boss.get("/").status_code == 303


def test_a_session_that_is_not_used_ends(server: Server, boss: Person) -> None:
    server.clock.now += SESSION / 2
    assert boss.get("/").status_code == 200
    server.clock.now += SESSION / 2
    assert boss.get("/").status_code == 200
    server.clock.now += SESSION
    assert boss.get("/").status_code == 303


def test_who_is_no_longer_a_member_is_out_at_once(cast: Cast) -> None:
    somebody, api = cast.person(Role.MARKETER), cast.api
    with api.server.database.write() as connection:
        userstore.remove_member(connection, api.account_id, somebody.user_id)
    assert somebody.get("/").status_code == 303


def test_the_cookie_is_kept_from_scripts_and_other_sites(cast: Cast) -> None:
    cookie = cast.visitor().get("/signin").headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


def test_what_is_stored_signs_nobody_in(api: Api, boss: Person) -> None:
    with api.server.database.read() as connection:
        found = userstore.signed_in(connection, boss.cookie, api.server.clock())
        assert found is not None
        assert userstore.signed_in(connection, found.session.digest, api.server.clock()) is None


def test_who_only_looks_at_the_demos_link_does_not_come_in(cast: Cast, boss: Person, api: Api) -> None:
    server = api.server
    with server.database.write() as connection:
        kind = LinkKind.DEMO
        token = userstore.make_link(connection, kind, server.clock(), account_id=api.account_id, email=boss.email)
    path, http = f"/demo/{token}", cast.visitor()
    assert http.head(path).status_code == http.get(path).status_code == 200
    assert http.get("/profile").status_code == 303
    assert http.post(path).status_code == 403, "without the form's token"
    form = {"csrf": forgery.token(http.cookies[site.cookie_name(str(http.base_url))])}
    assert http.post(path, data=form).headers["location"] == "/"
    assert http.get("/profile").status_code == 200
    form = {"csrf": forgery.token(http.cookies[site.cookie_name(str(http.base_url))])}
    assert http.post(path, data=form).headers["location"] == "/", "as long as the demo runs"


def test_the_set_up_link_works_only_while_there_is_nobody(cast: Cast) -> None:
    server = cast.api.server
    cast.person(Role.OWNER)
    with server.database.write() as connection:
        token = userstore.make_link(connection, LinkKind.SETUP, server.clock())
    assert cast.visitor().get(f"/setup/{token}").status_code == 404
    assert cast.visitor().get("/setup/guessed").status_code == 404
