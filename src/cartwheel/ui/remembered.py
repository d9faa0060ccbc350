"""Numbers that take seconds to count in a large account are counted once, and shown for a while."""

from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")

FRESH = timedelta(minutes=5)
MOST = 1000


class Remembered:
    """Those of one process, by what they are of."""

    def __init__(self) -> None:
        self._values: dict[Hashable, tuple[datetime, Any]] = {}
        self._lock = Lock()

    def get(self, key: Hashable, now: datetime, count: Callable[[], T]) -> T:
        """What was counted in the last five minutes, or what `count` finds now. Whoever comes meanwhile waits for it."""
        found = self._values.get(key)
        if found is None or found[0] < now - FRESH:
            with self._lock:
                found = self._values.get(key)
                if found is None or found[0] < now - FRESH:
                    found = now, count()
                    if len(self._values) >= MOST:
                        self._values.clear()
                    self._values[key] = found
        value: T = found[1]
        return value
