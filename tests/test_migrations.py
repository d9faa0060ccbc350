"""The tables that the migrations make are the tables that the code speaks of, on both engines."""

import importlib
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine.interfaces import ReflectedIndex

from cartwheel.data import db, migrations, schema
from cartwheel.data.db import Database, migration_names
from cartwheel.errors import BadSetting, Unavailable
from conftest import Databases
from migrationfiles import add_migration


def described(engine: sa.Engine) -> dict[str, Any]:
    """Columns, keys and indexes of every table, as the database tells them."""
    return tables(sa.inspect(engine))


def tables(inspector: sa.Inspector) -> dict[str, Any]:
    return {
        table: {
            "columns": [
                (column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)
            ],
            "key": inspector.get_pk_constraint(table)["constrained_columns"],
            "indexes": sorted(
                (index["name"], index["column_names"], bool(index["unique"]), condition(index))
                for index in inspector.get_indexes(table)
            ),
        }
        for table in inspector.get_table_names()
        if table != "migrations"
    }


def condition(index: ReflectedIndex) -> str:
    """Which rows an index holds; empty for all."""
    options = index.get("dialect_options", {})
    wheres = [str(value) for name, value in options.items() if name.endswith("_where")]
    return " ".join(wheres).replace("(", "").replace(")", "").lower()


def test_the_newest_database_is_the_schema(databases: Databases, engine: str) -> None:
    migrated, plain = Database(databases.new(engine)), Database(databases.new(engine))
    migrated.migrate()
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


def tables_of(path: str) -> set[str]:
    """What a connection of its own sees in a SQLite file."""
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def tables_in_pool(database: Database) -> set[str]:
    """What the connection sees that the migrations ran in, and that others will get."""
    return set(sa.inspect(database.engine).get_table_names())


def test_who_had_left_by_themselves_is_known_after_the_migration(databases: Databases, engine: str) -> None:
    database = Database(databases.new(engine))
    database.migrate()
    of = {"account_id": 1, "sequence_id": 1, "step": "1", "started_at": 1, "latest": True, "version": 1, "moves": 0}
    of |= {"status": "unsubscribed", "reason": "", "earlier": "[]", "left_run": 1}
    who = enumerate(["lead", "report", "app:1/1"], 1)
    with database.write() as connection:
        for lead_id, origin in who:
            at = {"account_id": 1, "lead_id": lead_id, "at": 5, "origin": origin, "details": "{}"}
            kinds = [{**at, "id": number, "kind": kind} for number, kind in enumerate(("sequence_left", "list_left"))]
            connection.execute(sa.insert(schema.events), kinds)
            run = {**of, "lead_id": lead_id, "id": 1, "ended_at": 5, "left_by_lead": False}
            connection.execute(sa.insert(schema.enrolments).values(run))
            place = {"account_id": 1, "lead_id": lead_id, "list_id": 1, "joined_at": 1, "left_at": 5}
            connection.execute(sa.insert(schema.lead_lists).values(**place, left_by_lead=False))
        for name in ("enrolments", "lead_lists"):
            connection.execute(sa.text(f"ALTER TABLE {name} DROP COLUMN left_by_lead"))
        importlib.import_module("cartwheel.data.migrations.0010_left_by_lead").up(connection)
        for table in (schema.enrolments, schema.lead_lists):
            rows = connection.execute(sa.select(table.c.left_by_lead).order_by(table.c.lead_id))
            assert list(rows.scalars()) == [True, True, False]
    database.close()


