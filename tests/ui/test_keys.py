"""The API key on its page."""

import re
from datetime import timedelta

import sqlalchemy as sa
from cast import Cast, Person

from cartwheel.data import catalogchanges, schema
from cartwheel.people import Role
from harness import Api

PAGE = "/integrations/api/key"
TAGS = {"cmd": "retrieve_account_tags"}


def rotate(boss: Person, hours: int) -> tuple[str, str]:
    """The new key and password, as the page shows them."""
    page = boss.post(PAGE, overlap=str(hours)).text
    return shown(page, "made-key"), shown(page, "made-password")


def shown(page: str, field: str) -> str:
    found = re.search(rf'id="{field}" value="([^"]+)"', page)
    assert found, page
    return found[1]


def other(api: Api, pair: tuple[str, str]) -> Api:
    return Api(api.server, api.account_id, api.app_id, *pair)


def test_both_keys_are_good_until_the_overlap_ends(api: Api, boss: Person) -> None:
    new = other(api, rotate(boss, 24))
    assert api.call(TAGS)["status"] == new.call(TAGS)["status"] == "Success"
    api.server.clock.forward(hours=23, minutes=59)
    assert api.call(TAGS)["status"] == "Success"
    api.server.clock.forward(minutes=1)
    assert api.call(TAGS)["type"] == "203"
    assert new.call(TAGS)["status"] == "Success"


def test_a_pair_is_no_mixture_of_two(api: Api, boss: Person) -> None:
    new = other(api, rotate(boss, 24))
    new.api_password = api.api_password
    assert new.call(TAGS)["type"] == "233"


def test_without_an_overlap_the_old_key_stops_at_once(api: Api, boss: Person) -> None:
    new = other(api, rotate(boss, 0))
    assert api.call(TAGS)["type"] == "203"
    assert new.call(TAGS)["status"] == "Success"


def test_another_new_key_does_not_lengthen_the_oldest_ones_time(api: Api, boss: Person) -> None:
    rotate(boss, 1)
    rotate(boss, 720)
    api.server.clock.forward(hours=1)
    assert api.call(TAGS)["type"] == "203"


def test_the_secrets_are_shown_once_and_stored_nowhere(api: Api, boss: Person) -> None:
    key, password = rotate(boss, 24)
    page = boss.get(PAGE).text
    assert key not in page
    assert password not in page
    stored = str(api.rows(schema.api_keys)) + str(api.rows(schema.audit_log))
    assert key not in stored
    assert password not in stored


def test_a_revoked_key_is_void_at_once_until_that_is_undone(api: Api, boss: Person) -> None:
    assert api.call(TAGS)["status"] == "Success"
    [row] = api.rows(schema.api_keys)
    boss.post(f"{PAGE}/revoke", digest=row["key_digest"])
    assert api.call(TAGS)["type"] == "203"
    page = boss.get(PAGE).text
    assert "No key is good" in page
    assert f'value="{row["key_digest"]}"' in page  # the way back
    boss.post(f"{PAGE}/restore", digest=row["key_digest"])
    assert api.call(TAGS)["status"] == "Success"
    assert api.rows(schema.api_keys)[0]["expires_at"] is None


def test_a_key_that_is_restored_expires_when_it_would_have(api: Api, boss: Person) -> None:
    rotate(boss, 1)
    [old] = [row for row in api.rows(schema.api_keys) if row["expires_at"]]
    assert boss.post(f"{PAGE}/revoke", digest=old["key_digest"]).status_code == 303
    undo = boss.get(PAGE).text.partition(f'action="{PAGE}/restore"')[2].partition("</form>")[0]
    sent = dict(re.findall(r'name="(digest|until)" value="([^"]*)"', undo))
    boss.post(f"{PAGE}/restore", **sent)
    assert api.call(TAGS)["status"] == "Success"
    assert [row["expires_at"] for row in api.rows(schema.api_keys, key_digest=old["key_digest"])] == [old["expires_at"]]
    api.server.clock.forward(hours=1)
    assert api.call(TAGS)["type"] == "203"
    boss.post(f"{PAGE}/restore", digest=old["key_digest"], until="")
    assert api.call(TAGS)["type"] == "203"


def test_a_revocation_stands_after_some_minutes(api: Api, boss: Person) -> None:
    [row] = api.rows(schema.api_keys)
    boss.post(f"{PAGE}/revoke", digest=row["key_digest"])
    api.server.clock.forward(minutes=11)
    boss.post(f"{PAGE}/restore", digest=row["key_digest"])
    assert api.call(TAGS)["type"] == "203"
    assert "only shortly after" in boss.get(PAGE).text
    assert (
        boss.post(f"{PAGE}/revoke", digest=row["key_digest"]).status_code == 404
    )  # which would begin those minutes anew


def test_another_accounts_key_cannot_be_revoked(boss: Person, stranger: Api) -> None:
    [row] = stranger.rows(schema.api_keys)
    assert boss.post(f"{PAGE}/revoke", digest=row["key_digest"]).status_code == 404
    assert boss.post(f"{PAGE}/restore", digest=row["key_digest"], until="1").status_code == 404
    assert stranger.call(TAGS)["status"] == "Success"


def test_the_page_tells_when_a_key_was_used(api: Api, boss: Person) -> None:
    assert "not yet" in boss.get(PAGE).text
    api.call(TAGS)
    api.server.run(api.server.application.recorder.flush)
    api.server.clock.now += timedelta(minutes=5)
    page = boss.get(PAGE).text
    assert "5 minutes ago" in page, page[page.index("Last used") :]


def test_the_page_says_where_calls_go(api: Api, boss: Person) -> None:
    assert f"{api.server.url}/api" in boss.get(PAGE).text


def test_who_may_do_less_than_the_apps_sees_no_key(api: Api, cast: Cast) -> None:
    integrator = cast.person(Role.INTEGRATOR)
    before = api.rows(schema.api_keys)
    assert "Ask an owner" in integrator.get(PAGE).text
    refused = integrator.post(PAGE, overlap="24")
    assert refused.status_code == 422
    assert "made-key" not in refused.text
    assert api.rows(schema.api_keys) == before
    with catalogchanges.changing(api.server.database, api.account_id) as connection:
        connection.execute(
            sa.update(schema.apps).filter_by(account_id=api.account_id).values(commands='["leads:read"]')
        )
    assert rotate(integrator, 24)
