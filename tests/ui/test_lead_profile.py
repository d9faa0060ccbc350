"""The profile of one lead, and what is done to it there."""

import json
import re

import pytest
import sqlalchemy as sa
from cast import Cast, Person

from cartwheel.data import schema
from cartwheel.people import Role
from harness import Api

ADA = "ada@shop.example"
TABS = ("activity", "fields", "tags", "sequences", "points", "mail", "why")


@pytest.fixture
def ada(api: Api) -> str:
    """Her id."""
    number = api.create(ADA, first_name="Ada", last_name="Lovelace")
    api.on(ADA, "assign_tag", tag_name="Customer")
    api.on(ADA, "subscribe_lead_to_list", list_name="Newsletter")
    api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")
    api.on(ADA, "give_points_to_lead", points="30", expiration="10")
    return number


def test_what_a_run_waits_for_can_be_said_in_any_language(boss: Person, api: Api, ada: str) -> None:
    table = schema.enrolments
    with api.server.database.write() as connection:
        here = (table.c.account_id == api.account_id) & (table.c.lead_id == int(ada))
        connection.execute(sa.update(table).where(here).values(held=True, due_at=None, reason="x"))
    assert "waits because the sequence is paused" in boss.get(f"/leads/{ada}?tab=sequences").text


def number_of(api: Api, table: sa.Table, name: str) -> int:
    [row] = api.rows(table, name=name)
    return int(row["id"])


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_shows_the_lead(boss: Person, ada: str, tab: str) -> None:
    answer = boss.get(f"/leads/{ada}?tab={tab}")
    assert answer.status_code == 200
    assert "Ada Lovelace" in answer.text


def test_an_act_says_who_did_it_and_can_be_taken_back(boss: Person, api: Api, ada: str) -> None:
    tag = number_of(api, schema.tags, "Trial user")
    answer = boss.post(f"/leads/{ada}/act", act="give_tag", tag=tag, tab="tags")
    assert answer.headers["location"] == f"/leads/{ada}?tab=tags"
    assert len(api.lead(ADA)["tags"]) == 2
    page = boss.get(answer.headers["location"]).text
    assert 'value="take_tag"' in page
    assert "Undo" in page
    assert f"by {boss.email.split('@')[0][:5].title()}" in boss.get(f"/leads/{ada}").text
    boss.post(f"/leads/{ada}/act", act="take_tag", tag=tag)
    assert len(api.lead(ADA)["tags"]) == 1


def test_what_was_done_already_is_told(boss: Person, api: Api, ada: str) -> None:
    boss.post(f"/leads/{ada}/act", act="give_tag", tag=number_of(api, schema.tags, "Customer"))
    assert "nothing to change" in boss.get(f"/leads/{ada}").text


def test_a_stopped_sequence_goes_on_where_it_stood_when_that_is_undone(boss: Person, api: Api, ada: str) -> None:
    welcome = number_of(api, schema.sequences, "Welcome")
    boss.post(f"/leads/{ada}/move", sequence=welcome, step="2")
    boss.post(f"/leads/{ada}/act", act="stop_sequence", sequence=welcome)
    [run] = api.rows(schema.enrolments, lead_id=int(ada))
    assert (run["step"], run["status"]) == ("2", "unsubscribed")
    boss.post(f"/leads/{ada}/act", act="go_on_in_sequence", sequence=welcome)
    [run] = api.rows(schema.enrolments, lead_id=int(ada))
    assert (run["step"], run["status"]) == ("2", "active")


