"""What happens without a call: in small portions, so that no caller has to wait for it."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.errors import LeadNotFound
from cartwheel.times import to_micros
from cartwheel.work.batches import MOST_IN_BATCH
from cartwheel.work.housekeeping import IDEMPOTENCY_KEPT, MOST_FORGOTTEN, Housekeeping
from conftest import Databases
from harness import Api, Server, new_api

LEADS = 5 * MOST_IN_BATCH


@pytest.fixture
def narrow(engine: str, databases: Databases) -> Iterator[Api]:
    """An account of a server in which two batches can wait: its own housekeeping's, and that of the test."""
    running = Server(databases.new(engine), {"CARTWHEEL_QUEUE": str(2 * MOST_IN_BATCH)})
    yield new_api(running)
    running.stop()


def worker(server: Server) -> Housekeeping:
    return Housekeeping(server.database, server.application.batches, clock=server.clock)


def lend_points(api: Api, lead_ids: range) -> None:
    """One point to each of these leads, for the next hour."""
    given_at = to_micros(api.server.clock())
    expires_at = to_micros(api.server.clock() + timedelta(hours=1))
    times = {"given_at": given_at, "expires_at": expires_at}
    rows = [{"account_id": api.account_id, "lead_id": lead_id, "id": 1, "points": 1, **times} for lead_id in lead_ids]
    with api.server.database.write() as connection:
        connection.execute(sa.insert(schema.points), rows)


def add_leads(api: Api) -> range:
    """Many leads with a score of 1; returns their ids."""
    api.create("first@shop.example")
    [first] = api.rows_of_leads()
    ids = range(100_000, 100_000 + LEADS)
    rows = [first | {"id": number, "email": f"lead{number}@shop.example", "score": 1} for number in ids]
    with api.server.database.write() as connection:
        connection.execute(sa.insert(schema.leads), rows)
    return ids


def open_points(api: Api) -> int:
    return sum(row["reversed_at"] is None for row in api.rows(schema.points))


def test_more_points_than_the_queue_holds_expire_in_one_round(narrow: Api) -> None:
    lend_points(narrow, add_leads(narrow))
    narrow.server.clock.forward(hours=1)
    narrow.server.run(worker(narrow.server).round)
    assert open_points(narrow) == 0
    assert {row["score"] for row in narrow.rows_of_leads()} == {0}


def test_a_lead_that_cannot_be_handled_does_not_keep_the_others_points(narrow: Api) -> None:
    ids = add_leads(narrow)
    lend_points(narrow, range(1))  # the ledger row of a lead that is not there: the first one that is due
    narrow.server.clock.forward(minutes=1)
    lend_points(narrow, ids)
    narrow.server.clock.forward(hours=1)
    with pytest.raises(LeadNotFound):
        narrow.server.run(worker(narrow.server).round)
    assert open_points(narrow) == 1


# -- answers kept for repeated calls --


@pytest.fixture
def quiet(engine: str, databases: Databases) -> Iterator[Api]:
    """An account of a server that has stopped, so that nobody but the test keeps house."""
    running = Server(databases.new(engine))
    api = new_api(running)
    running.stop()
    yield api
    running.database.close()


def keep_answers(api: Api, count: int) -> None:
    now = to_micros(api.server.clock())
    rows = [
        {"app_id": "x", "idempotency_key": f"{now}-{number}", "body_digest": "", "answer": "", "at": now}
        for number in range(count)
    ]
    with api.server.database.write() as connection:
        connection.execute(sa.insert(schema.idempotent_calls).values(account_id=api.account_id), rows)


def kept(api: Api) -> int:
    return len(api.rows(schema.idempotent_calls))


def test_old_answers_are_forgotten_a_portion_at_a_time(quiet: Api) -> None:
    own = worker(quiet.server)
    keep_answers(quiet, 2 * MOST_FORGOTTEN + 1)
    quiet.server.clock.now += IDEMPOTENCY_KEPT
    keep_answers(quiet, 3)
    assert own._forget(quiet.server.clock()) == 0, "a day is not over before it is over"
    quiet.server.clock.forward(microseconds=1)
    for left in (MOST_FORGOTTEN + 4, 4, 3, 3):
        own._forget(quiet.server.clock())
        assert kept(quiet) == left


def test_a_round_says_whether_there_may_be_more_to_forget(quiet: Api) -> None:
    keep_answers(quiet, MOST_FORGOTTEN + 1)
    quiet.server.clock.now += 2 * IDEMPOTENCY_KEPT
    assert [asyncio.run(worker(quiet.server).round()) for _ in range(2)] == [True, False]
    assert kept(quiet) == 0


def test_two_processes_do_not_wait_for_each_other_to_forget(quiet: Api, engine: str) -> None:
    if engine == "sqlite":
        pytest.skip("SQLite has one writer")
    keep_answers(quiet, 10)
    quiet.server.clock.now += 2 * IDEMPOTENCY_KEPT
    with psycopg.connect(quiet.server.database.url) as other:
        other.execute("DELETE FROM idempotent_calls WHERE idempotency_key LIKE %s", ["%-3"])
        assert worker(quiet.server)._forget(quiet.server.clock()) == 9
        other.commit()
    assert kept(quiet) == 0
