"""The database goes away while mails are sent: what became of each is stored when it is back, and nothing is sent twice."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from locks import locked
from mailing import Shop, do_all_after_the_lease, office, wait_for_messages, working
from ownpostgres import OwnPostgres, own_postgres
from sink import AS_USUAL, WAIT, Sink

from cartwheel import times
from conftest import Databases
from harness import Server
from waiting import wait_until

MAILS = 120


@pytest.fixture(scope="module")
def postgres() -> Iterator[OwnPostgres]:
    with own_postgres() as running:
        yield running


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgresql_is_restarted_in_the_middle(postgres: OwnPostgres, mode: str, tmp_path: Path) -> None:
    server = Server(postgres.new_database(f"sending_{mode}"))
    server.clock.now = times.now()
    shop = Shop(server)
    shop.subscribe(MAILS)
    with Sink() as sink, working(shop.url, tmp_path, sink, connections=2) as worker:
        for part in (10, 60):
            wait_for_messages(sink, part)
            postgres.restart(mode)
        wait_until(lambda: len(shop.ledger) == MAILS and "queued" not in shop.states, "all is handed over")
        assert worker.stop() == 0  # which waits for what is on the wire, and gives back the others
        states = Counter(shop.states)
        # A restart may swallow the answer to a commit: then nobody sends what was handed over, and it is in doubt.
        assert states.keys() <= {"accepted", "handed over", "queued"}
        assert states["accepted"] == len(sink.messages)
        with office(server, sink) as later:
            do_all_after_the_lease(later)
        shop.check_once(sink)
        assert len(sink.messages) == states["accepted"] + states["queued"]
    server.stop()


def test_sqlite_is_locked_for_a_while(databases: Databases, tmp_path: Path) -> None:
    server = Server(databases.migrated("sqlite"))
    shop = Shop(server)
    shop.subscribe(MAILS)
    with Sink(dot=[AS_USUAL] * 20 + [WAIT] * 2) as sink, working(shop.url, tmp_path, sink, connections=2) as worker:
        wait_until(lambda: sink.waiting == 2, "two are at the final dot")
        with locked(shop.url):
            sink.go_on()
            worker.wait_for("what became of mails waits to be stored")
        shop.wait_for({"accepted": MAILS})
        shop.check_once(sink)
        assert worker.stop() == 0
    server.stop()
