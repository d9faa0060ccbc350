"""How long the command line, the pages and the housekeeping wait for PostgreSQL."""

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa

from cartwheel.data import db
from cartwheel.data.db import Database
from cartwheel.data.lanes import PATIENCE
from cartwheel.errors import Unavailable
from conftest import Databases


@pytest.fixture
def url(databases: Databases) -> str:
    return databases.new("postgresql")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    yield opened
    opened.close()


def test_no_statement_and_no_lock_is_waited_for_without_end(database: Database) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "synchronous_commit")
    with database.read() as connection:
        settings = [connection.execute(sa.text(f"SHOW {name}")).scalar_one() for name in names]
    assert settings == ["5min", "30s", "20s", "on"]


def test_a_server_that_vanished_without_a_word_is_noticed(database: Database) -> None:
    with database.read() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        used = driver.info.get_parameters()
    bounds = {name: str(value) for name, value in PATIENCE.items() if name != "options"}
    assert bounds.keys() >= {"connect_timeout", "tcp_user_timeout", "keepalives_idle"}
    assert {name: used[name] for name in bounds} == bounds


def test_who_waits_too_long_for_a_lock_is_told_in_one_line(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "_COLD_OPTIONS", "-c lock_timeout=50")
    impatient = Database(url)
    impatient.migrate()
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE accounts")
        with pytest.raises(Unavailable, match=r"^canceling statement due to lock timeout$"), impatient.read() as mine:
            mine.execute(sa.text("SELECT * FROM accounts"))
    impatient.close()
