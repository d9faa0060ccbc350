"""How often somebody may try a password or a code: each process counts, by the caller's address and by the person."""

import threading
from datetime import datetime

from cartwheel.data.ratelimits import Pace

AT_ONCE = 10
PER_SECOND = 1 / 30
"""So many may come at once, and then so many a second."""


class Attempts:
    """Counts those that failed."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._lock = threading.Lock()

    def take(self, now: datetime, *keys: str) -> bool:
        """Whether one more may be made, for all of these; it counts until it is given back."""
        with self._lock:
            verdicts = [self._pace.take(key, now, rate=PER_SECOND, burst=AT_ONCE) for key in keys]
        return all(verdict.allowed for verdict in verdicts)

    def give_back(self, *keys: str) -> None:
        """It was right."""
        with self._lock:
            for key in keys:
                self._pace.give_back(key, rate=PER_SECOND)
