"""How often somebody may try a password or a code: each process counts what failed.

A strict limit is by something that others cannot use up for one, such as a session, or a login together with the network it
is tried from. A loose one is by the login alone, against many networks that guess together.
"""

import threading
from datetime import datetime
from typing import NamedTuple

from cartwheel.data.ratelimits import Pace


class Limit(NamedTuple):
    """So many may come at once, and then so many a second."""

    key: str
    at_once: int
    per_second: float


def strict(key: str) -> Limit:
    return Limit(f"strict {key}", 10, 1 / 60)


def loose(key: str) -> Limit:
    """More an hour than one strict limit lets through: one network alone does not use it up."""
    return Limit(f"loose {key}", 100, 100 / 3600)


class Attempts:
    """Counts those that failed."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._lock = threading.Lock()

    def take(self, now: datetime, *limits: Limit) -> bool:
        """Whether one more may be made, for all of these; it counts until it is given back. What is refused does not count."""
        with self._lock:
            for number, (key, at_once, per_second) in enumerate(limits):
                if not self._pace.take(key, now, rate=per_second, burst=at_once).allowed:
                    self._give_back(*limits[:number])
                    return False
        return True

    def give_back(self, *limits: Limit) -> None:
        """It was right."""
        with self._lock:
            self._give_back(*limits)

    def _give_back(self, *limits: Limit) -> None:
        for limit in limits:
            self._pace.give_back(limit.key, rate=limit.per_second)
