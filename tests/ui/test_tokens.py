"""Tokens on their page and on the command line."""

import re
from typing import Any

import httpx
from cast import Cast, Person

from cartwheel.people import Role
from commandline import Cartwheel, name_of
from harness import Api

PAGE = "/integrations/api/tokens"


def make(boss: Person, **changes: Any) -> httpx.Response:
    sent = {"name": "Sync", "rate_limit": "20", "days": "0", "scopes": ["account:read", "tags:write"], **changes}
    return boss.post(PAGE, **sent)


def secret_in(page: str) -> str:
    found = re.search(r'id="made-token" value="([^"]+)"', page)
    assert found, page
    return found[1]


def call(api: Api, token: str, method: str = "GET", **parts: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return api.server.http.request(method, "/v1/tags", headers=headers, **parts)


def test_a_token_is_shown_once_and_good_for_its_scopes(api: Api, boss: Person) -> None:
    token = secret_in(make(boss).text)
    assert call(api, token).status_code == 200
    assert call(api, token, "POST", json={"name": "New"}).status_code == 201
    lists = api.server.http.get("/v1/leads", headers={"Authorization": f"Bearer {token}"})
    assert lists.status_code == 403
    page = boss.get(PAGE).text
    assert token not in page
    assert "Sync" in page
    assert "<code" in page


def test_a_token_is_revoked_at_once_and_that_is_taken_back(api: Api, boss: Person) -> None:
    api.server.application.rest.forgive()
    token = secret_in(make(boss).text)
    [number] = re.findall(r"/tokens/(\d+)/revoke", boss.get(PAGE).text)
    assert boss.post(f"{PAGE}/{number}/revoke").status_code == 303
    assert call(api, token).status_code == 401
    assert boss.post(f"{PAGE}/{number}/restore").status_code == 303
    assert call(api, token).status_code == 200
    boss.post(f"{PAGE}/{number}/revoke")
    api.server.clock.forward(minutes=11)
    told = boss.get(boss.post(f"{PAGE}/{number}/restore").headers["location"]).text
    assert "only shortly after" in told
    assert call(api, token).status_code == 401


def test_a_token_that_makes_no_sense_is_not_made(boss: Person) -> None:
    nonsense: list[tuple[dict[str, Any], str]] = [
        ({"name": ""}, "A token needs a name."),
        ({"scopes": []}, "A token that may do nothing is of no use."),
        ({"scopes": ["people"]}, "A token that may do nothing is of no use."),
        ({"rate_limit": "many"}, "A whole number, please"),
    ]
    for changes, told in nonsense:
        answer = make(boss, **changes)
        assert answer.status_code == 422
        assert told in answer.text
    assert "No token is good" in boss.get(PAGE).text


def test_nobody_gives_a_token_more_than_they_may_themselves(api: Api, cast: Cast) -> None:
    clerk = cast.person(Role.INTEGRATOR)
    page = clerk.get(PAGE).text
    assert 'value="fields:write"' in page
    assert 'value="leads:write"' not in page
    token = secret_in(make(clerk, scopes=["account:read", "tags:write"]).text)
    assert call(api, token, "POST", json={"name": "New"}).status_code == 403


def test_the_history_of_a_lead_names_the_token(api: Api, boss: Person) -> None:
    token = secret_in(make(boss, name="Night shift", scopes=["leads:write"]).text)
    headers = {"Authorization": f"Bearer {token}"}
    made = api.server.http.post("/v1/leads", json={"email": "ada@shop.example"}, headers=headers).json()
    assert "by token Night shift" in boss.get(f"/leads/{made['id']}").text


def test_the_command_line_makes_lists_and_revokes_tokens(owner: Api, cartwheel: Cartwheel) -> None:
    owner.server.application.rest.forgive()
    name = name_of(owner)
    here = ("--account", name, "--json")
    made = cartwheel("token", "create", "Sync", "--scope", "account:read", "--days", "36500", *here).json
    assert call(owner, made["token"]).status_code == 200
    [listed] = cartwheel("token", "list", *here).json
    assert (listed["name"], listed["scopes"], listed["number"]) == ("Sync", ["account:read"], made["number"])
    assert made["token"] not in cartwheel("token", "list", "--account", name).out
    assert cartwheel("token", "revoke", str(made["number"]), *here).json["revoked"]
    owner.server.clock.forward(days=3650)  # the command line goes by the real clock
    assert call(owner, made["token"]).status_code == 401
    again = cartwheel("token", "revoke", str(made["number"]), "--account", name)
    assert (again.code, "has no token" in again.trouble) == (1, True)
    unknown = cartwheel("token", "create", "x", "--scope", "leads", "--account", name)
    assert (unknown.code, "no scope leads" in unknown.trouble) == (2, True)


def test_mcp_wants_a_token(cartwheel: Cartwheel) -> None:
    without = cartwheel("mcp")
    assert (without.code, "cartwheel token create" in without.trouble) == (2, True)
    missing = cartwheel("mcp", "--token-file", "/nowhere/token")
    assert (missing.code, "/nowhere/token cannot be read" in missing.trouble) == (2, True)
