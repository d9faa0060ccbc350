"""Bodies that can be read, with values that nobody should send: each with its exact answer, and nothing changed by it."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import quote_plus

import pytest
from inputs import (
    ADA,
    NO_LEAD,
    NOT_EMAIL,
    PARTS,
    TAG,
    as_parts,
    error,
    furnished,
    nothing_changes,
)

from cartwheel.data import schema
from harness import Api, Server
from rawhttp import Line, request


@pytest.fixture(scope="module")
def account(running_server: Server) -> Api:
    """Tests that change nothing can share one."""
    return furnished(running_server)


@pytest.fixture
def ada(account: Api, server: Server) -> Api:
    assert account.server is server
    return account


@pytest.mark.parametrize(
    ("action", "answer"),
    [
        ({"cmd": "assign_tag", "tag_name": 5}, error("Tag does not exist", "212")),
        ({"cmd": "assign_tag", "tag_name": 10**18}, error("Tag does not exist", "212")),
        ({"cmd": "assign_tag", "tag_name": ["Customer"]}, error("Tag does not exist", "212")),
        ({"cmd": "assign_tag", "tag_name": False}, error("Tag cannot be empty", "211")),
        ({"cmd": "assign_tag", "tag_name": "x" * 10_000}, error("Tag does not exist", "212")),
        ({"cmd": "assign_tag", "tag_name": "😀"}, error("Tag does not exist", "212")),
        ({"cmd": "assign_tag", "tag_name": "\u202eremotsuC"}, error("Tag does not exist", "212")),
        ({"cmd": "assign_tag", "tag_name": "Custo\u200bmer"}, error("Tag does not exist", "212")),
        ({"cmd": "unassign_tag", "tag_name": "😀" * 10_000}, error("Tag does not exist", "214")),
        ({"cmd": "subscribe_lead_to_list", "list_name": "x" * 10_000}, error("List does not exist", "231")),
        ({"cmd": "subscribe_lead_to_list", "list_name": "רשימה"}, error("List does not exist", "231")),
        ({"cmd": "unsubscribe_lead_from_list", "list_name": "x" * 10_000}, error("List does not exist", "209")),
        ({"cmd": "unsubscribe_lead_from_list", "list_name": 7}, error("List does not exist", "209")),
        ({"cmd": "assign_tag", "tag_name": "'; DROP TABLE leads; --"}, error("Tag does not exist", "212")),
        ({"cmd": "give_points_to_lead", "points": "many"}, error("Points is not a number", "227")),
        ({"cmd": "give_points_to_lead", "points": 1.0}, error("Points is not a number", "227")),
        ({"cmd": "give_points_to_lead", "points": "1e2"}, error("Points is not a number", "227")),
        ({"cmd": "give_points_to_lead", "points": "٣"}, error("Points is not a number", "227")),
        ({"cmd": "give_points_to_lead", "points": True}, error("Points is not a number", "227")),
        ({"cmd": "give_points_to_lead", "points": "9" * 5000}, error("Points is not a number", "227")),
        ({"cmd": "give_points_to_lead", "points": 1, "expiration": "soon"}, error("Expiration is not a number", "227")),
        ({"cmd": "remove_points_from_lead", "points": {"0": 1}}, error("Points is not a number", "228")),
        (
            {"cmd": "subscribe_lead_to_sequence_at_step", "sequence_name": 5, "step": 1},
            error("Sequence does not exist", "219"),
        ),
        (
            {"cmd": "subscribe_lead_to_sequence_at_step", "sequence_name": "Welcome", "step": 1.5},
            error("Step has to be alphanumeric", "229"),
        ),
        (
            {"cmd": "subscribe_lead_to_sequence_at_step", "sequence_name": "Welcome", "step": "😀"},
            error("Step has to be alphanumeric", "229"),
        ),
        (
            {"cmd": "subscribe_lead_to_sequence_at_step", "sequence_name": "Welcome", "step": "x" * 10_000},
            error("Step does not exist", "230"),
        ),
        (
            {"cmd": "subscribe_lead_to_sequence_at_step", "sequence_name": "x" * 10_000, "step": "1"},
            error("Sequence does not exist", "219"),
        ),
        (
            {"cmd": "unsubscribe_lead_from_sequence", "sequence_name": "x" * 10_000},
            error("Sequence does not exist", "220"),
        ),
        (
            {"cmd": "create_custom_field", "custom_field_identifier": "😀", "custom_field_type": "input_field"},
            error("Custom Field name can only contain letters, numbers, dashes or underscores", "263"),
        ),
        (
            {"cmd": "create_custom_field", "custom_field_identifier": ["x"], "custom_field_type": "input_field"},
            error("Custom Field name can only contain letters, numbers, dashes or underscores", "263"),
        ),
        (
            {"cmd": "create_custom_field", "custom_field_identifier": "x", "custom_field_type": 5},
            error("Custom Field type not valid", "269"),
        ),
    ],
)
def test_a_number_where_text_is_due_and_the_reverse_change_nothing(ada: Api, action: Any, answer: Any) -> None:
    with nothing_changes(ada):
        told = ada.call(action, lead={"email": ADA})
    assert told == answer | {"actions": [{action["cmd"]: answer}]}


@pytest.mark.parametrize(
    "cmd",
    [
        "explode",
        "get_lead",
        "Assign_Tag",
        "assign_tag;",
        "__init__",
        "../../etc",
        "<b>",
        'say "hi"',
        "😀",
        "علي",
        "a\nb",
        "5",
    ],
)
def test_an_unknown_command_is_told_by_its_name_and_the_others_still_run(ada: Api, cmd: str) -> None:
    answer = error(f"'{cmd}' is not a known cmd. Nothing done")
    with nothing_changes(ada):
        assert ada.call({"cmd": cmd}) == answer | {"actions": [{cmd: answer}]}
        told = ada.call({"cmd": cmd}, TAG, lead={"email": ADA})
    added = {"status": "Success", "message": "Tag added to lead", "type": "103"}
    assert told == {"status": "Success", "actions": [{cmd: answer}, {"assign_tag": added}]}


def test_of_an_endless_command_only_the_beginning_is_repeated(ada: Api) -> None:
    assert ada.call({"cmd": "x" * 10_000})["message"] == f"'{'x' * 100}' is not a known cmd. Nothing done"


def test_a_hundred_actions_are_not_too_many(api: Api) -> None:
    api.create(ADA)
    answer = api.call(*[{"cmd": "give_points_to_lead", "points": 1}] * 100, lead={"email": ADA})
    assert [element["give_points_to_lead"]["type"] for element in answer["actions"]] == ["105"] * 100
    assert api.lead(ADA)["score"] == 100


@pytest.mark.parametrize(
    ("sent", "stored"), [(7, "7"), (1.5, "1.5"), (10**18, "1" + "0" * 18), (True, "1"), (None, "")]
)
def test_a_number_for_a_name_is_its_digits(api: Api, sent: Any, stored: str) -> None:
    api.create(ADA, first_name=sent)
    assert api.lead(ADA)["first_name"] == stored


@pytest.mark.parametrize(("sent", "stored"), [("100%", "100%"), ("%zz%4", "%zz%4"), ("%25zz+%2B", "%zz +")])
def test_an_escape_that_is_none_stays_as_it_is(api: Api, sent: str, stored: str) -> None:
    answer = api.form(f"lead[city]={sent}&lead[email]={ADA}&actions[0][cmd]=create_lead")
    assert answer["message"] == "Lead created"
    assert api.lead(ADA)["city"] == stored


# -- texts that have to come back as they were --

TEXTS = [
    "😀👩‍👩‍👧‍👦🏳️‍🌈",
    "שלום עולם",
    "مرحبا بالعالم",
    "\u202eevil\u202c \u2066x\u2069",
    "e\u0301 \u00e9 \ufb00 \u1e9e \u0130",
    "𐍈𠜎 \U0010ffff \uffff \ufeff",
    "\u200b\u2028\u2029\u0085",
    "'; DROP TABLE leads; --",
    "<script>alert(1)</script> &amp; %41 + %",
    "line\r\nline\n\ttab \x01\x1f\x7f",
    " space around ",
    "x" * 1000,
    "😀" * 1000,
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_name_is_stored_to_the_letter(api: Api, text: str) -> None:
    fields = {"first_name": text, "city": text}
    api.create("json@shop.example", **fields)
    escaped = quote_plus(text)
    api.form(
        f"lead[email]=form@shop.example&lead[first_name]={escaped}&lead[city]={escaped}&actions[0][cmd]=create_lead"
    )
    parts = {
        "lead[email]": "parts@shop.example",
        "lead[first_name]": text,
        "lead[city]": text,
        "actions[0][cmd]": "create_lead",
    }
    api.post(as_parts(api, parts) + b"--Frontier7--\r\n", **{"Content-Type": PARTS})
    for name in ("json", "form", "parts"):
        details = api.lead(f"{name}@shop.example")
        assert (details["first_name"], details["city"]) == (text, text)


@pytest.mark.parametrize("text", ["x" * 10_000, "😀" * 10_000, "א" * 65_535])
def test_a_long_text_in_a_custom_field_is_stored_to_the_letter(api: Api, text: str) -> None:
    api.create(ADA, custom_fields=[{"field_identifier": "shoe_size", "field_value": text}])
    [field] = [entry for entry in api.lead(ADA)["custom_fields"] if entry["field_identifier"] == "shoe_size"]
    assert field["field_value"] == text


# -- addresses --


@pytest.mark.parametrize(
    "email",
    [
        "ada@shop.example\r\nBcc: eve@evil.example",
        "ada@shop.example\nBcc: eve@evil.example",
        "ada@shop.example\rBcc: eve@evil.example",
        "ada@shop.example%0d%0aBcc: eve@evil.example",
        "\r\nBcc: eve@evil.example",
        "ada\r\n@shop.example",
        "ada@shop\r\n.example",
        "ada@shop.example, eve@evil.example",
        "ada@shop.example;eve@evil.example",
        "Ada <ada@shop.example>",
        '"ada\r\n"@shop.example',
        "ada@shop.example\u2028Bcc: eve@evil.example",
        "ada@shop.example\u0085Bcc: eve@evil.example",
        "ada@shop.example\tx",
        "ada @shop.example",
        "ada@@shop.example",
        "@shop.example",
        "ada@",
        "ada",
        "ada@shop",
        "ada@.example",
        "ada@shop..example",
        ".ada@shop.example",
        "ada@-shop.example",
        "ada@shop.example.",
        "ada@[127.0.0.1]",
        "x" * 65 + "@shop.example",
        "ada@" + "x" * 64 + ".example",
        "ada@" + "x." * 130 + "example",
        "\u202eada@shop.example",
        "ada\u200b@shop.example",
        "ada@\u202eshop.example",
        "ada@shop\u200b.example",
        "ada@😀.example",
    ],
)
def test_an_address_that_smuggles_or_cannot_be_is_refused_everywhere(ada: Api, email: str) -> None:
    with nothing_changes(ada):
        assert ada.call({"cmd": "create_lead"}, lead={"email": email}) == NOT_EMAIL
        assert ada.call({"cmd": "edit_lead"}, lead={"email": ADA, "new_email": email}) == NOT_EMAIL
        assert ada.call(TAG, lead={"email": email}) == NOT_EMAIL
        assert ada.call(get_lead={"email": email}) == NOT_EMAIL
        assert ada.form(f"lead[email]={quote_plus(email)}&actions[0][cmd]=create_lead") == NOT_EMAIL


@pytest.mark.parametrize(
    "email", [ADA.upper(), "Ada@Shop.Example", f"  {ADA} ", f"\t{ADA}\r\n", f"\u00a0{ADA}\u2003", "aDA@sHOP.eXAMPLE"]
)
def test_an_address_in_other_letters_or_with_space_around_is_the_same_lead(ada: Api, email: str) -> None:
    with nothing_changes(ada):
        assert ada.call({"cmd": "create_lead"}, lead={"email": email}) == error("Lead already exists", "244")
        assert ada.call({"cmd": "edit_lead"}, lead={"email": email, "new_email": email})["message"] == "Lead updated"
    assert ada.lead(email)["email"] == ADA


@pytest.mark.parametrize(
    "lead_id", ["-1", "1 OR 1=1", "1e3", "0x1", "٣", "1.0", "9" * 18, "9" * 19, "9" * 5000, "😀", "1;"]
)
def test_an_id_that_cannot_be_finds_no_lead(ada: Api, lead_id: str) -> None:
    with nothing_changes(ada):
        assert ada.call(TAG, lead={"id": lead_id, "email": ADA}) == NO_LEAD
        assert ada.call(get_lead={"id": lead_id}) == error("No lead found", "234")


ROUNDS = 50


def test_of_two_who_create_a_lead_at_the_same_moment_one_wins(api: Api) -> None:
    """And the other is told that it is there."""
    start = threading.Barrier(2)

    def create(line: Line, number: int) -> str:
        body = api.credentials | {"lead": {"email": f"lead{number}@shop.example"}, "actions": [{"cmd": "create_lead"}]}
        sent = request(json.dumps(body).encode())
        start.wait(20)
        line.send(sent)
        answer = line.answer().json
        return str(answer.get("type", answer["message"]))

    with ThreadPoolExecutor(2) as threads, closing(Line(api.server)) as one, closing(Line(api.server)) as other:
        for number in range(ROUNDS):
            told = [threads.submit(create, line, number) for line in (one, other)]
            assert sorted(entry.result(30) for entry in told) == ["244", "Lead created"]
    leads = api.rows(schema.leads)
    assert sorted(lead["email"] for lead in leads) == sorted(f"lead{number}@shop.example" for number in range(ROUNDS))
    assert {kind for lead in leads for kind, _ in api.events(str(lead["id"]))} == {"lead_created"}
    assert len(api.rows(schema.events)) == ROUNDS
