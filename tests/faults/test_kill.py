"""A killed server loses nothing that it acknowledged, and leaves nothing half done."""

import os
import random
import time
from pathlib import Path

import invariants
from callers import Book, Load, Outcome
from realserver import ServerProcess, cartwheel, free_port, make_account

from conftest import Databases

CYCLES = int(os.environ.get("FAULTS_CYCLES", "50"))
"""Kills for each engine. A larger number in the environment makes a long run."""

MOST_CALLS = (10, 10, 10, 10, 300)
"""Before a kill: most come soon after the start, some after the first checkpoints."""

SEED = os.environ.get("FAULTS_SEED", "killed")


def test_a_server_that_is_killed_again_and_again_loses_nothing(
    engine: str, databases: Databases, tmp_path: Path
) -> None:
    url = databases.migrated(engine)
    make_account(url)
    book, port, rng = Book(), free_port(), random.Random(f"{SEED}-{engine}")
    hit = 0
    for cycle in range(CYCLES):
        server = ServerProcess(url, tmp_path / "server.log", port=port, forked=True)
        try:
            server.wait_until_ready()
            if not book.pool:
                book.fill_pool(port)
            unanswered = book.count(Outcome.UNANSWERED)
            load = Load(book, port, seed=f"{SEED}-{engine}-{cycle}")
            load.wait_for(rng.randint(1, rng.choice(MOST_CALLS)))
            time.sleep(rng.random() * 0.01)
        finally:
            server.kill()
        load.join()
        hit += book.count(Outcome.UNANSWERED) > unanswered
    invariants.check(url, book)
    examined = cartwheel(url, "doctor")
    assert examined.code == 0, examined
    assert hit >= CYCLES * 0.9, f"only {hit} of {CYCLES} kills met a call on its way"
