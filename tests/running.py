"""The command line in a process of its own."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

DEADLINE_S = 180
"""Only what fails takes so long; a busy machine may take a minute to start."""


class Cartwheel:
    """The command in a process of its own, with a pipe where its output goes."""

    def __init__(self, *arguments: object, temp: Path | None = None, **settings: object) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CARTWHEEL_")}
        given = {f"CARTWHEEL_{name.upper()}": str(value) for name, value in {"worker": "no", **settings}.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cartwheel", *map(str, arguments)],
            env=inherited | given | ({"TMPDIR": str(temp)} if temp else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def wait_for(self, text: str) -> str:
        """The next line with this text in it."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            line = self._lines.get(timeout=max(0, deadline - time.monotonic()))
            assert line is not None, f"ended without saying {text}: {self.said}"
            self.said.append(line)
            if text in line:
                return line

    def wait_for_url(self) -> str:
        return str(json.loads(self.wait_for('"url"'))["url"])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def end(self) -> tuple[int, str]:
        """The exit code and everything that was said."""
        code = self.process.wait(DEADLINE_S)
        self._reader.join()
        rest = (line for line in iter(self._lines.get, None) if line is not None)
        return code, "".join([*self.said, *rest])
