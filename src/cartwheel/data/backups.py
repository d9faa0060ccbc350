"""Backups: the whole database at one moment in one file, in a form that both engines write and read.

The file is a ZIP: for each table `tables/NAME.jsonl` with a row a line, as a JSON array, and behind them `manifest.json`,
which says what all of it is, with the checksum of each. A file that was cut off has no directory, and is no ZIP any more.
Restoring checks the whole file first. Then it brings an empty database to the tables of the backup's time, fills them, and
runs the migrations that have come since, in one transaction or, on SQLite, in a file that gets its name at the end.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import msgspec
import sqlalchemy as sa

from cartwheel.data import bulkrows, schema
from cartwheel.data.db import Database, migration_names, run_migrations, take_as_long_as_it_takes
from cartwheel.errors import CartwheelError

FORMAT = 1
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 1 << 20
COMPRESSION = 2
"""Three quarters of what the best would save, in a fifth of its time."""

_KINDS: dict[type, str] = {
    sa.BigInteger: "number",
    sa.Integer: "number",
    sa.Boolean: "flag",
    sa.Text: "words",
    sa.LargeBinary: "bytes",
}
_TYPES: dict[str, Any] = {"number": int, "flag": bool, "words": str, "bytes": bytes}


class BadBackup(CartwheelError):
    """A file is no backup, or is broken, or this version cannot restore it."""


class NotEmpty(CartwheelError):
    """A backup is restored into an empty database only."""


class ColumnPart(msgspec.Struct, frozen=True):
    name: str
    kind: str
    null: bool


class TablePart(msgspec.Struct, frozen=True):
    columns: list[ColumnPart]
    rows: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """`settings` names those that were given where the backup was made; their values are not in it."""

    format: int
    cartwheel: str
    made_at: datetime
    engine: str
    migrations: list[str]
    settings: list[str]
    tables: dict[str, TablePart]

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.tables.values())


# -- writing --


def write(database: Database, file: IO[bytes], now: datetime, *, version: str, settings: Sequence[str]) -> Manifest:
    """Everything as it is at this moment; others go on working meanwhile."""
    ran, _ = database.migrations()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION) as archive:
        with database.snapshot() as connection:
            tables = {str(table.name): _write(connection, table, archive) for table in schema.metadata.sorted_tables}
        manifest = Manifest(FORMAT, version, now, database.name, ran, list(settings), tables)
        archive.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    return manifest


def _write(connection: sa.Connection, table: sa.Table, archive: zipfile.ZipFile) -> TablePart:
    digest, count, encoder = hashlib.sha256(), 0, msgspec.json.Encoder()
    with archive.open(_member(table.name), "w", force_zip64=True) as member:
        for row in bulkrows.read(connection, sa.select(table).order_by(*table.primary_key)):
            line = encoder.encode(tuple(row)) + b"\n"
            digest.update(line)
            member.write(line)
            count += 1
    columns = [ColumnPart(str(column.name), _KINDS[type(column.type)], bool(column.nullable)) for column in table.c]
    return TablePart(columns, count, digest.hexdigest())


def _member(table: str) -> str:
    return f"tables/{table}.jsonl"


# -- reading --


class Backup:
    """An open file, looked through already: it is whole."""

    def __init__(self, archive: zipfile.ZipFile, manifest: Manifest) -> None:
        self._archive = archive
        self.manifest = manifest

    def rows(self, table: str) -> Iterator[bulkrows.Row]:
        """Raises `BadBackup` for a row that does not fit its table."""
        columns = self.manifest.tables[table].columns
        types = [_TYPES[column.kind] | None if column.null else _TYPES[column.kind] for column in columns]
        decoder = msgspec.json.Decoder(tuple[*types])  # type: ignore[valid-type]
        with self._archive.open(_member(table)) as member:
            for line in member:
                try:
                    yield decoder.decode(line)
                except msgspec.DecodeError as error:
                    raise BadBackup(f"a row of {table} cannot be read: {error}") from error


@contextmanager
def opened(path: Path) -> Iterator[Backup]:
    """A backup whose every byte was looked at. Raises `BadBackup`."""
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise BadBackup(f"{path} cannot be read: {error.strerror}") from error
    except zipfile.BadZipFile:
        raise BadBackup(f"{path} is no backup of Cartwheel's, or was cut off") from None
    with closing(archive):
        try:
            manifest = _manifest(archive)
            for name, part in manifest.tables.items():
                _check(archive, name, part)
        except (
            zipfile.BadZipFile,
            KeyError,
            EOFError,
            OSError,
            zlib.error,
            NotImplementedError,
            RuntimeError,
        ) as error:
            raise BadBackup(f"{path} is broken: {error}") from error
        except BadBackup as error:
            raise BadBackup(f"{path}: {error}") from None
        yield Backup(archive, manifest)


def _manifest(archive: zipfile.ZipFile) -> Manifest:
    if MANIFEST not in archive.namelist() or archive.getinfo(MANIFEST).file_size > LARGEST_MANIFEST:
        raise BadBackup("it is no backup of Cartwheel's")
    text = archive.read(MANIFEST)
    try:
        form = msgspec.json.decode(text, type=dict[str, Any]).get("format")
        if form != FORMAT:
            raise BadBackup(f"it has the form {form}, and this version reads {FORMAT}: install a newer one")
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise BadBackup(f"it is no backup of Cartwheel's: {error}") from error
    unknown = set(manifest.migrations) - set(migration_names())
    if unknown:
        raise BadBackup(
            f"Cartwheel {manifest.cartwheel} has made it, and this version is older: it lacks {min(unknown)}"
        )
    if manifest.migrations != migration_names()[: len(manifest.migrations)]:
        raise BadBackup("its migrations are not those of this version")
    kinds = {column.kind for part in manifest.tables.values() for column in part.columns}
    if not kinds <= _TYPES.keys():
        raise BadBackup(f"there is no kind of column {min(kinds - _TYPES.keys())}")
    return manifest


def _check(archive: zipfile.ZipFile, name: str, part: TablePart) -> None:
    digest, rows = hashlib.sha256(), 0
    with archive.open(_member(name)) as member:
        while block := member.read(1 << 18):
            digest.update(block)
            rows += block.count(b"\n")
    if (digest.hexdigest(), rows) != (part.sha256, part.rows):
        raise BadBackup(f"the table {name} is not as it was written")


# -- restoring --


def restore(database: Database, backup: Backup) -> None:
    """Fill an empty database. Raises `NotEmpty`, `BadBackup`; then nothing was changed."""
    if database.path is None:
        with _refused(), database.write() as connection:
            _fill(connection, backup)
        return
    path = database.path
    if any(each.exists() and each.stat().st_size for each in (path, Path(f"{path}-wal"))):
        raise NotEmpty(f"there is a file {path} already: restore into a new one")
    unfinished = Path(f"{path}.unfinished")
    leftovers = [Path(f"{unfinished}{end}") for end in ("", "-wal", "-shm")]
    for each in leftovers:
        each.unlink(missing_ok=True)
    made = Database(f"sqlite:///{unfinished}")
    assert made.file is not None
    try:
        made.file.create()
        with _refused(), made.write() as connection:
            _fill(connection, backup)
        made.close()  # the last one to close it moves the log into the file
        unfinished.replace(path)
    finally:
        made.close()
        for each in leftovers:
            each.unlink(missing_ok=True)


@contextmanager
def _refused() -> Iterator[None]:
    """What the database does not take is told as what is wrong with the backup."""
    try:
        yield
    except bulkrows.DoesNotFit as error:
        raise BadBackup(f"the database does not take it: {error}") from error


def _fill(connection: sa.Connection, backup: Backup) -> None:
    if connection.dialect.name == "postgresql":
        take_as_long_as_it_takes(connection)
    if sa.inspect(connection).get_table_names():
        raise NotEmpty("the database has tables already: restore into an empty one")
    manifest = backup.manifest
    run_migrations(connection, manifest.migrations)
    inspector = sa.inspect(connection)
    made = set(inspector.get_table_names()) - {"migrations"}
    for name, part in manifest.tables.items():
        columns = [column.name for column in part.columns]
        if name not in made or {column["name"] for column in inspector.get_columns(name)} != set(columns):
            raise BadBackup(f"there is no such table {name} in this version")
        connection.execute(sa.delete(sa.table(name)))
        bulkrows.put(connection, name, columns, backup.rows(name))
    run_migrations(connection, migration_names())
