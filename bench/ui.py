"""How long the server takes for each page, with a million leads and five million events, and how large pages are.

    python bench/ui.py [--quick] [--rounds R] [--file FILE]

The server is a process of its own, on SQLite; the pages are asked for one after the other. The last line on stdout is one JSON
object; see bench/README.md.
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import fill
import httpx
import uifill
from processes import cpu_seconds, family, free_port, memory, running, wait_until_it_answers
from uifill import LEAD

from cartwheel import times
from cartwheel.data import userstore
from cartwheel.data.db import Database
from cartwheel.ui import site
from cartwheel.ui.pages import PAGES

LEADS = 1_000_000
QUICK_LEADS = 20_000
ROUNDS, QUICK_ROUNDS = 15, 5

MOST_MS, MOST_FIRST_KB, MOST_LATER_KB = 60, 250, 30
"""What is promised: for 95 of 100 looks at any page; and what travels, packed, with nothing cached and with all that can be."""


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


NUMBERS = {
    "{number:int}": "1",
    "{box}": "1",
    "{place:int}": "0",
    "{domain}": uifill.DOMAIN,
    "{request_id}": "bench-1",
    "{delivery}": f"{LEAD}-{LEAD}",
}
ASKED = {
    "/mail/suppressed/allow": {"email": fill.email_of(1)},
    "/leads/bulk": {"act": "give_tag", "whom": "all", "filter": '{"type":"all","conditions":[{"type":"tag","tag":1}]}'},
}
"""What some pages have to be asked for."""

ELSEWHERE = {"/leads/filter"}
"""Pages that lead on to another."""

ELSE_NUMBERED = {
    "/settings/servers/{number:int}": "/settings/servers/0",
    "/leads/{number:int}": f"/leads/{LEAD}",
    "/{lead:int}/{number:int}": f"/{LEAD}/{LEAD}",
}


def pages() -> dict[str, str]:
    """Every page that is shown to who is signed in, with numbers that something has."""
    addresses = {}
    for entry in PAGES.values():
        if not entry.open and not entry.post:
            address = entry.path
            for name, value in (ELSE_NUMBERED | NUMBERS).items():
                address = address.replace(name, value)
            asked = ASKED.get(entry.path)
            addresses[entry.path] = f"{address}?{urlencode(asked)}" if asked else address
    return addresses | questions()


def sign_in(url: str) -> str:
    """An owner's cookie."""
    database = Database(url)
    try:
        with database.write() as connection:
            user = userstore.user_of(connection, "bench@shop.example")
            assert user is not None
            return userstore.open_session(connection, user.id, 1, times.now(), "127.0.0.1", "bench")
    finally:
        database.close()


@dataclass
class Looks:
    """What was seen of the pages, by their names."""

    ms: dict[str, list[float]] = field(default_factory=dict)
    size: dict[str, int] = field(default_factory=dict)
    """Bytes on the wire, of the page by itself."""
    files: dict[str, int] = field(default_factory=dict)
    """The same of what all pages use."""
    used: dict[str, set[str]] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)

    def look(self, http: httpx.Client, name: str, address: str, *, counts: bool) -> None:
        started = time.perf_counter()
        answer = http.get(address)
        took = (time.perf_counter() - started) * 1000
        self.answers[name] = answer.status_code
        if counts:  # the first round fills caches
            self.ms.setdefault(name, []).append(took)
            return
        is_saved = answer.headers.get("content-disposition", "").startswith("attachment")
        self.size[name] = 0 if is_saved else answer.num_bytes_downloaded  # a file to be saved is as large as it is
        html = answer.headers.get("content-type", "").startswith("text/html")
        self.used[name] = self._load(http, answer.text) if html else set()

    def _load(self, http: httpx.Client, text: str) -> set[str]:
        """What a text names of our own files, and what these name."""
        found = set(_FILES.findall(text))
        for file in set(found):
            answer = http.get(file)
            self.files.setdefault(file, answer.num_bytes_downloaded)
            if file.partition("?")[0].endswith(".css"):
                found |= self._load(http, answer.text)
        return found

    def first_load(self, name: str) -> int:
        return self.size[name] + sum(self.files[file] for file in self.used[name])


