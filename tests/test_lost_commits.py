"""The connection to PostgreSQL is lost at COMMIT: callers are told of a failure, and all of it is done or nothing."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from cartwheel.api.dispatch import Request
from cartwheel.data import schema
from cartwheel.data.lanes import Lane
from cartwheel.data.postgreslane import PostgresLane
from cartwheel.network import Client, read_address
from conftest import Databases
from cutlines import Exchange
from harness import Api, Server, new_api
from watchedlanes import Watch, watch_lanes

EMAILS = [f"lead{number}@shop.example" for number in range(5)]
CHAIN = [
    {"cmd": "assign_tag", "tag_name": "Customer"},
    {"cmd": "give_points_to_lead", "points": 7},
    {"cmd": "subscribe_lead_to_list", "list_name": "Newsletter"},
]
CALLS: list[dict[str, Any]] = [{"lead": {"email": email}, "actions": CHAIN} for email in EMAILS] + [
    {"lead": {"email": f"new-{email}"}, "actions": [{"cmd": "create_lead"}, *CHAIN]} for email in EMAILS
]

Loss = Callable[[Exchange, psycopg.AsyncConnection[Any]], None]


@pytest.fixture
def exchange(databases: Databases) -> Iterator[Exchange]:
    with Exchange(databases.migrated("postgresql")) as running:
        yield running


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return watch_lanes(monkeypatch)


@pytest.fixture
def api(exchange: Exchange, watch: Watch) -> Iterator[Api]:
    """An account with a few leads. Its server's way to the database leads over the exchange."""
    running = Server(exchange.url)
    made = new_api(running)
    for email in EMAILS:
        made.create(email)
    yield made
    running.stop()
    assert not watch.before_commit


def ended_by_the_server(exchange: Exchange, connection: psycopg.AsyncConnection[Any]) -> None:
    with psycopg.connect(exchange.url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])


def cut(exchange: Exchange, connection: psycopg.AsyncConnection[Any], *, delivered: bool) -> None:
    with socket.socket(fileno=connection.pgconn.socket) as line:
        exchange.cut(line, delivered=delivered)
        line.detach()


def cut_on_the_way_there(exchange: Exchange, connection: psycopg.AsyncConnection[Any]) -> None:
    cut(exchange, connection, delivered=False)


def cut_on_the_way_back(exchange: Exchange, connection: psycopg.AsyncConnection[Any]) -> None:
    cut(exchange, connection, delivered=True)


def answers(api: Api) -> list[Any]:
    """To all of the calls in one batch, each with a key to repeat it by."""
    client = Client(read_address("127.0.0.1"), secure=True)
    bodies = [json.dumps({**api.credentials, **call}).encode() for call in CALLS]
    requests = [Request(client, b"", "application/json", f"call-{number}", body) for number, body in enumerate(bodies)]

    async def answer_all() -> list[Any]:
        told = await asyncio.gather(*map(api.server.application.dispatcher.answer, requests))
        return [json.loads(answer.body) for answer in told]

    return api.server.run(answer_all)


def state(api: Api) -> dict[str, int]:
    tables = (schema.leads, schema.lead_tags, schema.lead_lists, schema.points, schema.events, schema.idempotent_calls)
    return {table.name: len(api.rows(table)) for table in tables}


@pytest.mark.parametrize(
    ("loss", "is_done"),
    [(ended_by_the_server, False), (cut_on_the_way_there, False), (cut_on_the_way_back, True)],
)
def test_a_commit_whose_answer_is_lost_has_happened_as_a_whole_or_not_at_all(
    exchange: Exchange, watch: Watch, api: Api, loss: Loss, *, is_done: bool
) -> None:
    before = state(api)

    def lose(lane: Lane) -> None:
        assert isinstance(lane, PostgresLane)
        assert lane._connection is not None
        loss(exchange, lane._connection)

    watch.before_commit.append(lose)
    assert {answer.get("type") for answer in answers(api)} == {"500"}
    done = before | {
        "leads": 10, "lead_tags": 10, "lead_lists": 10, "points": 10, "events": 5 + 5 * 3 + 5 * 4, "idempotent_calls": 10
    }  # fmt: skip
    assert state(api) == (done if is_done else before)
    committed = watch.committed
    assert {answer["status"] for answer in answers(api)} == {"Success"}, "the next calls find a new connection"
    assert watch.committed > committed
    assert state(api) == done, "what was done is not done again, what was not done is done"
