"""Pages that wait for machines elsewhere, mail servers and the DNS: a few at a time, so that all others find a thread."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

AT_ONCE = 4
OF_ONE_ACCOUNT = 2


class Busy(Exception):
    """So many wait already that this one is not begun."""


class Slots:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[int] = Counter()

    @contextmanager
    def one(self, account_id: int) -> Iterator[None]:
        """Raises `Busy` at once."""
        with self._lock:
            if self._taken.total() >= AT_ONCE or self._taken[account_id] >= OF_ONE_ACCOUNT:
                raise Busy
            self._taken[account_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[account_id] -= 1
                self._taken += Counter()