_FILES = re.compile(r"""["'(](/static/[^"')#]+)[#"')]""")
"""A part of a file is no file of its own: each icon is one of a picture with all of them."""


def measure(url: str, cookie: str, rounds: int, folder: Path) -> tuple[Looks, dict[str, float]]:
    """What was seen, and what it cost the server."""
    looks, port, log = Looks(), free_port(), folder / "server.log"
    settings = {"CARTWHEEL_DATABASE": url, "CARTWHEEL_WORKER": "no", "CARTWHEEL_LOG_LEVEL": "error"}
    base = f"http://127.0.0.1:{port}"
    with running([sys.executable, "-m", "cartwheel", "serve", "--port", str(port)], log, settings) as pid:
        wait_until_it_answers(f"{base}/health", log)
        with httpx.Client(base_url=base, cookies={site.cookie_name(base): cookie}, timeout=60) as http:
            for number in range(rounds + 1):
                before = cpu_seconds(family(pid))
                for name, address in pages().items():
                    looks.look(http, name, address, counts=number > 0)
        spent = (cpu_seconds(family(pid)) - before) * 1000 / len(looks.answers)  # in the last round
        used = {"cpu_ms_per_page": round(spent, 1), "rss_mb": memory(family(pid)).rss_mb}
    wrong = {name: status for name, status in looks.answers.items() if status != (303 if name in ELSEWHERE else 200)}
    if wrong:
        sys.exit(f"pages that were not there: {wrong}")
    return looks, used


def report(looks: Looks) -> dict[str, object]:
    p95 = {name: statistics.quantiles(each, n=20)[-1] for name, each in looks.ms.items()}
    every = sorted(took for each in looks.ms.values() for took in each)
    first = {name: looks.first_load(name) / 1000 for name in looks.size}
    later = {name: size / 1000 for name, size in looks.size.items()}
    return {
        "pages": len(p95),
        "p50_ms": round(statistics.median(every), 1),
        "p95_ms": round(statistics.quantiles(every, n=20)[-1], 1),
        "slowest_p95_ms": _largest(p95),
        "too_slow": sorted(name for name, took in p95.items() if took > MOST_MS),
        "first_load_kb": _largest(first, 2),
        "later_load_kb": _largest(later, 4),
        "too_large": sorted(name for name in first if first[name] > MOST_FIRST_KB or later[name] > MOST_LATER_KB),
    }


def _largest(values: dict[str, float], count: int = 8) -> dict[str, float]:
    chosen = sorted(values.items(), key=lambda entry: -entry[1])[:count]
    return {name: round(value, 1) for name, value in chosen}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few leads, to see whether it works")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--file", type=Path, help="a database that an earlier run has left here, or is to leave")
    options = parser.parse_args()
    leads = QUICK_LEADS if options.quick else LEADS
    with tempfile.TemporaryDirectory(prefix="cw-bench-") as folder:
        path = options.file or Path(folder) / "ui.db"
        if not path.exists():
            started = time.monotonic()
            uifill.fill_all(path, leads)
            sys.stdout.write(f"filled in {time.monotonic() - started:.0f} s: {path.stat().st_size >> 20} MB\n")
        url, rounds = f"sqlite:///{path}", QUICK_ROUNDS if options.quick else options.rounds
        looks, used = measure(url, sign_in(url), rounds, Path(folder))
    middle = {name: round(statistics.median(each), 1) for name, each in looks.ms.items()}
    sys.stdout.write(f"{json.dumps(middle)}\n")
    asked = {"leads": leads, "events": leads * uifill.EVENTS_EACH, "rounds": rounds}
    sys.stdout.write(f"{json.dumps({**asked, **report(looks), **used})}\n")


if __name__ == "__main__":
    main()
