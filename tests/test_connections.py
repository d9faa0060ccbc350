"""Clients that open too many connections, or never come to the point, exhaust nobody."""

import re
import resource
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from cartwheel import serving
from conftest import Databases
from harness import Api, Server, new_api
from rawhttp import Line, request

TAGS = '{"status":"Success","account_tags":["Trial user","Customer"]}'
BUSY = '{"status":"Error","message":"Too many requests. The server is busy, please try again","type":"429"}'


@pytest.fixture(scope="module")
def server(databases: Databases) -> Iterator[Server]:
    running = Server(databases.migrated("sqlite"))
    yield running
    running.stop()


@pytest.fixture
def call(server: Server) -> bytes:
    """A whole request."""
    return request(form(new_api(server)))


def form(api: Api) -> bytes:
    credentials = "&".join(f"{name}={value}" for name, value in api.credentials.items())
    return f"{credentials}&actions[0][cmd]=retrieve_account_tags".encode()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HEAD_TIMEOUT_S", 0.3)


# -- too many --


def wait_for_connections(server: Server, count: int) -> None:
    """Until the server has noticed who came and went."""

    async def now() -> int:
        return len(server.state.connections)

    while server.run(now) != count:
        pass


def turned_away(line: Line) -> int:
    line.send(request(b"", path="/metrics", method="GET"))
    [count] = re.findall(r"^cartwheel_connections_turned_away_total (\S+)", line.answer().text, re.MULTILINE)
    return int(float(count))


def test_one_connection_too_many_is_turned_away_and_the_others_stay(
    server: Server, call: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.uvicorn, "limit_concurrency", 2)
    wait_for_connections(server, 0)
    with Line(server) as first:
        before = turned_away(first)
        with Line(server) as second:
            wait_for_connections(server, 2)
            with Line(server) as third:
                answer = third.answer()
                assert (answer.status, answer.headers["retry-after"], answer.text) == (503, "1", BUSY)
                assert third.ended
            for line in (first, second):
                line.send(call)
                assert line.answer().text == TAGS
        wait_for_connections(server, 1)
        with Line(server) as fourth:
            fourth.send(call)
            assert fourth.answer().text == TAGS
        assert turned_away(first) == before + 1


def test_a_process_takes_fewer_connections_than_it_may_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _what, limits: given.append(limits))
    infinite = resource.RLIM_INFINITY
    for limits, most in {
        (256, 1024): 924,
        (1024, 4096): 2000,
        (1024, infinite): 2000,
        (infinite, infinite): 2000,
    }.items():
        monkeypatch.setattr(resource, "getrlimit", lambda _what, limits=limits: limits)
        assert serving._most_connections() == most
    assert given == [(1024, 1024), (4096, 4096), (2100, infinite)]


# -- too slow --

BEGINNINGS = {
    "nothing": b"",
    "line ends": b"\r\n" * 10,
    "half a line": b"POST /api HT",
    "half a head": b"POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Le",
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
@pytest.mark.parametrize("calls", [0, 1, 2])
def test_a_head_that_does_not_come_ends_the_connection(
    server: Server, call: bytes, beginning: bytes, calls: int
) -> None:
    with Line(server) as line:
        line.send(call * calls)
        assert [line.answer().text for _ in range(calls)] == [TAGS] * calls
        with suppress(ConnectionError):  # it may end before or after the beginning arrives
            line.send(beginning)
            assert line.ended


@pytest.mark.usefixtures("impatient")
def test_a_head_that_trickles_ends_the_connection(server: Server) -> None:
    with Line(server) as line:
        line.send(b"POST /api HTTP/1.1\r\nX: ")
        line.socket.settimeout(0.001)
        for _ in range(serving.MOST_HEAD // 2):
            try:
                line.send(b"x")
                assert line.socket.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:  # it had ended before this arrived
                return
            return
        pytest.fail("it may trickle for ever")


@pytest.mark.usefixtures("impatient")
def test_a_call_whose_head_is_there_has_more_time(server: Server, call: bytes) -> None:
    head, _, body = call.partition(b"\r\n\r\n")
    with Line(server) as line, Line(server) as slower:
        line.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert line.answer().status == 100
        assert slower.ended
        line.send(body)
        assert line.answer().text == TAGS


# -- too large --


def test_a_head_without_end_ends_the_connection(server: Server) -> None:
    with Line(server) as line:
        line.send(b"POST /api HTTP/1.1\r\nX: ")
        with pytest.raises(ConnectionError):
            line.send(*[b"x" * serving.MOST_HEAD] * 1000)


def test_a_head_that_is_too_large_is_told_so(server: Server) -> None:
    """Sent in pieces that are read one by one, so that nothing is left unread."""
    with Line(server) as line:
        line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.send(b"POST /api HTTP/1.1\r\nX: ")
        for _ in range(serving.MOST_HEAD // 1024):
            line.send(b"x" * 1024)
            server.run(nothing)
        line.send(b"x" * 4096)
        answer = line.answer()
        assert answer.status == 431
        assert (
            answer.json["message"] == f"The head of the request is larger than {serving.MOST_HEAD} bytes. Nothing done"
        )
        assert line.ended


async def nothing() -> None:
    """One more turn of the server's loop."""


def test_a_large_head_is_read(server: Server, call: bytes) -> None:
    large = call.replace(b"\r\n\r\n", b"\r\nCookie: %b\r\n\r\n" % (b"x" * (serving.MOST_HEAD - 1000)))
    with Line(server) as line:
        line.send(large * 4)
        assert [line.answer().text for _ in range(4)] == [TAGS] * 4
