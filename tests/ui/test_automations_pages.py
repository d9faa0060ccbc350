"""Automations on the pages: made, changed, paused, deleted and taken back; nothing that they need can be taken away."""

import re
from collections.abc import Iterator

import pytest
from cast import Cast, Person

from cartwheel.data import schema
from cartwheel.people import Role
from harness import Api

HERE = "/communication/automations"
THANKS = {
    "name": "Thanks",
    "when.type": "assign_tag",
    "when.tag": "Customer",
    "then.0.type": "points",
    "then.0.points": "5",
    "then.1.type": "subscribe_list",
    "then.1.list": "Newsletter",
}


@pytest.fixture
def boss(api: Api) -> Iterator[Person]:
    with Cast(api) as cast:
        yield cast.person(Role.OWNER)


def plain(text: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_one_that_is_made_runs_and_its_page_says_so(boss: Person, api: Api) -> None:
    assert "No automations yet" in boss.get(HERE).text
    boss.post(f"{HERE}/add", **THANKS)
    sentence = "When the lead gets the tag Customer, then give 5 points and subscribe it to the list Newsletter."
    assert sentence in plain(boss.get(HERE).text)
    assert "It has not run yet" in boss.get(f"{HERE}/1").text
    number = api.create("ada@shop.example")
    api.on("ada@shop.example", "assign_tag", tag_name="Customer")
    assert "ada@shop.example" in boss.get(f"{HERE}/1").text
    feed = plain(boss.get(f"/leads/{number}").text + boss.get(f"/leads/{number}/activity").text)
    assert "by the automation Thanks" in feed


def test_the_form_comes_again_with_the_fields_of_what_was_chosen(boss: Person) -> None:
    text = boss.post(f"{HERE}/form", **{"name": "New", "when.type": "reaches_score", "then.0.type": "notify"}).text
    assert 'name="when.points"' in text
    assert 'name="then.0.to"' in text
    assert boss.user.email in text if hasattr(boss, "user") else True
    assert 'value="New"' in text
    more = boss.post(f"{HERE}/form", **THANKS, **{"then.more": "on"}).text
    assert 'name="then.2.type"' in more


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": ""}, "An automation needs a name."),
        ({"when.type": ""}, "This is needed."),
        ({"then.0.type": "", "then.1.type": ""}, "This is needed."),
        ({"then.0.points": "many"}, "int"),
        ({"when.tag": "Gone"}, "Gone"),
        ({"condition.type": "opened"}, "no sequence starts it"),
        ({"then.0.type": "notify", "then.0.to": "nobody@shop.example"}, "nobody@shop.example"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_saved(
    boss: Person, api: Api, changes: dict[str, str], told: str
) -> None:
    answer = boss.post(f"{HERE}/add", **THANKS | changes)
    assert answer.status_code == 422
    assert told in plain(answer.text).replace("&#39;", "'")
    assert api.rows(schema.automations) == []


def test_one_is_changed_paused_deleted_and_taken_back(boss: Person, api: Api) -> None:
    boss.post(f"{HERE}/add", **THANKS)
    boss.post(f"{HERE}/1", **THANKS | {"name": "Welcome them", "when.tag": ""})
    assert "When the lead gets any tag, then" in plain(boss.get(HERE).text)
    boss.post(f"{HERE}/1/pause")
    api.create("ada@shop.example")
    api.on("ada@shop.example", "assign_tag", tag_name="Customer")
    assert api.rows(schema.points) == []
    boss.post(f"{HERE}/1/resume")
    boss.post(f"{HERE}/1/delete")
    assert "No automations yet" in boss.get(HERE).text
    boss.post(f"{HERE}/1/restore")
    assert "Welcome them" in boss.get(HERE).text
    assert boss.post(f"{HERE}/add", **THANKS | {"name": "welcome THEM"}).status_code == 422


def test_a_circle_is_told_when_it_is_saved(boss: Person) -> None:
    boss.post(f"{HERE}/add", **THANKS | {"then.0.type": "assign_tag", "then.0.tag": "Customer"})
    assert "start each other in a circle: Thanks → Thanks" in plain(boss.get(HERE).text)


def test_nothing_that_it_needs_is_deleted_or_renamed(boss: Person, api: Api) -> None:
    started = {"then.1.type": "start_sequence", "then.1.sequence": "Welcome"}
    boss.post(f"{HERE}/add", **THANKS | started)
    ids = {row["name"]: row["id"] for row in api.rows(schema.tags)}
    tag = f"/communication/tags/{ids['Customer']}"
    assert "These automations need it" in boss.get(tag).text
    assert boss.post(f"{tag}/delete").status_code == 422
    assert boss.post(tag, name="Buyer").status_code == 422
    [sequence] = [row["id"] for row in api.rows(schema.sequences) if row["name"] == "Welcome"]
    there = f"/communication/sequences/{sequence}"
    boss.post(f"{there}/delete")
    assert boss.post(there, name="Hello").status_code == 422
    assert {"Customer", "Welcome"} <= {
        row["name"] for table in (schema.tags, schema.sequences) for row in api.rows(table)
    }
    assert api.rows(schema.tags, name="Customer")[0]["deleted_at"] is None


def test_who_may_not_change_them_sees_them(boss: Person, api: Api) -> None:
    boss.post(f"{HERE}/add", **THANKS)
    with Cast(api) as cast:
        viewer = cast.person(Role.VIEWER)
        assert "Thanks" in viewer.get(HERE).text
        assert 'id="automation"' not in viewer.get(f"{HERE}/1").text
        assert viewer.post(f"{HERE}/1/pause").status_code == 403
