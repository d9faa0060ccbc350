"""`cartwheel demo`: a server with an account to try, and a short story of real calls.

The calls go over HTTP to the server that runs in this very process; what is printed is what was sent and answered. A
worker beside it sends the mail, into the test mailbox.
"""

import asyncio
import http.client
import json
import logging
import os
import signal
import threading
import time
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tomli_w
import uvloop
from rich.highlighter import JSONHighlighter
from rich.markup import escape
from rich.text import Text

from cartwheel import demopast, serving, times
from cartwheel.accountfiles import accountfile
from cartwheel.accountfiles.fileparts import AccountFile
from cartwheel.api.credentials import hash_password, new_secret
from cartwheel.app import Application
from cartwheel.cli import context
from cartwheel.config import Settings
from cartwheel.data import mailbox, userstore
from cartwheel.data.db import Database
from cartwheel.data.leadstore import find_lead
from cartwheel.errors import CannotServe
from cartwheel.people import LinkKind, Role
from cartwheel.process import observe
from cartwheel.simulation import madeup, simulator, whatifs, worlds
from cartwheel.views import leadcard, storyviews, tables, terminal
from cartwheel.worker import Child

log = logging.getLogger(__name__)

PORT = 8080
MARGIN = "     "
ACCOUNT = 1
HERO = "ada@shop.example"
SEQUENCE = "First month"
MAIL_PATIENCE_S = 60
MOST_KEPT = 100
"""So many of the newest mails in the test mailbox hers is looked for among."""
OWNER = "owner@demo.example"
OWNER_NAME = "Olivia Owner"
COLLEAGUES = (
    ("mateo@demo.example", "Mateo Marketer", Role.MARKETER),
    ("ines@demo.example", "Inès Integrator", Role.INTEGRATOR),
)
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
            "lead[email]": HERO,
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
            "lead[email]": HERO,
            "actions[0][cmd]": "give_points_to_lead",
            "actions[0][points]": "10",
            "actions[0][expiration]": "30",
            "actions[1][cmd]": "subscribe_lead_to_sequence_at_step",
            "actions[1][sequence_name]": SEQUENCE,
            "actions[1][step]": "1",
        },
    ),
    Call(
        "A mistake gets Kartra's words and number, with HTTP status 200.",
        {
            "lead[email]": HERO,
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
    Call("Everything about a lead (here without what is empty).", {"get_lead[email]": HERO}, brief=True),
]

FIRST_TRY = {"lead[email]": "grace@shop.example", "actions[0][cmd]": "assign_tag", "actions[0][tag_name]": "Customer"}


def run(port: int | None) -> None:
    """Serve until a signal comes, and tell the story meanwhile."""
    with TemporaryDirectory(prefix="cartwheel-demo-") as folder:
        environment = _environment(Path(folder), port)
        settings = Settings.load(environment)
        listening = serving.listen(settings)
        with ExitStack() as stack:
            database = Database(settings.database)
            stack.callback(database.close)
            observe.start_logging(settings.log_level)
            database.migrate()
            began = times.now()
            accountfile.apply(database, _account(), began - timedelta(days=demopast.DAYS + 1))
            url = serving.url(settings, listening)
            _say("\n[dim]Six weeks of a small shop pass by: a few seconds.[/dim]")
            _live(environment, database, url, began)
            stack.callback(Child(url, environment).stop)
            teller = _Teller(url, database, url + _door(database))
            serving.run_alone(serving.uvicorn_config(settings, Application(settings)), listening, teller.start)
            teller.join()
    if teller.failed:
        raise CannotServe("the demo's story failed: see above")


def _live(environment: Mapping[str, str], database: Database, url: str, until: datetime) -> None:
    """In a thread of its own: the application would take the signals of this one."""
    settings = Settings.load({**environment, "CARTWHEEL_SMTP": demopast.SERVER})
    past = demopast.Past(settings, database, url, CREDENTIALS)
    logging.disable(logging.WARNING)  # the mail that is in doubt is meant to be
    with ThreadPoolExecutor(1, "past") as thread:
        lived = thread.submit(uvloop.run, past.live(until))
        try:
            lived.result()
        except KeyboardInterrupt:
            past.break_off()
            raise
        finally:
            logging.disable(logging.NOTSET)


def _environment(folder: Path, port: int | None) -> dict[str, str]:
    """The settings; a free port, preferably the usual one."""
    environment = {"CARTWHEEL_DATABASE": f"sqlite:///{folder / 'demo.db'}", "CARTWHEEL_LOG_LEVEL": "warning"}
    if port is not None:
        return environment | {"CARTWHEEL_PORT": str(port)}
    usual = environment | {"CARTWHEEL_PORT": str(PORT)}
    try:
        serving.listen(Settings.load(usual)).close()
    except CannotServe:
        return environment | {"CARTWHEEL_PORT": "0"}
    return usual


def _account() -> AccountFile:
    """The account of the examples, made a shop."""
    read, shop = (
        tomllib.loads(files("cartwheel").joinpath(name).read_text()) for name in ("demo.toml", "demo_shop.toml")
    )
    read["custom_fields"] = [field for field in read["custom_fields"] if field["identifier"] != "shoe_size"]
    read["sequences"] = shop.pop("sequences")
    read["account"] |= shop.pop("account")
    for part, entries in shop.items():
        read.setdefault(part, []).extend(entries)
    read["account"] |= {"api_key": CREDENTIALS["api_key"], "api_password": CREDENTIALS["api_password"]}
    for app, app_id in zip(read["apps"], (CREDENTIALS["app_id"], "demo-checkout", "demo-staging"), strict=True):
        app["app_id"] = app_id
    return accountfile.read_text(tomli_w.dumps(read), Path())


def _door(database: Database) -> str:
    """Makes the account's owner, and a link that signs in without a password."""
    now = times.now()
    hashed = hash_password(new_secret())
    with database.write() as connection:
        owner = userstore.add(connection, OWNER, OWNER_NAME, hashed, now)
        userstore.put_member(connection, ACCOUNT, owner.id, Role.OWNER, now)
        for email, name, role in COLLEAGUES:
            member = userstore.add(connection, email, name, hashed, now)
            userstore.put_member(connection, ACCOUNT, member.id, role, now)
        return f"/demo/{userstore.make_link(connection, LinkKind.DEMO, now, account_id=ACCOUNT, email=OWNER)}"


# -- the story --


class _Teller(threading.Thread):
    """Makes the calls and prints them, once the server is there."""

    def __init__(self, url: str, database: Database, door: str) -> None:
        super().__init__(name="story")
        self._url = url
        self._door = door
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
        _say("[bold]Open the account in a browser[/bold] with this link, and press the button:\n")
        _show(self._door)
        _say("Meanwhile, here is what programs see of it.\n")
        for number, call in enumerate(STORY, 1):
            _say(f"[bold cyan]{number}[/bold cyan]  [bold]{escape(call.shows)}[/bold]\n")
            _show(curl(self._url, call.sent, as_json=call.as_json))
            _show_json(_answer(self._url, call))
        self._show_mail()
        self._show_month()
        self._show_lead(HERO)
        self._show_way_on()

    def _show_mail(self) -> None:
        _say(
            "[bold cyan]6[/bold cyan]  [bold]The worker sends the sequence's first mail, here into the test mailbox.[/bold]\n"
        )
        mail = self._first_mail()
        lines = [f"{name}: {mail[name]}" for name in ("From", "To", "Subject")]
        text = mail.get_body(("plain",))
        assert text is not None
        _show("\n".join([*lines, "", *text.get_content().rstrip().splitlines()]))

    def _first_mail(self) -> EmailMessage:
        deadline = time.monotonic() + MAIL_PATIENCE_S
        while True:
            with self._database.read() as connection:
                for kept in mailbox.kept(connection, ACCOUNT, MOST_KEPT):
                    if kept.recipient != HERO:
                        continue
                    raw = mailbox.message(connection, ACCOUNT, kept.lead_id, kept.mail)
                    return message_from_bytes(raw or b"", policy=policy.default)
            if time.monotonic() > deadline:
                raise CannotServe(f"no mail came within {MAIL_PATIENCE_S} s")
            time.sleep(0.1)

    def _show_month(self) -> None:
        """The sequence by the simulator: what the next weeks would bring."""
        _say(
            "[bold cyan]7[/bold cyan]  [bold]The month ahead of somebody like her, simulated: she opens that mail, and buys after twelve days.[/bold]\n"
        )
        what_ifs = ["opened:1", "tag:Customer@12d"]
        options = "".join(f" --what-if {text}" for text in what_ifs)
        _show(f"cartwheel simulate '{SEQUENCE}' --fields first_name=Ada --for '30 days'{options}")
        known = context.load_catalog(self._database)
        account = known.accounts[ACCOUNT]
        world, _ = worlds.stored(self._database, account, SEQUENCE, None, onward=False)
        begun = times.now().replace(second=0, microsecond=0)
        story = simulator.simulate(
            world,
            madeup.made_up(account, begun, {"first_name": "Ada"}),
            worlds.sequence_named(SEQUENCE, account).id,
            begun,
            timedelta(days=30),
            what_ifs=[whatifs.read(text) for text in what_ifs],
        )
        terminal.show(*terminal.indented(storyviews.lines(story)), Text())

    def _lead_id(self, email: str) -> int:
        with self._database.read() as connection:
            return find_lead(connection, ACCOUNT, email) or 0

    def _show_lead(self, email: str) -> None:
        known = context.load_catalog(self._database)
        key = (ACCOUNT, self._lead_id(email))
        card = asyncio.run(leadcard.read_card(self._database, known, key, most_events=100))
        _say(f"[bold]What Cartwheel knows about {email}[/bold]\n")
        terminal.show(*terminal.indented(tables.card(card)), Text())

    def _show_way_on(self) -> None:
        _say("[bold]Your turn[/bold]\n")
        _say("  Give Grace a tag:\n")
        _show(curl(self._url, FIRST_TRY))
        _say("  Ask the command line, from another terminal, as long as the demo runs:\n")
        _show(f"CARTWHEEL_DATABASE={self._database.url} .venv/bin/cartwheel why {HERO}")
        _say("  In PHP, WordPress too, change the base URL and the three credentials:\n")
        _show(f"- $url = 'https://app.kartra.com/api';\n+ $url = '{self._url}/api';")
        for what, where in (
            ("All commands, answers and refusals", "docs/reference/api.md"),
            ("Your own account as a file", "docs/reference/account-file.md"),
            ("Sequences: their steps, and tests", "docs/how-to/test-a-sequence.md"),
            ("A server that stays", "docs/reference/cli.md"),
        ):
            _say(f"  {what:36}[bold]{where}[/bold]")
        _say("\n[bold]The account in a browser[/bold], as long as the demo runs:\n")
        _show(self._door)
        _say(f"Cartwheel keeps serving on [bold]{self._url}[/bold]. Ctrl-C ends the demo and throws its database away.")


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
