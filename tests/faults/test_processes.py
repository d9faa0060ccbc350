"""Several server processes on one PostgreSQL: together they are one server."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import invariants
import psycopg
import pytest
import sqlalchemy as sa
from callers import Answer, Book, Caller, Load, Outcome
from realserver import ACCOUNT, PACED_APP, ServerProcess, make_account, serving

from cartwheel.data.db import Database
from cartwheel.data.lanes import LOCK_WAIT_S
from cartwheel.work.housekeeping import Housekeeping
from conftest import Databases
from harness import Server
from waiting import wait_until

PACE = 5


@pytest.fixture
def url(databases: Databases) -> str:
    made = databases.migrated("postgresql")
    make_account(made)
    return made


@contextmanager
def two_servers(url: str, folder: Path) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    first = ServerProcess(url, folder / "first.log", forked=True)
    second = ServerProcess(url, folder / "second.log", forked=True)
    try:
        first.wait_until_ready()
        second.wait_until_ready()
        yield first, second
    finally:
        first.kill()
        second.kill()


def at_once(works: Sequence[Callable[[], object]]) -> None:
    """Run all of these at the same time; raises what one of them raised."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        try:
            barrier.wait(20)
            work()
        except BaseException as failure:  # it would be lost with the thread
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def test_one_address_becomes_one_lead(url: str, tmp_path: Path) -> None:
    answers: dict[str, list[Answer]] = {f"same{number}@shop.example": [] for number in range(60)}

    def create_all(port: int) -> None:
        with Caller(port) as caller:
            for email, told in answers.items():
                told.append(caller.on(email, "create_lead"))

    with two_servers(url, tmp_path) as servers:
        at_once([partial(create_all, server.port) for server in servers * 3])
    stored = invariants.read(url)
    assert stored.leads.keys() == answers.keys()
    for told in answers.values():
        assert Counter(answer.body.get("type", "made") for answer in told) == {"made": 1, "244": 5}


def test_many_calls_on_the_same_leads_lose_no_update(url: str, tmp_path: Path) -> None:
    book = Book()
    with two_servers(url, tmp_path) as (first, second):
        book.fill_pool(first.port, 5)
        loads = [Load(book, server.port, seed=f"same-{server.port}", callers=8) for server in (first, second)]
        for load in loads:
            load.wait_for(400)
        for load in loads:
            load.stop()
            assert not load.failed
    invariants.check(url, book)


def test_a_frozen_process_does_not_keep_its_locks_for_long(url: str, tmp_path: Path) -> None:
    book = Book()
    with two_servers(url, tmp_path) as (first, second):
        book.fill_pool(first.port, 1)
        frozen = Load(book, first.port, seed="frozen", patient=True)
        frozen.wait_for(100)  # its statements are prepared: preparing them takes locks of the same kind
        freeze_with_locks(first, url)
        try:
            with Caller(second.port) as caller:
                wait_until(lambda: book_points(book, caller), "the lead can be changed", 4 * LOCK_WAIT_S)
        finally:
            os.kill(first.process.pid, signal.SIGCONT)
        frozen.wait_for(50)
        frozen.stop()
    invariants.check(url, book, failed_did_nothing=True)


def book_points(book: Book, caller: Caller) -> bool:
    attempt = book.new_booking(book.pool[0], customer=True)
    attempt.make(caller)
    return attempt.outcome is Outcome.DONE


def freeze_with_locks(server: ServerProcess, url: str) -> None:
    """Stop the process at a moment at which it has locked a lead, with nothing under way that would release it."""
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(1000):
            os.kill(server.process.pid, signal.SIGSTOP)
            if holds_locks(connection):
                time.sleep(0.05)
                if holds_locks(connection):
                    return
            os.kill(server.process.pid, signal.SIGCONT)
            time.sleep(0.001)
    pytest.fail("the server never locked a lead")


def holds_locks(connection: psycopg.Connection[tuple[int]]) -> bool:
    query = """
        SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) JOIN pg_class ON pg_class.oid = relation
        WHERE relname = 'leads' AND mode = 'RowShareLock' AND state = 'idle in transaction'
    """
    return connection.execute(query).fetchall() != [(0,)]


def test_what_one_process_changes_the_others_know_at_their_next_call(url: str, tmp_path: Path) -> None:
    with two_servers(url, tmp_path) as (first, second), Caller(first.port) as one, Caller(second.port) as other:
        callers = [one, other]
        one.on("ada@shop.example", "create_lead")
        for round_ in range(5):
            tag, list_ = f"Tag {round_}", f"List {round_}"
            for caller in callers:
                assert caller.on("ada@shop.example", "assign_tag", tag_name=tag).body["type"] == "212"
            make_account(url, f'{ACCOUNT}[[tags]]\nname = "{tag}"\n[[lists]]\nname = "{list_}"\n')
            for caller in callers:
                assert caller.on("ada@shop.example", "assign_tag", tag_name=tag).body["type"] == "103"
                assert caller.on("ada@shop.example", "subscribe_lead_to_list", list_name=list_).body["type"] == "101"
            for active, type_ in (("false", "239"), ("true", "103")):
                make_account(url, ACCOUNT.replace('name = "Open"', f'name = "Open"\nactive = {active}'))
                for caller in callers:
                    assert caller.on("ada@shop.example", "assign_tag", tag_name=tag).body["type"] == type_


