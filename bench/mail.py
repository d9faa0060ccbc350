"""How fast mail leaves: through the ledger, the suppression check and real SMTP, beside a bare loop in the same run.

    python bench/mail.py --engine sqlite|postgresql --mails N [--dkim none|ed25519|rsa] [--rounds R] [--url URL] [--keep DIR]

N mails of 20 kB with eight merge fields are due; `cartwheel worker` sends them to a sink on this machine, which counts
them. The last line on stdout is one JSON object; see bench/README.md.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asked
import databases
import sequencefill
import sqlalchemy as sa
from processes import cpu_seconds, family, memory, result_of, running

from cartwheel.data import mailstore, schema
from cartwheel.data.db import Database
from cartwheel.leads.mails import MailState
from cartwheel.mail import dkim

HERE = Path(__file__).parent
KEYS = {"none": None, "ed25519": dkim.Algorithm.ED25519, "rsa": dkim.Algorithm.RSA}
LONGEST_S = 600


class Sink:
    """A process of its own that takes all mails."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        self.port = int(process.stdout.readline())
        self.pid = process.pid

    def counts(self) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def sink(keep: Path | None = None) -> Iterator[Sink]:
    command = [sys.executable, str(HERE / "mailsink.py"), *(["--keep", str(keep)] if keep else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Sink(process)
        finally:
            process.kill()


def send(options: argparse.Namespace, url: str, folder: Path, kept: Path) -> dict[str, Any]:
    """The worker sends everything that is due; raises SystemExit when the ledger and the sink do not agree."""
    database = Database(url)
    with ExitStack() as stack:
        stack.callback(database.close)
        taking = stack.enter_context(sink(kept))
        log = folder / "worker.log"
        environment = {
            "CARTWHEEL_DATABASE": url,
            "CARTWHEEL_PUBLIC_URL": "https://mail.shop.example",
            "CARTWHEEL_SMTP": f"smtp://127.0.0.1:{taking.port}?connections={options.connections}",
            "CARTWHEEL_LOG_LEVEL": "warning",
        }
        worker = [sys.executable, "-m", "cartwheel", "worker"]
        pids = [stack.enter_context(running(worker, log, environment)) for _ in range(options.workers)]
        begun = _wait_until_begun(taking, pids, log)
        peak = _wait_until_sent(database, pids, log)
        cpu = sum(cpu_seconds(family(pid)) for pid in pids) - begun.cpu_s
        took = _seconds_of(database)
        with database.read() as connection:
            counted = mailstore.counted(connection)
        seen = taking.counts()
    if counted != {MailState.ACCEPTED: options.mails} or seen["messages"] != options.mails != seen["recipients"]:
        sys.exit(f"the ledger says {counted}, the sink {seen}\n{log.read_text()[-2000:]}")
    return {
        "mails_per_second": options.mails / took,
        "cpu_us_per_mail": cpu * 1e6 / (options.mails - begun.mails),
        "rss_mb": peak,
        "bytes_per_mail": seen["bytes"] // options.mails,
    }


class Begun(NamedTuple):
    """What had been done when the first look saw mails arrive: starting a program is no part of sending."""

    mails: int
    cpu_s: float


def _wait_until_begun(taking: Sink, pids: Sequence[int], log: Path) -> Begun:
    deadline = time.monotonic() + LONGEST_S
    while not (mails := taking.counts()["messages"]):
        if time.monotonic() > deadline:
            sys.exit(f"no mail was sent within {LONGEST_S} s:\n{log.read_text()[-2000:]}")
        time.sleep(0.01)
    return Begun(mails, sum(cpu_seconds(family(pid)) for pid in pids))


def _wait_until_sent(database: Database, pids: Sequence[int], log: Path) -> float:
    """Returns the most memory that a worker was seen to use, in megabytes."""
    deadline = time.monotonic() + LONGEST_S
    due = sa.select(schema.mails.c.id).where(schema.mails.c.next_at.is_not(None)).limit(1)
    peak = 0.0
    while True:
        time.sleep(0.25)
        with database.read() as connection:
            if connection.execute(due).first() is None:
                return peak
        peak = max(peak, *(memory(family(pid)).rss_mb for pid in pids))
        if time.monotonic() > deadline:
            sys.exit(f"not all mails were sent within {LONGEST_S} s:\n{log.read_text()[-2000:]}")


def _seconds_of(database: Database) -> float:
    """From the first mail that was settled to the last."""
    at = schema.mails.c.sent_at
    with database.read() as connection:
        first, last = connection.execute(sa.select(sa.func.min(at), sa.func.max(at))).one()
    return float(last - first) / 1e6


def loop(options: argparse.Namespace, kept: Path) -> float:
    with sink() as taking:
        command = [sys.executable, str(HERE / "mailloop.py"), f"--port={taking.port}", f"--mails={options.mails}"]
        result = result_of([*command, f"--connections={options.connections}", f"--file={kept}"], LONGEST_S)
        seen = taking.counts()
    if seen["messages"] != options.mails:
        sys.exit(f"the loop sent {options.mails}, the sink saw {seen}")
    return float(result["mails"]) / float(result["seconds"])


def prepared(options: argparse.Namespace, copies: databases.Copies, name: str) -> str:
    url = copies.new(name)
    database = Database(url)
    sequencefill.prepare(database, key=KEYS[options.dkim])
    sequencefill.enrol(database, 1, options.mails, step="2", due_at=None, arrived_at=1)
    sequencefill.queue_mails(database, 1, options.mails)
    database.close()
    return url


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = asked.parser(__doc__)
    parser.add_argument("--mails", type=int, default=20_000)
    parser.add_argument("--dkim", choices=tuple(KEYS), default="none")
    parser.add_argument("--connections", type=int, default=10, help="to the mail server")
    parser.add_argument("--workers", type=int, default=1, help="processes that send")
    options = asked.read(parser, arguments)
    if options.quick:
        options.mails, options.rounds = min(options.mails, 1000), 1
    return options


def main() -> None:
    options = read_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    measured: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="cw-bench-") as name:
        folder, kept = Path(name), Path(name) / "mails.bin"
        with databases.copies(options.engine, options.mails, options.keep, options.url) as copies:
            for number in range(1, options.rounds + 1):
                result = send(options, prepared(options, copies, f"mail{number}"), folder, kept)
                result["loop_mails_per_second"] = loop(options, kept)
                for key, value in result.items():
                    measured.setdefault(key, []).append(value)
                print(
                    f"round {number}: {json.dumps({key: round(value, 1) for key, value in result.items()})}", flush=True
                )
    medians = {key: round(statistics.median(values), 1) for key, values in measured.items()}
    ratio = medians["mails_per_second"] / medians["loop_mails_per_second"]
    asked = {
        "engine": options.engine,
        "mails": options.mails,
        "dkim": options.dkim,
        "workers": options.workers,
        "rounds": options.rounds,
    }
    print(json.dumps({**asked, **medians, "ratio_to_loop": round(ratio, 3)}))


if __name__ == "__main__":
    main()
