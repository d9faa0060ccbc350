"""Looking for leads, and keeping what was asked for."""

import json
import re
from collections.abc import Mapping
from html import unescape
from typing import Any

import pytest
from cast import Cast, Person


def shown(person: Person, **query: Any) -> list[str]:
    """The addresses on the page of leads, in their order."""
    values = {name: json.dumps(value) if isinstance(value, Mapping) else value for name, value in query.items()}
    answer = person.http.get("/leads", params=values)
    assert answer.status_code == 200, answer.text
    return [part.partition("<")[0] for part in answer.text.split("<bdi>")[1:] if "@" in part.partition("<")[0]]


@pytest.fixture
def people(cast: Cast) -> None:
    """Three leads, the last one the newest."""
    api = cast.api
    api.create("ada@shop.example", first_name="Ada", last_name="Lovelace", city="London")
    api.create("grace@shop.example", first_name="Grace", last_name="Hopper")
    api.create("ozlem@shop.example", first_name="Özlem", last_name="van der Berg")
    api.on("ada@shop.example", "assign_tag", tag_name="Customer")
    api.on("ada@shop.example", "give_points_to_lead", points="30")
    api.on("grace@shop.example", "subscribe_lead_to_list", list_name="Newsletter")
    api.on("grace@shop.example", "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")


ADA, GRACE, OZLEM = "ada@shop.example", "grace@shop.example", "ozlem@shop.example"


@pytest.mark.usefixtures("people")
def test_leads_are_shown_newest_first_or_by_address_or_score(boss: Person) -> None:
    assert shown(boss) == [OZLEM, GRACE, ADA]
    assert shown(boss, order="address") == [ADA, GRACE, OZLEM]
    assert shown(boss, order="score")[0] == ADA


@pytest.mark.usefixtures("people")
def test_a_part_of_a_name_is_looked_for_when_that_is_asked(boss: Person) -> None:
    page = boss.http.get("/leads", params={"q": "ovelac"}).text
    assert "by their beginning" in page
    link = re.search(r'<a href="(/leads[?][^"]*)">Look within them', page)
    assert link is not None
    assert ADA in boss.get(unescape(link[1])).text


@pytest.mark.usefixtures("people")
def test_a_filter_can_be_removed_and_kept_without_opening_it(boss: Person) -> None:
    tree = json.dumps({"type": "score", "at_least": 5})
    folded = boss.http.get("/leads", params={"filter": tree}).text.partition("</details>")[2]
    assert "Remove the filter" in folded
    assert "Save as a segment" in folded


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("gra", [GRACE]),
        ("GRACE@SHOP", [GRACE]),
        ("lovel", [ADA]),
        ("Ada Love", [ADA]),
        ("lovelace ada", [ADA]),
        ("öz", [OZLEM]),
        ("Özlem", [OZLEM]),
        ("OZLEM van", [OZLEM]),
        ("gRÁCE", [GRACE]),
        ("van der", [OZLEM]),
        ("race", []),
        ("%", []),
        ("'; drop table leads", []),
    ],
)
def test_a_search_finds_the_beginning_of_an_address_or_a_name(boss: Person, typed: str, found: list[str]) -> None:
    assert shown(boss, q=typed) == found


@pytest.mark.usefixtures("people")
def test_a_changed_name_or_address_is_found_without_accents_and_the_old_one_is_not(cast: Cast, boss: Person) -> None:
    edited = {"first_name": "José", "last_name": "ΆΝΝΑΣ", "new_email": "gärtner@shop.example"}
    cast.api.call({"cmd": "edit_lead"}, lead={"email": ADA, **edited})
    for typed in ("jose", "JOSÉ ανν", "άννας", "gartner@", "GÄRTNER"):  # noqa: RUF001
        assert shown(boss, q=typed) == ["gärtner@shop.example"], typed
    assert shown(boss, q="lovel") == shown(boss, q="ada") == []
    inside = {"type": "field", "field": "last_name", "how": "contains", "text": "ννασ"}  # noqa: RUF001
    assert shown(boss, filter=inside) == ["gärtner@shop.example"]
