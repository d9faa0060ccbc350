"""PostgreSQL goes away and comes back: callers are told, nothing acknowledged is lost, and nobody restarts Cartwheel."""

from collections.abc import Iterator
from pathlib import Path

import invariants
import pytest
from callers import Book, Load
from ownpostgres import OwnPostgres, own_postgres
from realserver import ServerProcess, healthy, make_account, serving

from waiting import wait_until

LONGEST_ANSWER_S = 8


@pytest.fixture(scope="module")
def postgres() -> Iterator[OwnPostgres]:
    with own_postgres() as running:
        yield running


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_of_postgresql_under_load_loses_nothing(postgres: OwnPostgres, mode: str, tmp_path: Path) -> None:
    url = postgres.new_database(f"restarted_{mode}")
    make_account(url)
    book = Book()
    with serving(url, tmp_path) as server:
        book.fill_pool(server.port)
        load = Load(book, server.port, seed=mode, patient=True)
        for _ in range(3):
            load.wait_for(150)
            postgres.restart(mode)
        load.wait_for(300)
        load.stop()
        check_recovered(server, load)
    invariants.check(url, book)


def test_calls_are_answered_while_postgresql_is_away(postgres: OwnPostgres, tmp_path: Path) -> None:
    url = postgres.new_database("away")
    make_account(url)
    book = Book()
    with serving(url, tmp_path) as server:
        book.fill_pool(server.port)
        load = Load(book, server.port, seed="away", patient=True)
        load.wait_for(100)
        postgres.stop("fast")
        try:
            load.wait_for(failed=50)
            assert not healthy(server.port)
            done = load.done
            load.wait_for(failed=50)
            assert load.done == done
        finally:
            postgres.start()
        load.wait_for(300)
        load.stop()
        check_recovered(server, load)
    invariants.check(url, book)


def check_recovered(server: ServerProcess, load: Load) -> None:
    """By itself, and without leaving callers in the dark: every HTTP status was checked with its answer."""
    wait_until(lambda: healthy(server.port), "the server is healthy again")
    assert load.slowest_s < LONGEST_ANSWER_S
    assert load.failed
