"""Bodies that cannot be read, or not as somebody may have thought: each with its exact answer, and nothing changed by it."""

import json
from typing import Any

import pytest
from inputs import (
    ACTIONS_NOT_ARRAY,
    ADA,
    ADDED,
    DAMAGED,
    FORM,
    GET_LEAD_NOT_ARRAY,
    JSON,
    LEAD_NOT_ARRAY,
    NO_APP,
    NO_CMD,
    NO_LEAD,
    NO_LEAD_GIVEN,
    NOT_EMAIL,
    NOT_UTF8,
    PARTS,
    TAG_FORM,
    TOO_BUSY,
    TOO_DEEP,
    TOO_LARGE,
    TOO_MANY,
    WITH_NUL,
    as_form,
    as_json,
    as_parts,
    deep_json,
    error,
    furnished,
    not_json,
    nothing_changes,
)

from harness import Api, Server


@pytest.fixture(scope="module")
def account(running_server: Server) -> Api:
    """Tests that change nothing can share one."""
    return furnished(running_server)


@pytest.fixture
def ada(account: Api, server: Server) -> Api:
    assert account.server is server
    return account


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
    "100,000 variables of different names": (b"&".join(b"x%d=1" % n for n in range(100_000)), TOO_MANY),
    "100,000 empty variables": (b"&" * 100_000, TOO_MANY),
    "5,000 actions": (b"&".join(b"actions[%d][cmd]=assign_tag" % n for n in range(5000)), TOO_MANY),
    "101 actions": (b"&".join(b"actions[%d][cmd]=search_lead" % n for n in range(101)), TOO_BUSY),
    "bytes that are not UTF-8": (ON_ADA + TAG_FORM.encode() + b"\xff", NOT_UTF8),
    "a cut off character": (ON_ADA + b"lead[city]=Z\xc3&" + TAG_FORM.encode(), NOT_UTF8),
    "escapes that are not UTF-8": (ON_ADA + b"lead[city]=%C3%28&" + TAG_FORM.encode(), NOT_UTF8),
    "an overlong escape": (ON_ADA + b"lead[city]=%C0%AF&" + TAG_FORM.encode(), NOT_UTF8),
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
    "an e-mail with an escape that is none": (b"lead[email]=ada%zz@shop.example&" + TAG_FORM.encode(), NO_LEAD),
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
    "a name of 10 kB for a part": (b'"' + b"x" * 10_000 + b'":1}', NO_CMD),
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


def test_as_much_as_may_be_sent_is_read(ada: Api) -> None:
    """8 levels, 1000 variables, 1 MiB: each bound itself is within."""
    deepest = as_json(ada, TAG_JSON + b',"x":' + b"[" * 7 + b"1" + b"]" * 7 + b"}")
    whole = as_form(ada, ON_ADA + TAG_FORM.encode())
    most = whole + b"&x=1" * (1000 - whole.count(b"&") - 1)
    largest = as_json(ada, TAG_JSON + b"}")
    largest += b" " * ((1 << 20) - len(largest))
    with nothing_changes(ada):
        for body in (deepest, whole + b"&x" + b"[a]" * 7 + b"=1", most, largest):
            assert ada.post(body).json()["message"] == ADDED["message"]
        assert ada.post(most + b"&x=1").json() == TOO_MANY
        assert ada.post(largest + b" ").json() == TOO_LARGE


# -- read, but not as somebody may have thought --


@pytest.mark.parametrize(
    "rest",
    [
        "lead[email]=nobody@shop.example&lead[email]=ada@shop.example",
        "lead=1&lead[email]=ada@shop.example",
        "lead[email][x]=1&lead[email]=ada@shop.example",
        "lead[0][email]=ada@shop.example",
        "lead[99999999999999999999][email]=ada@shop.example",
        "lead[email]=ada@shop.example&lead[email=nobody@shop.example",
        "lead%5Bemail%5D=ada%40shop%2eexample",
        "lead[email]=ada@shop.example&lead[%F0%9F%98%80]=%F0%9F%98%80&%zz=%",
        "lead[email]=ada@shop.example&a=1&a[b]=2",
        "lead[email]=ada@shop.example&a[b]=2&a=1&a[]=3",
        f"lead[email]=ada@shop.example&lead[{'x' * 10_000}]=1",
        "lead[email]=ada@shop.example&actions=1",
        "lead[email]=ada@shop.example&actions[0][cmd]=explode&actions[0][tag_name][x]=1",
    ],
)
def test_of_keys_that_contradict_each_other_the_last_one_counts(ada: Api, rest: str) -> None:
    with nothing_changes(ada):  # Ada has the tag
        assert ada.form(f"{rest}&{TAG_FORM}")["message"] == "Tag added to lead"


