"""A worker that is killed while it sends: nobody is lost, and nobody is mailed twice who is not to be."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from locks import locked
from mailing import Shop, do_all, do_all_after_the_lease, office, wait_for_messages, working
from sink import STALL, TAKE_AND_STALL, WAIT, Act, Sink

from cartwheel import times
from conftest import Databases
from harness import Server
from waiting import wait_until

CONNECTIONS = 10
CYCLES = int(os.environ.get("FAULTS_CYCLES", "4"))
"""Kills at random moments for each engine."""

SEED = os.environ.get("FAULTS_SEED", "killed")


@pytest.fixture(scope="module")
def running(engine: str, databases: Databases) -> Iterator[Server]:
    """One of its own: workers do everything that is due in a database. Each test leaves nothing to do."""
    running = Server(databases.migrated(engine))
    yield running
    running.stop()


@pytest.fixture
def server(running: Server) -> Server:
    """At the time at which the processes are."""
    running.clock.now = times.now()
    return running


@pytest.fixture
def hold(server: Server) -> Shop:
    """A shop that does not send again what is in doubt."""
    return Shop(server)


@pytest.fixture
def resend(server: Server) -> Shop:
    """A shop that does, beside the other one in the same database."""
    return Shop(server, in_doubt="resend")


def test_before_the_claim_nothing_has_happened(hold: Shop, resend: Shop, tmp_path: Path) -> None:
    with Sink() as sink, office(hold.server, sink) as later:
        for shop in (hold, resend):
            shop.subscribe(3)
        later.take_along()
        for shop in (hold, resend):
            shop.subscribe(3)
        with locked(hold.url), working(hold.url, tmp_path, sink) as worker:
            worker.kill()
        assert sink.connections == 0
        assert hold.states == {"queued": 3}
        do_all(later)
        for shop in (hold, resend):
            assert shop.states == {"accepted": 6}
            assert {entry.attempts for entry in shop.ledger} == {1}
            shop.check_once(sink)


@pytest.mark.parametrize(
    ("phase", "act", "before"),
    [
        pytest.param("connect", STALL, 0, id="after the claim"),
        pytest.param("rcpt", STALL, 0, id="before DATA"),
        pytest.param("dot", STALL, 0, id="after the final dot, not taken"),
        pytest.param("dot", TAKE_AND_STALL, CONNECTIONS, id="after the final dot, taken"),
    ],
)
def test_after_the_claim_a_mail_is_in_doubt_wherever_it_was(
    hold: Shop, resend: Shop, tmp_path: Path, phase: str, act: Act, before: int
) -> None:
    """That no byte can have been taken, the ledger cannot know: such a mail ends in doubt, too, and is never lost."""
    hold.subscribe(6)
    resend.subscribe(6)
    with Sink({phase: [act] * 100}) as sink, office(hold.server, sink) as later:
        with working(hold.url, tmp_path, sink, connections=CONNECTIONS) as worker:
            hold.wait_for({"handed over": 6})
            resend.wait_for({"handed over": 6})
            wait_until(lambda: len(sink.script[phase]) == 100 - CONNECTIONS, "all connections are there")
            worker.kill()
        assert len(sink.messages) == before
        sink.script.clear()
        do_all(later)
        assert hold.states == resend.states == {"handed over": 6}
        assert len(sink.messages) == before
        hold.check_once(sink)
        got = resend.got(sink)

        do_all_after_the_lease(later)
        assert hold.states == {"in doubt": 6}
        assert {entry.reply for entry in hold.ledger} == {"whoever was sending it vanished"}
        hold.check_once(sink)
        assert resend.states == {"accepted": 6}
        resend.check(sink)
        assert resend.got(sink) == {email: 1 + got[email] for email in resend.emails}


def test_between_the_reply_and_the_commit(hold: Shop, resend: Shop, tmp_path: Path) -> None:
    hold.subscribe(5)
    resend.subscribe(5)
    with Sink(dot=[WAIT] * 10) as sink, office(hold.server, sink) as later:
        with working(hold.url, tmp_path, sink, connections=10, idle=0.05) as worker:
            wait_until(lambda: sink.waiting == 10, "all are at the final dot")
            with locked(hold.url):
                sink.go_on()
                wait_until(lambda: sink.commands.count("QUIT") == 10, "the worker has heard that they were taken")
                worker.kill()
        assert hold.states == resend.states == {"handed over": 5}
        do_all_after_the_lease(later)
        assert hold.states == {"in doubt": 5}
        hold.check_once(sink)
        assert hold.got(sink).total() == 5
        assert resend.states == {"accepted": 5}
        resend.check(sink)
        assert resend.got(sink).total() == 10


def test_killed_again_and_again_at_any_moment(hold: Shop, resend: Shop, tmp_path: Path) -> None:
    rng = random.Random(f"{SEED}-{hold.server.database.name}")
    with Sink() as sink, office(hold.server, sink) as later:
        for _ in range(CYCLES):
            hold.subscribe(20)
            resend.subscribe(20)
            enough = len(sink.messages) + rng.randint(0, 30)
            with working(hold.url, tmp_path, sink, connections=rng.choice([1, 3, 10])) as worker:
                wait_for_messages(sink, enough)
                worker.kill()
        do_all_after_the_lease(later)
        hold.check_once(sink)
        assert hold.states.keys() == {"accepted", "in doubt"}
        resend.check(sink)
        assert resend.states == {"accepted": 20 * CYCLES}


def test_the_test_mailbox_is_never_in_doubt(hold: Shop, tmp_path: Path) -> None:
    hold.subscribe(200)
    with working(hold.url, tmp_path, None) as worker:
        wait_until(lambda: "accepted" in hold.states, "some are kept")
        worker.kill()
    with office(hold.server, None) as later:
        do_all_after_the_lease(later)
    assert hold.states == {"accepted": 200}
    hold.check_once()
    assert hold.got().total() == 200


def test_a_worker_that_is_told_to_stop_ends_what_it_has_begun(hold: Shop, tmp_path: Path) -> None:
    hold.subscribe(120)
    rng = random.Random(f"{SEED}-{hold.server.database.name}")
    with Sink() as sink:
        while hold.states.keys() != {"accepted"}:
            enough = len(sink.messages) + rng.randint(1, 50)
            with working(hold.url, tmp_path, sink, connections=3) as worker:
                wait_for_messages(sink, min(enough, 120))
                assert worker.stop() == 0
            assert hold.states.keys() <= {"accepted", "queued"}
        hold.check_once(sink)
        assert len(sink.messages) == 120


def test_a_worker_that_is_told_to_stop_gives_back_what_waits_for_a_connection(hold: Shop, tmp_path: Path) -> None:
    """At once, and not when the server has answered: who is killed meanwhile leaves in doubt only what is on the wire."""
    hold.subscribe(60)
    with Sink(dot=[WAIT] * 60) as sink:
        with working(hold.url, tmp_path, sink, connections=2) as worker:
            hold.wait_for({"handed over": 60})
            wait_until(lambda: sink.waiting == 2, "two are on the wire")
            worker.process.terminate()
            hold.wait_for({"handed over": 2, "queued": 58})
            sink.go_on()
            assert worker.stop() == 0
        assert hold.states == {"accepted": 2, "queued": 58}
        with office(hold.server, sink) as later:
            hold.server.clock.now = times.now()
            do_all(later)
        assert hold.states == {"accepted": 60}
        hold.check_once(sink)
