"""What a client may do with a connection beside calling: offer another protocol, leave, send too much; on both loops."""

import asyncio
import logging
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator

import pytest
import uvloop

from cartwheel import serving
from conftest import Databases
from harness import Api, Server
from rawhttp import Line, chunked
from rawhttp import request as http

TAGS = '{"status":"Success","account_tags":["Trial user","Customer"]}'
RETRIEVE = "actions[0][cmd]=retrieve_account_tags"

OFFERS = {
    "h2c": ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
    "websocket": ("Upgrade: websocket", "Connection: keep-alive, upgrade", "Sec-WebSocket-Version: 13"),
}
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module", params=list(LOOPS.values()), ids=list(LOOPS))
def only_server(databases: Databases, request: pytest.FixtureRequest) -> Iterator[Server]:
    """HTTP is spoken before any engine is asked: one will do."""
    running = Server(databases.migrated("sqlite"), new_loop=request.param)
    yield running
    running.stop()


@pytest.fixture
def server(only_server: Server) -> Server:
    return only_server


@pytest.fixture
def line(server: Server) -> Iterator[Line]:
    with Line(server) as connected:
        yield connected


@pytest.fixture(autouse=True)
def nothing_to_say(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nobody is told about what is everyday."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def form(api: Api, rest: str = RETRIEVE) -> bytes:
    return "&".join([*(f"{name}={value}" for name, value in api.credentials.items()), rest]).encode()


# -- offers --


@pytest.fixture(params=list(OFFERS.values()), ids=list(OFFERS))
def offer(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return tuple(request.param)


def test_an_offer_of_another_protocol_is_not_taken_and_the_call_is_answered(
    api: Api, line: Line, offer: tuple[str, ...]
) -> None:
    whole = http(form(api), *offer)
    head, end, body = whole.partition(b"\r\n\r\n")
    for parts in ([whole], [head + end, body], [head + end + body[:9], body[9:]], [head[:-9], head[-9:] + end, body]):
        for part in parts:
            line.send(part)
            time.sleep(0.01)  # so that the server reads them one by one
        answer = line.answer()
        assert (answer.status, answer.text) == (200, TAGS)
    line.send(chunked([form(api)[:50], form(api)[50:]], *offer))
    assert line.answer().text == TAGS
    line.send(http(form(api), *offer, "Expect: 100-continue").partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    assert line.answer().status == 100
    line.send(form(api))
    assert line.answer().text == TAGS
    line.send(http(form(api), *offer, version="1.0"))
    assert line.answer().text == TAGS
    assert line.ended


def test_an_offer_may_come_byte_by_byte(api: Api, line: Line, offer: tuple[str, ...]) -> None:
    line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.send(*(bytes([byte]) for byte in http(form(api), *offer) * 2))
    assert [line.answer().text for _ in range(2)] == [TAGS, TAGS]


def test_the_body_of_an_offer_is_no_request(api: Api, line: Line, offer: tuple[str, ...]) -> None:
    """What a proxy in front takes for a body is a body here."""
    smuggled = http(form(api, "lead[email]=eve@shop.example&actions[0][cmd]=create_lead"))
    plain, offering = http(form(api)), http(form(api), *offer)
    line.send(http(smuggled, *offer) + plain + offering + offering + plain + http(b"", *offer, method="GET"))
    assert line.answer().json["type"] == "238"
    assert [line.answer().text for _ in range(4)] == [TAGS] * 4
    assert "POST" in line.answer().text
    assert api.rows_of_leads() == []


def test_nobody_is_connected_to_somebody_else(api: Api, line: Line, caplog: pytest.LogCaptureFixture) -> None:
    line.send(http(form(api), method="CONNECT", path="shop.example:443"))
    assert line.answer().status == 400
    assert line.ended
    caplog.clear()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_may_offer_http_2(api: Api, server: Server) -> None:
    command = ["curl", "-sS", "--http2", "--max-time", "10", "-w", " %{http_version}", "-d", "@-", f"{server.url}/api"]
    called = subprocess.run(command, input=form(api), capture_output=True, check=False)
    assert called.stdout.decode() == f"{TAGS} 1.1", called.stderr


# -- heads that are too large --


@pytest.mark.parametrize("offer", [(), *OFFERS.values()], ids=["plain", *OFFERS])
def test_a_head_that_is_too_large_is_told_so_even_if_it_comes_in_one_piece(
    api: Api, server: Server, offer: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    for size, status in ((serving.MOST_HEAD - 1000, 200), (serving.MOST_HEAD, 431), (150_000, 431)):
        with Line(server) as line:
            line.send(http(form(api), *offer, "X: " + "x" * size))
            assert line.answer().status == status
    caplog.clear()


# -- leaving --


def test_whoever_sends_many_calls_at_once_and_leaves_is_no_error(
    api: Api, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        line = Line(server)
        line.send(http(form(api)) * 50)
        if number % 2:
            line.answer()
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # at once, unread
        line.close()

    async def at_rest() -> bool:
        return not server.state.connections and not server.state.tasks

    deadline = time.monotonic() + 20
    while not server.run(at_rest):
        assert time.monotonic() < deadline
    assert caplog.records == []
