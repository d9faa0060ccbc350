"""For what another thread or process does."""

import time
from collections.abc import Callable

import sqlalchemy as sa

from harness import Server


def wait_until(condition: Callable[[], bool], what: str | Callable[[], str], seconds: float = 60) -> None:
    """Look every few milliseconds until it is so; `what` is told in the end if it never is."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s not yet: {what if isinstance(what, str) else what()}"
        time.sleep(0.005)


def waiting_for_locks(server: Server) -> list[int]:
    """The connections of its database, on PostgreSQL, that wait for somebody else."""
    with server.database.read() as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return list(connection.execute(sa.text(query)).scalars())
