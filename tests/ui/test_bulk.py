"""Doing something to many leads at once."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from cast import Cast, Person

from cartwheel.data import schema
from cartwheel.people import Role
from harness import Api


def finish(api: Api) -> None:
    """What is begun is done to its end, by the server's loop or here."""
    runner = api.server.application.housekeeping._bulk
    while any(row["state"] == "running" for row in api.rows(schema.bulk_jobs)):
        api.server.run(runner.round)


def number_of(api: Api, name: str) -> int:
    [row] = api.rows(schema.tags, name=name)
    return int(row["id"])


@pytest.fixture
def people(api: Api) -> list[str]:
    """Ids of four leads, two of whom are customers."""
    numbers = [api.create(f"person{number}@shop.example") for number in range(4)]
    for number in range(2):
        api.on(f"person{number}@shop.example", "assign_tag", tag_name="Customer")
    return numbers


def tagged(api: Api, name: str) -> set[int]:
    return {row["lead_id"] for row in api.rows(schema.lead_tags, tag_id=number_of(api, name))}


def test_checked_leads_are_shown_first_and_then_changed_and_changed_back(
    boss: Person, api: Api, people: list[str]
) -> None:
    preview = boss.http.get("/leads/bulk", params={"act": "give_tag", "whom": "checked", "lead": people[1:3]})
    assert "This is done to 2 leads" in preview.text
    tag = number_of(api, "Customer")
    page = boss.post("/leads/bulk", act="give_tag", tag=tag, lead=people[1:3]).headers["location"]
    finish(api)
    assert tagged(api, "Customer") == {int(number) for number in people[:3]}
    assert "changed 1" in boss.get(page).text
    boss.post(f"{page}/undo")
    finish(api)
    assert tagged(api, "Customer") == {int(number) for number in people[:2]}


def test_leads_are_started_from_the_page_of_their_sequence(boss: Person, api: Api, people: list[str]) -> None:
    [sequence] = api.rows(schema.sequences, name="Welcome")
    page = boss.get(f"/communication/sequences/{sequence['id']}").text
    chosen = f"tag:{number_of(api, 'Customer')}"
    assert f'<option value="{chosen}">Customer</option>' in page
    asked = {"act": "start_sequence", "sequence": str(sequence["id"]), "whom": "all", "among": chosen}
    preview = boss.http.get("/leads/bulk", params=asked).text
    assert "This is done to 2 leads" in preview
    assert f'<option value="{sequence["id"]}" selected>' in preview
    tree = json.dumps({"type": "all", "conditions": [{"type": "tag", "tag": number_of(api, "Customer")}]})
    boss.post("/leads/bulk", act="start_sequence", sequence=sequence["id"], whom="all", filter=tree)
    finish(api)
    assert {row["lead_id"] for row in api.rows(schema.enrolments)} == {int(number) for number in people[:2]}
    for other in ("tag:999999", "segment:1", "nonsense"):
        assert boss.http.get("/leads/bulk", params={**asked, "among": other}).status_code == 404


def test_all_that_a_filter_finds_are_changed(boss: Person, api: Api, people: list[str]) -> None:
    tag = number_of(api, "Customer")
    tree = json.dumps({"type": "not", "condition": {"type": "tag", "tag": tag}})
    preview = boss.http.get("/leads/bulk", params={"act": "give_points", "whom": "all", "filter": tree})
    assert "This is done to 2 leads" in preview.text
    boss.post("/leads/bulk", act="give_points", points="7", whom="all", filter=tree)
    finish(api)
    scores = {str(row["id"]): row["score"] for row in api.rows(schema.leads)}
    assert [scores[number] for number in people] == [0, 0, 7, 7]


@pytest.mark.usefixtures("people")
def test_a_slice_that_is_done_again_changes_nobody_twice(boss: Person, api: Api) -> None:
    page = boss.post("/leads/bulk", act="give_points", points="7", whom="all").headers["location"]
    finish(api)
    number = int(page.rpartition("/")[2])
    with api.server.database.write() as connection:  # as it was before the last slice was booked
        table = schema.bulk_jobs
        values = {"state": "running", "next_at": 0, "who": "{}", "looked": 0, "changed": 0}
        connection.execute(
            table.update().where(table.c.account_id == api.account_id, table.c.id == number).values(values)
        )
    finish(api)
    assert {row["score"] for row in api.rows(schema.leads)} == {7}


