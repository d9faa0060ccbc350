from pathlib import Path

import httpx
import pytest

from cartwheel import accountfile
from cartwheel.ratelimits import Pace
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
