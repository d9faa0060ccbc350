"""Bad input by name: each with its exact answer, and nothing changed by it."""

import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote_plus

import pytest

from cartwheel import schema
from harness import Api, Server, new_api
from rawhttp import Line, request

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
PARTS = "multipart/form-data; boundary=Frontier7"
ADA = "ada@shop.example"
TAG = {"cmd": "assign_tag", "tag_name": "Customer"}
TAG_FORM = "actions[0][cmd]=assign_tag&actions[0][tag_name]=Customer"


def error(message: str, number: str = "254") -> dict[str, str]:
    return {"status": "Error", "message": message, "type": number}


def books(api: Api) -> dict[str, Any]:
    """Everything that the account has, row by row."""
    tables = [table for table in schema.metadata.sorted_tables if "account_id" in table.c]
    return {table.name: sorted(map(repr, api.rows(table))) for table in tables}


@contextmanager
def nothing_changes(api: Api) -> Iterator[None]:
    before = books(api)
    yield
    assert books(api) == before


@pytest.fixture(scope="module")
def account(running_server: Server) -> Api:
    """An account with a lead in it. Tests that change nothing can share one."""
    made = new_api(running_server)
    made.create(ADA, first_name="Ada", custom_fields=[{"field_identifier": "plan", "field_value": "612"}])
    made.call({"cmd": "give_points_to_lead", "points": 5}, TAG, lead={"email": ADA})
    return made


@pytest.fixture
def ada(account: Api, server: Server) -> Api:
    assert account.server is server
    return account


def as_form(api: Api, rest: bytes) -> bytes:
    return "&".join(f"{name}={value}" for name, value in api.credentials.items()).encode() + b"&" + rest


def as_json(api: Api, rest: bytes) -> bytes:
    """The credentials, and after them whatever it is."""
    return json.dumps(api.credentials).encode()[:-1] + b"," + rest


def as_parts(api: Api, rest: Mapping[str, str]) -> bytes:
    parts = (
        f'--Frontier7\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in {**api.credentials, **rest}.items()
    )
    return "".join(parts).encode()


def deep_json(levels: int) -> bytes:
    return b'"lead":{"email":"ada@shop.example","x":' + b"[" * levels + b"1" + b"]" * levels + b"}}"


TOO_DEEP = error("The request is nested deeper than 8 levels. Nothing done")
TOO_MANY = error("The request has more than 1000 variables. Nothing done")
TOO_LARGE = error("The request is larger than 1048576 bytes. Nothing done")
NOT_UTF8 = error("The request is not valid UTF-8. Nothing done")
WITH_NUL = error("The request holds a NUL character. Nothing done")
TOO_BUSY = error("The call has more than 100 actions. Nothing done")
DAMAGED = error("The multipart form is damaged. Nothing done")
NO_CMD = error("'cmd' is required")
NOT_EMAIL = error("email is not valid. Nothing done", "206")
NO_LEAD_GIVEN = error("email or lead id is required. Nothing done", "206")
NO_LEAD = error("No lead found", "243")
LEAD_NOT_ARRAY = error("'lead' not an array", "223")
GET_LEAD_NOT_ARRAY = error("'get_lead' not an array", "236")
ACTIONS_NOT_ARRAY = error("'actions' not an array", "224")


def not_json(reason: str) -> dict[str, str]:
    return error(f"The request is not valid JSON ({reason}). Nothing done")


