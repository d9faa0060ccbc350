"""SIGTERM: what has begun is finished and answered, nothing new begins."""

import time
from pathlib import Path

import invariants
from callers import Book, Caller, Load, Outcome, many_callers, request
from locks import locked
from realserver import ServerProcess, healthy, listens, make_account, serving

from conftest import Databases
from waiting import wait_until

SOON_S = 8


def stop_soon(server: ServerProcess) -> None:
    started = time.monotonic()
    assert server.stop() == 0, server.log
    assert time.monotonic() - started < SOON_S


def test_calls_in_flight_are_answered_and_no_new_ones_are_taken(
    engine: str, databases: Databases, tmp_path: Path
) -> None:
    url = databases.migrated(engine)
    make_account(url)
    book = Book()
    with serving(url, tmp_path, forked=False) as server, many_callers(server.port, 8) as callers:
        attempts = [book.new() for _ in callers]
        started = time.monotonic()
        with locked(url):
            for caller, attempt in zip(callers, attempts, strict=True):
                caller.send(*attempt.actions, lead={"email": attempt.email})
            assert healthy(server.port)  # came after the calls, so they have been read
            server.process.terminate()
            wait_until(lambda: not listens(server.port), "new connections are refused", 3)
        for caller, attempt in zip(callers, attempts, strict=True):
            attempt.note(caller.receive(started))
        stop_soon(server)
    assert book.count(Outcome.DONE) == len(attempts)
    invariants.check(url, book)


def test_a_stop_under_load_loses_nothing_and_does_nothing_unanswered(
    engine: str, databases: Databases, tmp_path: Path
) -> None:
    url = databases.migrated(engine)
    make_account(url)
    book = Book()
    for round_ in range(3):
        with serving(url, tmp_path, forked=False) as server:
            if not book.pool:
                book.fill_pool(server.port)
            load = Load(book, server.port, seed=f"stop-{round_}")
            load.wait_for(150)
            stop_soon(server)
            load.join()
    invariants.check(url, book, failed_did_nothing=True, unanswered_did_nothing=True)


def test_a_caller_who_never_finishes_a_request_does_not_hold_up_the_stop(
    engine: str, databases: Databases, tmp_path: Path
) -> None:
    url = databases.migrated(engine)
    make_account(url)
    with serving(url, tmp_path, forked=False) as server, Caller(server.port) as headless, Caller(server.port) as asleep:
        headless.send_bytes(b"POST /api HTTP/1.1\r\nHost: local")
        asleep.send_bytes(request(b"x" * 1000)[:-10])
        assert healthy(server.port)
        stop_soon(server)
