"""The contract's first section: every way in which a call may be put, byte by byte as clients send it."""

import gzip
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from conftest import Databases
from harness import API_PASSWORD, Api, Server, new_api
from rawhttp import Answer, Line, request

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
EMAIL = "zoe@shop.example"
FIRST_NAME = "Zoë & co"


@pytest.fixture(scope="module")
def only_server(databases: Databases) -> Iterator[Server]:
    """A body is read before any engine is asked: one will do."""
    running = Server(databases.migrated("sqlite"))
    yield running
    running.stop()


@pytest.fixture
def server(only_server: Server) -> Server:
    only_server.forgive()
    return only_server


def credentials_of(api: Api, body: str) -> str:
    """The caller's credentials, as a form or as the members of a JSON object."""
    if body.lstrip("\ufeff \r\n\t").startswith("{"):
        return json.dumps(api.credentials)[1:-1]
    return "&".join(f"{name}={quote_plus(value)}" for name, value in api.credentials.items())


def post(api: Api, body: str, content_type: str | None = FORM, path: str = "/api") -> Answer:
    """`<me>` in the body stands for the credentials."""
    whole = body.replace("<me>", credentials_of(api, body)).encode()
    label = [f"Content-Type: {content_type}"] if content_type is not None else []
    with Line(api.server) as line:
        line.send(request(whole, *label, path=path))
        return line.answer()


def error(message: str, type_: str) -> str:
    return json.dumps({"status": "Error", "message": message, "type": type_}, separators=(",", ":"))


def check_that_the_lead_was_made(api: Api, answer: Answer) -> None:
    """To the letter, and with what the call said about the lead."""
    lead = api.lead(EMAIL)
    assert answer.status == 200
    assert answer.text == (
        '{"status":"Success","actions":['
        f'{{"create_lead":{{"status":"Success","message":"Lead created","lead_details":{{"id":"{lead["id"]}"}}}}}},'
        '{"assign_tag":{"status":"Success","message":"Tag added to lead","type":"103"}}]}'
    )
    assert (lead["first_name"], lead["tags"], lead["lists"]) == (FIRST_NAME, [{"tag_name": "Trial user"}], [])


# -- bodies that all mean the same --

LEAD = "lead[email]=zoe%40shop.example&lead[first_name]=Zo%C3%AB+%26+co"
TAG = "actions[1][cmd]=assign_tag&actions[1][tag_name]=Trial+user"
ACTIONS = f"actions[0][cmd]=create_lead&{TAG}"
CALL = f"<me>&{LEAD}&{ACTIONS}"

FORMS = {
    "literal brackets": CALL,
    "upper-case escapes": CALL.replace("[", "%5B").replace("]", "%5D"),
    "lower-case escapes": CALL.replace("[", "%5b").replace("]", "%5d").replace("%C3%AB", "%c3%ab"),
    "one bracket of two escaped": CALL.replace("[", "%5B"),
    "%20 for a space": CALL.replace("+", "%20"),
    "letters that are not escaped": CALL.replace("%C3%AB", "ë").replace("%40", "@").replace("+", " "),
    "names escaped needlessly": CALL.replace("actions", "%61ctions").replace("cmd", "c%6Dd"),
    "credentials last": f"{LEAD}&{ACTIONS}&<me>",
    "credentials in the middle": f"{ACTIONS}&<me>&{LEAD}",
    "every key the other way round": "&".join(reversed(CALL.split("&"))),
    "sorted by name": "&".join(sorted(CALL.split("&"))),
    "parameters before cmd": f"<me>&{LEAD}&actions[1][tag_name]=Trial user&actions[1][cmd]=assign_tag&actions[0][cmd]=create_lead",
    "append form": f"<me>&{LEAD}&actions[][cmd]=create_lead&{TAG}",
    "append form, escaped": f"<me>&{LEAD}&actions%5B%5D%5Bcmd%5D=create_lead&{TAG}",
    "append form, with a space": f"<me>&{LEAD}&actions[ ][cmd]=create_lead&{TAG}",
    "spaces before names": CALL.replace("&", "& +%20"),
    "appending after an index": f"<me>&{LEAD}&actions[7][tag_name]=Trial user&actions[7][cmd]=assign_tag&actions[3][cmd]=create_lead",
    "out-of-order indexes": f"<me>&{TAG}&actions[0][cmd]=create_lead&{LEAD}",
    "gapped indexes": CALL.replace("actions[1]", "actions[70]").replace("actions[0]", "actions[3]"),
    "indexes in the order of numbers": CALL.replace("actions[1]", "actions[10]").replace("actions[0]", "actions[9]"),
    "a far index": CALL.replace("actions[1]", "actions[99999999999999999999]"),
    "indexes with zeros before": CALL.replace("actions[1]", "actions[10]").replace("actions[0]", "actions[002]"),
    "lead as a list of one": CALL.replace("lead[", "lead[0]["),
    "lead as a list of one, appended": CALL.replace("lead[email]", "lead[][email]").replace("lead[f", "lead[0][f"),
    "a key twice: the last counts": f"lead[first_name]=Ada&actions[0][cmd]=search_lead&{CALL}",
    "a text where an array comes later": f"lead=Ada&actions=0&{CALL}",
    "empty pairs": f"&&{CALL}&&=&=x&",
    "a line end": f"{CALL}\r\n",
    "unknown keys": f"{CALL}&lead[cmd]=edit_lead&lead[name]=Ada&actions[0][list_name]=Newsletter&actions[1][x][y]=1&x=y",
    "parts that are not used": f"{CALL}&lead[tags][]=Customer&lead[lists][0][list_name]=Newsletter&cmd=edit_lead",
}  # fmt: skip


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_a_form_may_be_written_in_many_ways(api: Api, body: str) -> None:
    check_that_the_lead_was_made(api, post(api, body))


