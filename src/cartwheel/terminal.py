"""What people see in a terminal; the same as plain text where the output goes elsewhere."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from cartwheel.doctor import Report
from cartwheel.leadcard import LeadCard
from cartwheel.leads import Gdpr, Grant

JSON_WIDTH = 110
"""JSON wider than this is broken into lines."""

PLAIN_WIDTH = 160
"""How wide a table may get that no terminal wraps."""


def console() -> Console:
    """For standard output, as it is at the moment."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def show(*parts: RenderableType) -> None:
    """Each on a line of its own; long lines are the terminal's business, tables fit themselves into it."""
    out = console()
    for part in parts:
        out.print(part, soft_wrap=isinstance(part, Text))


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


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """For long texts: each column is wrapped on its own."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for head in heads:
        shown.add_column(head, overflow="fold")
    for row in rows:
        shown.add_row(*(plain(cell) for cell in row))
    return shown


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


# -- a lead --


def card(lead_card: LeadCard) -> Iterator[Text]:
    """The lead's state, its ledger, and what happened to it."""
    lead = lead_card.lead
    head = Text.assemble(plain(lead.email, "bold"), "   score ", (f"{lead.score:,}", "bold"))
    if lead.deleted_at:
        head.append(f"   deleted {_time(lead_card, lead.deleted_at)}", "bold red")
    yield head
    known = (lead_card.name, f"id {lead.id}", lead_card.account.name, f"{lead_card.account.zone.key} time")
    yield plain(" · ".join(part for part in known if part), "dim")
    state = list(_state(lead_card))
    if state:
        yield Text()
        yield from pairs(state)
    if lead_card.ledger:
        yield Text()
        yield Text("Points", "bold")
        yield from indented(columns(_booking(lead_card, grant) for grant in lead_card.ledger))
    yield Text()
    yield Text("What happened", "bold")
    yield from indented(columns(_feed(lead_card)))


def _state(lead_card: LeadCard) -> Iterator[tuple[str, str]]:
    lead, account = lead_card.lead, lead_card.account
    for name, value in lead_card.fields().items():
        yield name.replace("_", " "), value
    if lead.notes:
        yield "notes", lead.notes
    if lead.blacklisted:
        yield "blacklisted", "yes"
    if lead.test:
        yield "test lead", "made by an App in test mode"
    if lead.consent.status is not Gdpr.OFF:
        yield "consent", lead.consent.status.name.lower().replace("_", " ")
    if lead.tags:
        yield "tags", ", ".join(lead_card.tags())
    for number, place in sorted(lead.lists.items()):
        left = f", left {_time(lead_card, place.left_at)}" if place.left_at else ""
        yield "list", f"{account.list_names[number]} since {_time(lead_card, place.joined_at)}{left}"
    for run in lead.runs.values():
        ended = f" {_time(lead_card, run.ended_at)}" if run.ended_at else ""
        name = account.sequence_names[run.sequence_id]
        yield "sequence", f"{name}, step {run.step}, {run.status}{ended}"


def _booking(lead_card: LeadCard, grant: Grant) -> tuple[Text, Text, Text]:
    until = f"until {_time(lead_card, grant.expires_at)}" if grant.expires_at else ""
    if grant.reversed_at:
        until = f"expired {_time(lead_card, grant.reversed_at)}"
    colour = "dim" if grant.reversed_at else "green" if grant.points > 0 else "red"
    width = max(len(f"{entry.points:+,}") for entry in lead_card.ledger)
    points = Text(f"{grant.points:>+{width},}", colour)
    return Text(_time(lead_card, grant.given_at), "dim"), points, Text(until, "dim")


def _feed(lead_card: LeadCard) -> Iterator[tuple[Text, Text, Text]]:
    """Oldest first, as it is told."""
    for entry in reversed(lead_card.feed):
        at = _time(lead_card, entry.at, "%Y-%m-%d %H:%M:%S")
        yield Text(at, "dim"), plain(entry.text), plain(entry.by, "dim")


def _time(lead_card: LeadCard, at: datetime, form: str = "%Y-%m-%d %H:%M") -> str:
    return at.astimezone(lead_card.account.zone).strftime(form)


# -- the doctor --


def report(found: Report) -> Iterator[Text]:
    """Each check, what is wrong, and counts."""
    for name in found.waiting:
        yield _verdict("WAITING", f"Migration {name} has not run: `cartwheel migrate` runs it.")
    for name in found.unknown:
        yield _verdict("UNKNOWN", f"Migration {name} is a newer Cartwheel's.")
    for result in found.results:
        yield _verdict(f"{result.found:,} FOUND" if result.found else "ok", result.promise)
        for example in result.examples:
            yield plain(f"             {', '.join(f'{name} {value}' for name, value in example.items())}", "dim")
        if result.found > len(result.examples):
            yield Text("             …", "dim")
    counts = ", ".join(f"{count:,} {name}" for name, count in found.counts.items())
    verdict = Text("All is well.", "bold green") if found.healthy else Text("Something is wrong.", "bold red")
    yield Text()
    yield Text.assemble(verdict, f" {counts}." if counts else "")


def _verdict(verdict: str, promise: str) -> Text:
    return Text.assemble((f"{verdict:>9}", "green" if verdict == "ok" else "bold red"), "  ", promise)
