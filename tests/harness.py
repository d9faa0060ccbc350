"""What the tests stand on: real servers in a thread, real databases, a clock that the test moves."""

import asyncio
import itertools
import json
import threading
import tomllib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import httpx
import sqlalchemy as sa
import tomli_w
import uvicorn

from cartwheel import serving
from cartwheel.accountfiles import accountfile
from cartwheel.app import Application
from cartwheel.config import Settings
from cartwheel.data import schema
from cartwheel.data.db import Database
from cartwheel.data.ratelimits import Pace
from cartwheel.ui.attempts import Attempts
from cartwheel.work.leadwork import DeletionWork

T = TypeVar("T")

DEMO = files("cartwheel").joinpath("demo.toml").read_text()
API_KEY = "the-key-of-the-tests"
API_PASSWORD = "the-password-of-the-tests"
APP_ID = "the-app-of-the-tests"

ENVIRONMENT = {"CARTWHEEL_PORT": "0", "CARTWHEEL_LOG_LEVEL": "error"}


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.now = datetime(2026, 3, 1, 14, 15, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **delta: float) -> None:
        self.now += timedelta(**delta)


class Server:
    """The real application under uvicorn, on a real socket, in a thread of this process."""

    def __init__(
        self,
        database_url: str,
        environment: Mapping[str, str] = {},
        new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self._new_loop = new_loop
        self.database = Database(database_url)
        self.database.migrate()
        settings = Settings.load({**ENVIRONMENT, "CARTWHEEL_DATABASE": database_url, **environment})
        self.application = Application(settings, clock=self.clock)
        self.uvicorn = serving.uvicorn_config(settings, self.application)
        self._server = uvicorn.Server(self.uvicorn)
        self._listening = serving.listen(settings)
        self.state = self._server.server_state
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)
        self._thread.start()
        if not self._started.wait(30):
            raise RuntimeError("the server did not start")
        self.url = serving.url(settings, self._listening)
        self.http = httpx.Client(base_url=self.url, timeout=30, verify=False)  # reading certificates takes 40 ms

    def _run(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            task = asyncio.create_task(self._server.serve([self._listening]))
            while not self._server.started and not task.done():  # noqa: ASYNC110 - uvicorn tells nobody
                await asyncio.sleep(0.01)
            self._started.set()
            await task

        with asyncio.Runner(loop_factory=self._new_loop) as runner:
            runner.run(main())

    def run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function on the server's loop."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(function(), self._loop).result(30)

    def forgive(self) -> None:
        """Whoever sent wrong credentials begins anew."""
        self.application.gate._failures = Pace()
        self.application.site._house.attempts = Attempts()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        self.http.close()
        self.database.close()


@dataclass
class Api:
    """One account of a server, and its caller. Every account has the demo's lists, tags, sequences and fields."""

    server: Server
    account_id: int
    app_id: str
    api_key: str
    api_password: str = API_PASSWORD
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def credentials(self) -> dict[str, str]:
        return {"app_id": self.app_id, "api_key": self.api_key, "api_password": self.api_password}

    def call(self, *actions: Mapping[str, Any], **parts: Any) -> Any:
        """A call as JSON; an action is `{"cmd": …}`, the parts are `lead` and `get_lead`."""
        body: dict[str, Any] = {**self.credentials, **parts}
        if actions:
            body["actions"] = list(actions)
        return self.post(json.dumps(body).encode(), **{"Content-Type": "application/json"}).json()

    def on(self, email: str, cmd: str, **parameters: Any) -> Any:
        """One action on one lead."""
        return self.call({"cmd": cmd, **parameters}, lead={"email": email})

    def create(self, email: str, **fields: Any) -> str:
        """Make a lead; returns its id."""
        answer = self.call({"cmd": "create_lead"}, lead={"email": email, **fields})
        return str(answer["actions"][0]["create_lead"]["lead_details"]["id"])

    def lead(self, email: str) -> Any:
        """What `get_lead` tells."""
        return self.call(get_lead={"email": email})["lead_details"]

    def post(self, body: bytes, query: str = "", /, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.server.http.post("/api" + query, content=body, headers=self.headers | named)
        assert b'"type":"500"' not in answer.content, "a call failed: see the log above"
        return answer

    def form(self, body: str, query: str = "", /, **headers: str) -> Any:
        """A form body as it stands, with the credentials before it."""
        credentials = "&".join(f"{name}={value}" for name, value in self.credentials.items())
        whole = f"{credentials}&{body}".encode()
        return self.post(whole, query, Content_Type="application/x-www-form-urlencoded", **headers).json()

    # -- behind the API --

    def rows(self, table: sa.Table, **where: Any) -> list[dict[str, Any]]:
        query = sa.select(table).filter_by(account_id=self.account_id, **where)
        with self.server.database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def rows_of_leads(self) -> list[dict[str, Any]]:
        return self.rows(schema.leads)

    def events(self, lead_id: str) -> list[tuple[str, Any]]:
        """The lead's feed, oldest first, as (kind, details)."""
        rows = sorted(self.rows(schema.events, lead_id=int(lead_id)), key=lambda row: row["id"])
        return [(row["kind"], json.loads(row["details"])) for row in rows]

    def delete(self, email: str) -> None:
        """Mark the lead as deleted, as a person in the account would."""
        [row] = self.rows(schema.leads, email=email)
        work = DeletionWork((self.account_id, row["id"]), deleted=True, origin="tests")
        self.server.run(lambda: self.server.application.batches.submit(work))


_NUMBERS = itertools.count(1)


def new_api(
    server: Server,
    *,
    account: Mapping[str, Any] = {},
    app: Mapping[str, Any] = {},
    file: str = DEMO,
) -> Api:
    """A fresh account on the server; `account` and `app` change what its file says."""
    number = next(_NUMBERS)
    read = tomllib.loads(file)
    api_key, app_id = f"{API_KEY}-{number}", f"{APP_ID}-{number}"
    read["account"] |= {"name": f"Account {number}", "api_key": api_key, "api_password": API_PASSWORD, **account}
    read["apps"][0] |= {"app_id": app_id, **app}
    made = accountfile.apply(server.database, accountfile.read_text(tomli_w.dumps(read), Path()), server.clock())
    return Api(server, made["account_id"], app_id, api_key)
