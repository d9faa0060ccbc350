"""The tables that the migrations make are the tables that the code speaks of, on both engines."""

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cartwheel import migrations, schema
from cartwheel.db import Database, migration_names
from cartwheel.errors import BadSetting, Unavailable
from conftest import Databases


def described(engine: sa.Engine) -> dict[str, Any]:
    """Columns, keys and indexes of every table, as the database tells them."""
    inspector = sa.inspect(engine)
    return {
        table: {
            "columns": [
                (column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)
            ],
            "key": inspector.get_pk_constraint(table)["constrained_columns"],
            "indexes": sorted(
                (index["name"], index["column_names"], bool(index["unique"])) for index in inspector.get_indexes(table)
            ),
        }
        for table in inspector.get_table_names()
        if table != "migrations"
    }


def test_the_newest_database_is_the_schema(databases: Databases, engine: str) -> None:
    migrated, plain = Database(databases.new(engine)), Database(databases.new(engine))
    migrated.migrate()
    if plain.file:
        plain.file.create()
    if plain.file:
        plain.file.create()
    schema.metadata.create_all(plain.engine)
    assert described(migrated.engine) == described(plain.engine)
    migrated.close()
    plain.close()


def test_each_migration_runs_once_however_many_processes_start(databases: Databases, engine: str) -> None:
    url = databases.new(engine)
    ran: list[list[str]] = []

    def start() -> None:
        database = Database(url)
        ran.append(database.migrate())
        database.close()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ran) == [[], [], [], migration_names()]


def test_a_sqlite_database_is_copied_before_it_is_changed(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database = Database(databases.new("sqlite"))
    database.migrate()
    (tmp_path / "9999_more.py").write_text(
        "import sqlalchemy as sa\ndef up(tx):\n    tx.execute(sa.text('CREATE TABLE more (x BIGINT)'))\n"
    )
    monkeypatch.setattr(migrations, "__path__", [*migrations.__path__, str(tmp_path)])
    assert database.migrate() == ["9999_more"]
    assert "more" in sa.inspect(database.engine).get_table_names()
    with sqlite3.connect(f"{database.path}.before-9999_more") as copy:
        tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master")}
    copy.close()
    assert "leads" in tables
    assert "more" not in tables
    database.close()


def test_a_migration_that_fails_changes_nothing(
    databases: Databases, engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database = Database(databases.new(engine))
    database.migrate()
    lines = "import sqlalchemy as sa\ndef up(tx):\n    tx.execute(sa.text('CREATE TABLE half (x BIGINT)'))\n    raise ValueError('half')\n"
    (tmp_path / "9998_half.py").write_text(lines)
    monkeypatch.setattr(migrations, "__path__", [*migrations.__path__, str(tmp_path)])
    with pytest.raises(ValueError, match="half"):
        database.migrate()
    assert "half" not in sa.inspect(database.engine).get_table_names()
    database.close()


@pytest.mark.parametrize(
    "url", ["", "sqlite://", "sqlite:///", "mysql://x/y", "cartwheel.db", "sqlite:////no/such/folder/x.db"]
)
def test_a_database_that_cannot_be_is_told_in_one_line(url: str) -> None:
    with pytest.raises(BadSetting, match=r"^CARTWHEEL_DATABASE"):
        Database(url)


def test_a_file_that_is_no_database_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"a letter to a friend, of some length, so that it could be one" * 20)
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    with pytest.raises(Unavailable, match="not a database"):
        database.migrate()
    database.close()


def test_a_server_that_is_away_is_told_in_one_line() -> None:
    database = Database("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(Unavailable, match=r"^[^\n]+$"):
        database.migrate()
    database.close()
