"""What an operator sees: metrics for Prometheus, and log lines as JSON."""

import asyncio
import json
import logging
import os
import select
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cartwheel import times

disable_created_metrics()  # type: ignore[no-untyped-call]

CALLS = Counter("cartwheel_calls", "Actions of API calls, by command and answer type", ["command", "type"])
CALL_SECONDS = Histogram(
    "cartwheel_call_seconds",
    "Time from a call's last byte to its answer",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
BATCH_SIZE = Histogram("cartwheel_batch_size", "Pieces of work in one transaction", buckets=(1, 2, 4, 8, 16, 32, 64))
QUEUE = Gauge("cartwheel_queue_depth", "Pieces of work that wait for a batch", multiprocess_mode="livesum")
COMMIT_SECONDS = Histogram(
    "cartwheel_commit_seconds",
    "Time that a commit took to become durable",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
)
TURNED_AWAY = Counter("cartwheel_connections_turned_away", "Connections that were one too many")


log = logging.getLogger(__name__)

_counted: dict[tuple[str, str], int] = {}


def count(command: str, type_: str) -> None:
    """Count an action (or, with no command, a call that was refused as a whole). `settle` makes it a metric."""
    _counted[command, type_] = _counted.get((command, type_), 0) + 1


def settle() -> None:
    """Hand the counts on: once for many calls, because each hand-over takes a lock."""
    while _counted:
        labels, number = _counted.popitem()
        CALLS.labels(*labels).inc(number)


def _line(at: datetime, level: str, logger: str, message: str, fields: dict[str, object]) -> dict[str, object]:
    """What every line of the log has, and in which order."""
    return {"at": at, "level": level, "logger": logger, "message": message, **fields}


class JsonLines(logging.Formatter):
    """One JSON object a line. A record's `fields` (a dict given as `extra`) stand beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        fields = getattr(record, "fields", {})
        line = _line(at, record.levelname.lower(), record.name, record.getMessage(), fields)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    return msgspec.to_builtins(value, enc_hook=str)


class LineLog:
    """A line for every API call, or mail, written a few times a second: a line at a time would cost as much as the call.

    What is not in it: query strings, headers and bodies, because credentials travel there.
    """

    EVERY_S = 0.2

    def __init__(self, logger: str, message: str) -> None:
        self._logger = logger
        self._message = message
        self._lines: list[bytes] = []

    def write(self, fields: dict[str, object]) -> None:
        """Has to be called on the event loop."""
        if not self._lines:
            asyncio.get_running_loop().call_later(self.EVERY_S, self.flush)
        line = _line(times.now(), "info", self._logger, self._message, fields)
        self._lines.append(msgspec.json.encode(line) + b"\n")

    def flush(self) -> None:
        lines, self._lines = self._lines, []
        for part in _unbroken(lines):
            sys.stderr.write(part.decode())
            sys.stderr.flush()


def _unbroken(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines together, as many as a pipe takes in one piece: what other processes write comes before or after it."""
    part = b""
    for line in lines:
        if part and len(part) + len(line) > select.PIPE_BUF:
            yield part
            part = b""
        part += line
    if part:
        yield part


def metrics() -> bytes:
    """All metrics as Prometheus reads them, added up over the processes of this machine."""
    settle()
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


class BacklogMetrics(Collector):
    """What the ledger says waits: the same for all processes, so it is asked when somebody wants to know."""

    def __init__(self, mails: Mapping[str, int], mails_late_s: float, runs_late_s: float, oldest_mail_s: float) -> None:
        self._mails = mails
        self._late = {"mails": mails_late_s, "runs": runs_late_s}
        self._oldest_mail_s = oldest_mail_s

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "cartwheel_mails_waiting", "Mails that are not settled, or in doubt", labels=["state"]
        )
        for state, number in self._mails.items():
            waiting.add_metric([state], number)
        yield waiting
        for what, seconds in self._late.items():
            name = f"cartwheel_{what}_late_seconds"
            yield GaugeMetricFamily(name, f"For how long the oldest of the {what} that are due has been", seconds)

        what = "Age of the oldest mail that is not settled, whatever it waits for: a server, a limit, an owner"
        yield GaugeMetricFamily("cartwheel_mails_oldest_seconds", what, self._oldest_mail_s)

    def as_text(self) -> bytes:
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)


def start_logging(level: str) -> None:
    """Send everything that is logged to stderr, as JSON lines; also what Python has to say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    threading.excepthook = _tell_of_thread


def _tell_of_thread(trouble: threading.ExceptHookArgs) -> None:
    name = trouble.thread.name if trouble.thread else "unknown"
    why = (trouble.exc_type, trouble.exc_value or trouble.exc_type(), trouble.exc_traceback)
    log.error("the thread %s failed", name, exc_info=why)
