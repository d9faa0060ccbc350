"""An account that is exported and taken in elsewhere is the same account, compared table by table."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import tomli_w

from cartwheel.accountfiles import accountfile
from cartwheel.data import bygones, catalogchanges, doctor, schema
from cartwheel.data.db import Database
from cartwheel.data.renumbering import Numbers
from cartwheel.data.wholeleads import CATALOG, OF_ACCOUNT, OF_LEADS
from commandline import Cartwheel, name_of
from conftest import ENGINES, Databases
from harness import Api, Server, new_api
from livedin import live

SAME = (schema.leads, *OF_LEADS, *OF_ACCOUNT, *CATALOG, schema.apps)
"""What is compared; beside it the account itself, whose version counts its changes, and when its Apps were made."""


@pytest.fixture(scope="module")
def origin(engine: str, databases: Databases) -> Iterator[Api]:
    """An account after some weeks, whose server is stopped. Its sequence has an older version, and a tag was deleted."""
    server = Server(databases.new(engine))
    api = live(server, name='Käse, "Wein" & =Brot')
    _edit(api)
    server.stop()
    yield api
    server.database.close()


def _edit(api: Api) -> None:
    """What leaves numbers behind that a file of the account does not have."""
    step = {"box": "1", "type": "email", "subject": "New", "html": "<p>New</p>"}
    part = {"account": {"name": name_of(api)}, "sequences": [{"name": "Welcome", "steps": [step]}]}
    accountfile.apply(api.server.database, accountfile.read_text(tomli_w.dumps(part), Path()), api.server.clock())
    [tag] = api.rows(schema.tags, name="Customer")
    with catalogchanges.changing(api.server.database, api.account_id) as connection:
        bygones.delete(connection, schema.tags, api.account_id, tag["id"], api.server.clock())


@pytest.fixture
def moved(origin: Api, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Exports the account, and takes it in in another database."""

    def move(url: str) -> None:
        monkeypatch.setenv("CARTWHEEL_DATABASE", origin.server.database.url)
        account, leads = tmp_path / "account.toml", tmp_path / "leads.jsonl"
        assert cartwheel("export-account", name_of(origin), "--output", account).code == 0
        assert cartwheel("export", "leads", "--whole", "--account", name_of(origin), "--output", leads).code == 0
        monkeypatch.setenv("CARTWHEEL_DATABASE", url)
        assert cartwheel("apply", account).code == 0
        ran = cartwheel("import-whole", leads, "--account", name_of(origin))
        assert ran.code == 0, ran.err
        assert "1 addresses of erased leads are not known here" in ran.err

    return move


def rows(database: Database, account_id: int, table: sa.Table) -> list[dict[str, Any]]:
    query = sa.select(table).where(table.c.account_id == account_id).order_by(*table.primary_key)
    with database.read() as connection:
        return [dict(row) | {"account_id": 0} for row in connection.execute(query).mappings()]


@pytest.mark.parametrize("onto", ENGINES)
def test_into_an_empty_installation_it_is_the_same_table_by_table(
    origin: Api, onto: str, databases: Databases, moved: Callable[[str], None]
) -> None:
    url = databases.new(onto)
    moved(url)
    there = Database(url)
    for table in SAME:
        expected, found = rows(origin.server.database, origin.account_id, table), rows(there, 1, table)
        if table is schema.apps:
            expected, found = [[row | {"created_at": 0} for row in each] for each in (expected, found)]
        assert found == expected, table.name
        assert expected or table is schema.suppressions, f"{table.name} is tried"
    assert doctor.examine(there, origin.server.clock()).healthy
    there.close()
    server = Server(url)
    api = Api(server, 1, origin.app_id, "")
    again = {row["id"] for row in rows(server.database, 1, schema.leads)}
    new = new_api(server)
    assert int(new.create("new@shop.example")) not in again
    assert api.account_id == 1
    server.stop()


