from typing import Any

import pytest

from harness import Api

ADA = "ada@shop.example"
FORMAT = {"status": "Error", "message": "Wrong custom field format", "type": "271"}


def values(api: Api) -> dict[str, Any]:
    return {field["field_identifier"]: field["field_value"] for field in api.lead(ADA)["custom_fields"]}


def sent(identifier: str, value: Any) -> list[dict[str, Any]]:
    return [{"field_identifier": identifier, "field_value": value}]


def test_a_new_lead_has_every_custom_field_empty(api: Api) -> None:
    api.create(ADA)
    assert values(api) == {"plan": [], "interests": [], "shoe_size": ""}


@pytest.mark.parametrize(
    ("identifier", "value", "stored"),
    [
        ("plan", 612, [{"option_id": 612, "option_value": "Gold"}]),
        ("PLAN ", "613", [{"option_id": 613, "option_value": "Silver"}]),
        ("plan", ["612"], [{"option_id": 612, "option_value": "Gold"}]),
        (
            "interests",
            {"0": "703", "1": 701},
            [{"option_id": 701, "option_value": "Gardens"}, {"option_id": 703, "option_value": "Tools"}],
        ),
        ("interests", [702], [{"option_id": 702, "option_value": "Kitchens"}]),
        ("shoe_size", 42, "42"),
        ("shoe_size", "42 ½ 👟", "42 ½ 👟"),
    ],
)
def test_values_are_stored_by_the_type_of_the_field(api: Api, identifier: str, value: Any, stored: Any) -> None:
    api.create(ADA, custom_fields=sent(identifier, value))
    assert values(api)[identifier.strip().lower()] == stored


@pytest.mark.parametrize("empty", ["", None, []])
@pytest.mark.parametrize("identifier", ["plan", "interests"])
def test_an_empty_value_clears_the_field(api: Api, identifier: str, empty: Any) -> None:
    option = {"plan": 612, "interests": [701]}[identifier]
    lead_id = api.create(ADA, custom_fields=sent(identifier, option))
    assert values(api)[identifier]
    api.call({"cmd": "edit_lead"}, lead={"email": ADA, "custom_fields": sent(identifier, empty)})
    assert values(api)[identifier] == []
    assert len(api.events(lead_id)) == 2


@pytest.mark.parametrize(
    "custom_fields",
    [
        "gold",
        ["gold"],
        [{"field_identifier": "shoe_size"}],
        [{"field_value": "612"}],
        sent("plan", 999),
        sent("plan", "Gold"),
        sent("plan", ["612", "613"]),
        sent("interests", 701),
        sent("interests", [999]),
        sent("interests", [[701]]),
        sent("shoe_size", ["42"]),
        sent("shoe_size", "x" * 70_000),
    ],
)
def test_a_wrong_value_refuses_the_whole_call(api: Api, custom_fields: Any) -> None:
    tag = {"cmd": "assign_tag", "tag_name": "Customer"}
    assert api.call({"cmd": "create_lead"}, tag, lead={"email": ADA, "custom_fields": custom_fields}) == FORMAT
    assert api.rows_of_leads() == []
    api.create(ADA)
    lead = {"email": ADA, "city": "Rome", "new_email": "b@shop.example", "custom_fields": custom_fields}
    assert api.call({"cmd": "edit_lead"}, tag, lead=lead) == FORMAT
    assert (api.lead(ADA)["city"], api.lead(ADA)["tags"]) == ("", [])


def test_unknown_fields_are_ignored_and_text_fields_may_stand_flat(api: Api) -> None:
    api.create(ADA, shoe_size="44", Plan="612", custom_fields=sent("hat_size", "7"))
    assert values(api) == {"plan": [], "interests": [], "shoe_size": "44"}


