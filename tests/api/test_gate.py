"""Who is let in: rotation, permissions and guessing. The messages themselves are in test_contract."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import tomli_w
from argon2 import PasswordHasher

from cartwheel.accountfiles import accountfile
from cartwheel.accounts import ApiKey
from cartwheel.api import credentials
from cartwheel.api.gate import FREE_FAILURES, LONGEST_WAIT_S, Gate, NewestCatalog
from cartwheel.data import schema
from cartwheel.data.catalog import Catalog
from cartwheel.network import Client, read_address
from conftest import Databases
from harness import API_PASSWORD, Api, Server, new_api

TAGS = {"cmd": "retrieve_account_tags"}


def reapply(api: Api, **changes: Any) -> dict[str, Any]:
    """Change the account as an operator does, in another process for all that the server knows."""
    [row] = [row for row in accounts(api) if row["id"] == api.account_id]
    file = {"account": {"name": row["name"], **changes.pop("account", {})}, **changes}
    read = accountfile.read_text(tomli_w.dumps(file), Path())
    return accountfile.apply(api.server.database, read, api.server.clock())


def accounts(api: Api) -> list[dict[str, Any]]:
    with api.server.database.read() as connection:
        return [dict(row) for row in connection.execute(sa.select(schema.accounts)).mappings()]


def test_a_change_of_the_account_is_seen_by_the_very_next_call(api: Api) -> None:
    assert api.call(TAGS)["account_tags"] == ["Trial user", "Customer"]
    reapply(api, tags=[{"name": "Brand new"}])
    assert api.call(TAGS)["account_tags"] == ["Trial user", "Customer", "Brand new"]
    reapply(api, apps=[{"name": "Website", "active": False}])
    assert api.call(TAGS)["type"] == "239"
    reapply(api, apps=[{"name": "Website", "active": True}])
    assert api.call(TAGS)["status"] == "Success"


def test_new_permissions_and_a_new_mode_count_for_the_very_next_call(api: Api) -> None:
    api.create("ada@shop.example")
    tag = {"cmd": "assign_tag", "tag_name": "Customer"}

    def allow(commands: list[str], mode: str = "live") -> None:
        reapply(api, apps=[{"name": "Website", "rate_limit": 0, "commands": commands, "mode": mode}])

    allow(["leads:write"])
    assert api.call(tag, lead={"email": "ada@shop.example"})["type"] == "262"
    allow(["*"])
    assert api.call(tag, lead={"email": "ada@shop.example"})["type"] == "103"
    allow(["*"], "test")
    api.create("grace@shop.example")
    assert {row["email"] for row in api.rows_of_leads()} == {"ada@shop.example", "grace@test.invalid"}


def test_a_new_password_works_at_once_and_the_old_one_no_more(api: Api) -> None:
    assert api.call(TAGS)["status"] == "Success"
    reapply(api, account={"api_password": "quite-another-one"})
    assert api.call(TAGS)["type"] == "233"
    api.api_password = "quite-another-one"
    assert api.call(TAGS)["status"] == "Success"


def test_a_new_key_works_at_once_and_the_old_one_no_more(api: Api) -> None:
    reapply(api, account={"api_key": f"another-{api.api_key}"})
    assert api.call(TAGS)["type"] == "203"
    api.api_key = f"another-{api.api_key}"
    assert api.call(TAGS)["status"] == "Success"


def test_an_app_works_on_the_account_of_the_key(api: Api, stranger: Api) -> None:
    stranger.create("theirs@shop.example")
    api.api_key = stranger.api_key
    assert api.lead("theirs@shop.example")["email"] == "theirs@shop.example"


def test_get_lead_needs_its_permission_too(server: Server) -> None:
    api = new_api(server, app={"commands": ["create_lead"]})
    api.create("ada@shop.example")
    assert api.call(get_lead={"email": "ada@shop.example"})["type"] == "262"


def test_one_forbidden_command_refuses_the_whole_call(server: Server) -> None:
    api = new_api(server, app={"commands": ["create_lead"]})
    answer = api.call(
        {"cmd": "create_lead"}, {"cmd": "assign_tag", "tag_name": "Customer"}, lead={"email": "a@b.example"}
    )
    assert answer["type"] == "262"
    assert api.rows_of_leads() == []


def test_passwords_are_hashed_with_argon2_and_keys_are_not_stored() -> None:
    assert credentials.hash_password(API_PASSWORD).startswith("$argon2id$")


def test_whoever_guesses_has_to_wait_and_locks_out_nobody_elsewhere(api: Api) -> None:
    """The waiting is measured by what the gate asks for, on a stopped clock; nobody really sleeps."""
    server = api.server
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    gate = server.application.gate
    gate._sleep, original = sleep, gate._sleep

    def guess(password: str, address: str) -> str:
        client = Client(read_address(address), secure=True)
        sent = {**api.credentials, "api_password": password}

        async def admit() -> str:
            try:
                await gate.admit(sent, client)
            except Exception as refusal:
                return str(refusal)
            return "in"

        return server.run(admit)

    try:
        guesser, owner = "203.0.113.9", "203.0.113.10"
        for number in range(FREE_FAILURES):
            assert "password not valid" in guess(f"guess {number}", guesser)
        assert waits == []
        for number in range(int(LONGEST_WAIT_S)):
            assert "password not valid" in guess(f"guess again {number}", guesser)
        assert waits == [float(second) for second in range(1, int(LONGEST_WAIT_S) + 1)]
        assert guess("one more", guesser) == "Too many requests"
        assert guess(API_PASSWORD, owner) == "in"
        assert guess(API_PASSWORD, guesser) == "in"  # known to be right: costs no hash, gives nothing away
    finally:
        gate._sleep = original


def test_the_same_wrong_password_is_hashed_once() -> None:
    async def check() -> None:
        key = ApiKey(1, "x", credentials.hash_password("right"))
        passwords = credentials.Passwords()
        assert passwords.known(key, "wrong") is None
        assert not await passwords.check(key, "wrong")
        assert passwords.known(key, "wrong") is False
        assert await passwords.check(key, "right")
        assert passwords.known(key, "right") is True
        assert passwords.known(key, "right ") is None

    asyncio.run(check())


# -- many at once --


async def everybody_waits() -> None:
    """Whatever can go on without a thread has gone on."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_many_share_a_look_at_the_catalog_but_none_that_began_before_they_came() -> None:
    async def check() -> None:
        ends: list[asyncio.Event] = []

        async def look() -> Catalog:
            ends.append(asyncio.Event())
            version = len(ends)
            await ends[-1].wait()
            return Catalog(version, {}, {}, {})

        newest = NewestCatalog(look)
        early = [asyncio.create_task(newest.get()) for _ in range(3)]
        await everybody_waits()
        late = [asyncio.create_task(newest.get()) for _ in range(3)]
        await everybody_waits()
        assert len(ends) == 1
        ends[0].set()
        assert [found.version for found in await asyncio.gather(*early)] == [1, 1, 1]
        await everybody_waits()
        late.pop().cancel()
        ends[1].set()
        assert [found.version for found in await asyncio.gather(*late)] == [2, 2]
        assert len(ends) == 2

    asyncio.run(check())


