"""A start is nothing special to the callers that wait for it."""

import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import invariants
import pytest
from argon2 import PasswordHasher
from callers import Book, Outcome, many_callers
from realserver import ServerProcess, free_port, make_account, serving

from cartwheel.api import credentials
from cartwheel.data.db import Database
from conftest import Databases
from migrationfiles import add_migration


def test_many_callers_at_once_are_served_right_after_a_start(
    engine: str, databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of them is slow, because passwords are; the others do not queue up behind it one by one."""
    monkeypatch.setattr(credentials, "_HASHER", PasswordHasher())
    url = databases.new(engine)
    make_account(url)
    book = Book()
    with serving(url, tmp_path) as server, many_callers(server.port, 60) as callers:
        attempts = [book.new() for _ in callers]
        started = time.monotonic()
        for caller, attempt in zip(callers, attempts, strict=True):
            caller.send(*attempt.actions, lead={"email": attempt.email})
        for caller, attempt in zip(callers, attempts, strict=True):
            answer = caller.receive(started)
            assert answer.seconds < 8
            attempt.note(answer)
    assert book.count(Outcome.DONE) == len(attempts)
    invariants.check(url, book)


def test_a_start_that_is_killed_at_any_moment_leaves_a_database_for_the_next(
    engine: str, databases: Databases, tmp_path: Path
) -> None:
    rng = random.Random(f"starts-{engine}")
    for _ in range(5):
        url, port = databases.new(engine), free_port()
        for _ in range(2):
            server = ServerProcess(url, tmp_path / "server.log", port=port, forked=True)
            time.sleep(rng.random() * 0.3)
            server.kill()
        make_account(url)
        book = Book()
        with serving(url, tmp_path) as server:
            book.fill_pool(server.port, 1)
        invariants.check(url, book)


def test_a_database_file_without_its_log_is_not_taken_for_a_new_one(databases: Databases, tmp_path: Path) -> None:
    """Somebody moved one of the two files; making a new database would take the other one's place."""
    url = databases.new("sqlite")
    make_account(url)
    here = Path(url.removeprefix("sqlite:///"))
    book = Book()
    with serving(url, tmp_path) as server:
        book.fill_pool(server.port)
        server.kill()
    elsewhere = here.rename(here.with_suffix(".away"))
    with pytest.raises(AssertionError, match="the server ended with"), serving(url, tmp_path):
        pass
    elsewhere.rename(here)
    with serving(url, tmp_path):
        invariants.check(url, book)


def test_a_copy_that_was_interrupted_does_not_keep_the_next_start_from_migrating(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(databases.new("sqlite"))
    database.migrate()
    add_migration(monkeypatch, tmp_path, "9999_more", "pass")
    for name in (f"{database.path}.before-9999_more", f"{database.path}.before-9999_more.unfinished"):
        Path(name).write_bytes(b"half of a copy")
    assert database.migrate() == ["9999_more"]
    with closing(sqlite3.connect(f"{database.path}.before-9999_more")) as copy:
        assert copy.execute("SELECT count(*) FROM leads").fetchall() == [(0,)]
    database.close()
