"""Records as text: a table for spreadsheets and importers, or JSON lines for programs."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import msgspec

from cartwheel.exports.formats import Format
from cartwheel.exports.records import Record, Value

BLOCK = 1 << 16
"""About so many bytes are handed over at a time."""

MARK = b"\xef\xbb\xbf"
"""By this a spreadsheet knows that a table is UTF-8."""

_FORMULA = re.compile(r"[=+\-@\t\r]")
_FIGURES = re.compile(r"[+-]?[\d\s().,/-]*", re.ASCII)
"""Numbers and telephone numbers begin like formulas, and can do nothing."""


def written(records: Iterable[Record], columns: Sequence[str], form: Format, *, raw: bool = False) -> Iterator[bytes]:
    """The first block is there at once, so that whoever waits sees whether anything goes wrong."""
    blocks = _table(records, columns, raw=raw) if form is Format.CSV else _lines(records)
    yield from _in_blocks(blocks)


def _in_blocks(parts: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for part in parts:
        waiting += part
        if len(waiting) >= BLOCK:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


def _lines(records: Iterable[Record]) -> Iterator[bytes]:
    encoder = msgspec.json.Encoder()
    for record in records:
        yield encoder.encode(record) + b"\n"


def _table(records: Iterable[Record], columns: Sequence[str], *, raw: bool) -> Iterator[bytes]:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for record in records:
        cells = [_cell(record[name]) for name in columns]
        writer.writerow(cells if raw else map(harmless, cells))
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()
    yield out.getvalue().encode()


def _cell(value: Value) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, int):
        return str(value)
    return joined(value)


def joined(names: Sequence[str]) -> str:
    """Several names in one cell, with semicolons between them; one within a name stands behind a backslash."""
    return ";".join(name.replace("\\", "\\\\").replace(";", "\\;") for name in names)


def harmless(cell: str) -> str:
    """What a spreadsheet would work out, with an apostrophe before it; and what begins with one, so that it can be told."""
    if cell.startswith("'") or (_FORMULA.match(cell) and not _FIGURES.fullmatch(cell)):
        return f"'{cell}"
    return cell
