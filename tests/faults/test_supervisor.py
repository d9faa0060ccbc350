"""`CARTWHEEL_PROCESSES`: several processes behind one socket, and what happens when one of them fails."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import invariants
import pytest
from callers import Book, Load
from realserver import ServerProcess, listens, make_account, serving

from conftest import Databases
from waiting import wait_until


@pytest.fixture
def url(databases: Databases) -> str:
    made = databases.migrated("postgresql")
    make_account(made)
    return made


@pytest.fixture
def server(url: str, tmp_path: Path) -> Iterator[ServerProcess]:
    with serving(url, tmp_path, {"CARTWHEEL_PROCESSES": "2"}, forked=False) as running:
        wait_until(lambda: len(workers(running)) == 2, "both processes are there")
        try:
            yield running
        finally:
            for worker in workers(running):
                os.kill(worker, signal.SIGKILL)


def workers(server: ServerProcess) -> list[int]:
    """The processes that serve; beside them runs Python's resource tracker."""
    columns = ["-o", "ppid=", "-o", "pid=", "-o", "stat=", "-o", "command="]
    shown = subprocess.run(["ps", "-A", "-ww", *columns], capture_output=True, text=True, check=True)
    lines = [line.split(maxsplit=3) for line in shown.stdout.splitlines()]
    own = [line for line in lines if line[0] == str(server.process.pid) and not line[2].startswith("Z")]
    return [int(line[1]) for line in own if "resource_tracker" not in line[3]]


def test_a_killed_process_is_replaced_and_loses_nothing(url: str, server: ServerProcess) -> None:
    book = Book()
    book.fill_pool(server.port)
    load = Load(book, server.port, seed="replaced", patient=True)
    for _ in range(3):
        load.wait_for(50)
        kill_one(server)
    load.wait_for(100)
    load.stop()
    assert not load.failed
    invariants.check(url, book)


def kill_one(server: ServerProcess) -> None:
    victim = workers(server)[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(set(workers(server)) - {victim}) == 2, "there are two processes again")


def test_all_processes_stop_with_their_calls_answered(url: str, server: ServerProcess) -> None:
    book = Book()
    book.fill_pool(server.port)
    load = Load(book, server.port, seed="stop")
    load.wait_for(150)
    assert server.stop() == 0, server.log
    load.join()
    invariants.check(url, book, failed_did_nothing=True, unanswered_did_nothing=True)


def test_no_process_outlives_a_killed_supervisor(server: ServerProcess) -> None:
    """It would keep the port, and answer with yesterday's program."""
    orphans = workers(server)
    server.kill()
    try:
        wait_until(lambda: not listens(server.port), "nobody listens any more")
    finally:
        for orphan in orphans:
            with suppress(ProcessLookupError):
                os.kill(orphan, signal.SIGKILL)
