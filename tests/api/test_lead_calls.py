from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import tomli_w

from cartwheel.accountfiles import accountfile
from cartwheel.data import schema
from cartwheel.leads.leadparts import PROFILE_FIELDS
from harness import Api, Server, new_api

ADA = "ada@shop.example"
NO_LEAD = {"status": "Error", "message": "No lead found", "type": "243"}


def test_a_lead_is_created_with_its_fields_and_has_all_of_them(api: Api) -> None:
    sent = {name: f"the {name}" for name in PROFILE_FIELDS}
    lead_id = api.create(ADA, **sent, name="ignored", cmd="ignored")
    lead = api.lead(ADA)
    assert lead == {
        **sent,
        "id": lead_id,
        "email": ADA,
        "date_joined": "2026-03-01 09:15:00",
        "score": 0,
        "source": "api",
        "source_id": 0,
        "ip_country": "",
        "notes": "",
        "blacklisted": 0,
        "gdpr_lead_status": 0,
        "gdpr_lead_status_date": "",
        "gdpr_lead_status_ip": "",
        "gdpr_lead_communications": 0,
        "tags": [],
        "lists": [],
        "sequences": [],
        "memberships": [],
        "transactions": [],
        "custom_fields": lead["custom_fields"],
    }


def test_a_created_leads_answer_has_the_documented_shape(api: Api) -> None:
    answer = api.call({"cmd": "create_lead"}, {"cmd": "assign_tag", "tag_name": "Trial user"}, lead={"email": ADA})
    lead_id = api.lead(ADA)["id"]
    created = {"status": "Success", "message": "Lead created", "lead_details": {"id": lead_id}}
    tagged = {"status": "Success", "message": "Tag added to lead", "type": "103"}
    assert answer == {"status": "Success", "actions": [{"create_lead": created}, {"assign_tag": tagged}]}


def test_the_same_address_in_other_letters_is_the_same_lead(api: Api) -> None:
    lead_id = api.create(" Ada@Shop.EXAMPLE\n")
    assert api.lead("ADA@shop.example ")["email"] == ADA
    again = api.call({"cmd": "create_lead"}, {"cmd": "assign_tag", "tag_name": "Trial user"}, lead={"email": ADA})
    assert again == {"status": "Error", "message": "Lead already exists", "type": "244"}
    assert [kind for kind, _ in api.events(lead_id)] == ["lead_created"]


def test_an_unknown_lead_refuses_the_whole_call(api: Api) -> None:
    call = [{"cmd": "retrieve_account_tags"}, {"cmd": "assign_tag", "tag_name": "Trial user"}]
    assert api.call(*call, lead={"email": ADA}) == NO_LEAD
    assert api.call(*call, lead={"id": "12x"}) == NO_LEAD
    assert api.call(*call, lead={"id": "9" * 30}) == NO_LEAD


def test_get_lead_of_an_unknown_lead_says_so_with_its_own_number(api: Api) -> None:
    expected = {"status": "Error", "message": "No lead found", "type": "234"}
    assert api.call(get_lead={"email": ADA}) == expected
    assert api.call(get_lead={"id": 4174}) == expected


def test_get_lead_that_fails_undoes_the_calls_actions(api: Api) -> None:
    lead_id = api.create(ADA)
    answer = api.call(
        {"cmd": "assign_tag", "tag_name": "Trial user"}, lead={"email": ADA}, get_lead={"email": "x@shop.example"}
    )
    assert answer["type"] == "234"
    assert api.lead(ADA)["tags"] == []
    assert [kind for kind, _ in api.events(lead_id)] == ["lead_created"]


def test_get_lead_beside_actions_shows_what_they_did(api: Api) -> None:
    answer = api.call(
        {"cmd": "create_lead"},
        {"cmd": "assign_tag", "tag_name": "Customer"},
        lead={"email": ADA},
        get_lead={"email": ADA},
    )
    assert list(answer) == ["status", "actions", "lead_details"]
    assert answer["lead_details"]["tags"] == [{"tag_name": "Customer"}]


