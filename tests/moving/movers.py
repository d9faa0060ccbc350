"""An account to be moved from, whose leads have everything that can be said of one."""

import asyncio
import csv
import io
from typing import Any

import msgspec

from cartwheel.data import catalog, importstore
from cartwheel.data.importstore import State
from cartwheel.imports import columns, keeping
from cartwheel.imports.deciding import Plan
from cartwheel.imports.running import ImportRunner
from cartwheel.times import to_micros
from harness import DEMO, Api, Server, new_api

FIELDS = """
[[custom_fields]]
identifier = "story"
type = "text_area"

[[custom_fields]]
identifier = "seat"
type = "radio_button"
options = [{ id = 801, name = "Window; left" }, { id = 802, name = "Aisle" }]

[[lists]]
name = "Käse, Wein"

[[tags]]
name = "VIP"
"""

_HEADERS = [
    "Email",
    "First Name",
    "City",
    "Phone",
    "Tags",
    "Lists",
    "Points",
    "Notes",
    "Date joined",
    "GDPR status",
    "Blacklisted",
    "IP",
    "plan",
    "interests",
    "shoe_size",
    "story",
    "seat",
]

DELETED = "deleted@shop.example"


def address(number: int) -> str:
    return f"lead{number}@shop.example"


def origin(server: Server, leads: int) -> Api:
    """So many leads, and one that was deleted."""
    api = new_api(server, file=DEMO + FIELDS)
    _import(api, [_row(number) for number in range(leads)])
    for number in range(0, min(leads, 100), 10):
        api.on(address(number), "unsubscribe_lead_from_list", list_name="Newsletter")
        for other, step in ((1, "A2"), (2, "2")):
            sequence = {"sequence_name": "Welcome", "step": step}
            api.on(address(number + other), "subscribe_lead_to_sequence_at_step", **sequence)
        api.on(address(number + 2), "unsubscribe_lead_from_sequence", sequence_name="Welcome")
    api.create(DELETED)
    api.delete(DELETED)
    return api


def _row(number: int) -> list[Any]:
    return [
        address(number),
        ("Ada", "Łukasz", "=1+1", 'Q"u;o', "")[number % 5],
        f"City {number % 97}",
        f"+49 30 {number}",
        ("Customer", "VIP; Trial user", "")[number % 3],
        "Newsletter" if number % 10 == 0 else ("Käse, Wein", "Newsletter; Product news", "")[number % 3],
        number % 50 - 5,
        f"Note {number}\nand more" if number % 4 == 0 else "",
        f"20{number % 20 + 5:02}-0{number % 9 + 1}-1{number % 9} 1{number % 9}:00:0{number % 7}",
        ("Accepted", "Not accepted", "Not subject", "Unknown", "")[number % 5],
        "1" if number % 17 == 0 else "",
        f"192.0.2.{number % 250}" if number % 6 == 0 else "",
        ("Gold", "Silver", "")[number % 3],
        ("Gardens||Tools", "Kitchens", "")[number % 3],
        number % 48 or "",
        f"Once upon a time\n{'ä' * (number % 300)}",
        ("Window; left", "Aisle", "")[number % 3],
    ]


def _import(api: Api, rows: list[list[Any]]) -> None:
    database, clock = api.server.database, api.server.clock
    out = io.StringIO()
    csv.writer(out).writerows([_HEADERS, *rows])
    number = keeping.keep(database, api.account_id, None, "origin.csv", io.BytesIO(out.getvalue().encode()), clock())
    with database.write() as connection:
        account = catalog.of(connection, api.account_id).accounts[api.account_id]
        plan = Plan(columns=columns.guess(_HEADERS, [], account, "kartra"))
        values: dict[str, Any] = {"plan": msgspec.json.encode(plan).decode(), "state": State.RUNNING.value}
        importstore.change(connection, api.account_id, number, next_at=to_micros(clock()), **values)

    async def rounds() -> None:
        runner = ImportRunner(database, clock=clock)
        while await runner.round():
            pass
        await runner.close()

    asyncio.run(rounds())
    with database.read() as connection:
        found = importstore.get(connection, api.account_id, number)
    assert found is not None
    assert (found.made, found.refused) == (len(rows), 0)


def details(api: Api, email: str) -> dict[str, Any]:
    """What the API tells of a lead, but its numbers."""
    told: dict[str, Any] = api.lead(email)
    told.pop("id")
    for field in told["custom_fields"]:
        field.pop("field_id")
    told["custom_fields"].sort(key=lambda field: field["field_identifier"])
    for name in ("tags", "lists"):
        told[name].sort(key=str)
    return told
