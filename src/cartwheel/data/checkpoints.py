"""SQLite's write-ahead log, moved into the database file off the commit path.

Inside a commit a checkpoint costs up to 240 ms. PASSIVE alone never resets the log while somebody writes, and it grows
without end; RESTART right after it finds little left to do, and lets the next writer begin at the log's start.
"""

import logging
import sqlite3
import threading

from cartwheel.data.lanes import SqliteFile
from cartwheel.errors import Unavailable

log = logging.getLogger(__name__)

EVERY_S = 0.5

RESTART_BYTES = 16 << 20
"""From this size of the log on, writers wait for the few milliseconds that a RESTART takes; but not in vain, while a
backup or an export keeps much of the log from being moved."""


class Checkpointer:
    """A thread with a connection of its own."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop, and leave a short log behind."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            self._checkpoint()
        self._checkpoint()

    def _checkpoint(self) -> None:
        try:
            size = self._file.log.stat().st_size
            if not size:
                return
            connection = self._file.connect(timeout_s=0.25)
            try:
                [(_, frames, moved)] = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                [(page_size,)] = connection.execute("PRAGMA page_size").fetchall()
                if size > RESTART_BYTES > 2 * (frames - moved) * page_size:
                    connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
            finally:
                connection.close()
        except (OSError, sqlite3.Error, Unavailable) as trouble:
            log.warning("no checkpoint: %s", trouble)
