"""The published examples, letter for letter, sent as PHP's http_build_query sends them and as JSON."""

import json
from typing import Any, NamedTuple
from urllib.parse import quote_plus

import pytest

from harness import APP_ID, Api, Server, new_api

ACCOUNT = """
[account]
name = "x"
[[apps]]
name = "Website"
rate_limit = 0
[[lists]]
name = "List name"
[[tags]]
name = "tag name"
[[sequences]]
name = "Sequence name"
steps = [{ box = "1", type = "email", subject = "Hello", html = "Hello" }]
"""

RETRIEVED = """
[account]
name = "x"
[[apps]]
name = "Website"
rate_limit = 0
[[lists]]
name = "List name 1"
[[lists]]
name = "List name 2"
[[tags]]
name = "Tag name 1"
[[tags]]
name = "Tag name 2"
[[sequences]]
name = "Sequence name 1"
[[sequences]]
name = "Sequence name 2"
"""

LEAD = {"email": "example@email.com"}


class Example(NamedTuple):
    """An action as it is published, and the whole text of its answers."""

    action: dict[str, Any]
    answer: str


SUCCESSES = [
    Example(
        {"cmd": "unsubscribe_lead_from_sequence", "sequence_name": "Sequence name"},
        '{"status":"Success","message":"Lead removed from sequence","type":"108"}',
    ),
    Example(
        {"cmd": "subscribe_lead_to_sequence_at_step", "sequence_name": "Sequence name", "step": "1"},
        '{"status":"Success","message":"Lead added to sequence","type":"107"}',
    ),
    Example(
        {"cmd": "remove_points_from_lead", "points": 1},
        '{"status":"Success","message":"Points removed from lead","type":"106"}',
    ),
    Example(
        {"cmd": "give_points_to_lead", "points": 1},
        '{"status":"Success","message":"Points added to lead","type":"105"}',
    ),
    Example(
        {"cmd": "unassign_tag", "tag_name": "tag name"},
        '{"status":"Success","message":"Tag removed from lead","type":"104"}',
    ),
    Example(
        {"cmd": "assign_tag", "tag_name": "tag name"},
        '{"status":"Success","message":"Tag added to lead","type":"103"}',
    ),
    Example(
        {"cmd": "unsubscribe_lead_from_list", "list_name": "List name"},
        '{"status":"Success","message":"Lead unsubscribed from list","type":"101"}',
    ),
    Example(
        {"cmd": "subscribe_lead_to_list", "list_name": "List name"},
        '{"status":"Success","message":"Lead subscribed to list","type":"101"}',
    ),
]

NONE: dict[str, Any] = {}
NO_SUCH = "no such name"

ERRORS = [
    ("unsubscribe_lead_from_sequence", NONE, "226", "Sequence cannot be empty"),
    ("unsubscribe_lead_from_sequence", {"sequence_name": NO_SUCH}, "220", "Sequence does not exist"),
    ("subscribe_lead_to_sequence_at_step", {"step": "1"}, "226", "Sequence cannot be empty"),
    ("subscribe_lead_to_sequence_at_step", {"sequence_name": "Sequence name"}, "225", "Step cannot be empty"),
    ("subscribe_lead_to_sequence_at_step", {"sequence_name": NO_SUCH, "step": "1"}, "219", "Sequence does not exist"),
    (
        "subscribe_lead_to_sequence_at_step",
        {"sequence_name": "Sequence name", "step": "1.5"},
        "229",
        "Step has to be alphanumeric",
    ),
    (
        "subscribe_lead_to_sequence_at_step",
        {"sequence_name": "Sequence name", "step": "7"},
        "230",
        "Step does not exist",
    ),
    ("remove_points_from_lead", {"points": "one"}, "228", "Points is not a number"),
    ("remove_points_from_lead", NONE, "217", "Points cannot be empty"),
    ("give_points_to_lead", {"points": "one"}, "227", "Points is not a number"),
    ("give_points_to_lead", NONE, "215", "Points cannot be empty"),
    ("unassign_tag", NONE, "213", "Tag cannot be empty"),
    ("unassign_tag", {"tag_name": NO_SUCH}, "214", "Tag does not exist"),
    ("assign_tag", NONE, "211", "Tag cannot be empty"),
    ("assign_tag", {"tag_name": NO_SUCH}, "212", "Tag does not exist"),
    ("unsubscribe_lead_from_list", NONE, "208", "List cannot be empty"),
    ("unsubscribe_lead_from_list", {"list_name": NO_SUCH}, "209", "List does not exist"),
    ("subscribe_lead_to_list", NONE, "207", "List cannot be empty"),
    ("subscribe_lead_to_list", {"list_name": NO_SUCH}, "231", "List does not exist"),
]


def http_build_query(value: Any, prefix: str = "") -> str:
    """As PHP does it: brackets escaped, a plus for a space."""
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = {str(index): entry for index, entry in enumerate(value)}.items()
    else:
        return f"{quote_plus(prefix)}={quote_plus(str(value))}"
    return "&".join(http_build_query(entry, f"{prefix}[{key}]" if prefix else key) for key, entry in pairs)


