"""The real server as a process of its own, which tests kill, stop and starve; and an account to call it with."""

import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cartwheel import times
from cartwheel.accountfiles import accountfile
from cartwheel.cli.main import main
from cartwheel.data.db import Database
from waiting import wait_until

START_S = 90
STOP_S = 20

API_KEY = "the-key-of-the-faults"
API_PASSWORD = "the-password-of-the-faults"
OPEN_APP = "the-app-without-limit"
PACED_APP = "the-app-with-a-limit"
"""Its limit is far away, but each of its calls is counted."""

ACCOUNT = f"""
[account]
name = "Faults"
api_key = "{API_KEY}"
api_password = "{API_PASSWORD}"
[[apps]]
name = "Open"
app_id = "{OPEN_APP}"
rate_limit = 0
[[apps]]
name = "Paced"
app_id = "{PACED_APP}"
rate_limit = 100000
[[lists]]
name = "Newsletter"
[[tags]]
name = "Trial user"
[[tags]]
name = "Customer"
"""


def make_account(url: str, text: str = ACCOUNT) -> None:
    """Make the database, and the account in it what the file says."""
    database = Database(url)
    try:
        database.migrate()
        accountfile.apply(database, accountfile.read_text(text, Path()), times.now())
    finally:
        database.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- processes --


class Process(Protocol):
    """What the two ways to start one have in common."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float) -> int: ...
    def kill(self) -> None: ...
    def terminate(self) -> None: ...


class ForkedProcess:
    """The command line, forked from a process that has imported everything already, for tests that start it very often."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        work = (arguments, dict(environment), log)
        self._process = _FORKS.Process(target=_be_cartwheel, args=work)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        self.kill = self._process.kill
        self.terminate = self._process.terminate

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        assert code is not None, f"the server still runs after {timeout} s"
        return code


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "__main__",
        "cartwheel.app",
        "cartwheel.cli.main",
        "cartwheel.cli.accounts",
        "cartwheel.serving",
        "cartwheel.worker",
        "sqlalchemy.dialects.postgresql.psycopg",
        "typer._adapters",  # which typer imports when it reads its first argument
        "uvicorn.lifespan.on",
        "uvicorn.loops.uvloop",
        "uvicorn.protocols.http.httptools_impl",
    ]
)


def _be_cartwheel(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    stream = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    sys.argv = ["cartwheel", *arguments]
    main()


class ServerProcess:
    """`cartwheel serve` in a process of its own."""

    def __init__(
        self,
        url: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        port: int = 0,
        extra: Sequence[str] = (),
        forked: bool = False,
    ) -> None:
        self.url = url
        self.port = port or free_port()
        self._log = log
        arguments = ["serve", "--host", "127.0.0.1", "--port", str(self.port), *extra]
        whole = clean_environment(url) | dict(environment or {})
        self.process: Process
        if forked:
            self.process = ForkedProcess(arguments, whole, log)
        else:
            with log.open("ab") as stream:
                command = [sys.executable, "-m", "cartwheel", *arguments]
                self.process = subprocess.Popen(command, env=whole, stdout=stream, stderr=stream)

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def is_ready(self) -> bool:
        code = self.process.poll()
        assert code is None, f"the server ended with {code}:\n{self.log}"
        return healthy(self.port)

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.is_ready, "the server is ready", START_S)

    def kill(self) -> None:
        """As a power cut does it: nothing can be finished."""
        self.process.kill()
        self.process.wait(STOP_S)

    def stop(self) -> int:
        """As an operator does it; returns the exit code."""
        self.process.terminate()
        return self.process.wait(STOP_S)


def clean_environment(url: str) -> dict[str, str]:
    """This process's environment without its own settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CARTWHEEL_")}
    settings = {"CARTWHEEL_DATABASE": url, "CARTWHEEL_LOG_LEVEL": "warning", "CARTWHEEL_WORKER": "no"}
    return inherited | settings


@contextmanager
def serving(
    url: str,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    *,
    extra: Sequence[str] = (),
    forked: bool = True,
) -> Iterator[ServerProcess]:
    """A server that is ready. It is killed at the end, if it still runs."""
    server = ServerProcess(url, folder / "server.log", environment, extra=extra, forked=forked)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.kill()


def listens(port: int) -> bool:
    """Whether connections are accepted."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def healthy(port: int) -> bool:
    """Whether `/health` answers 200, and quickly."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(100).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


def cartwheel(url: str, *arguments: str) -> "Finished":
    """Run a command of the command line."""
    command = [sys.executable, "-m", "cartwheel", *arguments]
    done = subprocess.run(command, env=clean_environment(url), capture_output=True, text=True, timeout=60, check=False)
    return Finished(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str
