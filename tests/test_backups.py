"""A backup is the whole database at one moment, and what was restored from it is as good as what it was made of."""

import io
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cartwheel import times
from cartwheel.data import backups, doctor, schema
from cartwheel.data.db import Database, migration_names
from commandline import Cartwheel
from conftest import ENGINES, Databases
from harness import Api, Server
from livedin import live
from migrationfiles import add_migration


@contextmanager
def serving(url: str) -> Iterator[Server]:
    server = Server(url)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def lived_in(engine: str, databases: Databases) -> Iterator[Api]:
    """An account with everything, whose names nobody should trust. Its server is stopped, so that nothing changes."""
    with serving(databases.new(engine)) as server:
        api = live(server)
    yield api
    server.database.close()


@pytest.fixture
def new(databases: Databases) -> Callable[[str], str]:
    return databases.new


def content(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    with database.read() as connection:
        return {
            table.name: [
                dict(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()
            ]
            for table in schema.metadata.sorted_tables
        }


def write(database: Database) -> io.BytesIO:
    file = io.BytesIO()
    backups.write(database, file, times.now(), version="1", settings=[])
    return file


def restored(file: Path, url: str) -> Database:
    database = Database(url)
    try:
        with backups.opened(file) as backup:
            backups.restore(database, backup)
    except BaseException:
        database.close()
        raise
    return database


@pytest.mark.parametrize("onto", ENGINES)
def test_what_is_restored_is_the_same_on_either_engine(
    lived_in: Api, onto: str, new: Callable[[str], str], tmp_path: Path
) -> None:
    file = tmp_path / "backup.zip"
    file.write_bytes(write(lived_in.server.database).getvalue())
    database = restored(file, new(onto))
    assert content(database) == content(lived_in.server.database)
    assert doctor.examine(database, lived_in.server.clock()).healthy
    assert database.migrations() == (migration_names(), [])
    url = database.url
    database.close()
    with serving(url) as server:
        there = Api(server, lived_in.account_id, lived_in.app_id, lived_in.api_key)
        assert there.lead("lead7@shop.example")["score"] == 8
        fresh = there.create("fresh@shop.example")
        assert int(fresh) > max(row["id"] for row in lived_in.rows_of_leads()), "no number is given out twice"
        assert doctor.examine(server.database, server.clock()).healthy


def test_it_is_of_one_moment_while_others_write(
    own_server: Server, engine: str, new: Callable[[str], str], tmp_path: Path
) -> None:
    api = live(own_server)
    stopped = threading.Event()
    made: list[str] = []

    def work() -> None:
        while not stopped.is_set():
            made.append(api.create(f"busy{len(made)}@shop.example"))
            api.on(f"busy{len(made) - 1}@shop.example", "give_points_to_lead", points="3")

    writer = threading.Thread(target=work)
    writer.start()
    try:
        for number in range(3):
            file, before = tmp_path / f"{number}.zip", len(made)
            file.write_bytes(write(own_server.database).getvalue())
            database = restored(file, new(engine))
            assert doctor.examine(database, own_server.clock()).healthy
            found = {str(row["id"]) for row in content(database)["leads"]}
            assert found >= set(made[:before]), "what was answered before it began is in it"
            database.close()
    finally:
        stopped.set()
        writer.join()
    assert len(made) > 3


def test_the_command_line_makes_checks_and_restores_it(
    lived_in: Api,
    engine: str,
    new: Callable[[str], str],
    tmp_path: Path,
    cartwheel: Cartwheel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "Käse & \u202e.zip"
    monkeypatch.setenv("CARTWHEEL_DATABASE", lived_in.server.database.url)
    made = cartwheel("backup", file, "--json").json
    assert (made["engine"], made["rows"]["leads"]) == (engine, len(lived_in.rows_of_leads()))
    assert file.stat().st_mode & 0o777 == 0o600, "all leads are in it, and the keys"
    assert "already" in cartwheel("backup", file).trouble
    assert cartwheel("backup", file, "--replace").code == 0
    assert "whole" in cartwheel("restore", file, "--check").out
    monkeypatch.setenv("CARTWHEEL_DATABASE", new(engine))
    ran = cartwheel("restore", file)
    assert ran.code == 0
    assert "CARTWHEEL_DATABASE" in ran.err, "settings are not in it: their names are told"
    assert cartwheel("doctor").code == 0
    again = cartwheel("restore", file)
    assert (again.code, "empty" in again.trouble or "already" in again.trouble) == (1, True)


MANIFEST = "manifest.json"


def zipped(members: Mapping[str, bytes | None]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in members.items():
            if text is not None:
                archive.writestr(name, text)
    return file.getvalue()


def spoilt(whole: bytes) -> dict[str, bytes]:
    """What may have become of a file."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def again(name: str, text: bytes | None) -> bytes:
        return zipped({**members, name: text})

    manifest = members[MANIFEST]
    leads = members["tables/leads.jsonl"]
    middle = len(whole) // 2
    return {
        "empty": b"",
        "cut off": whole[:-100],
        "no zip": b"SQLite format 3\0" + bytes(1000),
        "another zip": zipped({"readme": b"hello"}),
        "bits turned": whole[:middle]
        + bytes(255 - byte for byte in whole[middle : middle + 40])
        + whole[middle + 40 :],
        "a row less": again("tables/leads.jsonl", leads.split(b"\n", 1)[1]),
        "a table less": again("tables/leads.jsonl", None),
        "a newer form": again(MANIFEST, manifest.replace(b'"format": 1', b'"format": 2')),
        "a newer version": again(MANIFEST, manifest.replace(b'"0001_start"', b'"9999_start"')),
        "no manifest's content": again(MANIFEST, b'{"format": 1}'),
        "another kind": again(MANIFEST, manifest.replace(b'"words"', b'"poems"')),
        "another table": again(MANIFEST, manifest.replace(b'"clicks"', b'"sqlite_master"')),
    }


@pytest.mark.parametrize("onto", ENGINES)
def test_a_broken_or_foreign_file_is_refused_and_changes_nothing(
    lived_in: Api, engine: str, onto: str, new: Callable[[str], str], tmp_path: Path
) -> None:
    if engine != onto:
        pytest.skip("one each is enough")
    url, file = new(onto), tmp_path / "backup.zip"
    for name, bytes_ in spoilt(write(lived_in.server.database).getvalue()).items():
        file.write_bytes(bytes_)
        with pytest.raises(backups.BadBackup):
            restored(file, url)
        untouched(url, name)


def untouched(url: str, name: str) -> None:
    database = Database(url)
    if database.path is not None:
        assert not list(database.path.parent.glob(f"{database.path.name}*")), name
        return
    with database.read() as connection:
        assert sa.inspect(connection).get_table_names() == [], name
    database.close()


def test_a_row_that_does_not_fit_is_refused_at_the_end_and_changes_nothing(
    lived_in: Api, engine: str, new: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checksum is right, so that it is only seen when most is in the database already."""
    file, url = tmp_path / "backup.zip", new(engine)
    file.write_bytes(write(lived_in.server.database).getvalue())
    rows = backups.Backup.rows

    def spoilt_rows(self: backups.Backup, table: str) -> Iterator[Any]:
        found = list(rows(self, table))
        yield from found
        if table == "tags":
            yield found[0]

    monkeypatch.setattr(backups.Backup, "rows", spoilt_rows)
    with pytest.raises(backups.BadBackup):
        restored(file, url)
    untouched(url, "twice the same row")


def test_a_database_that_is_in_use_is_left_alone(
    lived_in: Api, engine: str, new: Callable[[str], str], tmp_path: Path
) -> None:
    file, url = tmp_path / "backup.zip", new(engine)
    file.write_bytes(write(lived_in.server.database).getvalue())
    database = Database(url)
    database.migrate()
    before = content(database)
    with pytest.raises(backups.NotEmpty):
        restored(file, url)
    assert content(database) == before
    database.close()


def test_a_backup_of_an_older_version_is_brought_up_to_date(
    lived_in: Api, engine: str, new: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "backup.zip"
    file.write_bytes(write(lived_in.server.database).getvalue())
    add_migration(
        monkeypatch, tmp_path, "9999_more", "tx.execute(sa.text('CREATE TABLE more AS SELECT id FROM leads'))"
    )
    database = restored(file, new(engine))
    assert database.migrations()[0][-1] == "9999_more"
    with database.read() as connection:
        moved = connection.execute(sa.text("SELECT count(*) FROM more")).scalar_one()
        assert moved == connection.execute(sa.select(sa.func.count()).select_from(schema.leads)).scalar_one() > 0
    database.close()
