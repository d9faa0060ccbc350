"""`cartwheel demo`: a server with an account to try, and a short story of real calls.

The calls go over HTTP to the server that runs in this very process; what is printed is what was sent and answered.
"""

import asyncio
import http.client
import json
import logging
import os
import signal
import threading
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tomli_w
from rich.highlighter import JSONHighlighter
from rich.markup import escape
from rich.text import Text

from cartwheel import accountfile, catalog, leadcard, observe, serving, terminal, times, views
from cartwheel.app import Application
from cartwheel.config import Settings
from cartwheel.db import Database
from cartwheel.errors import CannotServe
from cartwheel.leadstore import find_lead

log = logging.getLogger(__name__)

PORT = 8080
MARGIN = "     "
CREDENTIALS = {"app_id": "demo-app", "api_key": "demo-key", "api_password": "demo-password"}


@dataclass(frozen=True)
class Call:
    """A call of the story: what it shows, and the form or the JSON that is sent."""

    shows: str
    sent: Mapping[str, Any]
    as_json: bool = False
    brief: bool = False
    """Whether empty values are left out of the answer that is shown."""


STORY = [
    Call(
        "A visitor signs up. One call makes the lead, puts it on a list and tags it.",
        {
            "lead[email]": "ada@shop.example",
            "lead[first_name]": "Ada",
            "actions[0][cmd]": "create_lead",
            "actions[1][cmd]": "subscribe_lead_to_list",
            "actions[1][list_name]": "Newsletter",
            "actions[2][cmd]": "assign_tag",
            "actions[2][tag_name]": "Trial user",
        },
    ),
    Call(
        "She earns points that expire in 30 days, and starts a sequence.",
        {
            "lead[email]": "ada@shop.example",
            "actions[0][cmd]": "give_points_to_lead",
            "actions[0][points]": "10",
            "actions[0][expiration]": "30",
            "actions[1][cmd]": "subscribe_lead_to_sequence_at_step",
            "actions[1][sequence_name]": "Welcome",
            "actions[1][step]": "1",
        },
    ),
    Call(
        "A mistake gets Kartra's words and number, with HTTP status 200.",
        {
            "lead[email]": "ada@shop.example",
            "actions[0][cmd]": "assign_tag",
            "actions[0][tag_name]": "Tryal user",
        },
    ),
    Call(
        "JSON works as well as a form.",
        {
            "lead": {
                "email": "grace@shop.example",
                "first_name": "Grace",
                "custom_fields": [{"field_identifier": "plan", "field_value": "612"}],
            },
            "actions": [{"cmd": "create_lead"}],
        },
        as_json=True,
    ),
    Call("Everything about a lead (here without what is empty).", {"get_lead[email]": "ada@shop.example"}, brief=True),
]

FIRST_TRY = {"lead[email]": "grace@shop.example", "actions[0][cmd]": "assign_tag", "actions[0][tag_name]": "Customer"}


def run(port: int | None) -> None:
    """Serve until a signal comes, and tell the story meanwhile."""
    with TemporaryDirectory(prefix="cartwheel-demo-") as folder:
        settings = _settings(Path(folder), port)
        listening = serving.listen(settings)
        database = Database(settings.database)
        try:
            observe.start_logging(settings.log_level)
            database.migrate()
            accountfile.apply(database, _account(), times.now())
            teller = _Teller(serving.url(settings, listening), database)
            serving.run_alone(serving.uvicorn_config(settings, Application(settings)), listening, teller.start)
            teller.join()
        finally:
            database.close()
    if teller.failed:
        raise CannotServe("the demo's story failed: see above")


def _settings(folder: Path, port: int | None) -> Settings:
    """A free port, preferably the usual one."""
    environment = {"CARTWHEEL_DATABASE": f"sqlite:///{folder / 'demo.db'}", "CARTWHEEL_LOG_LEVEL": "warning"}
    if port is not None:
        return Settings.load(environment | {"CARTWHEEL_PORT": str(port)})
    try:
        serving.listen(usual := Settings.load(environment | {"CARTWHEEL_PORT": str(PORT)})).close()
    except CannotServe:
        return Settings.load(environment | {"CARTWHEEL_PORT": "0"})
    return usual


def _account() -> accountfile.AccountFile:
    read = tomllib.loads(files("cartwheel").joinpath("demo.toml").read_text())
    read["account"] |= {"api_key": CREDENTIALS["api_key"], "api_password": CREDENTIALS["api_password"]}
    read["apps"][0]["app_id"] = CREDENTIALS["app_id"]
    return accountfile.read_text(tomli_w.dumps(read), Path())


# -- the story --


