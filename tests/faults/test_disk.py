"""SQLite's file: no room to write, held by somebody else, moved away. Callers are told, and nothing is lost."""

import resource
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

import invariants
import pytest
from callers import Book, Caller, Load, Outcome
from locks import locked
from realserver import ServerProcess, healthy, make_account, serving

from cartwheel.data.lanes import LOCK_WAIT_S
from conftest import Databases
from waiting import wait_until

AT_ONCE_S = 1


class Disk(Protocol):
    """Where the database is, and how it comes to be full."""

    folder: Path

    def fill(self, server: ServerProcess) -> None: ...
    def free(self, server: ServerProcess) -> None: ...


class SmallDisk:
    """A file system with room for the database and the largest log that it has. Needs the right to mount one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, _server: ServerProcess) -> None:
        with self._ballast.open("wb", buffering=0) as ballast:
            try:
                while ballast.write(b"\0" * 4096):
                    pass
            except OSError:
                pass

    def free(self, _server: ServerProcess) -> None:
        self._ballast.unlink()


class Quota:
    """The server's files may not grow any more. Works for everybody."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, server: ServerProcess) -> None:
        largest = max(file.stat().st_size for file in self.folder.iterdir())
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (largest + 100_000, resource.RLIM_INFINITY))

    def free(self, server: ServerProcess) -> None:
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, unlimited)


@pytest.fixture(params=["small disk", "quota"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "quota":
        yield Quota(folder)
        return
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_refuses_calls_until_there_is_room_again(disk: Disk, tmp_path: Path) -> None:
    url = f"sqlite:///{disk.folder / 'full.db'}"
    make_account(url)
    book = Book()
    with serving(url, tmp_path) as server:
        disk.fill(server)
        with Caller(server.port) as first:  # also takes the block of ids that all others need
            book.new().make(first)
        disk.free(server)
        book.fill_pool(server.port)
        load = Load(book, server.port, seed="full", patient=True)
        load.wait_for(50)
        disk.fill(server)
        load.wait_for(failed=100)
        load.stop()
        with Caller(server.port) as reader:
            answer = reader.call(get_lead={"email": book.pool[0]})
        assert answer.body["status"] == "Success", "reading needs no room"
        disk.free(server)
        load = Load(book, server.port, seed="free")
        load.wait_for(100)
        load.stop()
        assert healthy(server.port)
        invariants.check(url, book, failed_did_nothing=True)
        server.kill()
    invariants.check(url, book, failed_did_nothing=True)


def test_calls_wait_for_a_lock_and_succeed_when_it_is_gone(databases: Databases, tmp_path: Path) -> None:
    url = databases.migrated("sqlite")
    make_account(url)
    book = Book()
    with serving(url, tmp_path) as server:
        book.fill_pool(server.port)
        with locked(url):
            load = Load(book, server.port, seed="locked", callers=4)
            check_others_are_answered(server, seconds=1)
            assert not load.answers
        load.wait_for(50)
        load.stop()
        assert not load.failed
    invariants.check(url, book)


def test_calls_are_refused_when_a_lock_lasts_too_long(databases: Databases, tmp_path: Path) -> None:
    url = databases.migrated("sqlite")
    make_account(url)
    book = Book()
    with serving(url, tmp_path) as server:
        book.fill_pool(server.port)
        with locked(url):
            load = Load(book, server.port, seed="too long", callers=200, patient=True)
            check_others_are_answered(server, seconds=2)
            load.wait_for(failed=200, seconds=3 * LOCK_WAIT_S)
        load.wait_for(100)
        load.stop()
    assert LOCK_WAIT_S <= load.slowest_s < 2 * LOCK_WAIT_S + AT_ONCE_S
    invariants.check(url, book, failed_did_nothing=True)


def check_others_are_answered(server: ServerProcess, seconds: float) -> None:
    """Whoever needs no lock does not wait for it."""
    deadline = time.monotonic() + seconds
    with Caller(server.port, "no-such-app") as stranger:
        while time.monotonic() < deadline:
            started = time.monotonic()
            assert healthy(server.port)
            assert time.monotonic() - started < AT_ONCE_S
            answer = stranger.on("ada@shop.example", "search_lead")
            assert answer.body["type"] in {"239", "429"}
            if answer.status == 429:
                return


def test_a_database_file_that_was_moved_away_loses_nothing(databases: Databases, tmp_path: Path) -> None:
    url = databases.migrated("sqlite")
    make_account(url)
    here = Path(url.removeprefix("sqlite:///"))
    elsewhere = here.with_suffix(".away")
    book = Book()
    with serving(url, tmp_path) as server:
        book.fill_pool(server.port)
        load = Load(book, server.port, seed="moved", patient=True)
        load.wait_for(100)
        here.rename(elsewhere)
        load.wait_for(failed=100)
        wait_until(lambda: not healthy(server.port), "the server says that it is not well")
        check_stays_away(here, seconds=1.2)
        elsewhere.rename(here)
        load.wait_for(100)
        assert healthy(server.port)
        server.kill()
        load.stop()
    with serving(url, tmp_path):
        invariants.check(url, book, failed_did_nothing=True)


def check_stays_away(file: Path, seconds: float) -> None:
    """Nobody makes a new file of this name: opening one would take the log of the old one with it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert not file.exists()
        time.sleep(0.01)


def test_a_database_file_that_was_replaced_is_not_written(databases: Databases, tmp_path: Path) -> None:
    url, other = databases.migrated("sqlite"), databases.migrated("sqlite")
    make_account(url)
    make_account(other)
    here = Path(url.removeprefix("sqlite:///"))
    book = Book()
    with serving(url, tmp_path) as server:
        book.fill_pool(server.port)
        Path(other.removeprefix("sqlite:///")).replace(here)
        check_refused(book, server)
        assert not healthy(server.port)


def test_a_log_that_was_deleted_is_not_written(databases: Databases, tmp_path: Path) -> None:
    """What would be written then could be read by nobody else, and be gone at the next start."""
    url = databases.migrated("sqlite")
    make_account(url)
    here = Path(url.removeprefix("sqlite:///"))
    book = Book()
    with serving(url, tmp_path) as server:
        book.fill_pool(server.port)
        elsewhere = here.rename(here.with_suffix(".away"))
        with closing(sqlite3.connect(here)) as somebody:
            somebody.execute("SELECT * FROM sqlite_master")
        elsewhere.rename(here)
        check_refused(book, server)


def check_refused(book: Book, server: ServerProcess) -> None:
    for attempt in (book.new(), book.new()):
        with Caller(server.port) as caller:
            attempt.make(caller)
        assert attempt.outcome is Outcome.FAILED
