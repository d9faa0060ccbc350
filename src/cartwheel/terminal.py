"""What people see in a terminal; the same as plain text where the output goes elsewhere."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cartwheel.doctor import Report
from cartwheel.leadcard import LeadCard

PLAIN_WIDTH = 160
"""How wide lines may get that no terminal wraps."""


def console() -> Console:
    """For standard output, as it is at the moment."""
    return Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def show(*parts: RenderableType) -> None:
    console().print(*parts, sep="\n")


def show_json(data: Any) -> None:
    """On one line, for programs; indented where a person looks at it."""
    sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None) + "\n")


def plain(text: object, style: str = "") -> Text:
    """A text that somebody else has written: nothing in it may move the cursor or change colours."""
    return Text("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text)), style)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for head in heads:
        shown.add_column(head, overflow="fold")
    for row in rows:
        shown.add_row(*(cell if isinstance(cell, Text) else plain(cell) for cell in row))
    return shown


def _pairs(rows: Iterable[tuple[str, Text]]) -> Table:
    shown = Table.grid(padding=(0, 2))
    for name, value in rows:
        shown.add_row(Text(name, "dim"), value)
    return shown


# -- a lead --


def card(lead_card: LeadCard) -> list[RenderableType]:
    """The lead's state, its ledger, and what happened to it."""
    lead = lead_card.lead
    head = Text.assemble(plain(lead.email, "bold"), "   score ", (f"{lead.score:,}", "bold"))
    if lead.deleted_at:
        head.append(f"   deleted {_time(lead_card, lead.deleted_at)}", "bold red")
    who = f"{lead_card.name} · " if lead_card.name else ""
    where = f"{who}id {lead.id} · {lead_card.account.name} · {lead_card.account.zone.key} time"
    return [
        head,
        plain(where, "dim"),
        Text(),
        _pairs((name, plain(value)) for name, value in _state(lead_card)),
        *_ledger(lead_card),
        Text("\nWhat happened", "bold"),
        feed(lead_card),
    ]


def _state(lead_card: LeadCard) -> Iterable[tuple[str, str]]:
    lead, account = lead_card.lead, lead_card.account
    for name, value in lead_card.fields().items():
        yield name.replace("_", " "), value
    if lead.notes:
        yield "notes", lead.notes
    if lead.blacklisted:
        yield "blacklisted", "yes"
    if lead.test:
        yield "test lead", "made by an App in test mode"
    if lead.consent.status.value:
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


def _ledger(lead_card: LeadCard) -> list[RenderableType]:
    if not lead_card.ledger:
        return []
    rows = []
    for grant in lead_card.ledger:
        until = f"until {_time(lead_card, grant.expires_at)}" if grant.expires_at else ""
        if grant.reversed_at:
            until = f"expired {_time(lead_card, grant.reversed_at)}"
        colour = "dim" if grant.reversed_at else "green" if grant.points > 0 else "red"
        points = Text(f"{grant.points:+,}", colour, justify="right")
        rows.append((Text(_time(lead_card, grant.given_at), "dim"), points, Text(until, "dim")))
    return [Text("\nPoints", "bold"), _grid(rows)]


def feed(lead_card: LeadCard) -> RenderableType:
    """Oldest first, as it is told."""
    return _grid(
        (Text(_time(lead_card, entry.at, "%Y-%m-%d %H:%M:%S"), "dim"), plain(entry.text), plain(entry.by, "dim"))
        for entry in reversed(lead_card.feed)
    )


def _grid(rows: Iterable[Sequence[Text]]) -> RenderableType:
    shown = Table.grid(padding=(0, 2))
    for row in rows:
        shown.add_row(*row)
    return Padding(shown, (0, 0, 0, 2), expand=False)


def _time(lead_card: LeadCard, at: datetime, form: str = "%Y-%m-%d %H:%M") -> str:
    return at.astimezone(lead_card.account.zone).strftime(form)


# -- the doctor --


def report(found: Report) -> list[RenderableType]:
    """Counts, each check, and what is wrong."""
    lines: list[RenderableType] = []
    for name in found.waiting:
        lines.append(_verdict("WAITING", f"Migration {name} has not run: `cartwheel migrate` runs it."))
    for name in found.unknown:
        lines.append(_verdict("UNKNOWN", f"Migration {name} ran: a newer Cartwheel has used this database."))
    for result in found.results:
        lines.append(_verdict(f"{result.found:,} FOUND" if result.found else "ok", result.promise))
        lines += [plain(f"             {_example(example)}", "dim") for example in result.examples]
        if result.found > len(result.examples) > 0:
            lines.append(Text("             …", "dim"))
    counts = ", ".join(f"{count:,} {name}" for name, count in found.counts.items())
    verdict = Text("All is well.", "bold green") if found.healthy else Text("Something is wrong.", "bold red")
    return [*lines, Text(), Text.assemble(verdict, f" {counts}." if counts else "")]


def _verdict(verdict: str, promise: str) -> Text:
    return Text.assemble((f"{verdict:>9}", "green" if verdict == "ok" else "bold red"), "  ", promise)


def _example(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items())
