"""What other systems are told: each event as Kartra tells it, once, and nothing of what did not happen."""

import json
from datetime import UTC, datetime

import pytest
from hookshop import SECRET, Teller, deliveries, endpoint
from receiver import Receiver
from standardwebhooks import Webhook

from cartwheel.accounts import name_key
from cartwheel.data import schema
from cartwheel.hooks.outbound import OUTBOUND
from cartwheel.work.leadwork import EraseWork
from harness import Api

ADA = "ada@shop.example"


def told(api: Api) -> list[tuple[str, object]]:
    """(action, details) of what waits to be told."""
    bodies = [json.loads(row["body"]) for row in deliveries(api)]
    return [(body["action"], body["action_details"]) for body in bodies]


def tag_id(api: Api, name: str) -> int:
    [row] = api.rows(schema.tags, name_key=name_key(name))
    return int(row["id"])


def test_a_lead_and_its_event_are_told_as_kartra_tells_them(api: Api) -> None:
    with Receiver() as receiver, Teller(api) as teller:
        endpoint(api, receiver.url(), {"assign_tag": None})
        number = api.create(ADA, first_name="Ada", last_name="Bell", phone_country_code="+49", country="Germany")
        api.on(ADA, "assign_tag", tag_name="Trial user")
        teller.settle()
    [got] = receiver.got
    assert got.target == "/hook?key=secret"
    assert got.headers["content-type"] == "application/json"
    assert list(got.json) == ["lead", "action", "action_details"]
    assert got.json["action"] == "assign_tag"
    assert got.json["action_details"] == {"tag": {"tag_id": tag_id(api, "Trial user"), "tag_name": "Trial user"}}
    assert got.json["lead"] == {
        "id": int(number), "first_name": "Ada", "middle_name": "", "last_name": "Bell", "last_name2": "", "email": ADA,
        "phone_country_code": "+49", "phone": "", "company": "", "address": "", "city": "", "zip": "", "state": "",
        "country": "Germany", "date_joined": "2026-03-01 09:15:00", "website": "", "ip": "", "ip_country": "",
        "facebook": "", "twitter": "", "linkedin": "", "sales_tax_id": "", "lead_picture": "", "source": "api",
        "score": 0, "referring_id": 0, "blacklisted": 0, "source_id": 0, "gdpr_lead_status": 0,
        "gdpr_lead_status_date": "", "gdpr_lead_status_ip": "", "gdpr_lead_communications": 0,
        "lead_preferred_time_zone": "", "custom_fields": [],
    }  # fmt: skip


def test_custom_fields_are_told_as_get_lead_tells_them(api: Api) -> None:
    endpoint(api, "http://hook.example/", {"assign_tag": None})
    api.create(ADA, custom_fields=[{"field_identifier": "plan", "field_value": "612"}])
    api.on(ADA, "assign_tag", tag_name="Trial user")
    [row] = deliveries(api)
    known = [field for field in api.lead(ADA)["custom_fields"] if field["field_value"]]
    assert json.loads(row["body"])["lead"]["custom_fields"] == known


def test_every_event_is_told_once_and_only_when_something_changed(api: Api) -> None:
    endpoint(api, "http://hook.example/")
    api.create(ADA)
    for _ in range(2):
        api.on(ADA, "assign_tag", tag_name="Customer")
    for _ in range(2):
        api.on(ADA, "unassign_tag", tag_name="Customer")
    for cmd in ("subscribe_lead_to_list", "unsubscribe_lead_from_list"):
        for _ in range(2):
            api.on(ADA, cmd, list_name="Newsletter")
    for _ in range(2):
        api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")
    for _ in range(2):
        api.on(ADA, "unsubscribe_lead_from_sequence", sequence_name="Welcome")
    assert [action for action, _ in told(api)] == [
        "assign_tag", "unassign_tag", "list_subscription", "list_unsubscription", "sequence_subscription",
        "sequence_unsubscription",
    ]  # fmt: skip


def test_one_object_can_be_all_that_counts(api: Api) -> None:
    endpoint(api, "http://hook.example/", {"assign_tag": tag_id(api, "Customer"), "unassign_tag": None})
    api.create(ADA)
    for name in ("Trial user", "Customer"):
        api.on(ADA, "assign_tag", tag_name=name)
        api.on(ADA, "unassign_tag", tag_name=name)
    names = [(action, details["tag"]["tag_name"]) for action, details in told(api)]  # type: ignore[index]
    assert names == [("unassign_tag", "Trial user"), ("assign_tag", "Customer"), ("unassign_tag", "Customer")]


def test_a_score_is_told_the_first_time_only(api: Api) -> None:
    endpoint(api, "http://hook.example/", {"reaches_score": None}, score=10)
    api.create(ADA)
    for cmd, points in (("give", 9), ("give", 1), ("remove", 5), ("give", 7), ("give", 100)):
        parts = {"give": "give_points_to_lead", "remove": "remove_points_from_lead"}
        api.on(ADA, parts[cmd], points=str(points))
    assert told(api) == [("reaches_score", {"points": 10})]
    assert json.loads(deliveries(api)[0]["body"])["lead"]["score"] == 10


