"""The API explorer."""

import json
import shlex

import pytest
from cast import Person

from cartwheel.api.commands import COMMANDS
from cartwheel.ui import snippets
from harness import Api

PAGE = "/integrations/api/explorer"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_tried_as_its_form_stands(boss: Person, name: str) -> None:
    page = boss.get(f"{PAGE}?cmd={name}").text
    command = COMMANDS[name]
    for parameter in command.params:
        assert f'name="{parameter}"' in page
    sent = {parameter: str(command.example.get(parameter, "1")) for parameter in command.params}
    answer = boss.post(PAGE, cmd=name, email="ada@shop.example", fields="first_name: Ada", **sent)
    assert answer.status_code == 200
    assert "What it was answered, and why" in answer.text
    assert "Server error" not in answer.text


def test_with_scripts_only_the_result_is_sent(boss: Person) -> None:
    sent = {"cmd": "create_lead", "email": "ada@shop.example", "fields": ""}
    boss.http.headers["hx-request"] = "true"
    fragment = boss.post(PAGE, **sent).text
    assert fragment.lstrip().startswith('<div id="result"')
    assert "Lead created" in fragment


def test_what_runs_here_touches_test_leads_only(api: Api, boss: Person) -> None:
    api.create("ada@shop.example")
    refused = boss.post(PAGE, cmd="assign_tag", email="ada@shop.example", tag_name="Customer").text
    assert "In test mode an App sees test leads only." in refused
    boss.post(PAGE, cmd="create_lead", email="ada@shop.example", fields="city: London")
    done = boss.post(PAGE, cmd="assign_tag", email="ada@shop.example", tag_name="Customer").text
    assert "Tag added to lead" in done
    assert api.lead("ada@shop.example")["tags"] == []


def test_a_field_of_options_is_sent_as_an_array(api: Api, boss: Person) -> None:
    sent = {"custom_field_identifier": "size", "custom_field_type": "drop_down", "custom_field_options": "S\nM\n"}
    assert "Custom Field created" in boss.post(PAGE, cmd="create_custom_field", **sent).text
    fields = api.call({"cmd": "retrieve_custom_fields"})["custom_fields"]
    assert [option["option_value"] for option in fields[-1]["field_value"]] == ["S", "M"]


def test_an_unknown_command_is_not_there(boss: Person) -> None:
    assert boss.get(f"{PAGE}?cmd=fly").status_code == 404
    assert boss.post(PAGE, cmd="fly").status_code == 404


NASTY = {"lead": {"email": "o'brien@shop.example", "notes": 'a "b" \\ $HOME `id` ; \n €'}, "actions": [{"cmd": "x"}]}


def test_code_to_copy_holds_what_was_sent_whatever_that_is() -> None:
    curl, php, python, node = (entry.text for entry in snippets.snippets(NASTY, "https://cartwheel.example"))
    words = shlex.split(curl.replace("\\\n", " "))
    assert f"lead[notes]={NASTY['lead']['notes']}" in words  # type: ignore[index] # a call's lead
    assert "'o\\'brien@shop.example'" in php
    sent = eval(python.partition("call = ")[2].partition("\n\nanswer")[0])
    assert sent["lead"] == NASTY["lead"]
    call = json.loads(node.partition("const call = ")[2].partition(";\n\n")[0])
    assert call["lead"] == NASTY["lead"]
