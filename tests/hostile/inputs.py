"""What the hostile tests have in common: an account with a lead, how to send to it, and what nobody may be told otherwise."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cartwheel.data import schema
from harness import Api, Server, new_api

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
PARTS = "multipart/form-data; boundary=Frontier7"
ADA = "ada@shop.example"
TAG = {"cmd": "assign_tag", "tag_name": "Customer"}
TAG_FORM = "actions[0][cmd]=assign_tag&actions[0][tag_name]=Customer"


def error(message: str, number: str = "254") -> dict[str, str]:
    return {"status": "Error", "message": message, "type": number}


def books(api: Api) -> dict[str, Any]:
    """Everything that the account has, row by row, but for what is noted of every call."""
    noted = (schema.api_calls, schema.daily_counts)
    tables = [table for table in schema.metadata.sorted_tables if "account_id" in table.c and table not in noted]
    return {
        table.name: sorted(
            repr({name: value for name, value in row.items() if name != "used_at"}) for row in api.rows(table)
        )
        for table in tables
    }


@contextmanager
def nothing_changes(api: Api) -> Iterator[None]:
    before = books(api)
    yield
    assert books(api) == before


def furnished(server: Server) -> Api:
    """An account with a lead in it."""
    made = new_api(server)
    made.create(ADA, first_name="Ada", custom_fields=[{"field_identifier": "plan", "field_value": "612"}])
    made.call({"cmd": "give_points_to_lead", "points": 5}, TAG, lead={"email": ADA})
    return made


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


ADDED = {"status": "Success", "message": "Tag added to lead", "type": "103"}
NO_APP = error("App Id cannot be empty. Please get an App Id first", "238")