def test_fields_of_every_kind_are_edited(boss: Person, api: Api, ada: str) -> None:
    numbers = {row["identifier"]: row["id"] for row in api.rows(schema.custom_fields)}
    fields = {f"custom.{numbers['plan']}": "612", f"custom.{numbers['interests']}": ["701", "703"]}
    fields |= {f"custom.{numbers['shoe_size']}": "38", "custom": [str(number) for number in numbers.values()]}
    boss.post(f"/leads/{ada}/fields", email="ada.king@shop.example", city="London", **fields)
    told = api.lead("ada.king@shop.example")
    assert (told["city"], told["first_name"]) == ("London", "Ada")
    assert {row["field_id"]: json.loads(row["value"]) for row in api.rows(schema.lead_fields, lead_id=int(ada))} == {
        numbers["plan"]: [612],
        numbers["interests"]: [701, 703],
        numbers["shoe_size"]: "38",
    }
    boss.post(f"/leads/{ada}/fields", email="ada.king@shop.example", custom=[str(numbers["interests"])])
    assert {row["field_id"] for row in api.rows(schema.lead_fields)} == {numbers["plan"], numbers["shoe_size"]}


def test_the_address_of_another_lead_is_refused(boss: Person, api: Api, ada: str) -> None:
    api.create("grace@shop.example")
    answer = boss.post(f"/leads/{ada}/fields", email="grace@shop.example", city="Paris")
    assert answer.status_code == 422
    assert "There is a lead with this address" in answer.text
    assert api.lead(ADA)["city"] == ""


def test_notes_are_kept_and_told(boss: Person, api: Api, ada: str) -> None:
    boss.post(f"/leads/{ada}/notes", notes="Called.\r\nLikes engines.")
    assert api.rows(schema.leads, id=int(ada))[0]["notes"] == "Called.\nLikes engines."
    assert api.events(ada)[-1] == ("lead_edited", {"fields": ["notes"], "custom_field_ids": []})


def test_a_deleted_lead_can_be_restored_and_nothing_else(boss: Person, api: Api, ada: str) -> None:
    boss.post(f"/leads/{ada}/act", act="delete")
    boss.post(f"/leads/{ada}/act", act="give_points", points="5")
    assert "restore it first" in boss.get(f"/leads/{ada}").text
    boss.post(f"/leads/{ada}/act", act="restore")
    assert api.lead(ADA)["score"] == 30


def test_an_erased_lead_is_gone(boss: Person, api: Api, ada: str) -> None:
    assert boss.post(f"/leads/{ada}/erase", email="somebody@else.example").status_code == 422
    boss.post(f"/leads/{ada}/erase", email=ADA)
    assert api.rows(schema.leads, id=int(ada))[0]["email"] == f"erased:{ada}"
    assert boss.get(f"/leads/{ada}").status_code == 200
    assert boss.post(f"/leads/{ada}/act", act="restore").status_code == 404


def test_somebody_elses_lead_is_not_there(cast: Cast, stranger: Api, ada: str) -> None:
    somebody = cast.person(Role.OWNER, stranger)
    assert somebody.get(f"/leads/{ada}").status_code == 404
    assert somebody.post(f"/leads/{ada}/act", act="delete").status_code == 404
    assert somebody.post(f"/leads/{ada}/fields", email="x@shop.example").status_code == 404
    assert somebody.post(f"/leads/{ada}/notes", notes="x").status_code == 404
    assert somebody.post(f"/leads/{ada}/erase", email=ADA).status_code == 404
    assert somebody.get(f"/leads/{ada}/erase").status_code == 404


def test_who_may_only_look_is_shown_no_button(cast: Cast, ada: str) -> None:
    viewer = cast.person(Role.VIEWER)
    for tab in TABS:
        assert f"/leads/{ada}/act" not in viewer.get(f"/leads/{ada}?tab={tab}").text
    assert viewer.post(f"/leads/{ada}/act", act="delete").status_code == 403


def test_hostile_names_are_text(boss: Person, api: Api) -> None:
    number = api.create("mallory@shop.example", first_name="<script>alert(1)</script>", last_name="\u202eevil")
    for path in ("/leads", f"/leads/{number}", f"/leads/{number}?tab=fields"):
        assert "<script>alert" not in boss.get(path).text


