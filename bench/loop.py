"""The reference "loop": the rows that the calls of the mix read and write, by the barest program that does it well.

No HTTP, no parsing, no decisions, one process: groups of 64 calls, a few set statements and one durable transaction each.
Prints one JSON object: calls and seconds.
"""

import argparse
import json
import random
import sqlite3
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

import fill
import psycopg
from psycopg.types.numeric import Int8BinaryDumper
from sqlalchemy import BigInteger, Boolean, Integer, Text

from cartwheel.data import schema

GROUP = 64
KINDS, WEIGHTS = ("create", "tag", "points", "get"), (4, 4, 1, 1)
ACCOUNT = 1
DAY = 86_400 * 1_000_000
GET_LEAD = ("leads", "lead_tags", "lead_lists", "lead_fields", "enrolments")
"""What an answer to get_lead is made from."""

Row = tuple[Any, ...]


class Store(Protocol):
    """One engine. `find` begins the transaction, `write` ends it."""

    def find(self, emails: list[str]) -> dict[str, int]: ...
    def tags(self, lead_ids: list[int]) -> set[tuple[int, int]]: ...
    def get_leads(self, lead_ids: list[int]) -> int: ...
    def write(self, rows: dict[str, list[Row]], scores: list[Row]) -> None: ...


# -- the calls --


class Group:
    """The work of 64 calls."""

    def __init__(self, leads: int, first_id: int) -> None:
        self.kinds = random.choices(KINDS, WEIGHTS, k=GROUP)
        self.next_id = first_id
        self.emails = [
            f"{random.choice(fill.FIRST_NAMES)}.loop.{first_id}.{position}@mail{position % fill.DOMAINS}.example"
            if kind == "create"
            else fill.email_of(random.randint(1, leads))
            for position, kind in enumerate(self.kinds)
        ]
        self.rows: dict[str, list[Row]] = {
            name: [] for name in ("leads", "lead_tags", "lead_lists", "points", "events")
        }
        self.scores: dict[int, int] = {}
        self.now = self.row_id = time.time_ns() // 1000

    def run(self, store: Store) -> None:
        ids = store.find(self.emails)
        by_kind: dict[str, list[int]] = {kind: [] for kind in KINDS}
        for kind, email in zip(self.kinds, self.emails, strict=True):
            if kind == "create":
                if email not in ids:
                    self._create(email)
            else:
                by_kind[kind].append(ids[email])
        tags = store.tags(by_kind["tag"])
        for lead_id in by_kind["tag"]:
            tag_id = random.randint(1, len(fill.TAGS))
            if (lead_id, tag_id) not in tags:
                tags.add((lead_id, tag_id))
                self._tag(lead_id, tag_id)
        for lead_id in by_kind["points"]:
            self._give_points(lead_id)
        store.get_leads(by_kind["get"])
        store.write(self.rows, [(points, ACCOUNT, lead_id) for lead_id, points in self.scores.items()])

    def _create(self, email: str) -> None:
        lead_id = self.next_id
        self.next_id += 1
        values = {"email": email, "source": "api", "created_at": self.now}
        names = {"first_name": "Ada", "last_name": "Lovelace", "city": "New York"}
        self.rows["leads"].append(fill.row_of(schema.leads, account_id=ACCOUNT, id=lead_id, **values, **names))
        self._event(lead_id, "lead_created", '{"source":"api"}')
        self._tag(lead_id, random.randint(1, len(fill.TAGS)))
        list_id = random.randint(1, len(fill.LISTS))
        self.rows["lead_lists"].append((ACCOUNT, lead_id, list_id, self.now, None, False))
        self._event(lead_id, "list_joined", f'{{"list_id":{list_id}}}')

    def _tag(self, lead_id: int, tag_id: int) -> None:
        self.rows["lead_tags"].append((ACCOUNT, lead_id, tag_id, self.now))
        self._event(lead_id, "tag_assigned", f'{{"tag_id":{tag_id}}}')

    def _give_points(self, lead_id: int) -> None:
        points, days = random.randint(1, 100), random.choice((0, 30))
        self.row_id += 1
        expires_at = self.now + days * DAY if days else None
        self.rows["points"].append((ACCOUNT, lead_id, self.row_id, points, self.now, expires_at, None))
        self.scores[lead_id] = self.scores.get(lead_id, 0) + points
        self._event(lead_id, "points_given", f'{{"points":{points},"days":{days}}}')

    def _event(self, lead_id: int, kind: str, details: str) -> None:
        self.row_id += 1
        self.rows["events"].append((ACCOUNT, lead_id, self.row_id, kind, details, "app:1", self.now))


# -- SQLite --


