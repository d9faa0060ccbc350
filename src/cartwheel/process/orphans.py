"""A process that outlives the one that started it would keep its port or its work, with yesterday's program."""

import multiprocessing
import os
import signal
import threading


def stop_with_parent() -> None:
    """In a process that this program has started: stop as by SIGTERM when its parent has ended, however it did."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="orphanage", daemon=True).start()