JSON_LEAD = '"lead":{"email":"zoe@shop.example","first_name":"Zoë & co"}'
JSON_CREATE = '{"cmd":"create_lead"}'
JSON_TAG = '{"cmd":"assign_tag","tag_name":"Trial user"}'
JSON_CALL = f'{{<me>,{JSON_LEAD},"actions":[{JSON_CREATE},{JSON_TAG}]}}'

JSONS = {
    "plain": JSON_CALL,
    "spread over lines": JSON_CALL.replace(",", ",\r\n\t"),
    "space and lines around it": f" \r\n\t{JSON_CALL}\n ",
    "a byte order mark": f"\ufeff{JSON_CALL}",
    "escaped letters": JSON_CALL.replace("ë", "\\u00eb").replace("&", "\\u0026").replace("/", "\\/"),
    "actions first": f'{{"actions":[{JSON_CREATE},{JSON_TAG}],{JSON_LEAD},<me>}}',
    "parameters before cmd": JSON_CALL.replace(JSON_TAG, '{"tag_name":"Trial user","cmd":"assign_tag"}'),
    "actions as a map": f'{{<me>,{JSON_LEAD},"actions":{{"0":{JSON_CREATE},"1":{JSON_TAG}}}}}',
    "a map out of order": f'{{<me>,{JSON_LEAD},"actions":{{"10":{JSON_TAG},"9":{JSON_CREATE}}}}}',
    "lead as a list of one": JSON_CALL.replace('{"email"', '[{"email"').replace('& co"}', '& co"}]'),
    "lead as a map of one": JSON_CALL.replace('{"email"', '{"0":{"email"').replace('& co"}', '& co"}}'),
    "a key twice: the last counts": JSON_CALL.replace("{", '{"lead":{"email":"ada@shop.example"},', 1),
    "nulls": JSON_CALL.replace('"lead":{', '"get_lead":null,"lead":{"phone":null,"custom_fields":null,'),
    "unknown keys": JSON_CALL.replace('"lead":{', '"x":[{}],"lead":{"cmd":"edit_lead","name":"Ada","tags":["Customer"],')
    .replace('"create_lead"', '"create_lead","list_name":"Newsletter","nothing":null'),
}  # fmt: skip


@pytest.mark.parametrize("body", JSONS.values(), ids=JSONS)
@pytest.mark.parametrize("label", [JSON, FORM])
def test_json_may_be_written_in_many_ways_and_labelled_as_a_form(api: Api, body: str, label: str) -> None:
    check_that_the_lead_was_made(api, post(api, body, label))


LABELS = [None, "", FORM, f"{FORM}; charset=UTF-8", FORM.upper(), JSON, f"{JSON};charset=utf-8", "Application/JSON",
          "text/plain", "text/html; charset=iso-8859-1", "application/octet-stream", "nonsense"]  # fmt: skip


