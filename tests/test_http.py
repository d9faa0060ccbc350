"""The API on the wire: connections, lengths, bounds, and clients that stop half-way."""

import asyncio
import socket
import struct
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from cartwheel import app
from conftest import Databases
from harness import Api, Server
from rawhttp import Line, chunked, request

EMAIL = "zoe@shop.example"
TAGS = '{"status":"Success","account_tags":["Trial user","Customer"]}'
CREATE = f"lead[email]={EMAIL}&actions[0][cmd]=create_lead"
RETRIEVE = "actions[0][cmd]=retrieve_account_tags"
MAX_BODY = 1 << 20


@pytest.fixture(scope="module")
def only_server(databases: Databases) -> Iterator[Server]:
    """HTTP is spoken before any engine is asked: one will do."""
    running = Server(databases.migrated("sqlite"))
    yield running
    running.stop()


@pytest.fixture
def server(only_server: Server) -> Server:
    return only_server


@pytest.fixture
def line(server: Server) -> Iterator[Line]:
    with Line(server) as connected:
        yield connected


def form(api: Api, rest: str) -> bytes:
    return "&".join([*(f"{name}={value}" for name, value in api.credentials.items()), rest]).encode()


def refusal(reason: str) -> str:
    return f'{{"status":"Error","message":"{reason}. Nothing done","type":"254"}}'


# -- connections --


def test_a_connection_is_kept_for_the_next_call(api: Api, line: Line) -> None:
    for _ in range(3):
        line.send(request(form(api, RETRIEVE)))
        assert line.answer().text == TAGS
    line.send(request(form(api, RETRIEVE), "Connection: close"))
    assert line.answer().text == TAGS
    assert line.ended


def test_calls_sent_in_one_go_are_answered_in_order(api: Api, line: Line) -> None:
    tag = f"lead[email]={EMAIL}&actions[0][cmd]=assign_tag&actions[0][tag_name]=Customer"
    calls = [CREATE, tag, f"get_lead[email]={EMAIL}", "", RETRIEVE]
    line.send(b"".join(request(form(api, rest)) for rest in calls))
    created, tagged, got, empty, retrieved = (line.answer().json for _ in calls)
    assert created["message"] == "Lead created"
    assert tagged["message"] == "Tag added to lead"
    assert got["lead_details"]["tags"] == [{"tag_name": "Customer"}]
    assert empty["message"] == "'cmd' is required"
    assert retrieved["account_tags"] == ["Trial user", "Customer"]


@pytest.mark.parametrize("headers", [[], ["Host: localhost"], ["Connection: keep-alive"]])
def test_http_1_0_is_answered(api: Api, line: Line, headers: list[str]) -> None:
    body = form(api, RETRIEVE)
    head = "\r\n".join(["POST /api HTTP/1.0", f"Content-Length: {len(body)}", *headers, "", ""])
    line.send(head.encode() + body)
    assert line.answer().text == TAGS
    assert line.ended


def test_a_client_that_asks_whether_to_go_on_is_told_so(api: Api, line: Line) -> None:
    body = form(api, RETRIEVE)
    line.send(request(body, "Expect: 100-continue").removesuffix(body))
    assert line.answer().status == 100
    line.send(body)
    assert line.answer().text == TAGS


