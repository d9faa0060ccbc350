"""The processes of a benchmark: started, watched and ended here, and none but these."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
_TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: Sequence[str], output: Path, environment: Mapping[str, str] = {}) -> Iterator[int]:
    """A process that runs as long as the block; yields its id. What it prints goes to the file `output`."""
    with output.open("ab") as file:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_it_answers(url: str, output: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > deadline:
                sys.exit(f"{url} does not answer:\n{output.read_text()[-3000:]}")
            time.sleep(0.05)


def result_of(command: Sequence[str], timeout_s: float) -> Any:
    """Run a program to its end; its last line is one JSON object."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        printed, _ = process.communicate(timeout=timeout_s)
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        sys.exit(f"{command[0]} failed:\n{printed}")
    return json.loads(printed.strip().splitlines()[-1])


# -- what they use --


class Memory(NamedTuple):
    """Megabytes that are in memory: all, and those that are no file's."""

    rss_mb: float
    anon_mb: float


def family(pid: int) -> list[int]:
    """The process and its children and theirs."""
    pids = [pid]
    for parent in pids:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                pids += [int(child) for child in children.read_text().split()]
            except OSError:  # it has ended meanwhile
                continue
    return pids


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of these processes so far."""
    total = 0
    for pid in pids:
        try:
            values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(values[11]) + int(values[12])
    return total / _TICKS


def memory(pids: Sequence[int]) -> Memory:
    sizes = {"VmRSS": 0, "RssAnon": 0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in sizes:
                sizes[name] += int(value.split()[0])
    return Memory(round(sizes["VmRSS"] / 1024, 1), round(sizes["RssAnon"] / 1024, 1))