def test_the_id_wins_over_the_address(api: Api) -> None:
    lead_id = api.create(ADA)
    api.create("grace@shop.example")
    both = {"id": lead_id, "email": "grace@shop.example", "city": "London"}
    assert api.call({"cmd": "edit_lead"}, lead=both)["status"] == "Success"
    assert api.lead(ADA)["city"] == "London"
    assert api.lead("grace@shop.example")["city"] == ""


def test_editing_changes_only_what_is_sent(api: Api) -> None:
    lead_id = api.create(ADA, city="London", company="Engines")
    answer = api.call({"cmd": "edit_lead"}, lead={"email": ADA, "city": "", "zip": 1815})
    updated = {"status": "Success", "message": "Lead updated"}
    element = {"edit_lead": {**updated, "lead_details": {"id": lead_id}}}
    assert answer == {**updated, "actions": [element]}
    lead = api.lead(ADA)
    assert (lead["city"], lead["company"], lead["zip"]) == ("", "Engines", "1815")
    assert api.events(lead_id)[1:] == [("lead_edited", {"fields": ["zip", "city"], "custom_field_ids": []})]


def test_editing_nothing_new_tells_no_event(api: Api) -> None:
    lead_id = api.create(ADA, city="London")
    api.call({"cmd": "edit_lead"}, lead={"email": ADA, "city": "London", "new_email": ADA})
    assert len(api.events(lead_id)) == 1


def test_a_lead_is_renamed_and_found_by_its_new_address(api: Api) -> None:
    lead_id = api.create(ADA)
    api.create("grace@shop.example")
    taken = api.call({"cmd": "edit_lead"}, lead={"email": ADA, "new_email": "GRACE@shop.example", "city": "Paris"})
    assert taken == {"status": "Error", "message": "Lead already exists", "type": "244"}
    assert api.lead(ADA)["city"] == ""
    answer = api.call(
        {"cmd": "edit_lead"},
        {"cmd": "assign_tag", "tag_name": "Customer"},
        lead={"email": ADA, "new_email": "Countess@shop.example"},
        get_lead={"email": "countess@shop.example"},
    )
    assert answer["lead_details"]["id"] == lead_id
    assert api.call(get_lead={"email": ADA})["type"] == "234"
    api.create(ADA)


def test_search_lead_finds_the_id_also_after_creating(api: Api) -> None:
    answer = api.call({"cmd": "create_lead"}, {"cmd": "search_lead"}, lead={"email": ADA})
    lead_id = api.lead(ADA)["id"]
    found = {"status": "Success", "message": "Lead found", "lead_details": {"id": lead_id}}
    assert answer["actions"][1] == {"search_lead": found}
    assert api.call({"cmd": "search_lead"}, {"cmd": "assign_tag", "tag_name": ""}, lead={"id": lead_id})["actions"] == [
        {"search_lead": found},
        {"assign_tag": {"status": "Error", "message": "Tag cannot be empty", "type": "211"}},
    ]


@pytest.mark.parametrize("cmd", ["create_lead", "edit_lead"])
def test_making_and_editing_come_first_or_not_at_all(api: Api, cmd: str) -> None:
    api.create(ADA)
    answer = api.call({"cmd": "assign_tag", "tag_name": "Customer"}, {"cmd": cmd}, lead={"email": ADA, "city": "Rome"})
    message = f"'{cmd}' must be the first action. Nothing done"
    assert answer["actions"][1] == {cmd: {"status": "Error", "message": message, "type": "254"}}
    assert api.lead(ADA)["tags"] == [{"tag_name": "Customer"}]
    assert api.lead(ADA)["city"] == ""


def test_an_unknown_command_leaves_the_others_alone(api: Api) -> None:
    api.create(ADA)
    answer = api.call({"cmd": "fly"}, {"cmd": "assign_tag", "tag_name": "Customer"}, lead={"email": ADA})
    unknown = {"status": "Error", "message": "'fly' is not a known cmd. Nothing done", "type": "254"}
    tagged = {"status": "Success", "message": "Tag added to lead", "type": "103"}
    assert answer == {"status": "Success", "actions": [{"fly": unknown}, {"assign_tag": tagged}]}
    assert api.call({"cmd": "get_lead"})["message"] == "'get_lead' is not a known cmd. Nothing done"