@pytest.fixture(params=["form", "json"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def published(server: Server) -> Api:
    api = new_api(server, file=ACCOUNT)
    api.create(LEAD["email"])
    return api


def send(api: Api, kind: str, parts: dict[str, Any]) -> str:
    """The raw text of the answer, which always comes with status 200 as JSON."""
    whole = {**api.credentials, **parts}
    if kind == "json":
        answer = api.post(json.dumps(whole).encode(), Content_Type="application/json")
    else:
        body = http_build_query(whole).encode()
        answer = api.post(body, Content_Type="application/x-www-form-urlencoded")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    return answer.text


def wrapped(cmd: str, flat: str) -> str:
    """A flat answer as it stands with the wrapped form beside it."""
    return f'{flat[:-1]},"actions":[{{"{cmd}":{flat}}}]}}'


@pytest.mark.parametrize("example", SUCCESSES, ids=[example.action["cmd"] for example in SUCCESSES])
def test_a_published_action_succeeds_to_the_letter(published: Api, kind: str, example: Example) -> None:
    text = send(published, kind, {"lead": LEAD, "actions": [example.action]})
    assert text == wrapped(example.action["cmd"], example.answer)


@pytest.mark.parametrize(("cmd", "parameters", "number", "message"), ERRORS)
def test_a_published_error_comes_to_the_letter(
    published: Api, kind: str, cmd: str, parameters: dict[str, Any], number: str, message: str
) -> None:
    text = send(published, kind, {"lead": LEAD, "actions": [{"cmd": cmd, **parameters}]})
    assert text == wrapped(cmd, f'{{"status":"Error","message":"{message}","type":"{number}"}}')


@pytest.mark.parametrize("noun", ["List", "Tag", "Sequence"])
def test_names_are_retrieved_at_the_top_of_the_answer(server: Server, kind: str, noun: str) -> None:
    key = f"account_{noun.lower()}s"
    text = send(new_api(server, file=RETRIEVED), kind, {"actions": [{"cmd": f"retrieve_{key}"}]})
    assert text == f'{{"status":"Success","{key}":["{noun} name 1","{noun} name 2"]}}'


@pytest.mark.parametrize("noun", ["list", "tag", "sequence"])
def test_an_account_without_names_answers_with_an_empty_array(server: Server, kind: str, noun: str) -> None:
    empty = new_api(server, file='[account]\nname = "x"\n[[apps]]\nname = "Website"\nrate_limit = 0\n')
    text = send(empty, kind, {"actions": [{"cmd": f"retrieve_account_{noun}s"}]})
    assert text == f'{{"status":"Success","account_{noun}s":[]}}'


ACTION = [{"cmd": "assign_tag", "tag_name": "tag name"}]

GATE = [
    ({"app_id": ""}, "238", "App Id cannot be empty. Please get an App Id first"),
    ({"app_id": APP_ID}, "239", "App Id is not valid. The app does not exists or is inactive"),
    ({"api_key": ""}, "202", "API key cannot be empty. Please get an API key first"),
    ({"api_key": "nobody's"}, "203", "API key not valid. Please get an API key first"),
    ({"api_password": ""}, "233", "API password not valid. Please get an API password first"),
    ({"api_password": "wrong"}, "233", "API password not valid. Please get an API password first"),
    ({"lead": "example@email.com"}, "223", "'lead' not an array"),
    ({"get_lead": "example@email.com"}, "236", "'get_lead' not an array"),
    ({"actions": "assign_tag"}, "224", "'actions' not an array"),
    ({"actions": [{"tag_name": "tag name"}]}, "254", "'cmd' is required"),
    ({"lead": {"first_name": "Ada"}}, "206", "email or lead id is required. Nothing done"),
]


@pytest.mark.parametrize(("parts", "number", "message"), GATE)
def test_the_gate_refuses_to_the_letter(
    published: Api, kind: str, parts: dict[str, Any], number: str, message: str
) -> None:
    text = send(published, kind, {"lead": LEAD, "actions": ACTION, **parts})
    assert text == f'{{"status":"Error","message":"{message}","type":"{number}"}}'


REFUSING_FILES = [
    ({"account": {"active": False}}, "240", "App Account inactive"),
    ({"app": {"active": False}}, "239", "App Id is not valid. The app does not exists or is inactive"),
    ({"app": {"allow_ips": ["203.0.113.0/24"]}}, "242", "This API call was sent from an unauthorized IP"),
    ({"app": {"commands": ["unassign_tag"]}}, "262", "App does not have permission to execute this CMD"),
]


@pytest.mark.parametrize(("changes", "number", "message"), REFUSING_FILES)
def test_the_account_refuses_to_the_letter(
    server: Server, kind: str, changes: dict[str, Any], number: str, message: str
) -> None:
    text = send(new_api(server, file=ACCOUNT, **changes), kind, {"lead": LEAD, "actions": ACTION})
    assert text == f'{{"status":"Error","message":"{message}","type":"{number}"}}'


def test_somebody_elses_app_on_an_inactive_account_is_refused(server: Server, stranger: Api, kind: str) -> None:
    inactive = new_api(server, file=ACCOUNT, account={"active": False})
    text = send(inactive, kind, {"app_id": stranger.app_id, "lead": LEAD, "actions": ACTION})
    assert text == '{"status":"Error","message":"API Account inactive","type":"204"}'
