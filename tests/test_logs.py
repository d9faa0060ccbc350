"""The log of the real process never holds a secret, although clients put theirs into query strings and Referer."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from conftest import Databases
from harness import API_PASSWORD, Server, new_api
from rawhttp import request, say

LONGEST_S = 60
QUERY_MARK, REFERER_MARK, BODY_MARK = "mark-in-query", "mark-in-referer", "mark-in-body"


@contextmanager
def serving(url: str, level: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """`cartwheel serve` on a free port; it is stopped as an operator stops it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CARTWHEEL_")}
    environment |= {"CARTWHEEL_DATABASE": url, "CARTWHEEL_LOG_LEVEL": level, "CARTWHEEL_MAX_BODY": "2000"}
    command = [sys.executable, "-m", "cartwheel", "serve", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        guard = threading.Timer(LONGEST_S, process.kill)
        guard.start()
        try:
            yield next(line["url"] for line in map(json.loads, process.stderr) if "url" in line), process
        finally:
            guard.cancel()
            process.terminate()


@pytest.mark.parametrize("level", ["info", "debug"])
def test_no_secret_is_ever_logged(databases: Databases, level: str) -> None:
    url = databases.new("sqlite")
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
    with serving(url, level) as (address, process):
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
