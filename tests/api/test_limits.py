import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from cartwheel.accountfiles import accountfile
from cartwheel.accounts import App, Mode
from cartwheel.data.db import Database
from cartwheel.data.ratelimits import Pace, SharedLimits
from conftest import Databases
from harness import DEMO, Api, Clock, Server, new_api

TAGS = [{"cmd": "retrieve_account_tags"}]


def status(api: Api) -> httpx.Response:
    return api.server.http.post("/api", json={**api.credentials, "actions": TAGS})


def test_an_app_that_comes_too_often_is_told_when_to_come_again(server: Server) -> None:
    if server.database.name != "sqlite":
        pytest.skip("on PostgreSQL the database's clock counts: see the tests with several processes")
    api = new_api(server, app={"rate_limit": 3})
    left = [status(api).headers["RateLimit"] for _ in range(3)]
    assert left == ['"app";r=2;t=1', '"app";r=1;t=1', '"app";r=0;t=1']
    refused = status(api)
    assert refused.status_code == 429
    assert refused.text == '{"status":"Error","message":"Too many requests","type":"429"}'
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["RateLimit-Policy"] == '"app";q=3;w=1'
    server.clock.forward(seconds=0.34)
    assert status(api).status_code == 200
    assert status(api).status_code == 429
    server.clock.forward(seconds=1)
    assert [status(api).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_one_apps_limit_does_not_touch_another_app(server: Server, stranger: Api) -> None:
    api = new_api(server, app={"rate_limit": 1})
    assert [status(api).status_code for _ in range(2)] == [200, 429]
    assert [status(stranger).status_code for _ in range(5)] == [200] * 5


def test_an_app_without_a_limit_has_no_limit_headers(api: Api) -> None:
    assert "RateLimit" not in status(api).headers


def test_the_usual_limit_is_twenty_calls_a_second() -> None:
    read = accountfile.read_text('[account]\nname = "x"\n[[apps]]\nname = "y"\n', Path())
    assert read.apps[0].rate_limit == 20
    assert "rate_limit = 0" in DEMO


def test_a_pace_lets_a_burst_through_and_then_one_at_a_time() -> None:
    clock, pace = Clock(), Pace()
    allowed = [pace.take("x", clock.now, rate=2, burst=3).allowed for _ in range(4)]
    assert allowed == [True, True, True, False]
    clock.forward(seconds=0.5)
    assert [pace.take("x", clock.now, rate=2, burst=3).allowed for _ in range(2)] == [True, False]


def test_waiting_in_parallel_gains_nothing() -> None:
    clock, pace = Clock(), Pace()
    waits = [pace.take("x", clock.now, rate=1, burst=2, patience_s=3) for _ in range(6)]
    assert [turn.wait_s for turn in waits[:5]] == [0, 0, 1, 2, 3]
    assert not waits[5].allowed
    assert pace.take("y", clock.now, rate=1, burst=2).allowed


def test_a_pace_forgets_who_was_idle_longest() -> None:
    clock, pace = Clock(), Pace()
    for key in range(Pace.MOST_KEYS + 10):
        pace.take(key, clock.now, rate=1, burst=1)
    assert len(pace._until) == Pace.MOST_KEYS


def test_a_clock_that_is_set_back_lets_everybody_go_on_at_their_pace() -> None:
    clock, pace = Clock(), Pace()

    def take(key: str, patience_s: float = 0) -> tuple[bool, float]:
        taken = pace.take(key, clock.now, rate=2, burst=3, patience_s=patience_s)
        return taken.allowed, taken.wait_s

    for _ in range(3):
        assert take("call") == take("guess", 1) == (True, 0)
    assert [take("guess", 1) for _ in range(2)] == [(True, 0.5), (True, 1)]
    clock.forward(hours=-5)
    assert [take("call"), take("call")] == [(True, 0), (False, 0.5)]
    assert [take("guess", 1), take("guess", 1)] == [(True, 1), (False, 1.5)]
    clock.forward(seconds=0.5)
    assert [take("call"), take("call")] == [(True, 0), (False, 0.5)]
    assert [take("guess", 1), take("guess", 1)] == [(True, 1), (False, 1.5)]


# -- shared over PostgreSQL --


@pytest.fixture(scope="module")
def shared_database(databases: Databases) -> str:
    url = databases.migrated("postgresql")
    database = Database(url)
    database.migrate()
    database.close()
    return url


@pytest.fixture
def postgresql(shared_database: str) -> Iterator[psycopg.Connection]:
    """Beside the server: whoever administers the database."""
    with psycopg.connect(shared_database, autocommit=True) as connection:
        connection.execute("DELETE FROM rate_limits")
        yield connection


def limited(rate: int) -> App:
    return App(1, 1, "app", "App", Mode.LIVE, rate, (), None, active=True, networks=())


def allowed(url: str) -> bool:
    """What a process is told that has not counted any call itself."""

    async def take() -> bool:
        limits = SharedLimits(url)
        try:
            return (await limits.take(limited(1), Clock().now)).allowed
        finally:
            await limits.close()

    return asyncio.run(take())


def test_a_database_clock_that_is_set_back_lets_everybody_go_on(
    shared_database: str, postgresql: psycopg.Connection
) -> None:
    def set_back(seconds: int) -> None:
        postgresql.execute("UPDATE rate_limits SET until = until + %s * 1000000::bigint", [seconds])

    assert allowed(shared_database)
    set_back(4)  # no more than what a statement may have waited
    assert not allowed(shared_database)
    set_back(5 * 3600)
    assert allowed(shared_database)
    [(ahead,)] = postgresql.execute("SELECT until / 1e6 - extract(epoch FROM clock_timestamp()) FROM rate_limits")
    assert ahead <= 1


def test_shared_limits_survive_the_end_of_their_connection(
    shared_database: str, postgresql: psycopg.Connection
) -> None:
    async def check() -> None:
        limits = SharedLimits(shared_database)
        try:
            assert (await limits.take(limited(100), Clock().now)).left == 99
            ended = postgresql.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            assert ended.fetchall() == [(True,)]
            assert (await limits.take(limited(100), Clock().now)).allowed
        finally:
            await limits.close()

    asyncio.run(check())
    assert postgresql.execute("SELECT count(*) FROM rate_limits").fetchall() == [(1,)]
