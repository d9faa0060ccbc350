"""An account into which files are imported, without a server: its runner's rounds are done here."""

import asyncio
import io
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from cartwheel.accountfiles import accountfile
from cartwheel.data import catalog, importstore, schema
from cartwheel.data.db import Database
from cartwheel.data.importstore import Import, State
from cartwheel.imports import columns, keeping
from cartwheel.imports.deciding import Plan
from cartwheel.imports.running import ImportRunner
from cartwheel.times import to_micros
from cartwheel.work.batches import Batches, Work
from harness import Clock

FILE = """
[account]
name = "Shop"
timezone = "Europe/Madrid"
[[lists]]
name = "Newsletter"
[[lists]]
name = "News, weekly"
[[tags]]
name = "Customer"
[[tags]]
name = "VIP"
[[custom_fields]]
identifier = "shoe_size"
type = "input_field"
[[custom_fields]]
identifier = "plan"
type = "drop_down"
options = [{ id = 612, name = "Gold" }, { id = 613, name = "Silver" }]
[[custom_fields]]
identifier = "colours"
type = "checkbox"
options = [{ id = 1, name = "Red" }, { id = 2, name = "Blue" }]
[[sequences]]
name = "Welcome"
[[sequences.steps]]
box = "1"
type = "email"
delay = "0 minutes"
subject = "Welcome"
html = "<p>Hello</p>"
"""

OWN = {"imports", "import_slices", "import_leads", "import_refusals", "import_templates"}
NOT_COMPARED = OWN | {"migrations", "secrets", "catalog_version", "counters", "audit_log", "sessions", "api_keys"}


class ImportShop:
    """`with` nothing left open."""

    def __init__(self, url: str, file: str = FILE, *, plain_path: bool = False) -> None:
        self.database = Database(url)
        self.database.migrate()
        self.clock = Clock()
        self.account_id = accountfile.apply(self.database, accountfile.read_text(file, Path()), self.clock())[
            "account_id"
        ]
        self.plain_path = plain_path

    @property
    def account(self) -> Any:
        with self.database.read() as connection:
            return catalog.newer(connection).accounts[self.account_id]

    def keep(self, text: str | bytes, **how: str) -> int:
        content = text.encode() if isinstance(text, str) else text
        return keeping.keep(self.database, self.account_id, None, "leads.csv", io.BytesIO(content), self.clock(), **how)

    def get(self, number: int) -> Import:
        with self.database.read() as connection:
            found = importstore.get(connection, self.account_id, number)
        assert found is not None
        return found

    def guess(self, number: int) -> list[str]:
        found = self.get(number)
        preset = columns.preset_of(found.headers)
        return columns.guess(found.headers, msgspec.json.decode(found.samples), self.account, preset)

    def begin(self, text: str | bytes, state: State = State.RUNNING, **said: Any) -> int:
        """An import that is due, with guessed columns if none are said."""
        number = self.keep(text)
        said.setdefault("columns", self.guess(number))
        self.put(number, state, plan=msgspec.json.encode(Plan(**said)).decode())
        return number

    def put(self, number: int, state: State, **values: Any) -> None:
        with self.database.write() as connection:
            values |= {"state": state.value, "next_at": to_micros(self.clock())}
            importstore.change(connection, self.account_id, number, **values)

    def finish(self, runner: ImportRunner | None = None) -> None:
        """Whatever is due is done to its end."""

        async def rounds() -> None:
            mine = runner or ImportRunner(self.database, clock=self.clock, plain_path=self.plain_path)
            try:
                while await mine.round():
                    pass
            finally:
                await mine.close()

        asyncio.run(rounds())

    def run(self, text: str | bytes, **said: Any) -> Import:
        number = self.begin(text, **said)
        self.finish()
        return self.get(number)

    def undo(self, number: int) -> Import:
        self.put(number, State.UNDOING, done=self.get(number).done)
        self.finish()
        return self.get(number)

    def submit(self, *works: Work[Any]) -> list[Any]:
        async def run() -> list[Any]:
            batches = Batches(self.database, clock=self.clock, most_waiting=100)
            await batches.start()
            try:
                return [await batches.submit(work) for work in works]
            finally:
                await batches.stop()

        return list(self.do(run()))

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(coroutine)

    def rows(self, table: sa.Table, **where: Any) -> list[dict[str, Any]]:
        with self.database.read() as connection:
            return [dict(row) for row in connection.execute(sa.select(table).filter_by(**where)).mappings()]

    def lead(self, email: str) -> dict[str, Any]:
        [row] = self.rows(schema.leads, email=email)
        return row

    def tables(self) -> dict[str, list[Any]]:
        """All that is stored, but of imports, and what only counts up. Of numbers of rows, their order."""
        found: dict[str, list[Any]] = {}
        with self.database.read() as connection:
            for table in schema.metadata.sorted_tables:
                if table.name in NOT_COMPARED:
                    continue
                rows = [
                    dict(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()
                ]
                found[table.name] = [_comparable(table.name, row) for row in rows]
        counts: dict[Any, int] = {}
        for row in found["daily_counts"]:
            counts[row["day"], row["what"]] = counts.get((row["day"], row["what"]), 0) + row["number"]
        found["daily_counts"] = sorted((key, number) for key, number in counts.items() if number)
        places: dict[Any, int] = {}
        for row in (*found["events"], *found["enrolments"], *found["points"]):
            key = row["lead_id"]
            places[key] = row["id"] = places.get(key, 0) + 1
        return found

    def close(self) -> None:
        self.database.close()


def _comparable(table: str, row: dict[str, Any]) -> dict[str, Any]:
    if table == "accounts":
        row.pop("version")
    return row
