"""The examples of every command, really run: what the reference shows, and what the tests hold against the declarations.

A command's own example is laid under the values that provoke each of its refusals; parameters and errors know those.
"""

import asyncio
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import tomli_w

from cartwheel.accountfiles import accountfile
from cartwheel.api import wire
from cartwheel.api.commands import COMMANDS
from cartwheel.api.dispatch import Answer, Dispatcher, Request
from cartwheel.api.gate import Gate
from cartwheel.api.registry import Command
from cartwheel.api.wire import Reply
from cartwheel.config import Settings
from cartwheel.data import catalog, leadfeed, leadstore
from cartwheel.data.db import Database
from cartwheel.data.ratelimits import app_limits
from cartwheel.errors import LeadIsDeleted, LeadNotFound
from cartwheel.network import Client
from cartwheel.work.batches import Batches
from cartwheel.work.callcounts import CallCounts
from cartwheel.work.leadwork import DeletionWork, ExpiryWork

LEAD = {"email": "ada@shop.example"}
"""Whom an example is about that does not say it."""

NOBODY = {"email": "nobody@shop.example"}

DELETED = {"email": "deleted@shop.example"}

LEADS = (LEAD, {"email": "grace@shop.example"}, DELETED)
"""Whom the demo account has to hold before the examples run; the last has to be deleted then."""


class Provocation(NamedTuple):
    """A call of a command that has to be answered with this reply; None stands for what a retrieval finds."""

    command: Command
    parameters: Mapping[str, Any]
    lead: Mapping[str, Any]
    reply: Reply | None
    why: str

    @property
    def call(self) -> dict[str, Any]:
        """The call without its credentials."""
        if self.command.top_level:
            return {self.command.name: self.lead}
        lead = {"lead": self.lead} if self.command.needs_lead else {}
        return {**lead, "actions": [{"cmd": self.command.name, **self.parameters}]}


def provocations(command: Command) -> Iterator[Provocation]:
    """Of the command's success, then of every refusal that it can give."""
    example = dict(command.example)
    lead = dict(example.pop("lead", LEAD))
    yield Provocation(command, example, lead, command.success, "")
    for name, param in command.params.items():
        for reply, value in param.replies.items():
            why = f"`{name}` is {json.dumps(value)}." if value else f"`{name}` is missing or empty."
            yield Provocation(command, example | {name: value}, lead, reply, why)
    for error, reply in command.errors.items():
        changes: dict[str, Any] = dict(error.example)
        provoked = lead | dict(changes.pop("lead", {}))
        yield Provocation(command, example | changes, provoked, reply, error.__doc__ or "")
    if command.needs_lead and not command.makes_lead:
        if LeadNotFound not in command.errors:
            yield Provocation(command, example, NOBODY, wire.LEAD_UNKNOWN, LeadNotFound.__doc__ or "")
        yield Provocation(command, example, DELETED, wire.LEAD_DELETED, LeadIsDeleted.__doc__ or "")


