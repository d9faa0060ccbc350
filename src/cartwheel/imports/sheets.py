"""Reading a file with a table of leads, whoever wrote it: row by row, in bounded memory, however large or hostile it is."""

import codecs
import csv
import io
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from cartwheel.emails import looks_like_email
from cartwheel.imports.dialects import SAMPLE, BadFile, dialect_of, encoding_of

MOST_COLUMNS = 500
LONGEST_CELL = 100_000
LONGEST_LINE = 1 << 20
LARGEST_FILE = 512 << 20
"""Bytes."""

IN_A_SLICE = 500
"""Rows that are imported in one transaction: SQLite's one writer is kept for some 30 ms."""

SAMPLES = 5

REFUSED_COLUMNS = ["Line", "Refused because"]
"""The last columns of our own files of refused rows."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What begins so, spreadsheets may run. In our own files an apostrophe stands before it, which is taken off again."""

BROKEN = "\ufffd"
"""What stands where bytes could not be read."""


class Line(NamedTuple):
    """A row of the file: `number` is the line that it ends on; `trouble` says why it cannot be read, if so."""

    number: int
    cells: list[str]
    trouble: str = ""


class Sheet:
    """An open table: its dialect, its columns' names, and, once, its rows. Raises `BadFile`."""

    def __init__(self, file: BinaryIO, *, encoding: str = "", delimiter: str = "") -> None:
        beginning = file.read(SAMPLE)
        if not beginning.strip():
            raise BadFile("the file is empty")
        if encoding:
            _check_encoding(encoding)
        else:
            encoding = encoding_of(beginning, **_as_utf8(file, beginning))
        file.seek(0)
        text = io.TextIOWrapper(file, encoding, errors="replace", newline="")
        sample = text.read(SAMPLE)
        text.detach()
        self.dialect = dialect_of(sample, encoding)
        if delimiter:
            self.dialect = self.dialect._replace(delimiter=delimiter)
        file.seek(0)
        self._text = io.TextIOWrapper(file, encoding, errors="replace", newline="")
        try:
            self._look()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """The file stays open: it is somebody else's."""
        self._text.detach()

    def _look(self) -> None:
        self._rows = self._read()
        self._ours = False
        self.columns, self._first = self._head()
        self._ours = self.columns[-len(REFUSED_COLUMNS) :] == REFUSED_COLUMNS
        self.samples = self._peek()

    def slices(self, rows: int = IN_A_SLICE) -> Iterator[list[Line]]:
        """All rows, so many at a time, and no fewer than there are samples."""
        some: list[Line] = [*self.samples]
        for line in self._rows:
            some.append(line)
            if len(some) >= rows:
                yield some
                some = []
        if some:
            yield some

    def _head(self) -> tuple[list[str], list[Line]]:
        """The names of the columns; of a file without, numbers, and the first row is one of the others."""
        first = next(self._rows, None)
        if first is None:
            raise BadFile("the file is empty")
        if first.trouble:
            raise BadFile(f"the first line cannot be read: {first.trouble}")
        if len(first.cells) > MOST_COLUMNS:
            raise BadFile(f"the file has {len(first.cells):,} columns; {MOST_COLUMNS} at most are read")
        if any(map(looks_like_email, first.cells)):
            return [f"Column {number}" for number in range(1, len(first.cells) + 1)], [first]
        return [cell.strip()[:200] for cell in first.cells], []

    def _peek(self) -> list[Line]:
        lines = [*self._first]
        for line in self._rows:
            lines.append(line)
            if len(lines) >= SAMPLES:
                break
        if not lines:
            raise BadFile("the file has names of columns, but no rows")
        return lines

    def _read(self) -> Iterator[Line]:
        csv.field_size_limit(LONGEST_CELL)
        reader = self.dialect.reader(_lines(self._text))
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as trouble:
                told = f"a cell is longer than {LONGEST_CELL:,} characters" if "limit" in str(trouble) else str(trouble)
                yield Line(reader.line_num, [], told)
                continue
            if self._ours:
                row = [cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell for cell in row]
            if any(row):
                yield Line(reader.line_num, row)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    number = 0
    while line := text.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith(("\n", "\r")):
            raise BadFile(f"line {number:,} is longer than {LONGEST_LINE:,} characters: this is no table")
        yield line


def _as_utf8(file: BinaryIO, beginning: bytes) -> dict[str, Any]:
    """Whether all of it is UTF-8; if not, how many characters beyond ASCII of its beginning are, and are not."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    file.seek(0)
    try:
        while piece := file.read(1 << 20):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        pass
    else:
        return {"is_utf8": True, "broken": 0, "good": 0}
    beyond = [sign for sign in beginning.decode("utf-8", "replace") if not sign.isascii()]
    broken = beyond.count(BROKEN)
    return {"is_utf8": False, "broken": broken, "good": len(beyond) - broken}


def _check_encoding(name: str) -> None:
    try:
        codecs.lookup(name)
        "".encode(name)
    except (LookupError, ValueError, TypeError):
        raise BadFile(f"there is no text encoding {name}") from None