def test_retrievals_stand_side_by_side_and_beside_actions(api: Api) -> None:
    both = api.call({"cmd": "retrieve_account_tags"}, {"cmd": "retrieve_account_lists"})
    lists, tags = ["Newsletter", "Product news"], ["Trial user", "Customer"]
    assert both == {"status": "Success", "account_tags": tags, "account_lists": lists}
    mixed = api.call({"cmd": "create_lead"}, {"cmd": "retrieve_account_tags"}, lead={"email": ADA})
    assert list(mixed) == ["status", "actions", "account_tags"]
    assert len(mixed["actions"]) == 1


@pytest.mark.parametrize(
    "email",
    [
        "ada",
        "ada@",
        "@shop.example",
        "ada@shop",
        "a b@shop.example",
        "a@b.c\r\nBcc: x@y.example",
        "ada@shop.example, x@y.example",
        ["ada@shop.example"],
        f"{'a' * 65}@shop.example",
    ],
)
def test_an_impossible_address_is_refused(api: Api, email: Any) -> None:
    expected = {"status": "Error", "message": "email is not valid. Nothing done", "type": "206"}
    assert api.call({"cmd": "create_lead"}, lead={"email": email}) == expected
    assert api.rows_of_leads() == []


@pytest.mark.parametrize("parts", [{"lead": {}}, {"lead": []}, {"lead": {"email": " ", "id": ""}}, {}])
def test_a_lead_is_needed(api: Api, parts: dict[str, Any]) -> None:
    expected = {"status": "Error", "message": "email or lead id is required. Nothing done", "type": "206"}
    assert api.call({"cmd": "assign_tag", "tag_name": "Customer"}, **parts) == expected
    assert api.call({"cmd": "create_lead"}, **parts) == expected


def test_a_deleted_lead_is_refused_and_keeps_its_address(api: Api) -> None:
    api.create(ADA)
    api.delete(ADA)
    deleted = {"status": "Error", "message": "Lead is deleted", "type": "245"}
    assert api.call({"cmd": "create_lead"}, lead={"email": ADA}) == deleted
    assert api.on(ADA, "assign_tag", tag_name="Customer") == deleted
    assert api.call(get_lead={"email": ADA}) == deleted


def test_lists_stay_visible_when_left(api: Api) -> None:
    lead_id = api.create(ADA)
    api.on(ADA, "subscribe_lead_to_list", list_name="Newsletter")
    api.on(ADA, "subscribe_lead_to_list", list_name="product NEWS")
    api.on(ADA, "unsubscribe_lead_from_list", list_name="Newsletter")
    api.on(ADA, "unsubscribe_lead_from_list", list_name="Newsletter")
    assert sorted(api.lead(ADA)["lists"], key=lambda entry: str(entry["list_name"])) == [
        {"list_name": "Newsletter", "active": "0"},
        {"list_name": "Product news", "active": "1"},
    ]
    assert [kind for kind, _ in api.events(lead_id)][1:] == ["list_joined", "list_joined", "list_left"]


def test_a_lead_enters_a_sequence_at_a_step_and_again_after_leaving(api: Api) -> None:
    lead_id = api.create(ADA)
    for step in ("2", "1"):  # the second one finds the lead in the sequence
        api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="welcome", step=step)
    assert api.lead(ADA)["sequences"] == [{"sequence_name": "Welcome", "step": "2", "status": "active"}]
    for _ in range(2):
        api.on(ADA, "unsubscribe_lead_from_sequence", sequence_name="Welcome")
    assert api.lead(ADA)["sequences"] == [{"sequence_name": "Welcome", "step": "2", "status": "unsubscribed"}]
    api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step=" A2 ")
    assert api.lead(ADA)["sequences"] == [{"sequence_name": "Welcome", "step": "A2", "status": "active"}]
    kinds = [kind for kind, _ in api.events(lead_id)][1:]
    assert kinds == ["sequence_joined", "sequence_left", "sequence_joined"]


def test_a_box_label_is_matched_exactly(api: Api) -> None:
    api.create(ADA)
    answer = api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="a2")
    assert answer["message"] == "Step does not exist"