@pytest.mark.parametrize("body", [CALL, JSON_CALL], ids=["form", "json"])
@pytest.mark.parametrize("label", LABELS)
def test_a_body_is_read_by_what_it_is_and_not_by_its_label(api: Api, body: str, label: str | None) -> None:
    check_that_the_lead_was_made(api, post(api, body, label))


# -- multipart forms --

FIELDS = {"lead[email]": EMAIL, "lead[first_name]": FIRST_NAME, "actions[0][cmd]": "create_lead",
          "actions[1][cmd]": "assign_tag", "actions[1][tag_name]": "Trial user"}  # fmt: skip


def multipart(api: Api, boundary: str, more: str = "") -> str:
    parts = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n{more}\r\n{value}\r\n'
        for name, value in {**api.credentials, **FIELDS}.items()
    )
    return f"{''.join(parts)}--{boundary}--\r\n"


@pytest.mark.parametrize(
    ("boundary", "label", "more"),
    [
        ("------------------------0123456789abcdef", "multipart/form-data; boundary=<boundary>", ""),
        ("----WebKitFormBoundaryAbCdEfGhIjKl", "multipart/form-data; boundary=<boundary>", ""),
        ("Boundary with space", 'Multipart/Form-Data; charset=utf-8; Boundary="<boundary>"', ""),
        ("b", "multipart/form-data;boundary=<boundary>", "Content-Type: text/plain; charset=UTF-8\r\n"),
    ],
    ids=["curl", "browser", "quoted", "typed parts"],
)
def test_a_multipart_form_is_read(api: Api, boundary: str, label: str, more: str) -> None:
    answer = post(api, multipart(api, boundary, more), label.replace("<boundary>", boundary))
    check_that_the_lead_was_made(api, answer)


FILE = '--b\r\nContent-Disposition: form-data; name="x"; filename="x.txt"\r\n\r\nx\r\n'
DAMAGED = "The multipart form is damaged. Nothing done"

DAMAGES = {
    "without its end": ("--b--\r\n", "", "boundary=b", DAMAGED),
    "cut in its last part": ("user\r\n--b--\r\n", "u", "boundary=b", DAMAGED),
    "without a boundary": ("", "", "charset=utf-8", DAMAGED),
    "with another boundary": ("", "", "boundary=B", DAMAGED),
    "with a file": ("--b--\r\n", f"{FILE}--b--\r\n", "boundary=b", "The request holds a file. Nothing done"),
}


