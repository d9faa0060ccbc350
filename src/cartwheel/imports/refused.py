"""The file of refused rows: as they were, with the reason, so that they can be put right and imported again."""

import csv
import io
from collections.abc import Iterator, Sequence

from cartwheel.data import importstore
from cartwheel.data.db import Database
from cartwheel.data.importstore import Import
from cartwheel.imports.sheets import FORMULA, REFUSED_COLUMNS

AT_ONCE = 1000


def written(database: Database, found: Import) -> Iterator[str]:
    """The file as CSV, some rows at a time. No cell begins so that a spreadsheet would run it."""
    headers = found.headers
    yield _csv([[*headers, *REFUSED_COLUMNS]])
    after = -1
    while True:
        with database.read() as connection:
            rows = importstore.refusals(connection, found.account_id, found.id, after=after, most=AT_ONCE)
        if not rows:
            return
        yield _csv(
            [*map(_harmless, _fitted(row.cells, len(headers))), str(row.line), _harmless(row.reason)] for row in rows
        )
        after = rows[-1].line


def _fitted(cells: Sequence[str], width: int) -> list[str]:
    """Of a row with too many cells, the last one has what is too much."""
    if len(cells) > width:
        return [*cells[: width - 1], " ".join(cells[width - 1 :])]
    return [*cells, *[""] * (width - len(cells))]


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def _csv(rows: Iterator[list[str]] | list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue()
