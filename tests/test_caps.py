"""One account cannot make the catalog, which every process holds, as large as it likes."""

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from cartwheel import accounts
from cartwheel.accountfiles import accountfile
from cartwheel.data import catalog
from cartwheel.errors import BadAccountFile
from commandline import name_of
from harness import Api

NOT_ALLOWED = {"status": "Error", "message": "Custom Field already exists or not allowed", "type": "264"}


def new_field(identifier: str, options: list[str] | None = None) -> dict[str, Any]:
    kind = {"custom_field_type": "checkbox" if options else "text_area"}
    names = {"custom_field_options": [{"option_name": name} for name in options or []]}
    return {"cmd": "create_custom_field", "custom_field_identifier": identifier, **kind, **names}


def identifiers(api: Api) -> list[str]:
    return [field["field_identifier"] for field in api.call({"cmd": "retrieve_custom_fields"})["custom_fields"]]


def test_the_api_makes_custom_fields_until_the_account_is_full(api: Api, stranger: Api) -> None:
    most = accounts.MOST["custom fields"]
    there = len(identifiers(api))
    fields = [new_field(f"field-{number}") for number in range(there, most + 2)]
    answers = []
    for start in range(0, len(fields), 100):
        answers += api.call(*fields[start : start + 100])["actions"]
    refused = [
        answer["create_custom_field"] for answer in answers if answer["create_custom_field"]["status"] == "Error"
    ]
    assert refused == [NOT_ALLOWED, NOT_ALLOWED]
    assert len(identifiers(api)) == most
    assert stranger.call(new_field("field-1"))["type"] == "114"


def test_a_field_has_as_many_options_as_it_may(api: Api) -> None:
    most = [f"shade {number}" for number in range(accounts.MOST["options of a custom field"])]
    assert api.call(new_field("colours", [*most, "one more"]))["type"] == "264"
    assert api.call(new_field("colours", most))["type"] == "114"
    assert api.call(new_field("names", ["red", "x" * 256]))["type"] == "264"
    assert api.call(new_field("names", ["red", "x" * 255]))["type"] == "114"
    assert identifiers(api)[-2:] == ["colours", "names"]


STEP = {"type": "email", "subject": "x", "html": "x"}

TOO_MUCH: dict[str, dict[str, Any]] = {
    "apps": {"apps": [{"name": "extra"}]},
    "lists": {"lists": [{"name": "extra"}]},
    "tags": {"tags": [{"name": "extra"}]},
    "custom fields": {"custom_fields": [{"identifier": "extra", "type": "input_field"}]},
    "options of all custom fields": {
        "custom_fields": [{"identifier": "size", "type": "drop_down", "options": [{"name": "S"}, {"name": "extra"}]}]
    },
    "sequences": {"sequences": [{"name": "extra"}]},
    "steps of all sequences": {"sequences": [{"name": "Last", "steps": [{"box": "extra", **STEP}]}]},
}


def apply(api: Api, parts: dict[str, Any]) -> dict[str, Any]:
    read = accountfile.read_text(tomli_w.dumps({"account": {"name": name_of(api)}, **parts}), Path())
    return accountfile.apply(api.server.database, read, api.server.clock())


def held(api: Api) -> dict[str, int]:
    with api.server.database.read() as connection:
        known = catalog.only(connection, name_of(api))
    account = known.accounts[api.account_id]
    return {
        "apps": len(known.apps),
        "lists": len(account.lists),
        "tags": len(account.tags),
        "custom fields": len(account.fields),
        "options of all custom fields": sum(len(field.options) for field in account.fields.values()),
        "sequences": len(account.sequences),
        "steps of all sequences": sum(len(sequence.boxes) for sequence in account.sequences.values()),
    }


@pytest.mark.parametrize("what", TOO_MUCH)
def test_an_account_file_adds_until_the_account_is_full(api: Api, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    api.call({"cmd": "retrieve_account_tags"})
    before = held(api)
    room = 1 if what == "options of all custom fields" else 0
    monkeypatch.setitem(accounts.MOST, what, before[what] + room)
    with pytest.raises(BadAccountFile) as refused:
        apply(api, {"tags": [{"name": "Unrelated"}], **TOO_MUCH[what]})
    assert str(refused.value) == f"{what}: {before[what] + room:,} at most, and extra is one more"
    assert held(api) == before
    monkeypatch.setitem(accounts.MOST, what, before[what] + room + 1)
    assert apply(api, TOO_MUCH[what])["changed"]


def test_the_options_of_a_field_are_counted_in_a_file_too(api: Api) -> None:
    api.call({"cmd": "retrieve_account_tags"})
    options = [{"name": f"shade {number}"} for number in range(1, 252)]
    with pytest.raises(BadAccountFile) as refused:
        apply(api, {"custom_fields": [{"identifier": "colour", "type": "checkbox", "options": options}]})
    assert str(refused.value) == "options of custom field colour: 250 at most, and shade 251 is one more"


@pytest.mark.parametrize(
    "part",
    [
        {"lists": [{"name": "x" * 256}]},
        {"lists": [{"name": "x", "public_name": "x" * 256}]},
        {"tags": [{"name": "x" * 256}]},
        {"apps": [{"name": "x", "allow_ips": ["127.0.0.1"] * 501}]},
        {"custom_fields": [{"identifier": "x" * 101, "type": "input_field"}]},
        {"sequences": [{"name": "x", "steps": [{"box": "1", **STEP, "html": "x" * 1_000_001}]}]},
    ],
)
def test_a_file_with_too_long_a_text_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(BadAccountFile) as refused:
        accountfile.read_text(tomli_w.dumps({"account": {"name": "x"}, **part}), Path())
    assert next(iter(part)) in str(refused.value)


def test_the_file_of_a_body_is_as_long_as_it_may_be(tmp_path: Path) -> None:
    text = '[account]\nname = "x"\n[[sequences]]\nname = "Long"\n'
    text += 'steps = [{ box = "1", type = "email", subject = "x", file = "mail.html" }]\n'
    (tmp_path / "mail.html").write_text("x" * 1_000_001)
    with pytest.raises(
        BadAccountFile, match=r"^sequence Long, step 1: mail\.html is longer than 1,000,000 characters$"
    ):
        accountfile.read_text(text, tmp_path)