def pieces(body: bytes, size: int) -> Sequence[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_body_in_chunks_is_read(api: Api, line: Line, size: int) -> None:
    for _ in range(2):
        line.send(chunked(pieces(form(api, RETRIEVE), size)))
        assert line.answer().text == TAGS


def test_a_call_may_arrive_byte_by_byte(api: Api, line: Line) -> None:
    line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.send(*pieces(request(form(api, RETRIEVE)), 1))
    assert line.answer().text == TAGS


def test_a_proxys_form_of_the_address_is_understood(api: Api, line: Line) -> None:
    line.send(request(form(api, RETRIEVE), path="http://localhost/api/"))
    assert line.answer().text == TAGS


@pytest.mark.parametrize("offered", [[], ["Accept-Encoding: identity"], ["Accept-Encoding: gzip, deflate, br"]])
def test_an_answer_is_plain_json_with_its_length(api: Api, line: Line, offered: list[str]) -> None:
    line.send(request(form(api, RETRIEVE), *offered))
    answer = line.answer()
    assert answer.text == TAGS
    assert {"content-encoding", "transfer-encoding", "server", "location"}.isdisjoint(answer.headers)
    assert answer.headers["content-length"] == str(len(TAGS))
    assert answer.headers["x-request-id"]


# -- clients that stop half-way --


def nothing_was_done(api: Api) -> bool:
    return bool(api.call(get_lead={"email": EMAIL})["message"] == "No lead found")


HALVES = {
    "shorter than its length": lambda body: request(body + b"&x=yz").removesuffix(b"&x=yz"),
    "a chunk missing": lambda body: chunked([body]).removesuffix(b"0\r\n\r\n"),
    "half a chunk": lambda body: chunked([body]).removesuffix(b"\r\n0\r\n\r\n"),
    "no body at all": lambda body: request(body).removesuffix(body),
    "half the head": lambda body: request(body)[:30],
}


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
@pytest.mark.parametrize("how", ["ends", "resets"])
def test_a_call_that_did_not_arrive_as_a_whole_does_nothing(api: Api, line: Line, half: Any, how: str) -> None:
    line.send(half(form(api, CREATE)))
    if how == "ends":
        line.socket.shutdown(socket.SHUT_WR)
        assert line.ended
    else:
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()
    assert nothing_was_done(api)


@pytest.mark.parametrize("sent", [0, 20], ids=["nothing", "a part"])
def test_whoever_takes_too_long_is_told_and_let_go(
    api: Api, line: Line, sent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = form(api, CREATE)
    with monkeypatch.context() as patience:
        patience.setattr(app, "BODY_TIMEOUT_S", 0.01)
        line.send(request(body).removesuffix(body[sent:]))
        answer = line.answer()
    assert (answer.status, answer.text) == (200, refusal("The request took too long to arrive"))
    assert answer.headers["connection"] == "close"
    assert line.ended
    assert nothing_was_done(api)


def test_what_is_no_http_is_refused_and_the_server_goes_on(api: Api, server: Server) -> None:
    for nonsense in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"POST /api HTTP/1.1\r\n: x\r\n\r\n",
    ):
        with Line(server) as line:
            line.send(nonsense)
            assert line.answer().status == 400
            assert line.ended
    assert nothing_was_done(api)


# -- bounds --


def padded(api: Api, length: int, rest: str) -> bytes:
    """A call of exactly this many bytes."""
    body = form(api, f"{rest}&x=")
    return body + b"x" * (length - len(body))


def test_a_body_of_the_largest_size_is_read(api: Api, line: Line) -> None:
    body = padded(api, MAX_BODY, RETRIEVE)
    line.send(request(body), chunked(pieces(body, 100_000)))
    assert [line.answer().text, line.answer().text] == [TAGS, TAGS]


@pytest.mark.parametrize("length", [MAX_BODY + 1, 5 * MAX_BODY])
@pytest.mark.parametrize("in_chunks", [False, True], ids=["length told", "chunks"])
def test_a_larger_body_is_refused_readably_and_the_connection_stays(
    api: Api, line: Line, length: int, *, in_chunks: bool
) -> None:
    body = padded(api, length, CREATE)
    line.send(chunked(pieces(body, 100_000)) if in_chunks else request(body))
    assert line.answer().text == refusal(f"The request is larger than {MAX_BODY} bytes")
    line.send(request(form(api, RETRIEVE)))
    assert line.answer().text == TAGS
    assert nothing_was_done(api)


def test_a_body_without_end_is_answered_before_it_ends(api: Api, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "MOST_DISCARDED", 2 * MAX_BODY)
    line.send(chunked(pieces(padded(api, 4 * MAX_BODY, CREATE), 100_000)).removesuffix(b"0\r\n\r\n"))
    assert line.answer().text == refusal(f"The request is larger than {MAX_BODY} bytes")
    assert nothing_was_done(api)


def test_what_is_too_much_of_a_body_is_not_kept() -> None:
    chunk, count = b"x" * 65_536, 500
    messages = iter([{"type": "http.request", "body": chunk, "more_body": n < count} for n in range(1, count + 1)])

    async def receive() -> Any:
        return next(messages)

    tracemalloc.start()
    body = asyncio.run(app._body(receive, 100_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert next(messages, None) is None
    assert (len(body or b""), peak < 1_000_000) == (100_001, True)


DEEP_JSON = '{"a":{"b":{"c":{"d":{"e":{"f":{"g":[1]}}}}}}}'
MULTIPART = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'


def numbered(count: int, pattern: str, between: str = "&") -> str:
    return between.join(pattern.replace("#", str(number)) for number in range(count))


def as_json(api: Api, more: str) -> str:
    credentials = ",".join(f'"{name}":"{value}"' for name, value in api.credentials.items())
    return f'{{{credentials},"lead":{{"email":"{EMAIL}"}},"actions":[{{"cmd":"create_lead"}}],{more}}}'


def as_multipart(api: Api, count: int) -> str:
    fields = {**api.credentials, "lead[email]": EMAIL, "actions[0][cmd]": "create_lead"}
    fields |= {f"x{number}": "" for number in range(count - len(fields))}
    return "".join(MULTIPART.format(name, value) for name, value in fields.items()) + "--b--\r\n"


BOUNDS = [
    ("levels", lambda api, n: form(api, f"{CREATE}&x{'[y]' * (n - 1)}=1"), 8, "The request is nested deeper than 8 levels"),
    ("levels in JSON", lambda api, n: as_json(api, '"x":' + '{"y":' * (n - 1) + "1" + "}" * (n - 1)), 8,
     "The request is nested deeper than 8 levels"),
    ("levels of lists", lambda api, n: as_json(api, '"x":' + "[" * (n - 1) + "1" + "]" * (n - 1)), 8,
     "The request is nested deeper than 8 levels"),
    ("values", lambda api, n: form(api, f"{CREATE}&{numbered(n - 5, 'x#=1')}"), 1000,
     "The request has more than 1000 variables"),
    ("values of one list", lambda api, n: form(api, f"{CREATE}&{numbered(n - 5, 'x[]=1')}"), 1000,
     "The request has more than 1000 variables"),
    ("values in JSON", lambda api, n: as_json(api, f'"x":[{numbered(n - 9, "#", ",")}]'), 1000,
     "The request has more than 1000 variables"),
    ("values of a multipart form", as_multipart, 1000, "The request has more than 1000 variables"),
    ("actions", lambda api, n: form(api, f"{CREATE}&{numbered(n - 1, 'actions[][cmd]=x')}"), 100,
     "The call has more than 100 actions"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "most", "reason"), [row[1:] for row in BOUNDS], ids=[row[0] for row in BOUNDS])
def test_a_call_may_go_to_the_bound_and_no_further(api: Api, line: Line, make: Any, most: int, reason: str) -> None:
    too_much, enough = (make(api, count) for count in (most + 1, most))
    for body in (too_much, enough):
        whole = body if isinstance(body, bytes) else body.encode()
        line.send(
            request(whole, "Content-Type: multipart/form-data; boundary=b") if whole[:1] == b"-" else request(whole)
        )
    assert line.answer().text == refusal(reason)
    assert '"message":"Lead created"' in line.answer().text


FAR_TOO_MUCH = {
    "keys": ("x" + "[y]" * 300_000 + "=1", "The request is nested deeper than 8 levels"),
    "lists": ("[" * 1_000_000, "The request is nested deeper than 8 levels"),
    "objects": ('{"x":' * 200_000, "The request is nested deeper than 8 levels"),
    "pairs": ("&" * 1_000_000, "The request has more than 1000 variables"),
}


@pytest.mark.parametrize(("body", "reason"), FAR_TOO_MUCH.values(), ids=FAR_TOO_MUCH)
def test_far_too_much_is_refused_like_a_little_too_much(line: Line, body: str, reason: str) -> None:
    line.send(request(body.encode()))
    assert line.answer().text == refusal(reason)
