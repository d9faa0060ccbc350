"""A file is taken in: read once, whatever it is written in, and kept as rows until they are imported."""

import os
from datetime import datetime
from typing import BinaryIO

import msgspec

from cartwheel.data import importstore
from cartwheel.data.db import Database
from cartwheel.imports.dialects import BadFile
from cartwheel.imports.sheets import IN_A_SLICE, LARGEST_FILE, Sheet

AT_ONCE = 8 << 20
"""Bytes that are written in one transaction."""


def keep(
    database: Database,
    account_id: int,
    user_id: int | None,
    name: str,
    file: BinaryIO,
    now: datetime,
    in_a_slice: int = IN_A_SLICE,
    /,
    **how: str,
) -> int:
    """The number of a new import of this file; `how` is what `Sheet` takes. Raises `BadFile`, and then nothing is kept."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size > LARGEST_FILE:
        raise BadFile(f"the file has {size >> 20:,} MB; {LARGEST_FILE >> 20} at most are read")
    sheet = Sheet(file, **how)
    try:
        return _keep(database, account_id, user_id, name, sheet, now, in_a_slice)
    finally:
        sheet.close()


def _keep(
    database: Database, account_id: int, user_id: int | None, name: str, sheet: Sheet, now: datetime, in_a_slice: int
) -> int:
    told = {
        "dialect": sheet.dialect.told,
        "columns": msgspec.json.encode(sheet.columns).decode(),
        "samples": msgspec.json.encode([_shown(line.cells) for line in sheet.samples]).decode(),
    }
    with database.write() as connection:
        number = importstore.begin(connection, account_id, user_id, name[:200], now, **told)
    try:
        slices, rows = _keep_slices(database, account_id, number, sheet, in_a_slice)
    except BadFile:
        with database.write() as connection:
            importstore.drop(connection, account_id, number)
        raise
    with database.write() as connection:
        importstore.change(connection, account_id, number, slices=slices, rows=rows)
    return number


def _shown(cells: list[str]) -> list[str]:
    return [cell[:100].replace("\0", "") for cell in cells]


def _keep_slices(database: Database, account_id: int, number: int, sheet: Sheet, in_a_slice: int) -> tuple[int, int]:
    """How many slices and rows there are."""
    packed: list[bytes] = []
    size = first = rows = 0
    for lines in sheet.slices(in_a_slice):
        packed.append(importstore.pack(lines))
        size += len(packed[-1])
        rows += len(lines)
        if size > AT_ONCE:
            _put(database, account_id, number, first, packed)
            first, packed, size = first + len(packed), [], 0
    _put(database, account_id, number, first, packed)
    return first + len(packed), rows


def _put(database: Database, account_id: int, number: int, first: int, packed: list[bytes]) -> None:
    if packed:
        with database.write() as connection:
            importstore.put_slices(connection, account_id, number, first, packed)
