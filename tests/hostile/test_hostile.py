"""Whatever is sent, the server answers as it always does: HTTP 200 or 429, Success or Error, soon, and unharmed."""

import asyncio
import gc
import json
import os
import resource
import time
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from mutations import Mutant, Mutator

from cartwheel.data import schema
from harness import Api, Server

MUTANTS = int(os.environ.get("HOSTILE_MUTANTS", "0"))
"""How many mutants to send to each engine; 0 sends the same few each time."""

IN_SUITE = 10_000
AT_ONCE = 32
LONGEST_S = 10.0
"""More than `AT_ONCE` mutants together may take, on a machine that is busy."""

MOST_GROWTH = 64 << 20
"""More bytes than the process may grow by: SQLite's page caches are a good part of it."""


def memory() -> int:
    """Bytes of this process, now (or, where nobody tells, at its largest)."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class NoAnswer(Exception):
    """What came back is not what the contract allows."""


async def answer(server: Server, mutant: Mutant) -> list[str]:
    """The numbers of what the application says to it; raises `NoAnswer` if it is not what the contract allows."""
    sent: list[dict[str, Any]] = []
    half = len(mutant.body) // 2
    pieces = [mutant.body] if half % 8 else [mutant.body[:half], mutant.body[half:]]
    received = iter([{"type": "http.request", "body": piece, "more_body": True} for piece in pieces])

    async def receive() -> dict[str, Any]:
        return next(received, {"type": "http.request", "body": b"", "more_body": False})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/api",
        "query_string": mutant.query,
        "headers": [(b"content-type", mutant.content_type.encode())],
        "client": ("127.0.0.1", 50_000),
    }
    server.forgive()  # wrong credentials are slowed down, and that is not the question here
    await server.application(scope, receive, send)
    start, body = sent
    if start["status"] not in {200, 429} or (b"content-type", b"application/json") not in start["headers"]:
        raise NoAnswer(start)
    return check(body["body"])


def check(body: bytes) -> list[str]:
    read = json.loads(body)
    actions = read.get("actions", [])
    parts = [read, *(entry for element in actions for entry in element.values())]
    if any(len(element) != 1 for element in actions):
        raise NoAnswer(body)
    for part in parts:
        number = part.get("type", "")
        fine = part["status"] in {"Success", "Error"} and isinstance(number, str) and number != "500"
        if not fine or not isinstance(part.get("message", ""), str) or (part["status"] == "Error") > bool(number):
            raise NoAnswer(body)
    return [part.get("type", "") for part in parts]


def test_no_mutant_does_harm(server: Server, api: Api, stranger: Api) -> None:
    count = MUTANTS or IN_SUITE
    first = Random().randrange(1 << 40) if MUTANTS else 0
    stranger.create("ada@shop.example")
    attack = Attack(server, Mutator(api.credentials))
    grown_from = 0
    for start in range(first, first + count, AT_ONCE):
        began = time.monotonic()
        server.run(partial(attack.wave, range(start, start + AT_ONCE)))
        assert time.monotonic() - began < LONGEST_S, f"mutants {start} to {start + AT_ONCE}"
        if start - first <= count // 5:  # by then, what is cached is cached
            grown_from = memory()
    gc.collect()
    assert memory() - grown_from < MOST_GROWTH
    assert {"101", "103", "105", "114", "203", "206", "212", "233", "243", "244", "254", "271"} <= attack.seen.keys()
    assert_unharmed(server, api, stranger)


class Attack:
    """Mutants by the wave. `seen` counts the numbers of the replies."""

    def __init__(self, server: Server, mutator: Mutator) -> None:
        self._server = server
        self._mutator = mutator
        self.seen: Counter[str] = Counter()

    async def wave(self, numbers: range) -> None:
        mutants = [self._mutator.mutant(number) for number in numbers]
        results = await asyncio.gather(*(answer(self._server, mutant) for mutant in mutants), return_exceptions=True)
        for number, mutant, result in zip(numbers, mutants, results, strict=True):
            if isinstance(result, BaseException):
                pytest.fail(f"mutant {number}: {result!r}\n{mutant!r}"[:5000])
            self.seen.update(result)


def assert_unharmed(server: Server, api: Api, stranger: Api) -> None:
    """The books still balance, nobody else's are touched, and every lead can be shown."""
    for lead in api.rows(schema.leads):
        ledger = api.rows(schema.points, lead_id=lead["id"])
        assert lead["score"] == sum(row["points"] for row in ledger if row["reversed_at"] is None)
        details = api.call(get_lead={"id": str(lead["id"])})["lead_details"]
        assert details["email"] == lead["email"]
        assert api.events(str(lead["id"]))[0][0] == "lead_created"
    [other] = stranger.rows(schema.leads)
    assert [kind for kind, _ in stranger.events(str(other["id"]))] == ["lead_created"]
    with server.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.leads)).scalar_one()
