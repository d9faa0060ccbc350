"""`cartwheel apply` of one file by several at once: one of them does it, all tell the same, nobody fails."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from realserver import ForkedProcess, clean_environment

from cartwheel import times
from cartwheel.accountfiles import accountfile
from cartwheel.api.credentials import matches
from cartwheel.data import schema
from cartwheel.data.catalog import key_digest
from cartwheel.data.db import Database

AT_ONCE = 4
ROUNDS = 5

FILE = """
[account]
name = "Acme"
[[apps]]
name = "Website"
[[apps]]
name = "Shop"
app_id = "the-apps-own-id"
[[lists]]
name = "Newsletter"
[[tags]]
name = "Customer"
[[custom_fields]]
identifier = "plan"
type = "drop_down"
options = [{ name = "Gold" }, { name = "Silver" }]
[[sequences]]
name = "Welcome"
steps = [{ box = "1", type = "email", subject = "Hello", html = "Hello" }]
"""
COUNTS = {
    "accounts": 1,
    "api_keys": 1,
    "apps": 2,
    "lists": 1,
    "tags": 1,
    "custom_fields": 1,
    "custom_field_options": 2,
    "sequences": 1,
    "flows": 1,
}


def rows(url: str) -> dict[str, list[Any]]:
    database = Database(url)
    try:
        with database.read() as connection:
            return {name: list(connection.execute(sa.select(schema.metadata.tables[name]))) for name in COUNTS}
    finally:
        database.close()


def check(url: str, told: list[dict[str, Any]]) -> None:
    """One of them made the account, and told its key and password; to the others it was there."""
    [maker] = [answer for answer in told if answer["changed"]]
    others = [answer for answer in told if answer is not maker]
    api_key, api_password = maker.pop("api_key"), maker.pop("api_password")
    assert others == [maker | {"changed": False}] * (len(told) - 1)
    stored = rows(url)
    assert {name: len(found) for name, found in stored.items()} == COUNTS
    [key] = stored["api_keys"]
    assert key.key_digest == key_digest(api_key)
    assert matches(key.password_hash, api_password)
    apps = {app["name"]: app["app_id"] for app in maker["apps"]}
    assert {app.name: app.app_id for app in stored["apps"]} == apps
    assert apps["Shop"] == "the-apps-own-id"


def answer_in(log: str) -> dict[str, Any]:
    """The JSON object among what was told to people."""
    answer: dict[str, Any] = json.JSONDecoder().raw_decode(log, log.index("{"))[0]
    return answer


def test_processes_that_apply_a_file_at_once_make_one_account(url: str, tmp_path: Path) -> None:
    """On an empty database: they make its tables at once, too."""
    (tmp_path / "acme.toml").write_text(FILE)
    arguments = ["apply", str(tmp_path / "acme.toml")]
    logs = [tmp_path / f"{number}.log" for number in range(AT_ONCE)]
    running = [ForkedProcess(arguments, clean_environment(url), log) for log in logs]
    assert [process.wait(30) for process in running] == [0] * AT_ONCE
    check(url, [answer_in(log.read_text()) for log in logs])


def apply_at_once(url: str, text: str) -> list[dict[str, Any]]:
    start = threading.Barrier(AT_ONCE)
    wanted = accountfile.read_text(text, Path())

    def apply(_number: int) -> dict[str, Any]:
        database = Database(url)
        try:
            start.wait(20)
            database.migrate()
            return accountfile.apply(database, wanted, times.now())
        finally:
            database.close()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(apply, range(AT_ONCE)))


def test_what_a_file_adds_is_there_once_however_many_apply_it(url: str) -> None:
    check(url, apply_at_once(url, FILE))
    for number in range(ROUNDS):
        more = f'[[tags]]\nname = "Tag {number}"\n[[apps]]\nname = "App {number}"\n'
        told = apply_at_once(url, FILE + more)
        assert sorted(answer.pop("changed") for answer in told) == [False] * (AT_ONCE - 1) + [True]
        assert all(answer == told[0] for answer in told)
    stored = rows(url)
    assert [tag.name for tag in stored["tags"]] == ["Customer", *(f"Tag {number}" for number in range(ROUNDS))]
    assert len({app.app_id for app in stored["apps"]}) == 2 + ROUNDS
