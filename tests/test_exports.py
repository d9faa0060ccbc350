"""What is taken away is all that was asked for, of one moment, and harms nobody who opens it."""

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from cast import Cast
from filled import HOSTILE

from cartwheel.data import schema, userstore
from cartwheel.data.leadconditions import Order, Question
from cartwheel.exports import streams, writers
from cartwheel.exports.formats import Format
from cartwheel.leads import filters
from cartwheel.people import Role
from commandline import Cartwheel, Ran
from conftest import Databases
from harness import Api, Server
from livedin import LEADS, live

ADA = "ada@shop.example"


@pytest.fixture(scope="module")
def world(engine: str, databases: Databases) -> Iterator[Api]:
    server = Server(databases.new(engine))
    yield live(server)
    server.stop()


@pytest.fixture
def its(world: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setenv("CARTWHEEL_DATABASE", world.server.database.url)
    return world


def everybody(api: Api) -> Question:
    account = api.server.run(api.server.application.batches.refresh).accounts[api.account_id]
    postgresql = api.server.database.name == "postgresql"
    return Question(account, filters.EVERYBODY, filters.search(""), Order.NEWEST, postgresql)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def lines(ran: Ran) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ran.out.splitlines()]


@pytest.mark.usefixtures("its")
def test_leads_come_as_a_table_and_as_lines_with_everything_by_name(cartwheel: Cartwheel) -> None:
    rows = table(cartwheel("export", "leads").out)
    assert [row["email"] for row in rows] == [f"lead{n}@shop.example" for n in range(LEADS) if n not in {9, 11}]
    row = {row["email"]: row for row in rows}["lead8@shop.example"]
    assert (row["tags"], row["lists"], row["plan"], row["interests"]) == (
        "Customer",
        "Newsletter",
        "Gold",
        "Gardens;Tools",
    )
    assert (row["not_mailed_because"], row["score"], row["phone"]) == ("do not contact", "9", "+49 30 1234")
    as_lines = lines(cartwheel("export", "leads", "--format", "jsonl"))
    assert [line["email"] for line in as_lines] == [row["email"] for row in rows]
    line = {line["email"]: line for line in as_lines}["lead8@shop.example"]
    assert (line["tags"], line["interests"], line["score"]) == (["Customer"], ["Gardens", "Tools"], 9)


@pytest.mark.usefixtures("its")
def test_names_that_are_formulas_do_nothing_and_can_be_told(cartwheel: Cartwheel) -> None:
    rows = table(cartwheel("export", "leads").out)
    raw = table(cartwheel("export", "leads", "--raw").out)
    assert {row["first_name"] for row in raw} >= {HOSTILE[0][:100], "=Ada+4"}
    assert "'=Ada+4" in {row["first_name"] for row in rows}
    for row, exact in zip(rows, raw, strict=True):
        assert {name: cell.removeprefix("'") for name, cell in row.items()} == exact


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|x", "-2+A1", "@SUM(A1)", "\tx", "\rx", "'x"])
def test_a_cell_that_would_be_worked_out_is_not(cell: str) -> None:
    assert writers.harmless(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "a=b", "+49 (30) 12-34", "-5", "-1.5", "2026-01-01"])
def test_what_harms_nobody_stays_as_it_is(cell: str) -> None:
    assert writers.harmless(cell) == cell


def test_several_names_in_a_cell_can_be_told_apart() -> None:
    assert writers.joined(["a;b", "c\\", "d"]) == r"a\;b;c\\;d"


def test_a_filter_is_what_the_page_has_in_its_address(its: Api, cartwheel: Cartwheel) -> None:
    [tag] = [row["id"] for row in its.rows(schema.tags) if row["name"] == "Customer"]
    query = urlencode({"filter": json.dumps({"type": "tag", "tag": tag}), "q": "lead1", "order": "newest"})
    found = [row["email"] for row in table(cartwheel("export", "leads", "--filter", query).out)]
    assert found == [f"lead{number}@shop.example" for number in (10, 12, 14, 16, 18)]
    failed = lines(cartwheel("export", "messages", "--filter", "state=accepted", "--format", "jsonl"))
    assert {mail["state"] for mail in failed} == {"accepted"}
    for bad in ("filter=nonsense", "colour=red", "nonsense"):
        assert cartwheel("export", "leads", "--filter", bad).code == 2


def test_events_and_mails_are_all_there(its: Api, cartwheel: Cartwheel) -> None:
    events = lines(cartwheel("export", "events", "--format", "jsonl"))
    gone = {row["id"] for row in its.rows_of_leads() if row["deleted_at"] is not None}
    expected = sorted((row["lead_id"], row["kind"]) for row in its.rows(schema.events) if row["lead_id"] not in gone)
    assert sorted((event["lead_id"], event["event"]) for event in events) == expected
    assert all(event["told"] for event in events)
    mails = table(cartwheel("export", "messages").out)
    assert len(mails) == len(its.rows(schema.mails))
    assert {"Welcome"} == {mail["sequence"] for mail in mails}


