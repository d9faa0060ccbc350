"""The rows of one account as its file changes them: each table is read once, and only what differs is written."""

from typing import Any

import sqlalchemy as sa

from cartwheel.data import catalog, schema

Row = dict[str, Any]


_KINDS = {
    schema.apps: "apps",
    schema.lists: "lists",
    schema.tags: "tags",
    schema.custom_fields: "custom fields",
    schema.custom_field_options: "options of custom fields",
    schema.sequences: "sequences",
    schema.hook_endpoints: "webhooks",
    schema.automations: "automations",
}

MOST_NAMES = 10
"""In a line; the others are counted."""


class Rows:
    """Inserts and updates rows, and remembers which."""

    def __init__(self, connection: sa.Connection, now: int) -> None:
        self._connection = connection
        self._now = now
        self._tables: dict[sa.Table, dict[int, Row]] = {}
        self._numbers: dict[sa.Table, dict[str, int]] = {}
        self._next: dict[sa.Table, int] = {}
        self._done: dict[str, list[str]] = {}

    def note(self, what: str, name: str) -> None:
        """Something was done to what is called so."""
        self._done.setdefault(what, []).append(name)

    @property
    def done(self) -> list[str]:
        """What was done, a line each; empty if nothing was."""
        return [f"{what}: {_listed(names)}" for what, names in self._done.items()]

    def of(self, table: sa.Table, account_id: int) -> dict[int, Row]:
        """The account's rows by id. All calls are about one account."""
        rows = self._tables.get(table)
        if rows is None:
            column = table.c.id if table is schema.accounts else table.c.account_id
            query = sa.select(table).where(column == account_id)
            rows = self._tables[table] = {row["id"]: dict(row) for row in self._connection.execute(query).mappings()}
            self._numbers[table] = {
                row["name_key"]: row["id"]
                for row in rows.values()
                if "name_key" in row and row.get("deleted_at") is None
            }
            self._next[table] = 1 + max(rows, default=0)
        return rows

    def named(self, table: sa.Table, account_id: int, key: str) -> Row | None:
        """The account's row with this `name_key` that was not deleted."""
        rows = self.of(table, account_id)
        number = self._numbers[table].get(key)
        return None if number is None else rows[number]

    def put_named(self, table: sa.Table, account_id: int, key: str, values: Row, new: Row) -> int:
        """The account's row with this `name_key` gets these values, and if there is none yet those in `new`; its id."""
        row = self.named(table, account_id, key)
        number = self._next[table] if row is None else row["id"]
        new = {**new, "created_at": self._now}
        if table is schema.sequences:
            new |= {"version": 0, "hears": "[]"}  # `publish` gives it the right ones
        self.put(table, account_id, number, {"name_key": key, **values}, new)
        self._numbers[table][key] = number
        return int(number)

    def put(self, table: sa.Table, account_id: int, number: int, values: Row, new: Row | None = None) -> None:
        """The account's row with this id gets these values, and if there is none yet also those in `new`."""
        rows = self.of(table, account_id)
        row = rows.get(number)
        if row is None:
            rows[number] = {"account_id": account_id, "id": number, **values, **(new or {})}
            self._connection.execute(sa.insert(table), rows[number])
            self._next[table] = max(self._next[table], number + 1)
            self._note_row(table, "made", values)
        elif any(row[name] != value for name, value in values.items()):
            row.update(values)
            here = (table.c.account_id == account_id) & (table.c.id == number)
            self._connection.execute(sa.update(table).where(here).values(**values))
            self._note_row(table, "changed", values)

    def _note_row(self, table: sa.Table, what: str, values: Row) -> None:
        self.note(f"{_KINDS[table]} {what}", values.get("name") or values["identifier"])

    def put_account(self, known: int | None, values: Row, new: Row) -> int:
        """The account's own row, as `put` does it; returns its id."""
        if known is None:
            number = catalog.next_id(self._connection, schema.accounts)
            row = {
                "id": number,
                "created_at": self._now,
                "version": 0,
                **values,
                **new,
            }  # `touch` gives it the right one
            self._connection.execute(sa.insert(schema.accounts), row)
            self.note("account made", values["name"])
            return number
        row = self.of(schema.accounts, known)[known]
        if any(row[name] != value for name, value in values.items()):
            self._connection.execute(sa.update(schema.accounts).where(schema.accounts.c.id == known).values(**values))
            self.note("account changed", values["name"])
        return known


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:MOST_NAMES])} and {more:,} more"
