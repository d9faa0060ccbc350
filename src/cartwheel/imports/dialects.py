"""What a text file with a table in it is written in: its encoding, and what stands between and around its cells. Pure."""

import codecs
import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple, Protocol

from cartwheel.errors import CartwheelError


class BadFile(CartwheelError):
    """The file holds no table of leads."""


SAMPLE = 1 << 18
"""Bytes at its beginning by which a file is judged."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CODE_PAGES = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp932", "gb18030")
"""What is not Unicode is one of these, the likeliest first."""

_OTHER_FORMATS = {
    b"PK\x03\x04": "an Excel or ZIP file",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"%PDF": "a PDF file",
    b"\x1f\x8b": "a gzip file",
    b"SQLite format 3": "a database",
}
_FEW_BROKEN = 20
"""Broken bytes are taken for damage when there are so many times as many good characters beyond ASCII."""

_UNREADABLE = "\ufffd"


class Rows(Protocol):
    """Rows of cells, as `csv` reads them."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...
    def __next__(self) -> list[str]: ...


class Dialect(NamedTuple):
    r"""How cells are written. `escape` is the backslash of files that write `\"` for a quote; usually there is none."""

    encoding: str
    delimiter: str
    quote: str = '"'
    escape: str = ""

    @property
    def told(self) -> str:
        names = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}
        return f"{self.encoding}, {names.get(self.delimiter, self.delimiter)}"

    def reader(self, lines: Iterable[str]) -> "Rows":
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            escapechar=self.escape or None,
            doublequote=True,
            skipinitialspace=self.delimiter == ",",
        )


# -- the encoding --


def encoding_of(beginning: bytes, *, is_utf8: bool, broken: int, good: int) -> str:
    """Of a file that begins so, and has so many broken and good characters beyond ASCII if it is read as UTF-8.

    Raises `BadFile` for what is no text.
    """
    for mark, encoding in _MARKS:
        if beginning.startswith(mark):
            return encoding
    for mark, what in _OTHER_FORMATS.items():
        if beginning.startswith(mark):
            raise BadFile(f"this is {what}: please save the table as CSV first")
    wide = _without_mark(beginning)
    if wide:
        return wide
    if beginning.count(0) > len(beginning) // 100:
        raise BadFile("this is no text file")
    if is_utf8 or good > broken * _FEW_BROKEN:
        return "utf-8"
    return _code_page(beginning)


def _without_mark(beginning: bytes) -> str:
    """UTF-16 has a zero in every second byte of plain letters."""
    pairs = len(beginning) // 2
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if pairs and beginning[first::2].count(0) > pairs * 0.6 and beginning[1 - first :: 2].count(0) == 0:
            return encoding
    return ""


def _code_page(beginning: bytes) -> str:
    words = {word for word in re.split(rb"[\s,;|\"]+", beginning) if not word.isascii()}
    return min(_CODE_PAGES, key=lambda page: sum(_strangeness(word, page) for word in words))


def _strangeness(word: bytes, page: str) -> float:
    """How little a word looks like one of a language: signs for letters, capitals within, letters of two alphabets,
    and where an alphabet was misread as another, hardly one of the usual letters.
    """
    try:
        text = word.decode(page)
    except UnicodeDecodeError:
        return 1.0  # may have been cut off
    beyond = [sign for sign in text if not sign.isascii()]
    signs = sum(not unicodedata.category(sign).startswith("L") for sign in beyond)
    halves = sum("\uff61" <= sign <= "\uff9f" for sign in beyond)
    foreign = sum(not unicodedata.name(sign, "").startswith("LATIN") for sign in beyond)
    mixed = foreign and any(sign.isascii() and sign.isalpha() for sign in text)
    crowded = not foreign and len(text) > 2 and len(beyond) > len(text) * 0.6  # noqa: PLR2004 - of Latin letters, most are ASCII
    inner_capital = any(a.islower() and b.isupper() for a, b in pairwise(text))
    odd = (signs + halves + foreign * bool(mixed)) / len(beyond)
    return min(1.0, odd + 0.5 * inner_capital + 0.7 * crowded)


# -- what stands between the cells --

_DELIMITERS = (",", ";", "\t", "|")
_LINES_TRIED = 200


def dialect_of(text: str, encoding: str) -> Dialect:
    """Of a table that begins so: that by which its rows have the same number of cells, and many of them.

    A delimiter that is tried wrongly cuts cells in two here and there, or finds nothing to cut.
    """
    lines = text.splitlines(keepends=True)[:_LINES_TRIED]
    first = lines[0].lstrip() if lines else ""
    quote = "'" if first.startswith("'") else '"'
    escape = "\\" if f"\\{quote}" in text and f"\\{quote}{quote}" not in text else ""
    tried = [Dialect(encoding, delimiter, quote, escape) for delimiter in _DELIMITERS]
    return max(tried, key=lambda dialect: _evenness(dialect, lines))


def _evenness(dialect: Dialect, lines: list[str]) -> tuple[float, int]:
    try:
        widths = [len(row) for row in dialect.reader(lines) if row]
    except csv.Error:
        return (0.0, 0)
    if not widths or widths[0] == 1:
        return (0.0, 0)
    same = sum(width == widths[0] for width in widths) / len(widths)
    return (round(same, 1), widths[0])