ON_ADA = f"lead[email]={ADA}&".encode()
FORMS = {
    "nothing after the credentials": (b"", NO_CMD),
    "cut off in the action": (ON_ADA + b"actions[0][cm", NO_CMD),
    "cut off before the actions": (ON_ADA[:-3], NO_CMD),
    "cut off in an escape": (b"actions[0][tag_name]=x&lead[email]=ada%4", NO_CMD),
    "too large": (TAG_FORM.encode() + b"&x=" + b"x" * (1 << 20), TOO_LARGE),
    "9 levels": (TAG_FORM.encode() + b"&lead" + b"[a]" * 8 + b"=1", TOO_DEEP),
    "100,000 levels": (TAG_FORM.encode() + b"&lead" + b"[a]" * 100_000 + b"=1", TOO_DEEP),
    "100,000 levels of appending": (TAG_FORM.encode() + b"&lead" + b"[]" * 100_000 + b"=1", TOO_DEEP),
    "100,000 variables": (b"&".join([b"x[]=1"] * 100_000), TOO_MANY),
    "100,000 empty variables": (b"&" * 100_000, TOO_MANY),
    "5,000 actions": (b"&".join(b"actions[%d][cmd]=assign_tag" % n for n in range(5000)), TOO_MANY),
    "101 actions": (b"&".join(b"actions[%d][cmd]=search_lead" % n for n in range(101)), TOO_BUSY),
    "bytes that are not UTF-8": (ON_ADA + TAG_FORM.encode() + b"\xff", NOT_UTF8),
    "a cut off character": (ON_ADA + b"lead[city]=Z\xc3&" + TAG_FORM.encode(), NOT_UTF8),
    "escapes that are not UTF-8": (ON_ADA + b"lead[city]=%C3%28&" + TAG_FORM.encode(), NOT_UTF8),
    "an escaped half of a pair": (ON_ADA + b"lead[city]=%ED%A0%80&" + TAG_FORM.encode(), NOT_UTF8),
    "a key that is not UTF-8": (b"lead[%ff]=1&" + TAG_FORM.encode(), NOT_UTF8),
    "NUL": (ON_ADA + b"lead[city]=\0&" + TAG_FORM.encode(), WITH_NUL),
    "an escaped NUL": (ON_ADA + b"lead[city]=a%00b&" + TAG_FORM.encode(), WITH_NUL),
    "NUL in a key": (ON_ADA + b"lead[%00]=1&" + TAG_FORM.encode(), WITH_NUL),
    "a lead that is a text": (b"lead=ada@shop.example&" + TAG_FORM.encode(), LEAD_NOT_ARRAY),
    "a lead that becomes a text": (ON_ADA + b"lead=1&" + TAG_FORM.encode(), LEAD_NOT_ARRAY),
    "a get_lead that is a text": (b"get_lead=ada@shop.example", GET_LEAD_NOT_ARRAY),
    "actions that are a text": (ON_ADA + b"actions=assign_tag", ACTIONS_NOT_ARRAY),
    "actions that become a text": (ON_ADA + TAG_FORM.encode() + b"&actions=1", ACTIONS_NOT_ARRAY),
    "an action that is a text": (ON_ADA + b"actions[0]=assign_tag", NO_CMD),
    "an action that becomes a text": (ON_ADA + TAG_FORM.encode() + b"&actions[0]=x", NO_CMD),
    "actions that are one action": (ON_ADA + b"actions[cmd]=assign_tag&actions[tag_name]=Customer", NO_CMD),
    "an e-mail that becomes an array": (ON_ADA + b"lead[email][x]=1&" + TAG_FORM.encode(), NOT_EMAIL),
    "an e-mail of escapes": (b"lead[email]=ada%2540shop.example&" + TAG_FORM.encode(), NOT_EMAIL),
    "an id that is an array": (b"lead[id][]=1&" + TAG_FORM.encode(), NO_LEAD),
    "a lead without anything": (b"lead[x]=1&" + TAG_FORM.encode(), NO_LEAD_GIVEN),
    "open brackets": (b"lead[email=ada@shop.example&" + TAG_FORM.encode(), NO_LEAD_GIVEN),
}


@pytest.mark.parametrize(("rest", "answer"), FORMS.values(), ids=FORMS)
def test_a_bad_form_is_refused_and_changes_nothing(ada: Api, rest: bytes, answer: Any) -> None:
    with nothing_changes(ada):
        response = ada.post(as_form(ada, rest), **{"Content-Type": FORM})
    assert (response.status_code, response.json()) == (200, answer)