class SqliteStore:
    """Checkpoints have a thread of their own; the log is restarted when it has grown."""

    EVERY_S = 0.5
    RESTART_BYTES = 16 << 20

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection = self._connect()
        self._inserts = {
            table: f"INSERT INTO {table} VALUES ({', '.join('?' * len(schema.metadata.tables[table].c))})"
            for table in ("leads", "lead_tags", "lead_lists", "points", "events")
        }
        threading.Thread(target=self._checkpoint, daemon=True).start()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=5, cached_statements=512)
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "wal_autocheckpoint=0",
            "cache_size=-65536",
            "mmap_size=1073741824",
        ):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _checkpoint(self) -> None:
        connection = self._connect()
        while True:
            time.sleep(self.EVERY_S)
            [(_, frames, _)] = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            if frames * 4096 > self.RESTART_BYTES:
                connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def find(self, emails: list[str]) -> dict[str, int]:
        self._connection.execute("BEGIN IMMEDIATE")
        sql = "SELECT t.email, t.id FROM k CROSS JOIN leads t ON t.account_id = 1 AND t.email = k.value"
        return dict(self._set(sql, emails))

    def tags(self, lead_ids: list[int]) -> set[tuple[int, int]]:
        sql = "SELECT lead_id, tag_id FROM k CROSS JOIN lead_tags t ON t.account_id = 1 AND t.lead_id = k.value"
        return set(self._set(sql, lead_ids))

    def get_leads(self, lead_ids: list[int]) -> int:
        count = 0
        for table in GET_LEAD:
            key = "id" if table == "leads" else "lead_id"
            sql = f"SELECT t.* FROM k CROSS JOIN {table} t ON t.account_id = 1 AND t.{key} = k.value"
            count += len(self._set(sql, lead_ids))
        return count

    def write(self, rows: dict[str, list[Row]], scores: list[Row]) -> None:
        for table, new in rows.items():
            self._connection.executemany(self._inserts[table], new)
        self._connection.executemany("UPDATE leads SET score = score + ? WHERE account_id = ? AND id = ?", scores)
        self._connection.execute("COMMIT")

    def _set(self, sql: str, values: Sequence[Any]) -> list[Row]:
        if not values:
            return []
        room = 1 << (len(values) - 1).bit_length()
        with_ = f"WITH k(value) AS (VALUES {', '.join(['(?)'] * room)}) "
        return self._connection.execute(with_ + sql, [*values, *[None] * (room - len(values))]).fetchall()


# -- PostgreSQL --

_TYPES = {BigInteger: "bigint", Integer: "int", Boolean: "boolean", Text: "text"}


class PostgresStore:
    """Arrays through unnest; the reads of a group travel together, and so do its writes and the commit."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.adapters.register_dumper(int, Int8BinaryDumper)
        self._inserts = {
            name: f"INSERT INTO {name} SELECT * FROM unnest({', '.join(self._arrays(name))})".encode()
            for name in ("leads", "lead_tags", "lead_lists", "points", "events")
        }

    @staticmethod
    def _arrays(table: str) -> list[str]:
        return [f"%b::{_TYPES[type(column.type)]}[]" for column in schema.metadata.tables[table].columns]

    def find(self, emails: list[str]) -> dict[str, int]:
        sql = (
            b"SELECT t.email, t.id FROM leads t WHERE t.account_id = 1 AND t.email = ANY(%b::text[]) "
            b"ORDER BY t.id FOR NO KEY UPDATE"
        )
        with self._connection.pipeline():
            self._execute(b"BEGIN")
            return dict(self._execute(sql, [emails]).fetchall())

    def tags(self, lead_ids: list[int]) -> set[tuple[int, int]]:
        sql = b"SELECT lead_id, tag_id FROM lead_tags WHERE account_id = 1 AND lead_id = ANY(%b::bigint[])"
        return set(self._execute(sql, [lead_ids]).fetchall())

    def get_leads(self, lead_ids: list[int]) -> int:
        count = 0
        with self._connection.pipeline():
            cursors = []
            for table in GET_LEAD:
                key = "id" if table == "leads" else "lead_id"
                sql = f"SELECT * FROM {table} WHERE account_id = 1 AND {key} = ANY(%b::bigint[])"
                cursors.append(self._execute(sql.encode(), [lead_ids]))
            for cursor in cursors:
                count += len(cursor.fetchall())
        return count

    def write(self, rows: dict[str, list[Row]], scores: list[Row]) -> None:
        with self._connection.pipeline():
            for table, new in rows.items():
                if new:
                    self._execute(self._inserts[table], [list(column) for column in zip(*new, strict=True)])
            if scores:
                sql = (
                    b"UPDATE leads t SET score = score + k.points FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[]) "
                    b"AS k(points, account_id, id) WHERE t.account_id = k.account_id AND t.id = k.id"
                )
                self._execute(sql, [list(column) for column in zip(*scores, strict=True)])
            self._execute(b"COMMIT")

    def _execute(self, sql: bytes, parameters: Sequence[Any] = ()) -> psycopg.Cursor[Row]:
        return self._connection.cursor(binary=True).execute(sql, parameters, prepare=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--leads", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--first-id", type=int, required=True)
    options = parser.parse_args()
    path = options.url.removeprefix("sqlite:///")
    store: Store = SqliteStore(path) if path != options.url else PostgresStore(options.url)
    next_id = options.first_id

    def run(seconds: float) -> tuple[int, float]:
        nonlocal next_id
        calls, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            group = Group(options.leads, next_id)
            group.run(store)
            next_id = group.next_id
            calls += GROUP
        return calls, time.perf_counter() - started

    run(min(1.0, options.seconds / 4))
    calls, seconds = run(options.seconds)
    print(json.dumps({"calls": calls, "seconds": seconds, "next_id": next_id}))


if __name__ == "__main__":
    main()
