"""How fast webhooks are delivered to a receiver on this machine, with the log written, beside a bare loop.

    python bench/webhooks.py --engine sqlite|postgresql --deliveries N [--rounds R] [--url URL]

N deliveries of N leads are due; `cartwheel worker` delivers them to a receiver, which counts them. The last line on stdout
is one JSON object; see bench/README.md.
"""

import argparse
import asyncio
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

import aiohttp
import asked
import databases
import sqlalchemy as sa
import uvloop
from processes import running

from cartwheel import times
from cartwheel.data import catalog, hookstore, schema
from cartwheel.data.db import Database
from cartwheel.data.hookfeed import DELIVERED
from cartwheel.data.hooktables import HOOK_WAITS
from cartwheel.hooks import envelope
from cartwheel.hooks.delivering import PLACES
from cartwheel.hooks.outbound import Endpoint
from cartwheel.times import to_micros

HERE = Path(__file__).parent
LONGEST_S = 300


class Sink:
    """A receiver in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        self.url = f"http://127.0.0.1:{int(process.stdout.readline())}/hook"

    def calls(self) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def sink() -> Iterator[Sink]:
    command = [sys.executable, str(HERE / "hooksink.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Sink(process)
        finally:
            process.kill()


def prepare(database: Database, url: str, deliveries: int) -> str:
    """An endpoint with so many deliveries, each of a lead of its own; returns the body of one."""
    now = times.now()
    endpoint = Endpoint(1, "bench", url, True, hookstore.new_secret(), {"assign_tag": None})
    with database.write() as connection:
        known = catalog.newer(connection)
        account = next(iter(known.accounts.values()))
        number = hookstore.add(connection, account.id, endpoint, now)
        body = envelope.trial_body(account, endpoint, "assign_tag", now)
        at = to_micros(now)
        row = {
            "account_id": account.id,
            "endpoint": number,
            "action": "assign_tag",
            "body": body,
            "state": "queued",
            "queued_at": at,
            "next_at": at,
            "attempts": 0,
            "answer": "",
            "trouble": "",
        }
        rows = [row | {"lead_id": lead, "id": at + lead} for lead in range(1, deliveries + 1)]
        connection.execute(sa.insert(schema.hook_deliveries), rows)
        connection.execute(sa.text("ANALYZE hook_deliveries"))  # as PostgreSQL does by itself within a minute
    return body


def deliver(options: argparse.Namespace, url: str, folder: Path) -> tuple[float, str]:
    """Deliveries a second, from the first call to the last row of the log; and a body."""
    database = Database(url)
    log = folder / "worker.log"
    with ExitStack() as stack:
        stack.callback(database.close)
        receiver = stack.enter_context(sink())
        body = prepare(database, receiver.url, options.deliveries)
        environment = {
            "CARTWHEEL_DATABASE": url,
            "CARTWHEEL_PUBLIC_URL": "https://mail.shop.example",
            "CARTWHEEL_ALLOW_PRIVATE_TARGETS": "yes",
            "CARTWHEEL_LOG_LEVEL": "warning",
        }
        stack.enter_context(running([sys.executable, "-m", "cartwheel", "worker"], log, environment))
        deadline = time.monotonic() + LONGEST_S
        while not (before := receiver.calls()):
            _give_up_after(deadline, log)
            time.sleep(0.005)
        begun = time.perf_counter()
        waiting = sa.select(schema.hook_deliveries.c.id).where(HOOK_WAITS).limit(1)
        while True:
            with database.read() as connection:
                if connection.execute(waiting).first() is None:
                    break
            _give_up_after(deadline, log)
            time.sleep(0.02)
        took = time.perf_counter() - begun
        table = schema.hook_deliveries
        with database.read() as connection:
            done = sa.select(sa.func.count()).where(table.c.state == DELIVERED)
            delivered = connection.execute(done).scalar_one()
        if not delivered == receiver.calls() == options.deliveries:
            sys.exit(f"the log says {delivered}, the receiver {receiver.calls()}")
    return (options.deliveries - before) / took, body


def _give_up_after(deadline: float, log: Path) -> None:
    if time.monotonic() > deadline:
        sys.exit(f"not all was delivered within {LONGEST_S} s:\n{log.read_text()[-2000:]}")


async def _loop(url: str, body: bytes, count: int) -> float:
    """The same number of calls by the same library, as many at a time, and nothing else."""
    left = iter(range(count))

    async def post(session: aiohttp.ClientSession) -> None:
        for _ in left:
            async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
                answer.raise_for_status()
                await answer.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=PLACES)) as session:
        begun = time.perf_counter()
        await asyncio.gather(*(post(session) for _ in range(PLACES)))
        return count / (time.perf_counter() - begun)


def loop(body: str, count: int) -> float:
    with sink() as receiver:
        return uvloop.run(_loop(receiver.url, body.encode(), count))


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = asked.parser(__doc__)
    parser.add_argument("--deliveries", type=int, default=5000)
    options = asked.read(parser, arguments)
    if options.quick:
        options.deliveries, options.rounds = min(options.deliveries, 500), 1
    return options


def main() -> None:
    options = read_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    ours, theirs = [], []
    with (
        tempfile.TemporaryDirectory(prefix="cw-bench-") as name,
        databases.copies(options.engine, options.deliveries, options.keep, options.url) as copies,
    ):
        for number in range(1, options.rounds + 1):
            rate, body = deliver(options, copies.new(f"hooks{number}"), Path(name))
            ours.append(rate)
            theirs.append(loop(body, options.deliveries))
            print(f"round {number}: {ours[-1]:.0f} deliveries/s, the loop {theirs[-1]:.0f}", flush=True)
    result = {
        "engine": options.engine,
        "deliveries": options.deliveries,
        "rounds": options.rounds,
        "deliveries_per_second": round(statistics.median(ours), 1),
        "loop_calls_per_second": round(statistics.median(theirs), 1),
        "ratio_to_loop": round(statistics.median(ours) / statistics.median(theirs), 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
