"""The second factor, passwords that change or are forgotten, and a person's sessions."""

import re

import httpx
import pyotp
import pytest
from cast import PASSWORD, Cast, Person

from cartwheel.data import schema, userstore
from cartwheel.people import LinkKind, Role
from cartwheel.ui import browsers, forgery, site
from harness import Api

NEW = "staple horse battery"


def post(http: httpx.Client, path: str, **fields: str) -> httpx.Response:
    return http.post(path, data={"csrf": forgery.token(http.cookies[site.cookie_name(str(http.base_url))]), **fields})


def enter(cast: Cast, person: Person, password: str = PASSWORD) -> tuple[httpx.Client, httpx.Response]:
    http = cast.visitor()
    http.get("/signin")
    return http, post(http, "/signin", email=person.email, password=password, next="/profile")


def switch_on(person: Person, api: Api) -> tuple[str, list[str]]:
    """Returns the secret and the recovery codes."""
    page = person.get("/profile/factor").text
    found = re.search(r'name="secret" value="([A-Z2-7]{32})"', page)
    assert found is not None
    assert 'src="data:image/svg+xml' in page
    code = pyotp.TOTP(found[1]).at(api.server.clock())
    answer = person.post("/profile/factor", secret=found[1], code=code, current=PASSWORD)
    assert answer.status_code == 200, answer.text
    return found[1], re.findall(r"<li>([a-z2-7-]{19})</li>", answer.text)


def test_the_code_is_asked_after_the_password(cast: Cast, boss: Person, api: Api) -> None:
    secret, _ = switch_on(boss, api)
    api.server.clock.forward(seconds=60)
    http, answer = enter(cast, boss)
    there = answer.headers["location"]
    assert there.startswith("/signin/code/")
    assert http.get("/profile").status_code == 303, "the password alone opens nothing"
    assert "Your second factor" in http.get(there).text
    assert post(http, there, code="000000").status_code == 422
    answer = post(http, there, code=pyotp.TOTP(secret).at(api.server.clock()))
    assert answer.headers["location"] == "/profile"
    assert http.get("/profile").status_code == 200
    assert http.get(there).status_code == 404


def test_no_code_counts_twice(cast: Cast, boss: Person, api: Api) -> None:
    secret, codes = switch_on(boss, api)
    assert len(set(codes)) == 10
    used = pyotp.TOTP(secret).at(api.server.clock())
    http, answer = enter(cast, boss)
    assert "used before" in post(http, answer.headers["location"], code=used).text
    http, answer = enter(cast, boss)
    assert post(http, answer.headers["location"], code=codes[0].upper().replace("-", " ")).status_code == 303
    http, answer = enter(cast, boss)
    assert post(http, answer.headers["location"], code=codes[0]).status_code == 422


def test_codes_cannot_be_guessed_for_long(cast: Cast, boss: Person, api: Api) -> None:
    secret, _ = switch_on(boss, api)
    http, answer = enter(cast, boss)
    for _ in range(11):
        post(http, answer.headers["location"], code="000000")
    api.server.clock.forward(seconds=10)
    right = pyotp.TOTP(secret).at(api.server.clock())
    assert "Too many attempts" in post(http, answer.headers["location"], code=right).text


def test_the_page_for_the_code_closes_after_ten_minutes(cast: Cast, boss: Person, api: Api) -> None:
    switch_on(boss, api)
    http, answer = enter(cast, boss)
    api.server.clock.forward(minutes=11)
    assert http.get(answer.headers["location"]).status_code == 404