def form(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The variables of a form that holds the same."""
    entries = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    if entries is None:
        yield name, value
        return
    for key, inner in entries:
        yield from form(inner, f"{name}[{key}]" if name else str(key))


class Shown(NamedTuple):
    """A call that was made, without its credentials, and its answer."""

    call: Mapping[str, Any]
    answer: Any
    status: int


class Rung(NamedTuple):
    """A check at the gate: what it refuses, and its answer."""

    why: str
    shown: Shown


class Told(NamedTuple):
    """An event as it is stored, and in words."""

    details: str
    text: str


class Examples(NamedTuple):
    """Everything that was run."""

    commands: Mapping[str, Sequence[tuple[Provocation, Shown]]]
    gate: Sequence[Rung]
    shapes: Mapping[str, Shown]
    events: Mapping[str, Told]


def run_examples() -> Examples:
    """Run them all, in a world that is always the same. Raises `ValueError` where a declaration is wrong."""
    with TemporaryDirectory() as folder:
        return asyncio.run(_run(f"sqlite:///{folder}/examples.db"))


# -- the world --

NOON = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
PASSWORD = "the-password"  # noqa: S105 - of no server
STRANGER = ip_address("198.51.100.7")

CLOSED = {
    "account": {"name": "Closed", "active": False, "api_key": "closed-key", "api_password": PASSWORD},
    "apps": [{"name": "Closed", "app_id": "closed-app"}],
}

APPS = [
    {"name": "Elsewhere", "app_id": "elsewhere-app", "allow_ips": ["203.0.113.0/24"]},
    {"name": "Slow", "app_id": "slow-app", "rate_limit": 1},
    {"name": "Lists only", "app_id": "lists-app", "commands": ["lists:write"]},
]


class _World:
    """An account with the leads of the examples, behind the real gate. Time stands still."""

    def __init__(self, url: str) -> None:
        self.now = NOON
        self.database = Database(url)
        self.database.migrate()
        settings = Settings.load({})
        self.account_id = self._accounts()
        self.batches = Batches(self.database, clock=self._clock, most_waiting=1)
        limits = app_limits(self.database)
        gate = Gate(self.batches, limits, settings.require_https, clock=self._clock)
        self._dispatcher = Dispatcher(
            settings, self.batches, gate, CallCounts(self.database, self.batches, self._clock)
        )

    def _clock(self) -> datetime:
        return self.now

    def _accounts(self) -> int:
        read = tomllib.loads(files("cartwheel").joinpath("demo.toml").read_text())
        read["account"] |= {"api_key": "demo-key", "api_password": PASSWORD}
        read["apps"][0]["app_id"] = "demo-app"
        read["apps"] += APPS
        made = [
            accountfile.apply(self.database, accountfile.read_text(tomli_w.dumps(account), Path()), self.now)
            for account in (read, CLOSED)
        ]
        return int(made[0]["account_id"])

    async def call(self, call: Mapping[str, Any]) -> Shown:
        """A call on the account, from a machine that may."""
        credentials = {"app_id": "demo-app", "api_key": "demo-key", "api_password": PASSWORD}
        return _shown(call, await self.ask({**credentials, **call}, secure=True))

    async def ask(self, tree: Mapping[str, Any], *, secure: bool) -> Answer:
        body = json.dumps(tree).encode()
        return await self._dispatcher.answer(Request(Client(STRANGER, secure), b"", "application/json", None, body))

    async def delete(self, lead_id: int, *, deleted: bool) -> None:
        await self.batches.submit(DeletionWork((self.account_id, lead_id), deleted=deleted, origin="cli"))

    def lead_id(self, email: str) -> int:
        with self.database.read() as connection:
            return leadstore.find_lead(connection, self.account_id, email) or 0


def _shown(call: Mapping[str, Any], answer: Answer) -> Shown:
    return Shown(call, json.loads(answer.body), 429 if answer.too_many else 200)


async def _run(url: str) -> Examples:
    world = _World(url)
    await world.batches.start()
    try:
        for lead in LEADS:
            await world.call({"lead": lead, "actions": [{"cmd": "create_lead"}]})
        deleted = world.lead_id(DELETED["email"])
        await world.delete(deleted, deleted=True)
        commands = {name: await _provoke_all(world, command) for name, command in COMMANDS.items()}
        shapes = {title: await world.call(call) for title, call in SHAPES.items()}
        gate = await _climb(world)
        await world.delete(deleted, deleted=False)
        world.now += timedelta(days=366)
        await world.batches.submit(ExpiryWork((world.account_id, world.lead_id(LEAD["email"]))))
        return Examples(commands, gate, shapes, _events(world))
    finally:
        await world.batches.stop()
        world.database.close()


async def _provoke_all(world: _World, command: Command) -> list[tuple[Provocation, Shown]]:
    """The success comes last, because it may change what the refusals rest on."""
    entries = list(provocations(command))
    return [await _provoke(world, entry) for entry in reversed(entries)][::-1]


async def _provoke(world: _World, entry: Provocation) -> tuple[Provocation, Shown]:
    shown = await world.call(entry.call)
    told = {"status": "Success"} if entry.reply is None else dict(entry.reply.fields)
    if not told.items() <= shown.answer.items():
        raise ValueError(f"{entry.call} is answered with {shown.answer}, not with {told}")
    return entry, shown


# -- the shapes of answers --

SHAPES: dict[str, dict[str, Any]] = {
    "One action: what it answers stands at the top, too": {
        "lead": LEAD,
        "actions": [{"cmd": "assign_tag", "tag_name": "Customer"}],
    },
    "Several actions: each has its own answer, and one that fails does not stop the others": {
        "lead": {"email": "margaret@shop.example", "first_name": "Margaret"},
        "actions": [
            {"cmd": "create_lead"},
            {"cmd": "assign_tag", "tag_name": "No such tag"},
            {"cmd": "subscribe_lead_to_list", "list_name": "Newsletter"},
            {"cmd": "no_such_command"},
        ],
    },
    "What is retrieved stands at the top": {
        "actions": [{"cmd": "retrieve_account_lists"}, {"cmd": "retrieve_account_tags"}],
    },
    "A call that is refused as a whole does nothing, and has no `actions`": {
        "lead": NOBODY,
        "actions": [{"cmd": "assign_tag", "tag_name": "Customer"}],
    },
}


# -- the gate --

_FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("`app_id` is missing or empty.", {"lead": "x", "get_lead": "x", "actions": "x"}),
    ("There is no such App, or it is not active.", {"app_id": "no-such-app"}),
    ("The account that the App belongs to is not active.", {"app_id": "closed-app"}),
    ("`api_key` is missing or empty.", {"app_id": "elsewhere-app"}),
    ("There is no such key.", {"api_key": "no-such-key"}),
    ("`api_password` is missing or wrong.", {"api_key": "closed-key"}),
    ("The account of the key is not active.", {"api_password": PASSWORD}),
    ("The App may not be used from the caller's address.", {"api_key": "demo-key"}),
    ("The App has made more calls than its `rate_limit` allows.", {"app_id": "slow-app"}),
    ("`lead` is not an array.", {"app_id": "lists-app"}),
    ("`get_lead` is not an array.", {"lead": {}}),
    ("`actions` is not an array.", {"get_lead": None}),
    ("An action has no `cmd`, or there is nothing to do.", {"actions": [{}]}),
    ("The App may not use one of the commands.", {"actions": [{"cmd": "assign_tag", "tag_name": "Customer"}]}),
    ("A command needs a lead, and neither `lead[email]` nor `lead[id]` says which.", {"app_id": "demo-app"}),
    ("The address could not be one.", {"lead": {"email": "ada@shop"}}),
]
"""One call with every fault; each row mends the fault before it, so that the next check is reached."""


async def _climb(world: _World) -> list[Rung]:
    """The checks in the order in which they are made: that order is what the call runs into."""
    tree: dict[str, Any] = dict(_FAULTS[0][1])
    insecure = _shown({}, await world.ask(tree, secure=False))
    rungs = [Rung("The call came over plain http, from another machine.", insecure)]
    for why, change in _FAULTS:
        tree |= change
        if tree.get("app_id") == "slow-app":
            await world.ask(tree, secure=True)
        rungs.append(Rung(why, _shown({}, await world.ask(tree, secure=True))))
    return rungs


# -- what was stored --


def _events(world: _World) -> dict[str, Told]:
    """The last event of each kind that the examples caused."""
    told: dict[str, Told] = {}
    with world.database.read() as connection:
        names = catalog.newer(connection).accounts[world.account_id].names
        for lead in LEADS:
            key = (world.account_id, world.lead_id(lead["email"]))
            for happened in reversed(leadfeed.feed(connection, key, most=1000)):
                if happened.event:
                    told[happened.kind] = Told(happened.details, happened.event.told(names))
    return told
