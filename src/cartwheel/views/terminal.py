"""What people see in a terminal; the same as plain text where the output goes elsewhere."""

import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from cartwheel.config import Found

JSON_WIDTH = 110
"""JSON wider than this is broken into lines."""

PLAIN_WIDTH = 160
"""How wide text may get that no terminal wraps."""


def console() -> Console:
    """For standard output, as it is at the moment."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def show(*lines: Text) -> None:
    """Each on a line of its own; a long one is the terminal's business, so that it can be copied as it is."""
    out = console()
    for line in lines:
        out.print(line, soft_wrap=True)


def show_json(data: Any) -> None:
    """On one line, for programs; indented where a person looks at it."""
    sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None) + "\n")


def compact_json(value: Any, width: int = JSON_WIDTH, indent: str = "", before: int = 0) -> str:
    """JSON on one line if it fits there, `before` characters from its indent; else broken where it is outermost."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent) + before + len(flat) <= width or not value or not isinstance(value, dict | list):
        return flat
    inner = indent + "  "
    if isinstance(value, list):
        parts = [compact_json(entry, width, inner) for entry in value]
    else:
        parts = [f'"{name}": {compact_json(entry, width, inner, len(name) + 4)}' for name, entry in value.items()]
    opening, closing = "[]" if isinstance(value, list) else "{}"
    return f"{opening}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{closing}"


def plain(text: object, style: str = "") -> Text:
    """A text that somebody else has written: nothing in it may move the cursor or change colours."""
    return Text("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text)), style)


def columns(rows: Iterable[Sequence[Text]]) -> list[Text]:
    """Lines whose cells stand below each other."""
    rows = list(rows)
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        line = Text()
        for cell, width in zip(row, widths, strict=True):
            line.append_text(cell).append(" " * (width - cell.cell_len + 2))
        line.rstrip()
        lines.append(line)
    return lines


def pairs(rows: Iterable[tuple[str, object]]) -> list[Text]:
    return columns((Text(name, "dim"), plain(value)) for name, value in rows)


def indented(lines: Iterable[Text]) -> Iterator[Text]:
    return (Text.assemble("  ", line) if line else line for line in lines)


# -- settings --


def settings(found: Sequence[Found], unknown: Sequence[str]) -> Iterator[Text]:
    """Each with its value and where that comes from, and below it what it is for."""
    width = console().width - len(_MARGIN)
    rows = columns((Text(entry.variable, "bold"), _value(entry), Text(_source(entry), "dim")) for entry in found)
    for entry, row in zip(found, rows, strict=True):
        yield row
        for line in textwrap.wrap(entry.row.help, width, break_long_words=False, break_on_hyphens=False):
            yield Text(_MARGIN + line, "dim")
    for name in unknown:
        yield Text()
        yield plain(f"{name} is set, and is no setting.", "bold red")


_MARGIN = "    "


def _value(entry: Found) -> Text:
    return plain(entry.shown) if entry.shown else Text("(empty)", "dim")


def _source(entry: Found) -> str:
    return "environment" if entry.source == entry.variable else entry.source