@pytest.mark.parametrize("change", ["password", "on", "off"])
def test_other_sessions_end_when_it_changes_how_one_signs_in(cast: Cast, boss: Person, api: Api, change: str) -> None:
    codes = switch_on(boss, api)[1] if change == "off" else []
    with api.server.database.write() as connection:
        cookie = userstore.open_session(connection, boss.user_id, api.account_id, api.server.clock(), "", "other")
    other = cast.visitor()
    other.cookies.set(site.cookie_name(str(other.base_url)), cookie)
    assert other.get("/profile").status_code == 200
    if change == "password":
        assert boss.post("/profile/password", current=PASSWORD, password=NEW).status_code == 303
        assert enter(cast, boss, NEW)[1].headers["location"] == "/profile"
    elif change == "on":
        switch_on(boss, api)
    else:
        assert boss.post("/profile/factor/off", current="wrong", code=codes[0]).status_code == 422
        assert boss.post("/profile/factor/off", current=PASSWORD, code=codes[0]).status_code == 303
    assert other.get("/profile").status_code == 303
    assert boss.get("/profile").status_code == 200


@pytest.mark.parametrize("change", ["password", "on", "off", "codes"])
def test_a_copied_cookie_and_an_older_link_are_void_after_it(cast: Cast, boss: Person, api: Api, change: str) -> None:
    codes = switch_on(boss, api)[1] if change in ("off", "codes") else []
    thief = cast.visitor()
    thief.cookies.set(site.cookie_name(str(thief.base_url)), boss.cookie)
    assert thief.get("/profile").status_code == 200
    links = {}
    with api.server.database.write() as connection:
        for kind, path in ((LinkKind.PASSWORD, "/password"), (LinkKind.CODE, "/signin/code")):
            token = userstore.make_link(
                connection, kind, api.server.clock(), account_id=api.account_id, email=boss.email
            )
            links[kind] = f"{path}/{token}"
    assert [thief.get(path).status_code for path in links.values()] == [200, 200]
    if change == "password":
        assert boss.post("/profile/password", current=PASSWORD, password=NEW).status_code == 303
        assert "Your password is changed" in boss.get("/profile").text
    elif change == "on":
        switch_on(boss, api)
    else:
        boss.post(f"/profile/factor/{change}", current=PASSWORD, code=codes[0])
    assert thief.get("/profile").status_code == 303
    assert [thief.get(path).status_code for path in links.values()] == [404, 404]
    assert boss.get("/profile").status_code == 200


def test_who_does_not_know_the_password_changes_nothing(boss: Person, cast: Cast) -> None:
    assert boss.post("/profile/password", current="wrong", password=NEW).status_code == 422
    assert boss.post("/profile/password", current=PASSWORD, password="short").status_code == 422
    secret = pyotp.random_base32()
    assert boss.post("/profile/factor", secret=secret, code="123456", current=PASSWORD).status_code == 422
    assert boss.post("/profile/factor/codes", current=PASSWORD).status_code == 404
    assert enter(cast, boss)[1].headers["location"] == "/profile"


@pytest.mark.parametrize("change", ["off", "codes"])
def test_a_second_factor_is_changed_with_both(boss: Person, api: Api, change: str) -> None:
    secret, codes = switch_on(boss, api)
    path, used = f"/profile/factor/{change}", pyotp.TOTP(secret).at(api.server.clock())
    for code in ("", "000000", used, "aaaa-bbbb-cccc-dddd"):
        refused = boss.post(path, current=PASSWORD, code=code)
        assert refused.status_code == 422, code
        assert "used before" in refused.text
    assert boss.post(path, current="wrong", code=codes[0]).status_code == 422
    assert "10 recovery codes left" in boss.get("/profile").text, "a wrong password uses no code up"
    api.server.clock.forward(seconds=60)
    assert boss.post(path, current=PASSWORD, code=pyotp.TOTP(secret).at(api.server.clock())).status_code in (200, 303)
    assert ("10 recovery codes left" in boss.get("/profile").text) is (change == "codes")


def test_in_a_session_nobody_guesses_for_long(boss: Person, api: Api) -> None:
    for _ in range(11):
        boss.post("/profile/password", current="wrong", password=NEW)
    assert boss.post("/profile/password", current=PASSWORD, password=NEW).status_code == 422
    api.server.clock.forward(minutes=2)
    assert boss.post("/profile/password", current=PASSWORD, password=NEW).status_code == 303