def test_a_new_app_may_call_every_process_at_once(url: str, tmp_path: Path) -> None:
    with two_servers(url, tmp_path) as servers:
        for number in range(5):
            name = f"brand-new-app-{number}"
            make_account(url, f'{ACCOUNT}[[apps]]\nname = "{name}"\napp_id = "{name}"\n')
            for server in servers:
                with Caller(server.port, name) as caller:
                    assert caller.call({"cmd": "retrieve_account_tags"}).body["status"] == "Success"


def test_custom_fields_made_at_once_have_ids_of_their_own(url: str, tmp_path: Path) -> None:
    told: list[str] = []

    def create(port: int, suffix: str) -> None:
        with Caller(port) as caller:
            for number in range(10):
                for identifier in (f"field_{number}_{suffix}", f"shared_{number}"):
                    options = [{"option_name": "red"}, {"option_name": "blue"}]
                    action = {
                        "cmd": "create_custom_field",
                        "custom_field_identifier": identifier,
                        "custom_field_type": "drop_down",
                        "custom_field_options": options,
                    }
                    told.append(caller.call(action).body["type"])

    with two_servers(url, tmp_path) as (first, second):
        at_once([partial(create, first.port, "a"), partial(create, second.port, "b")])
        assert Counter(told) == {"114": 30, "264": 10}
        for server in (first, second):
            with Caller(server.port) as caller:
                fields = caller.call({"cmd": "retrieve_custom_fields"}).body["custom_fields"]
            assert len({field["field_identifier"] for field in fields}) == 30
            assert len({field["field_id"] for field in fields}) == 30
            assert len({option["option_id"] for field in fields for option in field["field_value"]}) == 60


def test_the_rate_limit_counts_the_calls_to_all_processes(url: str, tmp_path: Path) -> None:
    make_account(url, ACCOUNT.replace("rate_limit = 100000", f"rate_limit = {PACE}"))
    seconds = 3
    statuses: Counter[int] = Counter()

    def call_on(port: int, deadline: float) -> None:
        with Caller(port, PACED_APP) as caller:
            while time.monotonic() < deadline:
                answer = caller.call({"cmd": "retrieve_account_tags"})
                assert (answer.status == 429) == ("retry-after" in answer.headers)
                statuses[answer.status] += 1

    with two_servers(url, tmp_path) as servers:
        deadline = time.monotonic() + seconds
        at_once([partial(call_on, server.port, deadline) for server in servers])
    assert PACE * seconds * 0.8 <= statuses[200] <= PACE * (seconds + 2)
    assert statuses[429]


def test_points_that_expired_while_nobody_ran_are_taken_back_at_the_start(
    engine: str, databases: Databases, tmp_path: Path
) -> None:
    url = databases.migrated(engine)
    make_account(url)
    with serving(url, tmp_path) as server:
        Book().fill_pool(server.port, 50)
    lend_points(url, 7)
    lend_points(url, 11)
    with two_servers(url, tmp_path) if engine == "postgresql" else serving(url, tmp_path):
        wait_until(lambda: not open_loans(url), "all points are taken back")
    check_taken_back(url, [7, 11])


def test_two_workers_that_find_the_same_points_take_them_back_once(url: str, tmp_path: Path) -> None:
    with serving(url, tmp_path) as real:
        Book().fill_pool(real.port, 100)
    servers = [Server(url), Server(url)]
    workers = [Housekeeping(server.database, server.application.batches, clock=server.clock) for server in servers]
    loans = [3, 5, 7, 11, 13, 17]
    try:
        for loan in loans:
            lend_points(url, loan)
            rounds = zip(servers, workers, strict=True)
            at_once([partial(server.run, worker.round) for server, worker in rounds])
    finally:
        for server in servers:
            server.stop()
    check_taken_back(url, loans)


def check_taken_back(url: str, loans: list[int]) -> None:
    for lead in invariants.read(url).leads.values():
        back = [details["points"] for kind, details in lead.events if kind == "points_expired"]
        assert sorted(back) == loans
        assert lead.score == lead.ledger[-1]


def lend_points(url: str, points: int) -> None:
    """Give every lead points whose time is over already, as if the server had been down at that moment."""
    database = Database(url)
    with database.write() as connection:
        columns = "account_id, lead_id, id, points, given_at, expires_at"
        rows = f"SELECT account_id, id, {points}, {points}, 1000, 2000 + id FROM leads"
        connection.execute(sa.text(f"INSERT INTO points ({columns}) {rows}"))
        connection.execute(sa.text(f"UPDATE leads SET score = score + {points}"))
    database.close()


def open_loans(url: str) -> int:
    database = Database(url)
    with database.read() as connection:
        query = "SELECT count(*) FROM points WHERE expires_at IS NOT NULL AND reversed_at IS NULL"
        found: int = connection.execute(sa.text(query)).scalar_one()
    database.close()
    return found