def test_a_sqlite_database_is_copied_before_it_is_changed(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database = Database(databases.new("sqlite"))
    database.migrate()
    before = tables_of(str(database.path))
    add_migration(monkeypatch, tmp_path, "9999_more", "tx.execute(sa.text('CREATE TABLE more (x BIGINT)'))")
    assert database.migrate() == ["9999_more"]
    assert (tables_of(str(database.path)) - before, tables_in_pool(database) - before) == ({"more"}, {"more"})
    assert tables_of(f"{database.path}.before-9999_more") == before
    for path in (str(database.path), f"{database.path}.before-9999_more"):
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600, "all leads are in it"
    database.close()


def test_a_migration_that_fails_changes_nothing(
    databases: Databases, engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database = Database(databases.new(engine))
    database.migrate()
    create_half = "tx.execute(sa.text('CREATE TABLE half (x BIGINT)'))"
    add_migration(monkeypatch, tmp_path, "9998_half", create_half, "raise ValueError('half')")
    with pytest.raises(ValueError, match="half"):
        database.migrate()
    assert "half" not in tables_in_pool(database)
    database.close()


def test_a_migration_takes_the_time_that_it_needs(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only for a lock it does not wait for ever: whoever comes after it would have to wait as well."""
    database = Database(databases.new("postgresql"))
    add_migration(
        monkeypatch,
        tmp_path,
        "9997_patience",
        "tx.execute(sa.text('CREATE TABLE patience (statement TEXT, lock TEXT)'))",
        'tx.execute(sa.text("INSERT INTO patience VALUES '
        "(current_setting('statement_timeout'), current_setting('lock_timeout'))\"))",
    )
    database.migrate()
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT * FROM patience")).all() == [("0", "30s")]
    database.close()


def test_erasure_finds_what_older_versions_wrote_of_a_lead(databases: Databases, engine: str) -> None:
    database = Database(databases.new(engine))
    if database.file:
        database.file.create()
    told = '{"status":"Success","lead_details":{"id":"7","email":"ada@shop.example"}}'
    made = '{"status":"Success","actions":[{"create_lead":{"lead_details":{"id":"7"}}}]}'
    with database.write() as connection:
        for name in migration_names():
            if name == "0006_erasure":
                for sql in (
                    f"INSERT INTO leads SELECT {', '.join(_filled(connection, 'leads', id=7, email=ADA))}",
                    f"INSERT INTO mails SELECT {', '.join(_filled(connection, 'mails', lead_id=7, address=OLD))}",
                    *(
                        f"INSERT INTO suppressions VALUES (1, '{email}', '', 0, '', 0)"
                        for email in (ADA, OLD, "x@x.example")
                    ),
                    f"INSERT INTO idempotent_calls VALUES (1, 'app', 'told', '', '{told}', 0)",
                    f"INSERT INTO idempotent_calls VALUES (1, 'app', 'made', '', '{made}', 0)",
                ):
                    connection.exec_driver_sql(sql)
            importlib.import_module(f"{migrations.__name__}.{name}").up(connection)
        suppressions = connection.execute(sa.select(schema.suppressions.c.email, schema.suppressions.c.lead)).all()
        answers = sa.select(schema.idempotent_calls.c.idempotency_key, schema.idempotent_calls.c.lead)
        assert dict(map(tuple, suppressions)) == {ADA: 7, OLD: 7, "x@x.example": None}
        assert dict(map(tuple, connection.execute(answers).all())) == {"told": 7, "made": None}
    database.close()


ADA, OLD = "ada@shop.example", "old@shop.example"


def test_leads_that_there_were_are_found_without_accents(
    databases: Databases, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(databases.new(engine))
    with monkeypatch.context() as before:
        before.setattr(db, "migration_names", lambda: [name for name in migration_names() if name < "0026"])
        database.migrate()
    people = [(ADA, "JOSÉ", "Müller"), ("özlem@shop.example", "", "Łoś"), ("x@shop.example", "", "")]
    with database.write() as connection:
        for number, (email, first, last) in enumerate(people, 1):
            values = {"id": number, "email": email, "first_name": first, "last_name": last}
            row = _filled(connection, "leads", **values)
            connection.exec_driver_sql(f"INSERT INTO leads SELECT {', '.join(row)}")
    database.migrate()
    with database.read() as connection:
        keys = connection.execute(sa.text("SELECT email_key, first_key, last_key FROM leads ORDER BY id")).all()
    assert list(map(tuple, keys)) == [("", "jose", "muller"), ("ozlem@shop.example", "", "los"), ("", "", "")]
    database.close()


def _filled(connection: sa.Connection, table: str, **values: object) -> list[str]:
    """A row of account 1 in a table as it is now: these values, and something in the other columns."""
    row = []
    for column in sa.inspect(connection).get_columns(table):
        kind, name = str(column["type"]), str(column["name"])
        value = values.get(name, 1 if name == "account_id" else 0)
        row.append(
            f"CAST('{value}' AS {kind})" if kind == "TEXT" or name in values else f"CAST({int(bool(value))} AS {kind})"
        )
    return row


def test_what_waited_by_its_words_waits_by_its_columns(
    databases: Databases, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(databases.new(engine))
    with monkeypatch.context() as before:
        before.setattr(db, "migration_names", lambda: [name for name in migration_names() if name < "0007"])
        database.migrate()
    run = "(1, {0}, 1, 1, '1', '{1}', 5, NULL, TRUE, 1, NULL, {2}, 0, '{3}', '[]', -1)"
    mail = "(1, 1, {0}, {0}, 0, 1, 1, '1', '{1}', 5, {2}, 1, {3}, '', '', '{4}', NULL, NULL, NULL, NULL, NULL)"
    runs = [
        (1, "active", "NULL", "the sequence is paused"),
        (2, "active", "9", "its time"),
        (3, "parked", "NULL", "the sequence is paused"),
    ]
    owner, own = "an owner has to see to it: no sender", "Cartwheel failed: ZeroDivisionError"
    rows = [
        (1, "queued", 9, 0, owner),
        (2, "queued", 9, 0, own),
        (3, "queued", 9, 2, "450 busy"),
        (4, "queued", 9, 0, "waits for its turn"),
        (5, "failed", "NULL", 3, owner),
    ]
    with database.write() as connection:
        for table, values in (
            ("enrolments", [run.format(*row) for row in runs]),
            ("mails", [mail.format(*row) for row in rows]),
        ):
            connection.execute(sa.text(f"INSERT INTO {table} VALUES {', '.join(values)}"))
    database.migrate()
    with database.read() as connection:
        held = connection.execute(sa.text("SELECT held, reason FROM enrolments ORDER BY lead_id")).all()
        waits = connection.execute(sa.text("SELECT waits_for, reply, trouble_since FROM mails ORDER BY id")).all()
    assert [(bool(on), why) for on, why in held] == [(True, ""), (False, "its time"), (False, "the sequence is paused")]
    assert [tuple(row) for row in waits] == [
        ("owner", "no sender", None),
        ("", own, 5),
        ("", "450 busy", 5),
        ("", "waits for its turn", None),
        ("", owner, None),
    ]
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