def test_beside_another_account_everything_is_the_same_but_for_numbers(
    origin: Api, own_server: Server, moved: Callable[[str], None], cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_api(own_server)
    for number in range(3):
        other.create(f"other{number}@shop.example")
    before = rows(own_server.database, other.account_id, schema.leads)
    moved(own_server.database.url)
    shown: dict[str, list[Any]] = {}
    for url in (origin.server.database.url, own_server.database.url):
        monkeypatch.setenv("CARTWHEEL_DATABASE", url)
        for kind in ("leads", "events", "messages"):
            ran = cartwheel("export", kind, "--format", "jsonl", "--account", name_of(origin))
            shown.setdefault(kind, []).append([_without_numbers(json.loads(line)) for line in ran.out.splitlines()])
    for kind, (one, two) in shown.items():
        assert one == two, kind
        assert one
    assert rows(own_server.database, other.account_id, schema.leads) == before
    assert doctor.examine(own_server.database, own_server.clock()).healthy
    with own_server.database.read() as connection:
        numbers = connection.execute(sa.select(schema.leads.c.id)).scalars().all()
    assert len(numbers) == len(set(numbers)), "no lead has the number of another account's"
    assert int(other.create("other9@shop.example")) not in numbers


def _without_numbers(line: dict[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in line.items() if name not in {"id", "lead_id", "details", "by"}}
    return told | {"email": told["email"].partition(":")[0]}


def spoilt(text: str) -> Iterator[tuple[str, str]]:
    lines = text.splitlines(keepends=True)
    yield "empty", ""
    yield "cut off", "".join(lines[:-1])
    yield "cut in a line", text[: len(text) // 2]
    yield "a lead less", "".join([*lines[:3], *lines[4:]])
    yield "a lead twice", "".join([*lines[:-1], lines[3], lines[-1].replace(": 24", ": 25").replace(":24", ":25")])
    yield "of another version", text.replace('"migration":"00', '"migration":"99', 1)
    yield "another tag", text.replace('"name":"Trial user","name_key":"trial user"', '"name":"X","name_key":"x"', 1)
    yield "other steps", text.replace("<p>New</p>", "<p>Old</p>", 1)
    yield "a text for a number", text.replace('"score":', '"score":"1","sco":', 1)
    yield "a number for a text", text.replace('"first_name":"', '"first_name":1,"x":"', 1)
    yield "another table", text.replace('"lead_tags":', '"users":', 1)


def test_a_spoilt_file_changes_nothing(
    origin: Api,
    engine: str,
    databases: Databases,
    cartwheel: Cartwheel,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("CARTWHEEL_DATABASE", origin.server.database.url)
    account, leads = tmp_path / "account.toml", tmp_path / "leads.jsonl"
    cartwheel("export-account", "--output", account)
    cartwheel("export", "leads", "--whole", "--output", leads)
    url = databases.new(engine)
    monkeypatch.setenv("CARTWHEEL_DATABASE", url)
    cartwheel("apply", account)
    there = Database(url)
    before = {table.name: rows(there, 1, table) for table in (*SAME, schema.counters) if "account_id" in table.c}
    text = leads.read_text()
    for what, spoilt_text in spoilt(text):
        assert spoilt_text != text, what
        leads.write_text(spoilt_text)
        ran = cartwheel("import-whole", leads)
        assert ran.code == 1, what
        assert ran.trouble
        assert {name: rows(there, 1, schema.metadata.tables[name]) for name in before} == before, what
    leads.write_text(text)
    assert cartwheel("import-whole", leads).code == 0
    assert "has leads already" in cartwheel("import-whole", leads).trouble
    there.close()


def test_numbers_are_exchanged_wherever_rows_speak_of_them() -> None:
    numbers = Numbers(
        tags={1: 11},
        lists={2: 12},
        fields={3: 13},
        options={4: 14},
        sequences={5: 15},
        origins={"app:1/1": "app:2/7"},
        leads=100,
    )
    events = {
        '{"tag_id":1}': '{"tag_id":11}',
        '{"list_id":2,"reason":"é"}': '{"list_id":12,"reason":"é"}',
        '{"sequence_id":5,"step":"1"}': '{"sequence_id":15,"step":"1"}',
        '{"fields":[],"custom_field_ids":[3]}': '{"fields":[],"custom_field_ids":[13]}',
        '{"lead_id":1}': '{"lead_id":101}',
        '{"points": 5}': '{"points": 5}',
    }
    for there, here in events.items():
        row = {"details": there, "origin": "sequence:5"}
        numbers.renumber("events", row)
        assert row == {"details": here, "origin": "sequence:15"}
    assert [numbers.origin(each) for each in ("app:1/1", "app:1/2", "user:3", "cli")] == [
        "app:2/7",
        "app:0",
        "user:0",
        "cli",
    ]
    value = {"field_id": 3, "value": "[4]"}
    numbers.renumber("lead_fields", value)
    assert value == {"field_id": 13, "value": "[14]"}
    erased = {"id": 7, "email": "erased:7"}
    numbers.renumber("leads", erased)
    assert erased == {"id": 107, "email": "erased:107"}
