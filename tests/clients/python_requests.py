"""Python with requests. Styles: form = bracketed names written by hand, json."""

import json
import os
import sys
from typing import Any

import requests

STYLE = sys.argv[1]
CREDENTIALS = {name: os.environ[name.upper()] for name in ("app_id", "api_key", "api_password")}


def call(lead: dict[str, str] | None = None, actions: list[dict[str, str]] | None = None, **parts: Any) -> Any:
    if STYLE == "json":
        body = {**CREDENTIALS, "lead": lead or {}, "actions": actions, **parts}
        response = requests.post(
            os.environ["API_URL"], json={key: value for key, value in body.items() if value}, timeout=30
        )
    else:
        form = dict(CREDENTIALS)
        for name, value in (lead or {}).items():
            form[f"lead[{name}]"] = value
        for index, action in enumerate(actions or []):
            for name, value in action.items():
                form[f"actions[{index}][{name}]"] = value
        for part, values in parts.items():
            for name, value in values.items():
                form[f"{part}[{name}]"] = value
        response = requests.post(os.environ["API_URL"], data=form, timeout=30)
    response.raise_for_status()
    return response.json()


def messages(answer: Any) -> list[str]:
    return [result["message"] for element in answer["actions"] for result in element.values()]


def main() -> None:
    email = os.environ["EMAIL"]
    account = call(actions=[{"cmd": "retrieve_account_tags"}])
    created = call(
        lead={"email": email, "first_name": os.environ["FIRST_NAME"]},
        actions=[
            {"cmd": "create_lead"},
            {"cmd": "assign_tag", "tag_name": "Trial user"},
            {"cmd": "subscribe_lead_to_list", "list_name": "Newsletter"},
        ],
    )
    lead_id = created["actions"][0]["create_lead"]["lead_details"]["id"]
    tagged = call(
        lead={"id": lead_id},
        actions=[{"cmd": "assign_tag", "tag_name": name} for name in ("Customer", "Trial user")],
    )
    found = call(get_lead={"email": email})
    unknown = call(get_lead={"email": "nobody@shop.example"})
    printed = {
        "account_tags": account["account_tags"],
        "id": lead_id,
        "created": messages(created),
        "tagged": messages(tagged),
        "first_name": found["lead_details"]["first_name"],
        "tags": [tag["tag_name"] for tag in found["lead_details"]["tags"]],
        "unknown": unknown["status"] == "Error" and unknown["message"] == "No lead found",
    }
    sys.stdout.write(json.dumps(printed))


main()
