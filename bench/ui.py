"""How long the server takes for each page, with many leads and events: `python bench/ui.py [--quick]`.

The pages are asked for one after the other, over a real socket. The last line is one JSON object.
"""

import argparse
import asyncio
import json
import re
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import fill
import httpx
import uvicorn

from cartwheel import times
from cartwheel.app import Application
from cartwheel.config import Settings
from cartwheel.data import userstore
from cartwheel.data.db import Database
from cartwheel.people import Role
from cartwheel.ui import site
from cartwheel.ui.pages import PAGES

LEADS, EVENTS_EACH = 1_000_000, 5
QUICK_LEADS = 20_000
ROUNDS, QUICK_ROUNDS = 15, 5
LEAD = 4321


def tree(kind: str, **values: object) -> str:
    return json.dumps({"type": kind, **values})


def questions() -> dict[str, str]:
    """Searches and filters, by what they are called here."""
    tag = {"type": "tag", "tag": 1}
    score = {"type": "score", "at_least": 30}
    asked = {
        "search a": {"q": "a"},
        "search name": {"q": "lovel"},
        "search both names": {"q": "ada love"},
        "search address": {"q": "ada.lovelace.1"},
        "search nobody": {"q": "zzz"},
        "by address": {"order": "address"},
        "by score": {"order": "score"},
        "tag": {"filter": json.dumps(tag)},
        "tag and score": {"filter": tree("all", conditions=[tag, score])},
        "tag or score": {"filter": tree("any", conditions=[tag, score])},
        "not tag": {"filter": tree("not", condition=tag)},
        "list": {"filter": tree("list", list=1)},
        "field without an index": {"filter": tree("field", field="city", how="contains", text="nowhere")},
        "days": {"filter": tree("joined", since="2026-01-01", until="2026-01-31")},
        "mail status": {"filter": tree("mail", status="bounced")},
        "opened": {"filter": tree("seen", what="opened")},
    }
    tabs = ("activity", "fields", "tags", "sequences", "points", "mail", "why")
    profile = {f"profile {tab}": f"/leads/{LEAD}?tab={tab}" for tab in tabs}
    return {f"leads: {name}": f"/leads?{urlencode(query)}" for name, query in asked.items()} | profile


def pages() -> dict[str, str]:
    """Every page that is shown to who is signed in, with numbers that something has."""
    inside = [entry for entry in PAGES.values() if not entry.open and not entry.post]
    paths = {entry.path: re.sub(r"\{number:int\}", "1", entry.path) for entry in inside}
    return {path: re.sub(r"\{[^}]*\}", "1", address) for path, address in paths.items()} | questions()


def add_events(path: Path, leads: int) -> None:
    """More of what happened to each lead."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    now = time.time_ns() // 1000
    for first in range(1, leads + 1, fill.CHUNK):
        connection.execute("BEGIN")
        rows = (
            (1, lead, now + number, "tag_assigned", f'{{"tag_id":{1 + number}}}', "app:1/1", now + number)
            for lead in range(first, min(first + fill.CHUNK, leads + 1))
            for number in range(1, EVENTS_EACH)
        )
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


def sign_in(url: str) -> str:
    """An owner's cookie."""
    database = Database(url)
    try:
        with database.write() as connection:
            user = userstore.user_of(connection, "bench@shop.example") or userstore.add(
                connection, "bench@shop.example", "Bench", "-", times.now()
            )
            userstore.put_member(connection, 1, user.id, Role.OWNER, times.now())
            return userstore.open_session(connection, user.id, 1, times.now(), "127.0.0.1", "bench")
    finally:
        database.close()


def serve(url: str) -> tuple[uvicorn.Server, threading.Thread]:
    settings = Settings.load({"CARTWHEEL_DATABASE": url, "CARTWHEEL_LOG_LEVEL": "error"})
    server = uvicorn.Server(uvicorn.Config(Application(settings), port=0, log_level="error"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    return server, thread


class Took(NamedTuple):
    """Milliseconds; `cpu` counts what asks, too, and is what a machine with nothing else to do would take at the most."""

    wall: float
    cpu: float


def measure(url: str, cookie: str, rounds: int) -> dict[str, list[Took]]:
    server, thread = serve(url)
    port = server.servers[0].sockets[0].getsockname()[1]
    taken: dict[str, list[Took]] = {}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", cookies={site.COOKIE: cookie}, timeout=60) as http:
        for number in range(rounds + 1):
            for name, address in pages().items():
                started, cpu = time.perf_counter(), time.process_time()
                answer = http.get(address)
                if answer.status_code >= 500:  # noqa: PLR2004 - HTTP's border of failures
                    raise SystemExit(f"{address} answered {answer.status_code}")
                if number:  # the first round fills caches
                    took = (time.perf_counter() - started) * 1000, (time.process_time() - cpu) * 1000
                    taken.setdefault(name, []).append(Took(*took))
    server.should_exit = True
    thread.join(10)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few leads, to see whether it works")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--file", type=Path, help="a database that an earlier run has left here, or is to leave")
    options = parser.parse_args()
    leads = QUICK_LEADS if options.quick else LEADS
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder) / "ui.db"
        if not path.exists():
            fill.fill(f"sqlite:///{path}", leads)
            add_events(path, leads)
        url = f"sqlite:///{path}"
        taken = measure(url, sign_in(url), QUICK_ROUNDS if options.quick else options.rounds)
    every = sorted(took.wall for each in taken.values() for took in each)
    cpu = sorted(took.cpu for each in taken.values() for took in each)
    p95 = {name: round(statistics.quantiles([took.wall for took in each], n=20)[-1], 1) for name, each in taken.items()}
    middle = {
        name: [round(statistics.median(part), 1) for part in zip(*each, strict=True)] for name, each in taken.items()
    }
    sys.stdout.write(f"{json.dumps(middle)}\n")
    told = {
        "leads": leads,
        "pages": len(taken),
        "p50_ms": round(statistics.median(every), 1),
        "p95_ms": round(statistics.quantiles(every, n=20)[-1], 1),
        "cpu_p50_ms": round(statistics.median(cpu), 1),
        "cpu_p95_ms": round(statistics.quantiles(cpu, n=20)[-1], 1),
        "slowest_p95_ms": dict(sorted(p95.items(), key=lambda entry: -entry[1])[:8]),
    }
    sys.stdout.write(f"{json.dumps(told)}\n")


if __name__ == "__main__":
    main()