def test_a_flood_of_unknown_apps_costs_one_look_at_the_database(api: Api) -> None:
    looks: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "catalog_version" in statement:
            looks.append(statement)

    async def flood() -> list[Any]:
        gate = api.server.application.gate
        guesses = ({**api.credentials, "app_id": f"guess {number}"} for number in range(200))
        calls = (gate.admit(sent, client(number)) for number, sent in enumerate(guesses))
        return await asyncio.gather(*calls, return_exceptions=True)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        refused = api.server.run(flood)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert {str(refusal) for refusal in refused} == {"App Id is not valid. The app does not exists or is inactive"}
    assert len(looks) == 1


def client(number: int) -> Client:
    """Somebody at another address than everybody else."""
    return Client(read_address(f"203.0.113.{number}"), secure=True)


@contextmanager
def no_hash_ends(gate: Gate) -> Iterator[None]:
    over = threading.Event()
    gate._passwords._hasher.submit(over.wait)
    try:
        yield
    finally:
        over.set()


def test_a_flood_of_passwords_has_a_bound_and_keeps_nobody_out_who_is_known(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, gate = api.server, api.server.application.gate
    assert api.call(TAGS)["status"] == "Success"

    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def flood() -> list[asyncio.Task[Any]]:
        guesses = ({**api.credentials, "api_password": f"guess {n}"} for n in range(credentials.MOST_WAITING))
        tasks = [asyncio.create_task(gate.admit(sent, client(n))) for n, sent in enumerate(guesses)]
        await everybody_waits()
        return tasks

    async def answers() -> list[Any]:
        return await asyncio.gather(*guesses, return_exceptions=True)

    monkeypatch.setattr(gate, "_sleep", sleep)
    with no_hash_ends(gate):
        guesses = server.run(flood)
        for number in range(FREE_FAILURES + 1):
            answer = server.http.post("/api", json={**api.credentials, "api_password": f"one more: {number}"})
            assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
            assert answer.json()["message"] == "Too many requests. The server is busy, please try again"
        assert waits == []  # nothing was tried, so nothing was counted
        assert api.call(TAGS)["status"] == "Success"
        api.app_id = f"brand-new-{api.app_id}"
        reapply(api, apps=[{"name": "Brand new", "app_id": api.app_id}])
        assert api.call(TAGS)["status"] == "Success"  # the catalog was looked at meanwhile
    assert {str(refusal) for refusal in server.run(answers)} == {
        "API password not valid. Please get an API password first"
    }


def test_many_right_calls_at_once_after_a_start_all_get_in(
    engine: str, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(databases.migrated(engine))
    monkeypatch.setattr(credentials, "_HASHER", PasswordHasher())  # each hash takes as long as in real life
    api = new_api(server)

    async def call_at_once() -> list[httpx.Response]:
        call = {**api.credentials, "actions": [TAGS]}
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=30) as http:
            return await asyncio.gather(*(http.post("/api", json=call) for _ in range(64)))

    try:
        answers = asyncio.run(call_at_once())
    finally:
        server.stop()
    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "Success")] * 64