def test_fields_are_retrieved_with_the_options_of_choice_types(api: Api) -> None:
    answer = api.call({"cmd": "retrieve_custom_fields"})
    assert answer == {
        "status": "Success",
        "custom_fields": [
            {
                "field_id": 1,
                "field_identifier": "plan",
                "field_type": "drop_down",
                "field_value": [
                    {"option_id": 612, "option_value": "Gold"},
                    {"option_id": 613, "option_value": "Silver"},
                ],
            },
            {
                "field_id": 2,
                "field_identifier": "interests",
                "field_type": "checkbox",
                "field_value": [
                    {"option_id": 701, "option_value": "Gardens"},
                    {"option_id": 702, "option_value": "Kitchens"},
                    {"option_id": 703, "option_value": "Tools"},
                ],
            },
            {"field_id": 3, "field_identifier": "shoe_size", "field_type": "input_field"},
        ],
    }


def test_a_field_made_by_the_api_can_be_used_in_the_same_call_and_after(api: Api) -> None:
    api.create(ADA)
    answer = api.call(
        {
            "cmd": "create_custom_field",
            "custom_field_identifier": "Colour",
            "custom_field_type": "radio_button",
            "custom_field_options": {"1": {"option_name": "blue"}, "0": {"option_name": " red "}},
        },
        {"cmd": "retrieve_custom_fields"},
    )
    made = answer["custom_fields"][-1]
    assert made["field_identifier"] == "Colour"
    assert [option["option_value"] for option in made["field_value"]] == ["red", "blue"]
    number = made["field_value"][1]["option_id"]
    api.call({"cmd": "edit_lead"}, lead={"email": ADA, "custom_fields": sent("colour", number)})
    assert values(api)["Colour"] == [{"option_id": number, "option_value": "blue"}]


@pytest.mark.parametrize(("identifier", "emptied"), [("plan", ["plan"]), ("interests", ["interests"]), ("nope", [])])
def test_an_empty_array_is_the_same_in_a_form_which_cannot_carry_it_and_in_json(
    api: Api, identifier: str, emptied: list[str]
) -> None:
    for number, fields in enumerate([sent(identifier, []), [{"field_identifier": identifier}]]):
        api.create(f"{number}{ADA}", custom_fields=sent("plan", 612) + sent("interests", [701]))
        lead = {"email": f"{number}{ADA}", "custom_fields": fields}
        assert api.call({"cmd": "edit_lead"}, lead=lead)["message"] == "Lead updated"
    form = f"actions[0][cmd]=edit_lead&lead[email]=1{ADA}&lead[custom_fields][0][field_identifier]={identifier}"
    assert api.form(form)["message"] == "Lead updated"
    for number in range(2):
        fields = api.lead(f"{number}{ADA}")["custom_fields"]
        assert [field["field_identifier"] for field in fields if not field["field_value"]] == [
            *emptied,
            "shoe_size",
        ]


@pytest.mark.parametrize(("identifier", "type_"), [("no good", "263"), ("plan", "264"), ("fine", "269")])
@pytest.mark.parametrize("kind", [{}, {"custom_field_type": ""}, {"custom_field_type": "colour_wheel"}])
def test_the_name_of_a_new_field_is_looked_at_before_its_type(
    api: Api, identifier: str, type_: str, kind: dict[str, str]
) -> None:
    made = api.call({"cmd": "create_custom_field", "custom_field_identifier": identifier, **kind})
    assert made["type"] == type_


@pytest.mark.parametrize("identifier", ["email", "First_Name", "tags", "PLAN", "score"])
def test_the_name_of_a_known_field_is_taken(api: Api, identifier: str) -> None:
    field = {"custom_field_identifier": identifier, "custom_field_type": "input_field"}
    assert api.call({"cmd": "create_custom_field", **field})["type"] == "264"


def test_another_account_does_not_have_the_field(api: Api, stranger: Api) -> None:
    field = {"custom_field_identifier": "colour", "custom_field_type": "input_field"}
    api.call({"cmd": "create_custom_field", **field})
    names = [entry["field_identifier"] for entry in stranger.call({"cmd": "retrieve_custom_fields"})["custom_fields"]]
    assert "colour" not in names