class _Teller(threading.Thread):
    """Makes the calls and prints them, once the server is there."""

    def __init__(self, url: str, database: Database) -> None:
        super().__init__(name="story")
        self._url = url
        self._database = database
        self.failed = False

    def run(self) -> None:
        try:
            self._tell()
        except OSError as end:
            log.info("the demo was left before its story's end: %s", end)
        except SystemExit:  # what rich makes of a pipe that nobody reads any more
            self._stop_server()
        except Exception:  # the thread's outermost: without a story, the demo ends
            log.exception("the story broke off")
            self.failed = True
            self._stop_server()

    def _stop_server(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def _tell(self) -> None:
        _say(f"\n[bold]Cartwheel {version('cartwheel')}[/bold] runs on [bold]{self._url}[/bold] with a demo account.\n")
        for number, call in enumerate(STORY, 1):
            _say(f"[bold cyan]{number}[/bold cyan]  [bold]{escape(call.shows)}[/bold]\n")
            _show(curl(self._url, call.sent, as_json=call.as_json))
            _show_json(_answer(self._url, call))
        self._show_lead("ada@shop.example")
        self._show_way_on()

    def _show_lead(self, email: str) -> None:
        with self._database.read() as connection:
            known = catalog.newer(connection)
            [account] = known.accounts.values()
            key = (account.id, find_lead(connection, account.id, email) or 0)
        card = asyncio.run(leadcard.read_card(self._database, known, key, most_events=100))
        _say(f"[bold]What Cartwheel knows about {email}[/bold]\n")
        terminal.show(*terminal.indented(views.card(card)), Text())

    def _show_way_on(self) -> None:
        _say("[bold]Your turn[/bold]\n")
        _say("  Give Grace a tag:\n")
        _show(curl(self._url, FIRST_TRY))
        _say("  In PHP, WordPress too, change the base URL and the three credentials:\n")
        _show(f"- $url = 'https://app.kartra.com/api';\n+ $url = '{self._url}/api';")
        for what, where in (
            ("All commands, answers and refusals", "docs/reference/api.md"),
            ("Your own account as a file", "docs/reference/account-file.md"),
            ("A server that stays", "docs/reference/cli.md"),
        ):
            _say(f"  {what:36}[bold]{where}[/bold]")
        _say(
            f"\nCartwheel keeps serving on [bold]{self._url}[/bold]. Ctrl-C ends the demo and throws its database away."
        )


def curl(url: str, sent: Mapping[str, Any], *, as_json: bool = False) -> str:
    """The call as a command line that can be pasted into a shell."""
    if as_json:
        body = terminal.compact_json({**CREDENTIALS, **sent}, _width())
        return f"curl {url}/api -H 'Content-Type: application/json' -d '{body}'"
    groups: dict[str, list[str]] = {"": [f"-d {name}={value}" for name, value in CREDENTIALS.items()]}
    for name, value in sent.items():
        groups.setdefault(name.rpartition("[")[0], []).append(f"-d '{name}={value}'")
    lines = [line for parts in groups.values() for line in _filled(parts)]
    return " \\\n  ".join([f"curl {url}/api", *lines])


def _filled(parts: Sequence[str]) -> list[str]:
    """The parts on as few lines as hold them."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 5 <= _width():
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return lines


def _width() -> int:
    """How wide calls and answers may be beside their margin."""
    return min(terminal.JSON_WIDTH, terminal.console().width - len(MARGIN))


def _answer(url: str, call: Call) -> Any:
    """What the server says to the call, sent just as curl would send it."""
    if call.as_json:
        body, kind = json.dumps({**CREDENTIALS, **call.sent}), "application/json"
    else:
        variables = {**CREDENTIALS, **call.sent}.items()
        body, kind = "&".join(f"{name}={value}" for name, value in variables), "application/x-www-form-urlencoded"
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    try:
        connection.request("POST", "/api", body, {"Content-Type": kind})
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return _without_empty(answer) if call.brief else answer


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: kept for name, inner in value.items() if (kept := _without_empty(inner)) not in _EMPTY}
    if isinstance(value, list):
        kept = (entry for entry in value if not (isinstance(entry, dict) and entry.get("field_value") in _EMPTY[:2]))
        return [_without_empty(entry) for entry in kept]
    return value


_EMPTY: tuple[object, ...] = ("", [], 0)


# -- printing --


def _say(text: str) -> None:
    terminal.console().print(Text.from_markup(text))


def _show(text: str) -> None:
    terminal.show(*(Text(MARGIN + line, "green") for line in text.splitlines()), Text())


def _show_json(value: Any) -> None:
    highlight = JSONHighlighter()
    lines = terminal.compact_json(value, _width()).splitlines()
    terminal.show(*(highlight(Text(MARGIN + line)) for line in lines), Text())
