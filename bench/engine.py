"""How fast leads are taken along their sequences, and whether those who sleep cost anything.

    python bench/engine.py --engine sqlite|postgresql [--sleepers N] [--due N] [--rounds R] [--url URL] [--keep DIR]

Fills two databases, one with few and one with many leads asleep in a sequence, and makes the same number due in both.
The engine then finds, decides and stores them with its own code. Finding alone is timed apart, in both, by turns. The last
line on stdout is one JSON object; see bench/README.md.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import asked
import databases
import sequencefill
import uvloop

from cartwheel import times
from cartwheel.data.db import Database
from cartwheel.data.flowstore import Flows
from cartwheel.data.lanes import Lane
from cartwheel.times import to_micros
from cartwheel.work import engine
from cartwheel.work.batches import Batches
from cartwheel.work.engine import Engine

FEW = 10_000
LOOKS = 200


def filled(url: str, sleepers: int, due: int) -> Database:
    """Everybody waits at the second step, all but the last `due` until tomorrow."""
    database = Database(url)
    sequencefill.prepare(database)
    now = time.time_ns() // 1000
    arrived = now - 23 * sequencefill.HOUR
    later = now + 12 * sequencefill.HOUR
    sequencefill.enrol(database, 1, sleepers, step="2", due_at=later, arrived_at=arrived)
    sequencefill.enrol(
        database, sleepers + 1, sleepers + due, step="2", due_at=now, arrived_at=now - 25 * sequencefill.HOUR
    )
    return database


async def look(lane: Lane) -> float:
    """Seconds that it takes to find a round of what is due."""
    await lane.begin()
    started = time.perf_counter()
    found = await lane.fetch(engine.DUE_RUNS, [(to_micros(times.now()),)])
    took = time.perf_counter() - started
    await lane.rollback()
    if len(found) != engine.MOST_AT_ONCE:
        sys.exit(f"{len(found)} runs were found, not {engine.MOST_AT_ONCE}")
    return took


async def take_along(database: Database, due: int) -> tuple[float, float]:
    """Steps a second, and processor time a step in microseconds."""
    batches = Batches(database, clock=times.now, most_waiting=1000)
    await batches.start()
    running = Engine(batches, Flows(database), database, clock=times.now)
    started, cpu = time.perf_counter(), time.process_time()
    while await running.round():
        pass
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    await batches.stop()
    if running.taken != due:
        sys.exit(f"{running.taken} runs were taken along, not {due}")
    return due / took, cpu * 1e6 / due


async def measure(options: argparse.Namespace, stack: ExitStack) -> dict[str, Any]:
    few = stack.enter_context(databases.copies(options.engine, FEW + options.due, options.keep, options.url))
    rates, cpus, looks = list[float](), list[float](), dict[int, list[float]]()
    sizes = {FEW: few}
    if options.sleepers != FEW:
        many = databases.copies(
            options.engine, options.sleepers + options.due, options.keep, few.server_url or options.url
        )
        sizes[options.sleepers] = stack.enter_context(many)
    for number in range(1, options.rounds + 1):
        stores = {}
        for sleepers, copies in sizes.items():
            stores[sleepers] = filled(copies.new(f"engine{number}_{sleepers}"), sleepers, options.due)
        lanes = {sleepers: database.lane() for sleepers, database in stores.items()}
        for _ in range(LOOKS):
            for sleepers, lane in lanes.items():
                looks.setdefault(sleepers, []).append(await look(lane))
        for lane in lanes.values():
            await lane.close()
        rate, cpu = await take_along(stores[options.sleepers], options.due)
        rates.append(rate)
        cpus.append(cpu)
        print(f"round {number}: {rate:.0f} steps/s", flush=True)
        for database in stores.values():
            database.close()
    found = {sleepers: statistics.median(times_) for sleepers, times_ in looks.items()}
    return {
        "steps_per_second": round(statistics.median(rates), 1),
        "cpu_us_per_step": round(statistics.median(cpus), 1),
        "find_us_few": round(found[FEW] * 1e6, 1),
        "find_us": round(found[options.sleepers] * 1e6, 1),
        "ratio_of_finding": round(found[options.sleepers] / found[FEW], 3),
    }


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = asked.parser(__doc__)
    parser.add_argument("--sleepers", type=int, default=1_000_000)
    parser.add_argument("--due", type=int, default=10_000)
    options = asked.read(parser, arguments)
    if options.quick:
        options.sleepers, options.due, options.rounds = FEW, 1000, 1
    return options


def main() -> None:
    options = read_options()
    with ExitStack() as stack:
        measured = uvloop.run(measure(options, stack))
    asked = {"engine": options.engine, "sleepers": options.sleepers, "due": options.due, "rounds": options.rounds}
    print(json.dumps({**asked, **measured}))


if __name__ == "__main__":
    main()
