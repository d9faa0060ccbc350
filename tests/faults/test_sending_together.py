"""Several workers on one database, and clocks that are not right: still each gets its mail once."""

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from mailing import Shop, do_all, office, wait_for_messages, working
from sink import WAIT, Sink

from cartwheel import times
from cartwheel.data import schema
from conftest import Databases
from harness import Server
from waiting import wait_until, waiting_for_locks


@pytest.fixture(scope="module")
def running(engine: str, databases: Databases) -> Iterator[Server]:
    """One of its own: workers do everything that is due in a database. Each test leaves nothing to do."""
    running = Server(databases.migrated(engine))
    yield running
    running.stop()


@pytest.fixture
def shop(running: Server) -> Shop:
    running.clock.now = times.now()
    return Shop(running)


def test_two_workers_on_one_database(shop: Shop, tmp_path: Path) -> None:
    shop.subscribe(300)
    with (
        Sink(dot=[WAIT]) as one,
        Sink(dot=[WAIT]) as other,
        working(shop.url, tmp_path, one, connections=2),
        working(shop.url, tmp_path, other, connections=2),
    ):
        wait_until(lambda: one.waiting == other.waiting == 1, "both send")
        one.go_on()
        other.go_on()
        shop.wait_for({"accepted": 300})
        shop.check_once(one, other)
        assert {entry.attempts for entry in shop.ledger} == {1}
        assert one.messages
        assert other.messages


def test_two_workers_never_take_the_same_place_in_a_limit(databases: Databases, tmp_path: Path) -> None:
    """Both come to the limit at the same moment, because somebody else has it just then. SQLite has one writer anyway."""
    server = Server(databases.migrated("postgresql"))
    server.clock.now = times.now()
    shop = Shop(server)
    with (
        Sink() as sink,
        working(shop.url, tmp_path, sink, per_hour=100),
        working(shop.url, tmp_path, sink, per_hour=100),
    ):
        shop.subscribe(1)
        wait_for_messages(sink, 1)  # now there is a row of the limit
        with psycopg.connect(shop.url) as other:
            other.execute("SELECT * FROM send_limits FOR UPDATE")
            shop.subscribe(300)
            wait_until(lambda: len(waiting_for_locks(server)) == 2, "both workers wait for it")
        wait_until(lambda: _all_looked_at(shop), "each mail is sent or put off")
        assert 10 <= len(sink.messages) <= 11, "a tenth may leave at once, and one more in 40 s"
        shop.check_once(sink)
    server.stop()


def _all_looked_at(shop: Shop) -> bool:
    now = times.to_micros(times.now())
    rows = shop.api.rows(schema.mails)
    return len(rows) == len(shop.emails) and all(
        row["state"] == "accepted" or (row["state"] == "queued" and row["next_at"] > now) for row in rows
    )


def test_a_clock_set_back_by_an_hour(shop: Shop) -> None:
    with Sink(rcpt=["452 4.3.1 no room"] * 5) as sink, office(shop.server, sink) as sender:
        shop.subscribe(20)
        do_all(sender)
        shop.subscribe(10)
        shop.server.clock.forward(hours=-1)
        shop.subscribe(5)
        do_all(sender)
        assert shop.states == {"accepted": 15 + 5, "queued": 5}
        shop.server.clock.forward(hours=1)
        do_all(sender)
        assert shop.states == {"accepted": 15 + 5 + 10, "queued": 5}
        shop.server.clock.forward(minutes=5)  # as without the change
        do_all(sender)
        assert shop.states == {"accepted": 35}
        shop.check_once(sink)


def test_a_clock_set_back_while_mails_are_on_their_way(shop: Shop) -> None:
    with Sink(dot=[WAIT] * 5) as sink, office(shop.server, sink) as sender:
        shop.subscribe(10)
        sending = threading.Thread(target=sender.settle)
        sending.start()
        wait_until(lambda: sink.waiting == 5, "five are at the final dot")
        shop.server.clock.forward(hours=-1)
        sink.go_on()
        sending.join(30)
        assert not sending.is_alive()
        assert shop.states == {"accepted": 10}
        shop.check_once(sink)


def test_a_clock_set_back_while_the_mail_server_is_parked(shop: Shop) -> None:
    with Sink(connect=["421 4.3.2 not now"]) as sink, office(shop.server, sink) as sender:
        shop.subscribe(30)
        do_all(sender)
        assert "queued" in shop.states
        shop.server.clock.forward(hours=-1)
        do_all(sender)
        shop.server.clock.forward(hours=1, minutes=1)
        do_all(sender)
        shop.server.clock.forward(minutes=5)  # whoever was not on trial asks again
        do_all(sender)
        assert shop.states == {"accepted": 30}
        shop.check_once(sink)
