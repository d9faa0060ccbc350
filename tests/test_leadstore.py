"""How leads are stored: which of their rows are loaded, and how those are numbered whatever the clock says."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from cartwheel.data import leadstore, schema
from cartwheel.data.postgreslane import dumpers
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Gdpr
from conftest import Databases
from harness import Api, Server, new_api

ADA = "ada@shop.example"
JOIN = {"cmd": "subscribe_lead_to_sequence_at_step", "sequence_name": "Welcome", "step": "1"}
JOIN_LATER = JOIN | {"step": "A2"}
LEAVE = {"cmd": "unsubscribe_lead_from_sequence", "sequence_name": "Welcome"}
GIVE = {"cmd": "give_points_to_lead", "points": 1}


# -- runs through sequences --


def runs(api: Api) -> list[tuple[str, str, bool]]:
    """Every run of the account's only lead, oldest first."""
    rows = sorted(api.rows(schema.enrolments), key=lambda row: row["id"])
    return [(row["step"], row["status"], row["latest"]) for row in rows]


@pytest.mark.parametrize("in_one_call", [True, False])
def test_of_all_runs_through_a_sequence_one_is_the_latest(api: Api, *, in_one_call: bool) -> None:
    api.create(ADA)
    actions = [JOIN, LEAVE, JOIN_LATER, LEAVE, JOIN, JOIN_LATER]
    for call in [actions] if in_one_call else [[action] for action in actions]:
        api.call(*call, lead={"email": ADA})
    assert runs(api) == [("1", "unsubscribed", False), ("A2", "unsubscribed", False), ("1", "active", True)]
    assert api.lead(ADA)["sequences"] == [{"sequence_name": "Welcome", "step": "1", "status": "active"}]


def test_a_lead_comes_with_its_latest_runs_only(api: Api) -> None:
    key = (api.account_id, int(api.create(ADA)))
    for _ in range(5):
        api.call(*[JOIN, LEAVE] * 20, lead={"email": ADA})
    assert len(runs(api)) == 100

    async def loaded() -> list[Any]:
        lane = api.server.database.lane()
        try:
            await lane.begin()
            found = await lane.fetch(leadstore._RUNS, [key])
            await lane.rollback()
        finally:
            await lane.close()
        return found

    assert len(api.server.run(loaded)) == 1


def test_the_latest_runs_are_found_without_reading_the_others(server: Server, engine: str) -> None:
    keys = [(1, number) for number in range(64)]
    if engine == "sqlite":
        assert server.database.file
        with closing(server.database.file.connect(timeout_s=1)) as connection:
            explain = f"EXPLAIN QUERY PLAN {leadstore._RUNS.sqlite(64)}"
            plan = str(connection.execute(explain, [part for key in keys for part in key]).fetchall())
    else:
        with psycopg.connect(server.database.url) as postgresql:
            for kind, dumper in dumpers():
                postgresql.adapters.register_dumper(kind, dumper)
            postgresql.execute(
                "INSERT INTO enrolments SELECT -1, 1 + n / 100, n, 1 + n % 50, '1', 'unsubscribed', 0, 0, n % 100 = 99 "
                "FROM generate_series(0, 9999) n"
            )
            postgresql.execute("ANALYZE enrolments")
            for way in ("seqscan", "hashjoin", "mergejoin"):  # as for the lanes
                postgresql.execute(f"SET LOCAL enable_{way} = off")
            sql = b"EXPLAIN " + leadstore._RUNS.postgresql
            found = postgresql.cursor(binary=True).execute(sql, leadstore._RUNS.packed(keys))
            plan = str(found.fetchall())
            postgresql.rollback()
    assert "enrolments_latest" in plan


class Closed(dict[int, Any]):
    """Rows that nobody looks through."""

    def __iter__(self) -> Iterator[int]:
        raise AssertionError

    keys = values = items = __iter__  # type: ignore[assignment]


def test_booking_points_and_entering_a_sequence_look_at_no_other_row() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    lead = Lead.create(1, 1, ADA, now, source="api", test=False, gdpr=Gdpr.OFF)
    lead.grants, lead.runs = Closed(), Closed()
    for number in range(100):
        lead.grant(1, 0, now)
        lead.enrol(1 + number, "1", now)
        lead.unenrol(1 + number, now)
        lead.enrol(1 + number, "1", now)
    assert (len(lead.grants), len(lead.runs), len(lead.past_runs)) == (100, 100, 100)


# -- numbers --


@pytest.fixture
def new_server(engine: str, databases: Databases) -> Iterator[Callable[[], Server]]:
    """Any number of servers on one database."""
    url, servers = databases.migrated(engine), list[Server]()

    def new() -> Server:
        servers.append(Server(url))
        return servers[-1]

    yield new
    for server in servers:
        server.stop()


def check_order(api: Api, lead_id: str, points: list[int]) -> None:
    """The feed and the ledger tell what happened in the order in which it happened."""
    told = [details["points"] for kind, details in api.events(lead_id) if kind == "points_given"]
    ledger = sorted(api.rows(schema.points), key=lambda row: row["id"])
    assert told == points
    assert [row["points"] for row in ledger] == points
    assert api.lead(ADA)["score"] == sum(points)


def test_what_happens_after_the_clock_was_set_back_comes_after_what_happened_before(server: Server, api: Api) -> None:
    lead_id = api.create(ADA)
    for points in range(1, 11):
        assert api.on(ADA, "give_points_to_lead", points=points)["status"] == "Success"
        if points == 5:
            server.clock.forward(hours=-1)
    check_order(api, lead_id, list(range(1, 11)))


def test_a_clock_that_was_set_back_between_two_starts_changes_no_order(new_server: Callable[[], Server]) -> None:
    first = new_server()
    api = new_api(first)
    lead_id = api.create(ADA)
    for points in range(1, 6):
        assert api.on(ADA, "give_points_to_lead", points=points)["status"] == "Success"
    first.stop()
    for hours, some in ((-1, [6, 7]), (0, [8, 9]), (-1, [10, 11])):
        server = new_server()
        server.clock.forward(hours=hours)
        api = replace(api, server=server)
        for points in some:
            assert api.on(ADA, "give_points_to_lead", points=points)["status"] == "Success"
        api.call(JOIN, LEAVE, lead={"email": ADA})
        server.stop()
    check_order(replace(api, server=new_server()), lead_id, list(range(1, 12)))
    assert [status for _, status, _ in runs(api)] == ["unsubscribed"] * 3


def test_servers_whose_clocks_differ_keep_the_order_of_what_happens(
    new_server: Callable[[], Server], engine: str
) -> None:
    if engine == "sqlite":
        pytest.skip("one server writes a SQLite file")
    servers = [new_server(), new_server()]
    servers[1].clock.forward(hours=-1)
    api = new_api(servers[0])
    lead_id = api.create(ADA)
    points = list(range(1, 41))
    for number in points:
        answer = replace(api, server=servers[number % 2]).call(GIVE | {"points": number}, lead={"email": ADA})
        assert answer["status"] == "Success"
    check_order(api, lead_id, points)
