"""How fast the API is over real HTTP with durable writes, beside two references measured in the same run.

    python bench/api.py --engine sqlite|postgresql --leads N --seconds S [--rounds R] [--url URL] [--keep DIR]

Needs wrk (Debian: apt-get install wrk). The last line on stdout is one JSON object; see bench/README.md.
"""

import argparse
import json
import shutil
import signal
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asked
import databases
import fill
from processes import cpu_seconds, family, free_port, memory, result_of, running, wait_until_it_answers

HERE = Path(__file__).parent
CONNECTIONS = 64
WARM_UP_S = 2


@dataclass
class Contest:
    """The three that take turns, and what was measured of each."""

    options: argparse.Namespace
    server_pid: int
    server_url: str
    database_pid: int | None
    loop_database: str
    constant_url: str
    next_id: int
    measured: dict[str, list[float]] = field(default_factory=dict)
    errors: int = 0
    runs: int = 0

    def round(self, number: int) -> None:
        """Each of the three once, in turns forwards and backwards."""
        turns = [self.loop, self.constant, self.server]
        for turn in turns if number % 2 else reversed(turns):
            turn()

    def first_call(self) -> None:
        """One call alone: the server checks the password with a slow hash, once."""
        form = {"app_id": fill.APP_ID, "api_key": fill.API_KEY, "api_password": fill.API_PASSWORD}
        body = urlencode({**form, "get_lead[email]": fill.email_of(1)}).encode()
        with urllib.request.urlopen(f"{self.server_url}/api", body, timeout=30) as response:
            answer = json.load(response)
        if answer["status"] != "Success":
            sys.exit(f"the first call failed: {answer}")

    def loop(self) -> None:
        seconds = self.options.seconds
        result = result_of(
            [sys.executable, str(HERE / "loop.py"), f"--url={self.loop_database}", f"--leads={self.options.leads}",
             f"--seconds={seconds}", f"--first-id={self.next_id}"],
            timeout_s=2 * seconds + 60,
        )  # fmt: skip
        self.next_id = result["next_id"]
        self._note("loop_calls_per_second", result["calls"] / result["seconds"])

    def constant(self) -> None:
        result = self.wrk(self.constant_url, self.options.seconds)
        self._note("constant_calls_per_second", result["calls"] / result["seconds"])

    def server(self) -> None:
        before = self._cpu()
        result = self.wrk(self.server_url, self.options.seconds)
        server_s, database_s = (after - earlier for after, earlier in zip(self._cpu(), before, strict=True))
        self._note("calls_per_second", result["calls"] / result["seconds"])
        self._note("p50_ms", result["p50_ms"])
        self._note("p99_ms", result["p99_ms"])
        self._note("max_ms", result["max_ms"])
        self._note("cpu_us_per_call", server_s * 1e6 / result["calls"])
        if self.database_pid:
            self._note("database_cpu_us_per_call", database_s * 1e6 / result["calls"])

    def wrk(self, url: str, seconds: float) -> Any:
        self.runs += 1
        result = result_of(
            ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", f"-s{HERE / 'mix.lua'}", f"{url}/api",
             "--", str(self.options.leads), str(len(fill.TAGS)), str(len(fill.LISTS)), str(fill.DOMAINS),
             ",".join(fill.FIRST_NAMES), ",".join(fill.LAST_NAMES), f"r{self.runs}t"],
            timeout_s=seconds + 60,
        )  # fmt: skip
        self.errors += result["errors"]
        return result

    def _cpu(self) -> tuple[float, float]:
        database = cpu_seconds(family(self.database_pid)) if self.database_pid else 0.0
        return cpu_seconds(family(self.server_pid)), database

    def _note(self, name: str, value: float) -> None:
        self.measured.setdefault(name, []).append(value)

    def report(self) -> dict[str, Any]:
        medians = {name: round(statistics.median(values), 2) for name, values in self.measured.items()}
        used = memory(family(self.server_pid))
        own = medians["calls_per_second"]
        return {
            "engine": self.options.engine,
            "leads": self.options.leads,
            "seconds": self.options.seconds,
            "rounds": self.options.rounds,
            **medians,
            "rss_mb": used.rss_mb,
            "rss_anon_mb": used.anon_mb,
            "ratio_to_loop": round(own / medians["loop_calls_per_second"], 3),
            "ratio_to_constant": round(own / medians["constant_calls_per_second"], 3),
            "errors": self.errors,
        }


@contextmanager
def contest(options: argparse.Namespace) -> Iterator[Contest]:
    """Everything that takes part, running."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cw-bench-")))
        copies = stack.enter_context(databases.copies(options.engine, options.leads, options.keep, options.url))
        loop_database = copies.new("loop")
        port, constant_port = free_port(), free_port()
        log, constant_log = folder / "server.log", folder / "constant.log"
        settings = {"CARTWHEEL_DATABASE": copies.new("server"), "CARTWHEEL_WORKER": "no"}
        serve = [sys.executable, "-m", "cartwheel", "serve", "--port", str(port)]
        constant = [sys.executable, str(HERE / "constant.py"), "--port", str(constant_port)]
        server_pid = stack.enter_context(running(serve, log, settings))
        stack.enter_context(running(constant, constant_log))
        url, constant_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{constant_port}"
        wait_until_it_answers(f"{url}/health", log)
        wait_until_it_answers(constant_url, constant_log)
        yield Contest(
            options, server_pid, url, copies.database_pid, loop_database, constant_url, next_id=options.leads + 1
        )


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = asked.parser(__doc__)
    parser.add_argument("--leads", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10)
    options = asked.read(parser, arguments)
    if options.quick:
        options.leads, options.seconds, options.rounds = min(options.leads, 2000), 2, 1
    return options


def main() -> None:
    options = read_options()
    if shutil.which("wrk") is None:
        sys.exit("This benchmark needs wrk. On Debian and Ubuntu: apt-get install wrk")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    with contest(options) as running_contest:
        running_contest.first_call()
        running_contest.wrk(running_contest.server_url, min(WARM_UP_S, options.seconds))
        for number in range(1, options.rounds + 1):
            running_contest.round(number)
            latest = {name: round(values[-1], 1) for name, values in running_contest.measured.items()}
            print(f"round {number}: {json.dumps(latest)}", flush=True)
        report = running_contest.report()
    print(json.dumps(report))
    if report["errors"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