@pytest.mark.parametrize(("end", "instead", "parameter", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_multipart_form_does_nothing(api: Api, end: str, instead: str, parameter: str, message: str) -> None:
    whole = multipart(api, "b")
    assert whole.endswith(end)
    answer = post(api, whole.removesuffix(end) + instead, f"multipart/form-data; {parameter}")
    assert (answer.status, answer.text) == (200, error(message, "254"))
    assert api.rows_of_leads() == []


# -- bodies that cannot be read --

UNREADABLE = {
    "half an object": (JSON_CALL[:-1], JSON, "The request is not valid JSON (Input data was truncated)"),
    "no object": ("[1]", JSON, "The request is not a JSON object"),
    "a scalar": ("null", JSON, "The request is not a JSON object"),
    "bytes that are no text": (CALL.replace("%C3", ""), FORM, "The request is not valid UTF-8"),
    "half a letter": (CALL.replace("%C3%AB", "%C3"), FORM, "The request is not valid UTF-8"),
    "a NUL": (CALL.replace("+", "%00"), FORM, "The request holds a NUL character"),
    "a NUL in a name": (CALL.replace("first_name", "first_name%00"), FORM, "The request holds a NUL character"),
    "a NUL in JSON": (JSON_CALL.replace("ë", "\\u0000"), JSON, "The request holds a NUL character"),
}


@pytest.mark.parametrize(("body", "label", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_told_and_does_nothing(api: Api, body: str, label: str, message: str) -> None:
    answer = post(api, body, label)
    assert (answer.status, answer.text) == (200, error(f"{message}. Nothing done", "254"))
    assert api.rows_of_leads() == []


def test_a_body_that_is_compressed_is_told_how_to_come(api: Api) -> None:
    body = gzip.compress(JSON_CALL.encode())
    answer = api.server.http.post("/api", content=body, headers={"Content-Type": JSON, "Content-Encoding": "gzip"})
    message = "Content-Encoding is not supported, send the body as it is. Nothing done"
    assert (answer.status_code, answer.text) == (200, error(message, "254"))
    assert api.rows_of_leads() == []


# -- credentials --

TAGS = '{"status":"Success","account_tags":["Trial user","Customer"]}'
KEY_EMPTY = error("API key cannot be empty. Please get an API key first", "202")
KEY_WRONG = error("API key not valid. Please get an API key first", "203")
CMD_REQUIRED = error("'cmd' is required", "254")

PLACES: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {
    "in the body": ({}, {"app_id": "", "api_key": "", "api_password": ""}, TAGS),
    "in the query": ({"app_id": "", "api_key": "", "api_password": ""}, {}, TAGS),
    "in both": ({"app_id": "", "api_key": "", "api_password": ""}, {"app_id": "", "api_key": "", "api_password": ""}, TAGS),
    "some here, some there": ({"app_id": ""}, {"api_key": "", "api_password": ""}, TAGS),
    "wrong in the query": ({"app_id": "", "api_key": "x"}, {"api_key": "", "api_password": ""}, TAGS),
    "wrong in the body": ({"app_id": "", "api_key": "", "api_password": ""}, {"api_key": "x"}, KEY_WRONG),
    "empty in the body": ({"app_id": "", "api_key": "", "api_password": ""}, {"api_key": " "}, KEY_EMPTY),
}  # fmt: skip


def filled(names: Mapping[str, str], api: Api) -> dict[str, str]:
    return {name: value or api.credentials[name] for name, value in names.items()}


@pytest.mark.parametrize("as_json", [False, True], ids=["form", "json"])
@pytest.mark.parametrize(("query", "body", "expected"), PLACES.values(), ids=PLACES)
def test_credentials_may_stand_in_the_query_but_the_body_wins(
    api: Api, query: dict[str, str], body: dict[str, str], expected: str, *, as_json: bool
) -> None:
    sent = filled(body, api)
    if as_json:
        text = json.dumps({**sent, "actions": [{"cmd": "retrieve_account_tags"}]})
    else:
        text = "&".join([*(f"{name}={value}" for name, value in sent.items()), "actions[0][cmd]=retrieve_account_tags"])
    path = "/api?" + "&".join(f"{name}={value}" for name, value in filled(query, api).items())
    answer = post(api, text, JSON if as_json else FORM, path)
    assert (answer.status, answer.text) == (200, expected)


def test_nothing_but_credentials_is_read_from_the_query(api: Api) -> None:
    answer = post(api, "<me>", FORM, "/api?actions[0][cmd]=retrieve_account_tags")
    assert answer.text == CMD_REQUIRED


@pytest.mark.parametrize("place", ["form", "query", "json"])
def test_a_password_may_hold_any_letters(server: Server, place: str) -> None:
    password = "p+q&r%20s%t=ü/#?[0]\"'\\"
    api = new_api(server, account={"api_password": password})
    api.api_password = password
    action = '{"actions":[{"cmd":"retrieve_account_tags"}]}'
    if place == "query":
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in api.credentials.items())
        answer = post(api, action, JSON, f"/api?{query}")
    elif place == "json":
        answer = post(api, action.replace("{", "{<me>,", 1), JSON)
    else:
        answer = post(api, "<me>&actions[0][cmd]=retrieve_account_tags")
    assert answer.text == TAGS


# -- paths and answers --


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api?", "/api/?x=y", "/api/v1/leads", "/api/x.php", "/api//", "/api/%2e"]
)
def test_a_post_is_answered_directly_wherever_it_goes_under_api(api: Api, path: str) -> None:
    check_that_the_lead_was_made(api, post(api, CALL, path=path))


def test_another_dialect_gets_the_gates_clear_error(api: Api) -> None:
    answer = post(api, '{"contact":{"email":"zoe@shop.example"}}', JSON, "/api/3/contacts")
    assert answer.text == error("App Id cannot be empty. Please get an App Id first", "238")


@pytest.mark.parametrize("path", ["/api", "/api/", "/api?app_id=x"])
def test_a_browser_sees_a_short_help_page(server: Server, path: str) -> None:
    with Line(server) as line:
        line.send(request(b"", path=path, method="GET"))
        answer = line.answer()
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert "Send a POST to this address" in answer.text
    assert "retrieve_account_tags" in answer.text


CALLS_GO = "Calls go to POST /api (GET /api tells more)"

ASTRAY = [
    ("PUT", "/api", "*/*", 405, True),
    ("DELETE", "/api/", "*/*", 405, True),
    ("OPTIONS", "/api?app_id=x", "*/*", 405, True),
    ("GET", "/api/leads", "text/html", 404, True),
    ("GET", "/API", "text/html", 404, True),
    ("POST", "/API", "*/*", 404, True),
    ("POST", "/Api/", "*/*", 404, True),
    ("POST", "/", "application/json", 405, True),
    ("POST", "/", "*/*", 405, False),
    ("POST", "/v2/leads", "text/html", 404, False),
    ("POST", "/health", "*/*", 405, False),
]


@pytest.mark.parametrize(("method", "path", "accept", "status", "as_json"), ASTRAY)
def test_whoever_goes_astray_is_told_where_calls_go(
    server: Server, method: str, path: str, accept: str, status: int, *, as_json: bool
) -> None:
    with Line(server) as line:
        line.send(request(b"app_id=x", f"Accept: {accept}", path=path, method=method))
        answer = line.answer()
    assert answer.status == status
    if as_json:
        assert (answer.headers["content-type"], answer.text) == (JSON, error(f"{CALLS_GO}. Nothing done", "254"))
    else:
        assert (answer.headers["content-type"], answer.text) == ("text/plain; charset=utf-8", f"{CALLS_GO}\n")
    if status == 405:
        assert ("POST" in answer.headers["allow"]) == path.startswith("/api")


MANY_CALLS = {
    "success": CALL,
    "retrieval": "<me>&actions[0][cmd]=retrieve_account_tags",
    "errors in elements": f"{CALL}&actions[2][cmd]=assign_tag&actions[3][cmd]=give_points_to_lead&actions[4][cmd]=x",
    "one error": "<me>&lead[email]=zoe@shop.example&actions[0][cmd]=search_lead",
    "get_lead": "<me>&get_lead[email]=zoe@shop.example",
    "no credentials": "",
    "no actions": "<me>",
    "wrong key": "app_id=x",
    "wrong shapes": "<me>&lead=1&actions=1",
    "not readable": "%ff",
    "nothing but JSON": "{}",
}


def statuses(value: Any) -> Iterator[dict[str, Any]]:
    """Every object inside that is the result of something."""
    if isinstance(value, dict):
        if "status" in value:
            yield value
        for inner in value.values():
            yield from statuses(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from statuses(inner)


@pytest.mark.parametrize("body", MANY_CALLS.values(), ids=MANY_CALLS)
def test_every_answer_is_json_with_status_200_and_texts_for_numbers(api: Api, body: str) -> None:
    answer = post(api, body)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert "content-encoding" not in answer.headers
    results = list(statuses(json.loads(answer.body.decode("utf-8"))))
    assert results
    for result in results:
        assert result["status"] in {"Success", "Error"}
        assert isinstance(result.get("type", ""), str)
        assert result["status"] == "Success" or result["type"].isdigit()


def test_letters_are_sent_as_utf_8(api: Api) -> None:
    post(api, CALL)
    assert '"first_name":"Zoë & co"'.encode() in post(api, f"<me>&get_lead[email]={EMAIL}").body


def test_the_password_of_the_tests_is_plain() -> None:
    """The table of credentials above puts it into queries as it is."""
    assert quote(API_PASSWORD) == API_PASSWORD


def test_a_base_url_with_a_slash_too_many_works(api: Api) -> None:
    answer = api.server.http.post(
        f"{api.server.url}//api", json={**api.credentials, "actions": [{"cmd": "retrieve_account_tags"}]}
    )
    assert answer.json()["status"] == "Success"


@pytest.mark.parametrize("kind", ["form", "json"])
def test_a_call_has_one_lead_and_not_two(api: Api, kind: str) -> None:
    if kind == "form":
        answer = api.form("lead[0][email]=a@b.example&lead[1][email]=c@d.example&actions[0][cmd]=search_lead")
    else:
        answer = api.call({"cmd": "search_lead"}, lead=[{"email": "a@b.example"}, {"email": "c@d.example"}])
    assert answer == {"status": "Error", "message": "'lead' not an array", "type": "223"}
