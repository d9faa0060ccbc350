"""The rate of the API while the worker sends as fast as it can, as a part of its rate without.

    python bench/beside.py --engine sqlite|postgresql [--leads N] [--seconds S] [--rounds R] [--url URL] [--keep DIR]

The calls are those of `api.py`, the mails those of `mail.py`: each lead has one due, and the worker may not run out of them.
Needs wrk. The last line on stdout is one JSON object; see bench/README.md.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import asked
import databases
from processes import free_port, running, wait_until_it_answers

import mail
from api import WARM_UP_S, Contest


def measure(options: argparse.Namespace, stack: ExitStack) -> dict[str, float]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cw-bench-")))
    copies = stack.enter_context(databases.copies(options.engine, options.leads, options.keep, options.url))
    database, port = mail.prepared(options, copies, "beside"), free_port()
    settings = {"CARTWHEEL_DATABASE": database, "CARTWHEEL_WORKER": "no", "CARTWHEEL_LOG_LEVEL": "warning"}
    serve = [sys.executable, "-m", "cartwheel", "serve", "--port", str(port)]
    pid = stack.enter_context(running(serve, folder / "server.log", settings))
    url = f"http://127.0.0.1:{port}"
    wait_until_it_answers(f"{url}/health", folder / "server.log")
    calls = Contest(options, pid, url, copies.database_pid, "", "", options.leads + 1)
    calls.first_call()
    calls.wrk(url, WARM_UP_S)
    alone, beside, mails = list[float](), list[float](), list[float]()
    for number in range(1, options.rounds + 1):
        result = calls.wrk(url, options.seconds)
        alone.append(result["calls"] / result["seconds"])
        with mail.sink() as sink:
            smtp = {"CARTWHEEL_SMTP": f"smtp://127.0.0.1:{sink.port}", "CARTWHEEL_PUBLIC_URL": url}
            with running([sys.executable, "-m", "cartwheel", "worker"], folder / "worker.log", settings | smtp):
                _wait_for_mail(sink)
                before, started = sink.counts()["messages"], time.perf_counter()
                result = calls.wrk(url, options.seconds)
                mails.append((sink.counts()["messages"] - before) / (time.perf_counter() - started))
                beside.append(result["calls"] / result["seconds"])
        print(f"round {number}: {alone[-1]:.0f} calls/s, {beside[-1]:.0f} beside {mails[-1]:.0f} mails/s", flush=True)
    if calls.errors:
        sys.exit(f"{calls.errors} calls failed")
    rates = {"calls_per_second_alone": alone, "calls_per_second": beside, "mails_per_second": mails}
    medians = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    return {**medians, "ratio_to_alone": round(medians["calls_per_second"] / medians["calls_per_second_alone"], 3)}


def _wait_for_mail(sink: mail.Sink) -> None:
    deadline = time.monotonic() + mail.LONGEST_S
    while not sink.counts()["messages"]:
        if time.monotonic() > deadline:
            sys.exit("the worker does not send")
        time.sleep(0.1)


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = asked.parser(__doc__)
    parser.add_argument("--leads", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=10)
    options = asked.read(parser, arguments)
    if options.quick:
        options.leads, options.seconds, options.rounds = 20_000, 2, 1
    options.mails, options.dkim = options.leads, "none"
    return options


def main() -> None:
    options = read_options()
    with ExitStack() as stack:
        measured = measure(options, stack)
    asked = {"engine": options.engine, "leads": options.leads, "seconds": options.seconds, "rounds": options.rounds}
    print(json.dumps({**asked, **measured}))


if __name__ == "__main__":
    main()