@pytest.mark.usefixtures("its")
def test_everything_of_a_lead_is_what_it_gets_itself(cartwheel: Cartwheel) -> None:
    data = json.loads(cartwheel("export", "lead", "lead4@shop.example").out)
    assert (data["email"], data["tags"], len(data["mails"]) > 0) == ("lead4@shop.example", ["Customer"], True)
    assert "no lead" in cartwheel("export", "lead", ADA).trouble


def test_it_is_of_one_moment_while_others_write(world: Api) -> None:
    """Who is added meanwhile is not in it, and who was there is in it once."""
    question = everybody(world)
    blocks = streams.leads(world.server.database, question, Format.JSONL)
    writers_block, writers.BLOCK = writers.BLOCK, 1
    try:
        first = next(blocks)
        late = world.create("late@shop.example")
        rest = b"".join(blocks)
    finally:
        writers.BLOCK = writers_block
    assert first
    assert b"late@shop.example" not in first + rest
    world.delete("late@shop.example")
    assert late


# -- on the pages --


def test_a_page_gives_what_it_shows_and_the_log_tells_who_took_it(world: Api) -> None:
    with Cast(world) as cast:
        boss = cast.person(Role.MARKETER)
        answer = boss.post("/leads/export?q=lead1", what="leads", format="csv")
        assert answer.headers["content-disposition"] == 'attachment; filename="leads.csv"'
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.content.startswith(b"\xef\xbb\xbf"), "so that spreadsheets know it is UTF-8"
        assert all(row["email"].startswith("lead1") for row in table(answer.content.decode("utf-8-sig")))
        assert boss.post("/leads/export", what="events", format="jsonl").status_code == 200
        mails = boss.post("/mail/export?state=accepted", format="jsonl")
        assert {json.loads(line)["state"] for line in mails.text.splitlines()} == {"accepted"}
        [lead] = world.rows(schema.leads, email="lead4@shop.example")
        assert boss.post(f"/leads/{lead['id']}/export").json()["email"] == "lead4@shop.example"
        with world.server.database.read() as connection:
            log = [
                (row.who, row.action, row.subject) for row in userstore.audited(connection, world.account_id, None, 4)
            ]
        assert [entry[1:] for entry in reversed(log)] == [
            ("Exported leads", "leads, lead1"),
            ("Exported leads", "events"),
            ("Exported mails", "state: accepted"),
            ("Exported everything of a lead", "lead4@shop.example"),
        ]
        assert {entry[0] for entry in log} == {boss.email}


def test_who_may_only_look_takes_nothing_away(world: Api) -> None:
    with Cast(world) as cast:
        viewer = cast.person(Role.VIEWER)
        assert viewer.post("/leads/export", what="leads", format="csv").status_code == 403
        assert "/leads/export" not in viewer.get("/leads").text
        assert "/leads/export" in cast.person(Role.MARKETER).get("/leads").text


def test_an_export_that_cannot_be_begun_is_told_on_a_page(world: Api) -> None:
    house = world.server.application.site._house
    with Cast(world) as cast, house.exports.one(world.account_id), house.exports.one(world.account_id):
        answer = cast.person(Role.OWNER).post("/leads/export", what="leads", format="csv")
        assert (answer.status_code, "attachment" in answer.headers.get("content-disposition", "")) == (503, False)


def test_a_browser_that_goes_away_leaves_nothing_behind(world: Api) -> None:
    house = world.server.application.site._house
    with Cast(world) as cast:
        boss = cast.person(Role.OWNER)
        for _ in range(3):
            assert boss.post("/leads/export", what="leads", format="csv").status_code == 200
    assert not house.exports._taken


# -- large --


def test_memory_does_not_grow_with_the_leads(world: Api) -> None:
    [row] = world.rows(schema.leads, email="lead0@shop.example")
    question = everybody(world)
    rows = [row | {"id": 10_000 + n, "email": f"many{n}@shop.example", "notes": "x" * 3000} for n in range(4000)]
    with world.server.database.write() as connection:
        connection.execute(sa.insert(schema.leads), rows)
    del rows
    tracemalloc.start()
    size = sum(len(block) for block in streams.leads(world.server.database, question, Format.CSV))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    with world.server.database.write() as connection:  # the account is other tests', too
        connection.execute(sa.delete(schema.leads).where(schema.leads.c.id >= 10_000))
    assert size > 12_000_000
    assert peak < 6_000_000
