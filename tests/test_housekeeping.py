"""What happens without a call: in small portions, so that no caller has to wait for it."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
import sqlalchemy as sa

from cartwheel.data import bulkstore, flowstore, mailbox, schema
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
    running = Server(databases.migrated(engine), {"CARTWHEEL_QUEUE": str(2 * MOST_IN_BATCH)})
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
    running = Server(databases.migrated(engine))
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


# -- the test mailbox --


def keep_mails(api: Api, count: int) -> None:
    at = to_micros(api.server.clock())
    texts = {"sender": "a@b.example", "recipient": "c@d.example", "subject": "Hello", "message": b"Hello"}
    rows = [{"lead_id": number, "mail": at, "at": at, **texts} for number in range(count)]
    with api.server.database.write() as connection:
        connection.execute(sa.insert(schema.test_mailbox).values(account_id=api.account_id), rows)


def test_old_mails_of_the_test_mailbox_are_thrown_away_a_portion_at_a_time(quiet: Api) -> None:
    other = new_api(quiet.server)
    keep_mails(quiet, 2 * mailbox.MOST_FORGOTTEN + 1)
    keep_mails(other, 2)
    quiet.server.clock.now += mailbox.KEPT_FOR
    keep_mails(quiet, 3)
    assert mailbox.forget(quiet.server.database, quiet.server.clock()) == 0, "its time is not over before it is over"
    quiet.server.clock.forward(microseconds=1)
    own = worker(quiet.server)
    assert [asyncio.run(own.round()) for _ in range(5)] == [True, True, False, False, False]
    assert (len(quiet.rows(schema.test_mailbox)), len(other.rows(schema.test_mailbox))) == (3, 0)


# -- versions of sequences --


def test_whom_a_bulk_job_has_changed_is_forgotten_when_it_can_be_undone_no_more(quiet: Api) -> None:
    job = {"account_id": quiet.account_id, "user_id": 1, "act": "{}", "state": "finished", "who": "", "looked": 2}
    now = quiet.server.clock.now
    with quiet.server.database.write() as connection:
        for number, age in ((1, bulkstore.KEPT + bulkstore.UNDOING), (2, bulkstore.KEPT)):
            of = {"id": number, "created_at": 1, "ended_at": to_micros(now - age) - 1, "changed": 2}
            connection.execute(sa.insert(schema.bulk_jobs).values(**job, **of))
            rows = [{"account_id": quiet.account_id, "job_id": number, "lead_id": lead} for lead in (1, 2)]
            connection.execute(sa.insert(schema.bulk_leads), rows)
    asyncio.run(worker(quiet.server).tidy())
    assert {row["job_id"] for row in quiet.rows(schema.bulk_leads)} == {2}


def publish(api: Api) -> int:
    """One more version of the sequence Welcome."""
    flow = flowstore.decode('[{"type": "complete", "box": "1"}]')
    with api.server.database.write() as connection:
        return flowstore.publish(connection, api.account_id, 1, flow, to_micros(api.server.clock()))


def test_versions_that_nobody_uses_are_forgotten_but_never_the_newest(quiet: Api) -> None:
    database, clock = quiet.server.database, quiet.server.clock
    assert [publish(quiet) for _ in range(4)] == [2, 3, 4, 5]
    run = dict.fromkeys((column.name for column in schema.enrolments.columns), 0) | {"account_id": quiet.account_id}
    mail = dict.fromkeys((column.name for column in schema.mails.columns), 0) | {"account_id": quiet.account_id}
    no_texts = {"step": "1", "status": "completed", "reason": "", "earlier": "[]", "latest": True, "due_at": None}
    with database.write() as connection:
        connection.execute(sa.insert(schema.enrolments).values(run | no_texts | {"sequence_id": 1, "version": 2}))
        of_mail = {"box": "1", "state": "accepted", "address": "", "server": "", "reply": "", "next_at": None}
        connection.execute(sa.insert(schema.mails).values(mail | of_mail | {"sequence_id": 1, "version": 4}))
    own = worker(quiet.server)
    clock.now += flowstore.KEPT_FOR
    asyncio.run(own.round())
    assert len(quiet.rows(schema.flows, sequence_id=1)) == 5, "they have been replaced for too short a time"
    clock.forward(seconds=1)
    asyncio.run(own.round())
    assert len(quiet.rows(schema.flows, sequence_id=1)) == 5, "this is looked at once in a day"
    clock.forward(days=1)
    asyncio.run(own.round())
    assert [row["version"] for row in quiet.rows(schema.flows, sequence_id=1)] == [2, 4, 5]
    assert publish(quiet) == 6
