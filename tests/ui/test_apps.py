"""Apps on their pages."""

import re
from typing import Any

from cast import Cast, Person

from cartwheel.api.commands import COMMANDS
from cartwheel.people import Role
from harness import Api

PAGE = "/integrations/api/developers"


def make(boss: Person, **changes: Any) -> str:
    """The new App's page."""
    sent = {"name": "Shop", "mode": "live", "rate_limit": "20", "allow_ips": "", "permissions": "*", **changes}
    answer = boss.post(f"{PAGE}/new", **sent)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def app_id(boss: Person, path: str) -> str:
    found = re.search(r'id="app-id" value="([^"]+)"', boss.get(path).text)
    assert found
    return found[1]


def test_an_app_that_was_made_here_calls_at_once(api: Api, boss: Person) -> None:
    api.app_id = app_id(boss, make(boss))
    assert api.call({"cmd": "retrieve_account_tags"})["status"] == "Success"


def test_an_app_may_do_what_is_ticked(api: Api, boss: Person) -> None:
    path = make(boss, permissions=["leads:write", "assign_tag"])
    api.app_id = app_id(boss, path)
    api.create("ada@shop.example")
    assert api.on("ada@shop.example", "assign_tag", tag_name="Customer")["type"] == "103"
    assert api.on("ada@shop.example", "unassign_tag", tag_name="Customer")["type"] == "262"
    ticked = re.findall(r'name="permissions" value="([^"]+)" checked', boss.get(path).text)
    assert ticked == ["leads:write", "assign_tag"]


def test_every_command_has_a_box_with_what_it_does(boss: Person) -> None:
    page = boss.get(f"{PAGE}/new").text
    for command in COMMANDS.values():
        assert f'value="{command.name}"' in page
        assert f'value="{command.scope}"' in page


def test_a_change_keeps_the_id(api: Api, boss: Person) -> None:
    path = make(boss)
    before = app_id(boss, path)
    sent = {"name": "Store", "mode": "test", "rate_limit": "5", "allow_ips": "203.0.113.0/24\n::1", "permissions": "*"}
    assert boss.post(path, **sent).status_code == 303
    page = boss.get(path).text
    assert app_id(boss, path) == before
    assert "203.0.113.0/24\n::1" in page
    api.app_id = before
    assert api.call({"cmd": "retrieve_account_tags"})["type"] == "242"


def test_what_is_wrong_stands_beside_its_field(boss: Person) -> None:
    make(boss)
    sent = {"name": "shop", "rate_limit": "20", "permissions": "*"}
    assert "There is an App of this name" in boss.post(f"{PAGE}/new", **sent).text
    bad = boss.post(f"{PAGE}/new", name="", rate_limit="many", allow_ips="203.0.113.0/24 next-door", permissions="fly")
    assert bad.status_code == 422
    for told in ("needs a name", "A whole number", "next-door is no address", "may do nothing"):
        assert told in bad.text


def test_an_app_that_is_switched_off_is_refused_until_that_is_undone(api: Api, boss: Person) -> None:
    path = make(boss)
    api.app_id = app_id(boss, path)
    boss.post(f"{path}/stop")
    assert api.call({"cmd": "retrieve_account_tags"})["type"] == "239"
    assert f'action="{path}/start"' in boss.get(PAGE).text
    boss.post(f"{path}/start")
    assert api.call({"cmd": "retrieve_account_tags"})["status"] == "Success"


def test_an_app_of_another_account_is_not_there(stranger: Api, cast: Cast, boss: Person) -> None:
    theirs = cast.person(Role.OWNER, stranger)
    path = make(boss, name="Second")
    assert theirs.get(path).status_code == 404
    assert theirs.post(f"{path}/stop").status_code == 404
    assert boss.get(path).status_code == 200


def test_an_app_may_do_no_more_than_who_makes_it(api: Api, cast: Cast, boss: Person) -> None:
    integrator = cast.person(Role.INTEGRATOR)
    sent = {"name": "Mine", "mode": "live", "rate_limit": "20", "allow_ips": ""}
    for much in ("*", "leads:write", "assign_tag", ["leads:read", "create_lead"]):
        refused = integrator.post(f"{PAGE}/new", **sent, permissions=much)
        assert refused.status_code == 422, much
        assert "no more than you may" in refused.text
    form = integrator.get(f"{PAGE}/new").text
    assert "Shown is what your own role may do" in form
    for kept_back in ("*", "leads:write", "assign_tag"):
        assert f'value="{kept_back}"' not in form
    assert 'value="leads:read"' in form
    mine = make(integrator, name="Mine", permissions=["leads:read", "fields:write"])
    assert integrator.post(mine, **sent, permissions="*").status_code == 422
    theirs = make(boss, name="Shop")
    integrator.post(theirs, **sent | {"name": "Taken"}, permissions="leads:read")
    assert "may do more than you may" in integrator.get(theirs).text
    assert "Taken" not in integrator.get(PAGE).text
    integrator.post(f"{theirs}/stop")
    integrator.post(f"{theirs}/start")
    api.app_id = app_id(boss, theirs)
    assert api.call({"cmd": "retrieve_account_tags"})["type"] == "239", "off, and not on again"