def test_of_json_keys_that_contradict_each_other_the_last_one_counts(ada: Api) -> None:
    rest = b'"lead":{"email":"nobody@shop.example","email":"ada@shop.example"},"actions":[{"cmd":"explode","cmd":"search_lead"}]}'
    with nothing_changes(ada):
        answer = ada.post(as_json(ada, rest)).json()
    assert answer["message"] == "Lead found"


def test_huge_indexes_keep_their_order_and_take_no_room(ada: Api) -> None:
    indexes = ["99999999999999999999999", "4000000000", "7", "18446744073709551616"]
    rest = "&".join(f"actions[{index}][cmd]=cmd{index}" for index in indexes)
    with nothing_changes(ada):
        answer = ada.form(rest)
        as_json = ada.post(
            json.dumps({**ada.credentials, "actions": {i: {"cmd": f"cmd{i}"} for i in indexes}}).encode()
        )
    assert [next(iter(element)) for element in answer["actions"]] == [
        f"cmd{index}" for index in sorted(indexes, key=int)
    ]
    assert as_json.json() == answer


def test_a_huge_index_of_a_custom_field_is_one_like_any_other(ada: Api) -> None:
    entry = "lead[custom_fields][99999999999999999999]"
    with nothing_changes(ada):
        answer = ada.form(
            f"lead[email]={ADA}&{entry}[field_identifier]=plan&{entry}[field_value]=612&actions[7][cmd]=edit_lead"
        )
    assert answer["message"] == "Lead updated"


# -- labels --


@pytest.mark.parametrize(
    "label",
    [
        *(JSON, f"{JSON}; charset=utf-8", "APPLICATION/JSON", "application/vnd.api+json", "text/json", FORM, PARTS),
        *("text/plain", "text/html", "application/xml", "application/octet-stream", "multipart/form-data", "json", ""),
        *("*/*", ";", "application/json; charset=utf-16", "x" * 1000),
    ],
)
def test_json_is_read_whatever_its_label_says(ada: Api, label: str) -> None:
    with nothing_changes(ada):
        assert ada.post(as_json(ada, TAG_JSON + b"}"), **{"Content-Type": label}).json()["message"] == ADDED["message"]


@pytest.mark.parametrize(
    ("label", "answer"),
    [
        *((label, ADDED) for label in (FORM, FORM.upper(), f"{FORM}; charset=iso-8859-1", JSON, "text/plain", "", ";")),
        *((label, ADDED) for label in ("application/xml", "application/octet-stream", "form", "x" * 1000)),
        *((label, DAMAGED) for label in (PARTS, "multipart/form-data", "multipart/form-data; boundary=")),
    ],
)
def test_a_form_is_read_unless_its_label_says_that_it_has_parts(ada: Api, label: str, answer: Any) -> None:
    with nothing_changes(ada):
        told = ada.post(as_form(ada, ON_ADA + TAG_FORM.encode()), **{"Content-Type": label}).json()
    assert {name: told[name] for name in answer} == answer


@pytest.mark.parametrize(
    ("label", "answer"),
    [
        *((label, ADDED) for label in (PARTS, PARTS.replace("multipart", "MULTIPART"), f"{PARTS}; charset=x")),
        *((label, DAMAGED) for label in (PARTS.lower(), "multipart/form-data", "multipart/form-data; boundary=other")),
        *((label, NO_APP) for label in (FORM, "multipart/mixed; boundary=Frontier7", "text/plain", "")),
        (JSON, not_json("JSON is malformed: invalid character (byte 1)")),
    ],
)
def test_parts_are_read_if_the_label_says_where_they_end(ada: Api, label: str, answer: Any) -> None:
    action = {"actions[0][cmd]": "assign_tag", "actions[0][tag_name]": "Customer", "lead[email]": ADA}
    with nothing_changes(ada):
        told = ada.post(as_parts(ada, action) + b"--Frontier7--\r\n", **{"Content-Type": label}).json()
    assert {name: told[name] for name in answer} == answer


def test_a_body_without_a_label_is_read(ada: Api) -> None:
    with nothing_changes(ada):
        for body in (as_form(ada, ON_ADA + TAG_FORM.encode()), as_json(ada, TAG_JSON + b"}")):
            assert ada.post(body).json()["message"] == ADDED["message"]