def test_leads_of_a_test_app_get_the_test_domain(server: Server) -> None:
    api = new_api(server, app={"mode": "test"})
    api.create(ADA)
    assert api.lead(ADA)["email"] == "ada@test.invalid"
    assert api.call({"cmd": "create_lead"}, lead={"email": "ada@elsewhere.example"})["type"] == "244"
    [row] = api.rows_of_leads()
    assert row["test"]


def test_an_app_in_test_mode_does_not_know_any_real_lead(server: Server) -> None:
    """It could start its sequences, whose mail would leave, or take its address away."""
    test = new_api(server, app={"mode": "test"})
    live = replace(test, app_id=f"{test.app_id}-live")
    apps = [{"name": "Live", "app_id": live.app_id, "rate_limit": 0}]
    file = {"account": {"name": f"Account {test.api_key.rpartition('-')[2]}"}, "apps": apps}
    accountfile.apply(server.database, accountfile.read_text(tomli_w.dumps(file), Path()), server.clock())
    live_id, odd_id = live.create(ADA), live.create("odd@test.invalid")
    gone_id = live.create("gone@shop.example")
    live.delete("gone@shop.example")
    before = [live.events(lead_id) for lead_id in (live_id, odd_id, gone_id)]
    join = {"cmd": "subscribe_lead_to_sequence_at_step", "sequence_name": "Welcome", "step": "1"}
    edit = {"cmd": "edit_lead"}
    for lead in ({"id": live_id}, {"id": odd_id}, {"id": gone_id}, {"email": "odd@elsewhere.example"}):
        for action in (join, {"cmd": "search_lead"}, edit):
            assert test.call(action, lead={**lead, "new_email": "new@shop.example"}) == NO_LEAD
        assert test.call(get_lead=lead) == {**NO_LEAD, "type": "234"}
    assert [live.events(lead_id) for lead_id in (live_id, odd_id, gone_id)] == before
    mine = test.create("mine@shop.example")
    assert test.call(join, lead={"id": mine})["type"] == "107"
    assert live.call(join, lead={"id": mine})["type"] == "107"


def test_a_run_that_is_parked_is_active_to_callers(api: Api) -> None:
    """They know three states; the owner sees to it."""
    api.create(ADA)
    api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="2")
    with api.server.database.write() as connection:
        parked = sa.update(schema.enrolments).where(schema.enrolments.c.account_id == api.account_id)
        connection.execute(parked.values(status="parked", due_at=None))
    assert api.lead(ADA)["sequences"] == [{"sequence_name": "Welcome", "step": "2", "status": "active"}]


@pytest.mark.parametrize("zero", [0, "0", "00", " 0 "])
def test_an_id_of_0_is_none(api: Api, zero: object) -> None:
    """Plugins send it when they know no id."""
    api.create(ADA)
    assert api.call({"cmd": "search_lead"}, lead={"id": zero, "email": ADA})["message"] == "Lead found"
    assert api.call(get_lead={"id": zero, "email": ADA})["lead_details"]["email"] == ADA
    assert api.call({"cmd": "search_lead"}, lead={"id": zero})["type"] == "206"


def test_with_gdpr_on_the_consent_of_a_lead_from_the_api_is_unknown(server: Server) -> None:
    api = new_api(server, account={"gdpr": True})
    api.create(ADA)
    assert api.lead(ADA)["gdpr_lead_status"] == 4


def test_times_are_told_in_the_accounts_zone(server: Server) -> None:
    api = new_api(server, account={"timezone": "Asia/Kolkata"})
    api.create(ADA)
    assert api.lead(ADA)["date_joined"] == "2026-03-01 19:45:00"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"x": "y"}, "'city' has to be text"),
        (["y"], "'city' has to be text"),
        ("x" * 10_000, "'city' is longer than 1000 characters"),
    ],
)
def test_a_field_that_cannot_be_stored_is_refused(api: Api, value: Any, reason: str) -> None:
    answer = api.call({"cmd": "create_lead"}, lead={"email": ADA, "city": value})
    assert answer == {"status": "Error", "message": f"{reason}. Nothing done", "type": "254"}
    assert api.rows_of_leads() == []