def test_sessions_are_listed_in_words_and_end_one_by_one(cast: Cast, boss: Person) -> None:
    http = cast.visitor()
    http.headers["user-agent"] = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
    http.get("/signin")
    assert post(http, "/signin", email=boss.email, password=PASSWORD).status_code == 303
    page = boss.get("/profile").text
    assert "Firefox, Windows" in page
    assert "This one, now" in page
    [digest] = set(re.findall(r'name="session" value="([0-9a-f]{64})"', page))
    somebody = cast.person(Role.OWNER)
    somebody.post("/profile/sessions/end", session=digest)
    assert http.get("/profile").status_code == 200, "sessions of others are not one's own"
    assert boss.post("/profile/sessions/end", session=digest).status_code == 303
    assert http.get("/profile").status_code == 303
    assert boss.get("/profile").status_code == 200


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1", "Safari, iPhone"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36 Edg/140.0", "Edge, Linux"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Chrome/140.0.0.0 Safari/537.36", "Chrome, macOS"),
        ("curl/8.1", "curl/8.1"),
    ],
)
def test_a_browser_in_words(agent: str, words: str) -> None:
    assert browsers.in_words(agent) == words


def test_name_language_and_colours_are_ones_own(boss: Person) -> None:
    assert boss.post("/profile", name="Zoë 🦊", language="en", theme="dark").status_code == 303
    page = boss.get("/profile").text
    assert 'data-bs-theme="dark"' in page
    assert "Zoë 🦊" in page
    assert boss.post("/profile", name="", language="en", theme="dark").status_code == 422


def test_a_forgotten_password_is_replaced_by_a_link_that_works_once(cast: Cast, boss: Person, api: Api) -> None:
    with api.server.database.write() as connection:
        now = api.server.clock()
        token = userstore.make_link(connection, LinkKind.PASSWORD, now, email=boss.email)
        waiting = userstore.make_link(connection, LinkKind.CODE, now, account_id=api.account_id, email=boss.email)
    http = cast.visitor()
    assert boss.email in http.get(f"/password/{token}").text
    assert post(http, f"/password/{token}", password="short").status_code == 422
    assert post(http, f"/password/{token}", password=NEW).headers["location"] == "/"
    assert http.get("/profile").status_code == 200
    assert boss.get("/profile").status_code == 303, "whoever was signed in is out"
    assert post(http, f"/password/{token}", password=NEW).status_code == 404
    assert http.get(f"/signin/code/{waiting}").status_code == 404, (
        "whoever knew the old password does not go on with it"
    )


def test_a_new_password_does_not_replace_the_second_factor(cast: Cast, boss: Person, api: Api) -> None:
    switch_on(boss, api)
    with api.server.database.write() as connection:
        token = userstore.make_link(connection, LinkKind.PASSWORD, api.server.clock(), email=boss.email)
    http = cast.visitor()
    http.get("/signin")
    answer = post(http, f"/password/{token}", password=NEW)
    assert answer.headers["location"].startswith("/signin/code/")
    assert http.get("/profile").status_code == 303


def test_the_audit_log_tells_of_who_came_by_another_way(cast: Cast, boss: Person, api: Api) -> None:
    codes = switch_on(boss, api)[1]
    with api.server.database.write() as connection:
        token = userstore.make_link(connection, LinkKind.PASSWORD, api.server.clock(), email=boss.email)
    http = cast.visitor()
    http.get("/signin")
    answer = post(http, f"/password/{token}", password=NEW)
    assert post(http, answer.headers["location"], code=codes[0]).status_code == 303
    told = [(row["action"], row["subject"]) for row in api.rows(schema.audit_log) if row["user_id"] == boss.user_id]
    assert ("Set a new password by a link", boss.email) in told
    assert ("Signed in with a recovery code", boss.email) in told