def test_who_changes_something_stands_in_the_feed(boss: Person, api: Api, people: list[str]) -> None:
    boss.post("/leads/bulk", act="suppress", lead=people[:1])
    finish(api)
    assert {row["origin"] for row in api.rows(schema.events, kind="lead_suppressed")} == {f"user:{boss.user_id}"}


def test_another_accounts_leads_and_jobs_are_out_of_reach(
    cast: Cast, boss: Person, api: Api, stranger: Api, people: list[str]
) -> None:
    page = boss.post("/leads/bulk", act="delete", lead=people[:1]).headers["location"]
    finish(api)
    somebody = cast.person(Role.OWNER, stranger)
    assert somebody.get(page).status_code == 404
    assert somebody.post(f"{page}/undo").status_code == 404
    somebody.post("/leads/bulk", act="delete", lead=people)
    finish(api)
    assert sum(row["deleted_at"] is not None for row in api.rows(schema.leads)) == 1


def test_without_what_it_needs_nothing_is_begun(boss: Person, api: Api, people: list[str]) -> None:
    assert boss.post("/leads/bulk", act="give_tag", lead=people).status_code == 422
    assert boss.post("/leads/bulk", act="give_points", points="many", lead=people).status_code == 422
    assert boss.post("/leads/bulk", act="start_sequence", sequence="1", step="no such", lead=people).status_code == 422
    assert api.rows(schema.bulk_jobs) == []


def test_what_was_done_is_undone_once(boss: Person, api: Api, people: list[str]) -> None:
    page = boss.post("/leads/bulk", act="give_points", points="10", lead=people).headers["location"]
    finish(api)
    with ThreadPoolExecutor(3) as several:
        list(several.map(lambda _: boss.post(f"{page}/undo"), range(3)))
    finish(api)
    assert f'action="{page}/undo"' not in boss.get(page).text
    boss.post(f"{page}/undo")
    finish(api)
    assert {row["score"] for row in api.rows(schema.leads)} == {0}


def test_what_is_too_old_is_not_undone(boss: Person, api: Api, people: list[str]) -> None:
    page = boss.post("/leads/bulk", act="give_points", points="10", lead=people).headers["location"]
    finish(api)
    with api.server.database.write() as connection:
        connection.execute(sa.update(schema.bulk_jobs).filter_by(account_id=api.account_id).values(ended_at=1))
    assert f'action="{page}/undo"' not in boss.get(page).text
    assert boss.post(f"{page}/undo").headers["location"] == page
    assert len(api.rows(schema.bulk_jobs)) == 1


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("whom", [{}, {"lead": "abc"}, {"whom": "checked", "lead": "-1"}, {"whom": "checked"}])
def test_all_are_meant_only_if_that_is_said(boss: Person, api: Api, whom: dict[str, str]) -> None:
    answer = boss.post("/leads/bulk", act="give_points", points="7", **whom)
    assert answer.headers["location"] == "/leads"
    assert "check some leads first" in boss.get("/leads").text
    assert api.rows(schema.bulk_jobs) == []
    preview = boss.get("/leads/bulk?act=give_points&whom=all").text
    assert 'name="whom" value="all"' in preview


def reasons(api: Api) -> dict[str, str]:
    return {row["email"]: row["reason"] for row in api.rows(schema.suppressions) if row["reason"]}


def test_what_a_person_said_is_lifted_one_by_one_only(boss: Person, api: Api, people: list[str]) -> None:
    said = {"person0@shop.example": "complaint", "person1@shop.example": "do not contact"}
    for email, reason in (said | {"person2@shop.example": "hard bounce"}).items():
        boss.post("/mail/suppressed", email=email, reason=reason)
    page = boss.post("/leads/bulk", act="allow", lead=people).headers["location"]
    finish(api)
    assert reasons(api) == said
    assert f'action="{page}/undo"' not in boss.get(page).text
    assert boss.post(f"{page}/undo").status_code == 404
    assert reasons(api) == said


def test_undoing_that_leads_are_not_mailed_brings_back_what_was(boss: Person, api: Api, people: list[str]) -> None:
    before = {"person0@shop.example": "complaint", "person1@shop.example": "do not contact"}
    before["person2@shop.example"] = "hard bounce"
    for email, reason in before.items():
        boss.post("/mail/suppressed", email=email, reason=reason)
    page = boss.post("/leads/bulk", act="suppress", lead=people).headers["location"]
    finish(api)
    assert reasons(api)["person3@shop.example"] == reasons(api)["person2@shop.example"] == "do not contact"
    boss.post(f"{page}/undo")
    finish(api)
    assert reasons(api) == before