TAG_JSON = b'"lead":{"email":"ada@shop.example"},"actions":[{"cmd":"assign_tag","tag_name":"Customer"}]'
JSONS = {
    "cut off": (TAG_JSON, not_json("Input data was truncated")),
    "cut off in a text": (b'"lead":{"email":"ada@sh', not_json("Input data was truncated")),
    "more after the end": (TAG_JSON + b"}}", not_json("JSON is malformed: trailing characters (byte {end})")),
    "too large": (TAG_JSON + b',"x":"' + b"x" * (1 << 20) + b'"}', TOO_LARGE),
    "9 levels": (deep_json(7), TOO_DEEP),
    "100,000 levels": (deep_json(100_000), TOO_DEEP),
    "200,000 levels that never end": (b'"x":' + b"[" * 200_000, TOO_DEEP),
    "100,000 values": (b'"x":[' + b"1," * 100_000 + b"1]," + TAG_JSON + b"}", TOO_MANY),
    "5,000 actions": (b'"actions":[' + b",".join([b'{"cmd":"assign_tag"}'] * 5000) + b"]}", TOO_MANY),
    "101 actions": (b'"actions":[' + b",".join([b'{"cmd":"search_lead"}'] * 101) + b"]}", TOO_BUSY),
    "NaN": (b'"x":NaN,' + TAG_JSON + b"}", not_json("JSON is malformed: invalid character (byte {start+4})")),
    "Infinity": (b'"x":Infinity,' + TAG_JSON + b"}", not_json("JSON is malformed: invalid character (byte {start+4})")),
    "a number beyond all": (b'"x":1e999,' + TAG_JSON + b"}", not_json("Number out of range - at `$[...]`")),
    "5,000 digits": (
        b'"x":' + b"9" * 5000 + b"," + TAG_JSON + b"}",
        not_json("Integer value out of range - at `$[...]`"),
    ),
    "NUL": (b'"x":"\\u0000",' + TAG_JSON + b"}", WITH_NUL),
    "NUL in a key": (b'"\\u0000":1,' + TAG_JSON + b"}", WITH_NUL),
    "a bare NUL": (b'"x":"\0",' + TAG_JSON + b"}", not_json("JSON is malformed: invalid character (byte {start+5})")),
    "bytes that are not UTF-8": (b'"x":"\xff",' + TAG_JSON + b"}", NOT_UTF8),
    "half of a pair": (
        b'"x":"\\ud800",' + TAG_JSON + b"}",
        not_json("JSON is malformed: unexpected end of escaped utf-16 surrogate pair (byte {start+11})"),
    ),
    "of two leads the last": (TAG_JSON + b',"lead":5}', LEAD_NOT_ARRAY),
    "a number for a lead": (b'"lead":5,"actions":[{"cmd":"search_lead"}]}', LEAD_NOT_ARRAY),
    "two leads": (b'"lead":[{"email":"a@b.example"},{}],"actions":[{"cmd":"search_lead"}]}', LEAD_NOT_ARRAY),
    "a number for get_lead": (b'"get_lead":5}', GET_LEAD_NOT_ARRAY),
    "a number for the actions": (b'"actions":5}', ACTIONS_NOT_ARRAY),
    "true for the actions": (b'"actions":true}', ACTIONS_NOT_ARRAY),
    "null for an action": (b'"actions":[null]}', NO_CMD),
    "an array for a cmd": (b'"actions":[{"cmd":["assign_tag"]}]}', NO_CMD),
    "no actions": (b'"actions":[]}', NO_CMD),
    "a number for an e-mail": (b'"lead":{"email":5},"actions":[{"cmd":"create_lead"}]}', NOT_EMAIL),
    "an object for an e-mail": (b'"lead":{"email":{"a":"b"}},"actions":[{"cmd":"create_lead"}]}', NOT_EMAIL),
    "true for an e-mail": (b'"lead":{"email":true},"actions":[{"cmd":"create_lead"}]}', NOT_EMAIL),
    "false for an e-mail": (b'"lead":{"email":false},"actions":[{"cmd":"create_lead"}]}', NO_LEAD_GIVEN),
    "a fraction for an id": (b'"lead":{"id":1.5},"actions":[{"cmd":"search_lead"}]}', NO_LEAD),
    "an object for a name": (
        b'"lead":{"email":"new@shop.example","first_name":{"a":"b"}},"actions":[{"cmd":"create_lead"}]}',
        error("'first_name' has to be text. Nothing done"),
    ),
    "a text for the custom fields": (
        b'"lead":{"email":"new@shop.example","custom_fields":"gold"},"actions":[{"cmd":"create_lead"}]}',
        error("Wrong custom field format", "271"),
    ),
    "a name of 10 kB": (
        b'"lead":{"email":"new@shop.example","first_name":"' + b"x" * 10_000 + b'"},"actions":[{"cmd":"create_lead"}]}',
        error("'first_name' is longer than 1000 characters. Nothing done"),
    ),
    "an e-mail of 10 kB": (
        b'"lead":{"email":"' + b"x" * 10_000 + b'@shop.example"},"actions":[{"cmd":"create_lead"}]}',
        NOT_EMAIL,
    ),
}


