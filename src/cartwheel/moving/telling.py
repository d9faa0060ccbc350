"""What a move has moved, and what it could not move and why, as data and as text."""

import json
from collections.abc import Iterator
from typing import Any

from rich.text import Text

from cartwheel.data import importstore
from cartwheel.data.db import Database
from cartwheel.data.importstore import Import, State
from cartwheel.moving import reports
from cartwheel.views.terminal import plain

COUNTS = ("rows", "made", "changed", "same", "refused", "repeated")
MOST_REASONS = 20

NOT_TOLD = (
    "steps of sequences, automations, forms, pages and mails: rebuild them; sequences are here as drafts without steps",
    "when points expire: they stay",
    "what happened to a lead (mails, clicks, answers), beside what its tags say",
)
"""What Kartra's API tells of no lead."""


def is_move(found: Import) -> bool:
    return '"digest"' in found.plan


def told(database: Database, found: Import) -> dict[str, Any]:
    report = reports.read(found.report)
    with database.read() as connection:
        reasons = importstore.refusal_reasons(connection, found.account_id, found.id, MOST_REASONS)
    made: dict[str, list[str]] = {"lists": [], "tags": [], "fields": [], "sequences": report.drafts}
    for kind, _, name in json.loads(found.named):
        made[kind].append(name)
    return {
        "number": found.id,
        "state": found.state.value,
        **{name: getattr(found, name) for name in COUNTS},
        "new": made,
        "differences": report.differences,
        "sequences": report.places,
        "started": report.started,
        "not_moved": [
            {"what": what, "leads": loss.leads, "first_lines": loss.some}
            for what, loss in sorted(report.losses.items(), key=lambda each: -each[1].leads)
        ],
        "refusals": [{"reason": reason, "rows": rows, "first_line": line} for reason, rows, line in reasons],
        "never_told": list(NOT_TOLD),
    }


def lines(data: dict[str, Any]) -> Iterator[Text]:
    number = data["number"]
    yield plain(
        f"Move {number} is {data['state']}: {data['made']:,} leads new, {data['changed']:,} filled up, "
        f"{data['same']:,} as they were, {data['refused']:,} rows refused, {data['repeated']:,} a second time."
    )
    for kind, names in data["new"].items():
        if names:
            yield plain(f"new {kind}{' (drafts without steps)' * (kind == 'sequences')}: {', '.join(names)}")
    yield from _part("Not here as it was there:", data["differences"])
    yield from _part("Where leads stand in sequences:", list(_places(data)))
    yield from _part("Leads of whom not all could be moved:", [_loss(each) for each in data["not_moved"]])
    yield from _part(
        "Refused rows:",
        [f"{each['rows']:,} (the first in line {each['first_line']:,}): {each['reason']}" for each in data["refusals"]],
    )
    yield from _part("What Kartra's API does not tell:", data["never_told"])
    if data["state"] != State.UNDONE.value:
        yield plain(
            f"`cartwheel imports refused {number}` prints the refused rows, `cartwheel imports undo {number}` takes all back."
        )


def _part(title: str, entries: list[str]) -> Iterator[Text]:
    if entries:
        yield plain(title, "bold")
        yield from (plain(f"  {entry}") for entry in entries)


def _places(data: dict[str, Any]) -> Iterator[str]:
    for sequence, steps in sorted(data["sequences"].items()):
        for step, statuses in sorted(steps.items()):
            counts = ", ".join(f"{leads:,} {status}" for status, leads in sorted(statuses.items()))
            yield f"{sequence}, step {step or '(not told)'}: {counts}"
    for sequence, leads in sorted(data["started"].items()):
        yield f"{sequence}: {leads:,} were started here, where they stood"


def _loss(entry: dict[str, Any]) -> str:
    named = ", ".join(f"{line:,}" for line in entry["first_lines"])
    more = ", …" * (entry["leads"] > len(entry["first_lines"]))
    return f"{entry['leads']:,}: {entry['what']} (line {named}{more})"