def test_two_leads_become_one(boss: Person, api: Api, ada: str) -> None:
    api.create("ada@home.example", first_name="Augusta", city="London")
    api.on("ada@home.example", "assign_tag", tag_name="Trial user")
    api.on("ada@home.example", "give_points_to_lead", points="5", expiration="3")
    other = next(row["id"] for row in api.rows(schema.leads, email="ada@home.example"))
    assert "ada@home.example" in boss.get(f"/leads/{ada}/merge?with=ada@home.example").text
    boss.post(f"/leads/{ada}/merge", **{"with": str(other)})
    told = api.lead(ADA)
    assert (told["first_name"], told["city"], told["score"], len(told["tags"])) == ("Ada", "London", 35, 2)
    assert [row["deleted_at"] is None for row in api.rows(schema.leads, id=other)] == [False]
    assert api.events(ada)[-1] == ("lead_merged", {"lead_id": other})
    assert api.events(str(other))[-1] == ("lead_merged_into", {"lead_id": int(ada)})
    api.server.clock.forward(days=4)
    assert api.lead(ADA)["score"] == 30


def test_nobody_is_merged_with_itself_or_with_a_strangers_lead(boss: Person, stranger: Api, ada: str) -> None:
    foreign = stranger.create("eve@shop.example")
    for who in (ada, foreign, "no address"):
        assert boss.post(f"/leads/{ada}/merge", **{"with": who}).status_code == 404


def undo(page: str) -> tuple[str, dict[str, str]]:
    """Where the notice's button goes, and with what."""
    form = re.search(r'<form[^>]*action="([^"]+)"(?:(?!</form>).)*Undo', page, re.DOTALL)
    assert form, page
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[0]))
    fields.pop("csrf")
    return form[1], fields


@pytest.mark.parametrize("reason", ["complaint", "do not contact"])
def test_what_the_person_said_is_lifted_with_a_reason_only(boss: Person, api: Api, ada: str, reason: str) -> None:
    boss.post("/mail/suppressed", email=ADA, reason=reason, details="she called")
    answer = boss.post(f"/leads/{ada}/act", act="allow")
    assert boss.post(f"/leads/{ada}/act", act="take_suppression_back").status_code == 303
    assert [row["reason"] for row in api.rows(schema.suppressions)] == [reason]
    assert answer.headers["location"] == "/mail/suppressed/allow?email=ada%40shop.example"
    assert "How did it ask?" in boss.get(answer.headers["location"]).text
    assert "/mail/suppressed/allow?email=ada" in boss.get(f"/leads/{ada}").text
    assert [row["action"] for row in api.rows(schema.audit_log)] == ["Suppressed an address"]


def test_undoing_brings_the_suppression_back_as_it_was(boss: Person, api: Api, ada: str) -> None:
    boss.post("/mail/suppressed", email=ADA, reason="hard bounce", details="550 gone")
    boss.post(f"/leads/{ada}/act", act="allow")
    assert not any(row["reason"] for row in api.rows(schema.suppressions))
    path, fields = undo(boss.get(f"/leads/{ada}").text)
    boss.post(path, **fields)
    assert [(row["reason"], row["details"]) for row in api.rows(schema.suppressions)] == [("hard bounce", "550 gone")]


def test_a_suppression_by_mistake_is_undone(boss: Person, api: Api, ada: str) -> None:
    boss.post(f"/leads/{ada}/act", act="suppress")
    path, fields = undo(boss.get(f"/leads/{ada}").text)
    assert boss.post(path, **fields).status_code == 303
    assert not any(row["reason"] for row in api.rows(schema.suppressions))


def test_undoing_a_deletion_brings_the_lead_back_into_its_sequences(boss: Person, api: Api, ada: str) -> None:
    boss.post(f"/leads/{ada}/act", act="delete")
    assert {row["status"] for row in api.rows(schema.enrolments)} == {"unsubscribed"}
    path, fields = undo(boss.get(f"/leads/{ada}").text)
    boss.post(path, **fields)
    assert api.rows(schema.leads)[0]["deleted_at"] is None
    assert {row["status"] for row in api.rows(schema.enrolments)} == {"active"}
