"""What an operator sees of the real process: a log of one style that never holds a secret, and plain metrics."""

import json
import os
import re
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from cartwheel.process import observe
from conftest import Databases
from harness import API_PASSWORD, Api, Server, new_api
from rawhttp import request, say

LONGEST_S = 60
QUERY_MARK, REFERER_MARK, BODY_MARK = "mark-in-query", "mark-in-referer", "mark-in-body"


@contextmanager
def serving(
    url: str, level: str, *arguments: str, **settings: str
) -> Iterator[tuple[str, "subprocess.Popen[str]", list[str]]]:
    """`cartwheel serve` on a free port, and what it has said so far; it is stopped as an operator stops it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CARTWHEEL_")}
    environment |= {"CARTWHEEL_DATABASE": url, "CARTWHEEL_LOG_LEVEL": level, "CARTWHEEL_MAX_BODY": "2000"} | settings
    command = [sys.executable, "-m", "cartwheel", "serve", "--host", "127.0.0.1", "--port", "0", *arguments]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        guard = threading.Timer(LONGEST_S, process.kill)
        guard.start()
        try:
            said: list[str] = []
            while '"url"' not in (line := process.stderr.readline()):
                assert line, said
                said.append(line)
            yield json.loads(line)["url"], process, [*said, line]
        finally:
            guard.cancel()
            process.terminate()


@pytest.mark.parametrize("level", ["info", "debug"])
def test_no_secret_is_ever_logged(databases: Databases, level: str) -> None:
    url = databases.migrated("sqlite")
    server = Server(url)  # it makes the account, and goes
    api = new_api(server)
    server.stop()
    secrets = [api.api_key, API_PASSWORD, QUERY_MARK, REFERER_MARK, BODY_MARK]
    right = "&".join(f"{name}={value}" for name, value in api.credentials.items())
    query = f"?{right}&x={QUERY_MARK}"
    retrieve = json.dumps({"actions": [{"cmd": "retrieve_account_tags"}], "x": BODY_MARK})
    calls: list[dict[str, Any]] = [
        {"url": f"/api{query}", "content": retrieve},
        {"url": f"/api/{query}", "data": {"actions[0][cmd]": BODY_MARK}},
        {"url": "/api", "data": {**api.credentials, "api_password": BODY_MARK}},
        {"url": f"/api{query}&app_id={QUERY_MARK}", "content": retrieve},
        {"url": f"/api{query}", "content": retrieve[:-1]},
        {"url": f"/api{query}", "content": BODY_MARK.encode() * 300},
        {"url": f"/api{query}", "content": b"%ff" + BODY_MARK.encode()},
        {"url": f"/api{query}", "content": retrieve, "headers": {"Idempotency-Key": f"a b {REFERER_MARK}"}},
        {"url": f"/api{query}", "content": f"--x\r\n{BODY_MARK}", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
    ]  # fmt: skip
    with serving(url, level) as (address, process, _):
        with httpx.Client(base_url=address, headers={"Referer": f"{address}/{REFERER_MARK}{query}"}) as http:
            answers = [http.post(**call) for call in calls]
            for path in (f"/api{query}", f"/{QUERY_MARK}{query}", f"/health{query}", f"/metrics{query}"):
                http.get(path)
        say(address, request(b"", f"Referer: {REFERER_MARK}", path=f"/api{query} x"))
        process.terminate()
        assert process.stderr is not None
        log = process.stderr.read()
    assert process.returncode == 0
    assert [answer.status_code for answer in answers] == [200] * len(calls)
    lines = [json.loads(line) for line in log.splitlines()]
    assert sum(line["message"] == "call" for line in lines) == len(calls)
    assert [secret for secret in secrets if secret in log] == []


EVERY_LINE = ["at", "level", "logger", "message"]
CALL_LINE = [*EVERY_LINE, "request_id", "client", "account", "app", "actions", "bytes", "ms", "refused"]
AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")


@pytest.mark.parametrize(("engine", "processes"), [("sqlite", 1), ("postgresql", 2)])
def test_every_line_is_one_json_object_of_one_style_until_it_has_stopped(
    databases: Databases, engine: str, processes: int
) -> None:
    url = databases.migrated(engine)
    misspelt = {"CARTWHEEL_PROT": "8080"}
    with serving(url, "debug", "--processes", str(processes), **misspelt) as (address, process, said):
        httpx.post(f"{address}/api")
        httpx.get(f"{address}/api")
        say(address, b"GET\r\n\r\n")
        process.terminate()
        assert process.stderr is not None
        said += process.stderr
    assert process.returncode == 0
    lines = [json.loads(line) for line in said]
    assert {tuple(list(line)[: len(EVERY_LINE)]) for line in lines} == {tuple(EVERY_LINE)}
    assert [line["at"] for line in lines if not AT.fullmatch(line["at"])] == []
    [call] = [line for line in lines if line["message"] == "call"]
    assert list(call) == CALL_LINE
    assert {"cartwheel.serving", "cartwheel.calls", "uvicorn.error"} <= {line["logger"] for line in lines}
    told = [line["message"] for line in lines]
    for message in ("CARTWHEEL_PROT is no setting: see `cartwheel config`", "Invalid HTTP request received."):
        assert message in told
    assert (told[-1], lines[-1]["level"]) == ("Cartwheel stopped", "info")


TROUBLE = """
import threading, warnings
from cartwheel.process import observe
observe.start_logging("info")
warnings.warn("in two\\nlines", DeprecationWarning)
threading.Thread(target=lambda: 1 / 0, name="adder").start()
"""


def test_what_python_has_to_say_is_logged_like_everything_else() -> None:
    command = [sys.executable, "-Walways", "-c", TROUBLE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    warning, failure = map(json.loads, done.stderr.splitlines())
    assert (warning["level"], warning["logger"]) == ("warning", "py.warnings")
    assert "in two\nlines" in warning["message"]
    assert (failure["level"], failure["message"]) == ("error", "the thread adder failed")
    assert "ZeroDivisionError" in failure["exception"]
    assert list(failure) == [*EVERY_LINE, "exception"]


@pytest.mark.parametrize("length", [1, 7, 100, select.PIPE_BUF - 1, select.PIPE_BUF, 3 * select.PIPE_BUF])
def test_lines_are_written_in_pieces_that_no_other_process_can_break(length: int) -> None:
    lines = [b"%d".ljust(length, b"x") % (number % 10) + b"\n" for number in range(1000)]
    parts = list(observe._unbroken(lines))
    assert b"".join(parts) == b"".join(lines)
    assert all(part.endswith(b"\n") and (len(part) <= select.PIPE_BUF or part in lines) for part in parts)
    assert len(parts) <= 1000 * (length + 1) / (select.PIPE_BUF / 2) + 1


def test_metrics_say_what_happened_and_not_since_when(api: Api) -> None:
    api.create("ada@shop.example")
    metrics = api.server.http.get("/metrics").text
    assert re.search(r'^cartwheel_calls_total\{command="create_lead",type=""\} ', metrics, re.MULTILINE)
    assert "cartwheel_connections_turned_away_total" in metrics
    assert "_created" not in metrics
