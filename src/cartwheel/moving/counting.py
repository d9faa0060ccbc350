"""What a move would do, as far as can be told without asking for each lead."""

from collections import Counter
from datetime import timedelta
from typing import Any, BinaryIO

from rich.text import Text

from cartwheel.accounts import Account
from cartwheel.data import importstore
from cartwheel.data.db import Database
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.imports.sheets import Sheet
from cartwheel.moving import origin
from cartwheel.moving.answers import MovePlan
from cartwheel.moving.origin import Origin
from cartwheel.views.terminal import pairs, plain

_WORDS = {
    "rows": "rows",
    "addresses": "addresses to ask for",
    "known": "of them here already",
    "repeated": "a second time",
    "refused": "without an address",
}


def count(
    database: Database, account: Account, plan: MovePlan, there: Origin, file: BinaryIO, how: dict[str, str]
) -> dict[str, Any]:
    counts = Counter(dict.fromkeys(_WORDS, 0))
    seen: set[str] = set()
    sheet = Sheet(file, **how)
    try:
        for lines in sheet.slices():
            new = set()
            for line in lines:
                counts["rows"] += 1
                try:
                    email = read_email(line.cells[plan.column] if plan.column < len(line.cells) else "")
                except EmailNotValid:
                    counts["refused"] += 1
                    continue
                counts["repeated"] += email in seen
                if email not in seen:
                    seen.add(email)
                    new.add(email)
            with database.read() as connection:
                counts["known"] += importstore.known_addresses(connection, account.id, new)
    finally:
        sheet.close()
    counts["addresses"] = len(seen)
    return {**counts, "made": origin.names_to_make(there, account)}


def lines(counted: dict[str, Any], rate: float) -> list[Text]:
    takes = timedelta(seconds=round(counted["addresses"] / rate))
    return [
        *pairs((word, f"{counted[name]:,}") for name, word in _WORDS.items()),
        *(
            plain(f"new {kind}{' (drafts without steps)' * (kind == 'sequences')}: {', '.join(names)}")
            for kind, names in counted["made"].items()
            if names
        ),
        plain(f"It takes {takes} or more, with --rate {rate:g}. Nothing was moved: this was a dry run."),
    ]