@pytest.mark.parametrize(("rest", "answer"), JSONS.values(), ids=JSONS)
def test_bad_json_is_refused_and_changes_nothing(ada: Api, rest: bytes, answer: Any) -> None:
    body = as_json(ada, rest)
    places = {"{start+4}": len(body) - len(rest) + 4, "{start+5}": len(body) - len(rest) + 5}
    places |= {"{start+11}": len(body) - len(rest) + 11, "{end}": len(body)}
    message = answer["message"]
    for name, place in places.items():
        message = message.replace(name, str(place))
    with nothing_changes(ada):
        response = ada.post(body, **{"Content-Type": JSON})
    assert (response.status_code, response.json()) == (200, answer | {"message": message})


@pytest.mark.parametrize(
    ("end", "answer"),
    [
        (b"", DAMAGED),
        (b"--Frontier7", DAMAGED),
        (b'--Frontier7\r\nContent-Disposition: form-data; name="lead[email]"\r\n\r\nada', DAMAGED),
        (b"--frontier7--\r\n", DAMAGED),
        (b"--Frontier7\r\nno header\r\n\r\n--Frontier7--\r\n", DAMAGED),
        (
            b'--Frontier7\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nx\r\n--Frontier7--\r\n',
            error("The request holds a file. Nothing done"),
        ),
        (b'--Frontier7\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--Frontier7--\r\n', NOT_UTF8),
        (b'--Frontier7\r\nContent-Disposition: form-data; name="a"\r\n\r\n\0\r\n--Frontier7--\r\n', WITH_NUL),
        (
            b'--Frontier7\r\nContent-Disposition: form-data; name="a[]"\r\n\r\n\r\n' * 5000 + b"--Frontier7--\r\n",
            TOO_MANY,
        ),
    ],
)
def test_a_damaged_form_of_parts_is_refused_and_changes_nothing(ada: Api, end: bytes, answer: Any) -> None:
    action = {"actions[0][cmd]": "assign_tag", "actions[0][tag_name]": "Customer", "lead[email]": ADA}
    with nothing_changes(ada):
        response = ada.post(as_parts(ada, action) + end, **{"Content-Type": PARTS})
    assert (response.status_code, response.json()) == (200, answer)


# -- read, but not as somebody may have thought --


@pytest.mark.parametrize(
    "rest",
    [
        "lead[email]=nobody@shop.example&lead[email]=ada@shop.example",
        "lead=1&lead[email]=ada@shop.example",
        "lead[email][x]=1&lead[email]=ada@shop.example",
        "lead[0][email]=ada@shop.example",
        "lead[email]=ada@shop.example&lead[email=nobody@shop.example",
        "lead%5Bemail%5D=ada%40shop%2eexample",
        "lead[email]=ada@shop.example&lead[%F0%9F%98%80]=%F0%9F%98%80&%zz=%",
    ],
)
def test_of_keys_that_contradict_each_other_the_last_one_counts(ada: Api, rest: str) -> None:
    with nothing_changes(ada):  # Ada has the tag
        assert ada.form(f"{rest}&{TAG_FORM}")["message"] == "Tag added to lead"


def test_of_json_keys_that_contradict_each_other_the_last_one_counts(ada: Api) -> None:
    rest = b'"lead":{"email":"nobody@shop.example","email":"ada@shop.example"},"actions":[{"cmd":"explode","cmd":"search_lead"}]}'
    answer = ada.post(as_json(ada, rest)).json()
    assert answer["message"] == "Lead found"


def test_huge_indexes_keep_their_order_and_take_no_room(ada: Api) -> None:
    indexes = ["99999999999999999999999", "4000000000", "7", "18446744073709551616"]
    rest = "&".join(f"actions[{index}][cmd]=cmd{index}" for index in indexes)
    answer = ada.form(rest)
    assert [next(iter(element)) for element in answer["actions"]] == [
        f"cmd{index}" for index in sorted(indexes, key=int)
    ]


@pytest.mark.parametrize(
    ("action", "answer"),
    [
        ({"cmd": "assign_tag", "tag_name": 5}, error("Tag does not exist", "212")),
        ({"cmd": "assign_tag", "tag_name": 10**18}, error("Tag does not exist", "212")),
        ({"cmd": "assign_tag", "tag_name": ["Customer"]}, error("Tag does not exist", "212")),
        ({"cmd": "assign_tag", "tag_name": False}, error("Tag cannot be empty", "211")),
        ({"cmd": "assign_tag", "tag_name": "x" * 10_000}, error("Tag does not exist", "212")),
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
    "lead_id", ["0", "-1", "1 OR 1=1", "1e3", "0x1", "٣", "1.0", "9" * 18, "9" * 19, "9" * 5000, "😀", "1;"]
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