def test_a_score_that_was_reached_before_anybody_asked_is_not_told_again(api: Api) -> None:
    api.create(ADA)
    api.on(ADA, "give_points_to_lead", points="15", expiration="1")
    api.server.clock.forward(days=2)
    api.on(ADA, "give_points_to_lead", points="1")
    assert api.lead(ADA)["score"] == 1
    endpoint(api, "http://hook.example/", {"reaches_score": None}, score=10)
    endpoint(api, "http://hook.example/20", {"reaches_score": None}, score=20)
    api.on(ADA, "give_points_to_lead", points="14")
    api.on(ADA, "give_points_to_lead", points="14")
    assert told(api) == [("reaches_score", {"points": 20})]


def test_a_score_within_one_call_counts(api: Api) -> None:
    endpoint(api, "http://hook.example/", {"reaches_score": None}, score=10)
    api.create(ADA)
    give, take = {"cmd": "give_points_to_lead", "points": "10"}, {"cmd": "remove_points_from_lead", "points": "10"}
    for _ in range(2):
        api.call(give, take, lead={"email": ADA})
    assert told(api) == [("reaches_score", {"points": 10})]


def test_numbers_can_be_strings(api: Api) -> None:
    endpoint(api, "http://hook.example/", {"assign_tag": None}, numbers_as_strings=True)
    number = api.create(ADA)
    api.on(ADA, "assign_tag", tag_name="Customer")
    [row] = deliveries(api)
    body = json.loads(row["body"], parse_int=lambda text: pytest.fail(f"{text} is no string"))
    assert body["lead"]["id"] == number
    assert body["lead"]["score"] == "0"


def test_what_an_app_did_can_be_left_out(api: Api) -> None:
    [app] = api.rows(schema.apps)
    endpoint(api, "http://hook.example/mine", {"assign_tag": None}, not_from=(f"app:{api.account_id}/{app['id']}",))
    other = endpoint(api, "http://hook.example/other", {"assign_tag": None}, not_from=("app:999/1",))
    api.create(ADA)
    api.on(ADA, "assign_tag", tag_name="Customer")
    assert [row["endpoint"] for row in deliveries(api)] == [other]


def test_who_is_switched_off_is_told_nothing(api: Api) -> None:
    endpoint(api, "http://hook.example/", enabled=False)
    api.create(ADA)
    api.on(ADA, "assign_tag", tag_name="Customer")
    assert deliveries(api) == []


def test_the_lead_is_told_as_it_was_at_that_moment(api: Api) -> None:
    endpoint(api, "http://hook.example/", {"assign_tag": None})
    api.create(ADA, city="Bonn")
    api.on(ADA, "assign_tag", tag_name="Customer")
    api.call({"cmd": "edit_lead"}, lead={"email": ADA, "city": "Ulm"})
    [row] = deliveries(api)
    assert json.loads(row["body"])["lead"]["city"] == "Bonn"


def test_a_stranger_is_told_nothing(api: Api, stranger: Api) -> None:
    endpoint(stranger, "http://hook.example/")
    api.create(ADA)
    api.on(ADA, "assign_tag", tag_name="Customer")
    assert deliveries(stranger) == deliveries(api) == []


def test_an_erased_lead_leaves_no_delivery(api: Api) -> None:
    endpoint(api, "http://hook.example/")
    number = int(api.create(ADA))
    api.on(ADA, "assign_tag", tag_name="Customer")
    assert deliveries(api)
    work = EraseWork((api.account_id, number), "lead")
    api.server.run(lambda: api.server.application.batches.submit(work))
    assert deliveries(api) == []


def test_a_deleted_lead_leaves_its_sequences_audibly(api: Api) -> None:
    endpoint(api, "http://hook.example/", {"sequence_unsubscription": None})
    api.create(ADA)
    api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")
    api.delete(ADA)
    assert [action for action, _ in told(api)] == ["sequence_unsubscription"]


def test_a_receiver_verifies_with_the_library(api: Api) -> None:
    with Receiver() as receiver, Teller(api, clock=lambda: datetime.now(UTC)) as teller:
        endpoint(api, receiver.url())
        api.create(ADA)
        api.on(ADA, "assign_tag", tag_name="Customer")
        teller.settle()
    [got] = receiver.got
    assert Webhook(SECRET).verify(got.body, got.headers) == got.json


def test_every_row_of_the_table_says_what_it_is() -> None:
    assert all(row.doc.endswith(".") and row.hears for row in OUTBOUND.values())
    assert len({row.hears for row in OUTBOUND.values()}) == len(OUTBOUND)
