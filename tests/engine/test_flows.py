"""No step is taken early, twice or never: random flows and random lives, in the real worker and in the model.

After every look each lead has to be as some world of the model has it: every run at its step after as many moves, every
event, every mail of the ledger, each at its moment.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count, cycle
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
import tomli_w
from flowmodel import Book, Plan, World, look
from office import Office
from randomflows import CITIES, LEAD_ZONES, LISTS, SEQUENCES, TAGS, Dice

from cartwheel.accountfiles import accountfile
from cartwheel.data import schema
from cartwheel.mail.links import MailId
from cartwheel.sending.tracking import ClickWork, OpenWork
from cartwheel.sequences.steps import STEP_TYPES
from cartwheel.times import from_micros, to_micros
from cartwheel.work.housekeeping import Housekeeping
from cartwheel.work.leadwork import DeletionWork
from conftest import Databases
from harness import API_PASSWORD, Api, Server

HISTORIES = int(os.environ.get("FLOW_HISTORIES", "0"))
"""How many other histories to try on each engine: 2000 for an hour or so. 0 takes the same few each time."""

IN_SUITE = 18
STEPS = 30
EMAILS = ("ada@shop.example", "grace@shop.example")
PERSON = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"

BEGINNINGS = {
    "Europe/Madrid": ("2026-03-26 10:00", "2026-10-22 10:00"),
    "America/New_York": ("2026-03-05 23:00", "2026-10-29 01:00"),
    "Australia/Lord_Howe": ("2026-04-02 03:30", "2026-10-01 12:00"),
    "Asia/Kathmandu": ("2026-06-01 06:15",),
}
"""Some days before the clocks change, by the account's zone."""

MOST_LOOKS = 60
"""After so many at one moment, leads would be going round for ever."""

_NUMBERS = count(1)


class History:
    """An account, two leads in it, and all that happens to them."""

    def __init__(self, server: Server, offices: list[Office], dice: Dice) -> None:
        self.server, self.dice = server, dice
        self.offices = cycle(offices if dice.once_in(2) else offices[:1])
        name = dice.choice(list(BEGINNINGS))
        server.clock.now = datetime.fromisoformat(dice.choice(BEGINNINGS[name])).replace(tzinfo=UTC)
        server.forgive()  # by a clock that was set back, the gate would have callers wait
        entries: list[Any] = [{}, {}, {"again": False}, {"most": 2, "days": 3}]
        plans = {each: Plan([dice.flow(self.now)], dice.choice(entries)) for each in SEQUENCES}
        self.book = Book(ZoneInfo(name), plans)
        self.number = next(_NUMBERS)
        made = self.publish()
        self.api = Api(server, made["account_id"], f"flows-app-{self.number}", f"flows-key-{self.number}")
        tables = (("tag", schema.tags), ("list", schema.lists), ("sequence", schema.sequences))
        self.names = {f"{what}_id": {row["id"]: row["name"] for row in self.api.rows(table)} for what, table in tables}
        self.leads = {email: int(self.api.create(email)) for email in EMAILS}
        self.worlds = {email: [World(self.book)] for email in EMAILS}
        self.told: list[str] = []

    @property
    def now(self) -> datetime:
        return self.server.clock.now

    def publish(self) -> Any:
        """Make the account what the book says."""
        sequences = [
            {"name": name, "steps": plan.versions[-1], "entry": plan.entry, "paused": plan.paused}
            for name, plan in self.book.plans.items()
        ]
        account = {"name": f"Flows {self.number}", "timezone": self.book.zone.key, "api_password": API_PASSWORD}
        file = {
            "account": account | {"api_key": f"flows-key-{self.number}"},
            "apps": [{"name": "Website", "app_id": f"flows-app-{self.number}", "rate_limit": 0}],
            "tags": [{"name": name} for name in TAGS],
            "lists": [{"name": name} for name in LISTS],
            "sequences": sequences,
        }
        return accountfile.apply(self.server.database, accountfile.read_text(tomli_w.dumps(file), Path()), self.now)

    # -- what happens --

    def go(self) -> None:
        for _ in range(STEPS):
            acts = [self.wait] * 6 + [self.call] * 5 + [self.start] * 3 + [self.read_mail] * 2
            act = self.dice.choice(
                [*acts, self.stop, self.pause_or_resume, self.edit, self.delete, self.set_clock_back]
            )
            act()
            if act in {self.wait, self.set_clock_back} or self.dice.once_in(2):
                self.look()
        self.wait()
        self.look()

    def somebody(self) -> str:
        return self.dice.choice(EMAILS)

    def all_of(self, email: str, act: Callable[[World], None]) -> None:
        """The same in all worlds, unless it is refused because the lead is deleted."""
        for world in self.worlds[email]:
            if not world.deleted:
                act(world)

    def wait(self) -> None:
        """To the moment when the next run is due, just before it, some time after it, or for a while."""
        rows = self.api.rows(schema.enrolments)
        due = [row["due_at"] for row in rows if row["due_at"] is not None and row["due_at"] > to_micros(self.now)]
        if due and not self.dice.once_in(4):
            at = from_micros(min(due))
            late = self.dice.choice([timedelta(0), timedelta(0), timedelta(microseconds=-1), timedelta(minutes=30)])
            self.server.clock.now = max(self.now, at + late)
        else:
            self.server.clock.forward(hours=self.dice.choice([1, 6, 24, 25, 24 * 4]), seconds=self.dice.randrange(60))
        self.told.append(f"it is {self.now}")

    def set_clock_back(self) -> None:
        self.look()
        self.server.clock.forward(hours=-self.dice.choice([1, 3, 30]))
        self.server.forgive()
        self.told.append(f"it is {self.now} again")

    def start(self) -> None:
        email, name = self.somebody(), self.dice.choice(SEQUENCES)
        boxes = [step["box"] for step in self.book.plans[name].versions[-1]]
        box = boxes[0] if self.dice.once_in(2) else self.dice.choice(boxes)
        self.api.on(email, "subscribe_lead_to_sequence_at_step", sequence_name=name, step=box)
        self.told.append(f"{email} starts {name} at {box}")
        self.all_of(email, lambda world: world.start(name, box, self.now, by_step=False))

    def stop(self) -> None:
        email, name = self.somebody(), self.dice.choice(SEQUENCES)
        self.api.on(email, "unsubscribe_lead_from_sequence", sequence_name=name)
        self.told.append(f"{email} leaves {name}")
        self.all_of(email, lambda world: world.stop(name, self.now))

    def call(self) -> None:
        """One of the other calls."""
        email, dice, now = self.somebody(), self.dice, self.now
        tag, place, points, days = dice.choice(TAGS), dice.choice(LISTS), dice.randint(1, 5), dice.choice([0, 1, 2])
        name, value = dice.choice(
            [("city", dice.choice(CITIES)), ("lead_preferred_time_zone", dice.choice(LEAD_ZONES))]
        )
        calls: list[tuple[str, dict[str, Any], Callable[[World], None]]] = [
            ("assign_tag", {"tag_name": tag}, lambda world: world.tag(tag, now)),
            ("unassign_tag", {"tag_name": tag}, lambda world: world.untag(tag, now)),
            ("subscribe_lead_to_list", {"list_name": place}, lambda world: world.join(place, now)),
            ("unsubscribe_lead_from_list", {"list_name": place}, lambda world: world.leave(place, now)),
            (
                "give_points_to_lead",
                {"points": points, "expiration": days},
                lambda world: world.points(points, days, now),
            ),
            ("remove_points_from_lead", {"points": points}, lambda world: world.points(-points, 0, now)),
            ("edit_lead", {name: value}, lambda world: world.edit(name, value, now)),
        ]
        cmd, parameters, act = dice.choice(calls)
        if cmd == "edit_lead":
            answer = self.api.call({"cmd": cmd}, lead={"email": email, name: value})
        else:
            answer = self.api.on(email, cmd, **parameters)
        self.told.append(f"{email}: {cmd} {parameters}")
        refused = "No lead found" in str(answer) or "deleted" in str(answer)
        assert refused == self.worlds[email][0].deleted, answer
        self.all_of(email, act)

    def read_mail(self) -> None:
        """A person opens a mail that was sent, or clicks in it."""
        email, click = self.somebody(), self.dice.once_in(2)
        mails = self.mails(email)
        sent = [place for place, mail in enumerate(mails) if mail["state"] == "accepted"]
        if not sent or self.worlds[email][0].deleted:
            return
        self.server.clock.forward(seconds=5)  # whoever is quicker is no person
        place = self.dice.choice(sent[-3:])
        if from_micros(mails[place]["sent_at"]) + timedelta(seconds=2) > self.now:
            return  # the clock was set back
        mail = MailId(self.api.account_id, self.leads[email], mails[place]["id"])
        work = ClickWork(mail, self.now, PERSON, in_a_row=False) if click else OpenWork(mail, self.now, PERSON)
        self.server.run(lambda: self.server.application.batches.submit(work))
        self.told.append(f"{email} {'clicks in' if click else 'opens'} mail {place}")
        self.all_of(email, lambda world: world.see(place, self.now, click=click))

    def pause_or_resume(self) -> None:
        name = self.dice.choice(SEQUENCES)
        plan = self.book.plans[name]
        plan.paused = not plan.paused
        plan.resumed = plan.resumed if plan.paused else self.now
        self.publish()
        self.told.append(f"{name} {'is paused' if plan.paused else 'goes on'}")

    def edit(self) -> None:
        """Other steps, for whoever starts from now on."""
        name = self.dice.choice(SEQUENCES)
        self.book.plans[name].versions.append(self.dice.flow(self.now))
        self.publish()
        self.told.append(f"{name} gets version {len(self.book.plans[name].versions)}")

    def delete(self) -> None:
        """Delete somebody, or bring back whoever is deleted."""
        email = self.somebody()
        deleted = not self.worlds[email][0].deleted
        work = DeletionWork((self.api.account_id, self.leads[email]), deleted=deleted, origin="tests")
        self.server.run(lambda: self.server.application.batches.submit(work))
        self.told.append(f"{email} is {'deleted' if deleted else 'restored'}")
        for world in self.worlds[email]:
            world.deleted = deleted
            if deleted:
                world.stop_all(self.now)
            world.tell("lead_deleted" if deleted else "lead_restored", self.now)

    # -- looking --

    def look(self) -> None:
        """Everything that is due is done, by the offices in turn; the leads have to be as the model says."""
        housekeeping = Housekeeping(self.server.database, self.server.application.batches, clock=self.server.clock)
        while self.server.run(housekeeping.round):
            pass
        for _ in range(MOST_LOOKS):
            next(self.offices).take_along()
            if not any(row["due_at"] is not None and row["due_at"] <= to_micros(self.now) for row in self.runs()):
                break
        else:
            raise AssertionError("they never come to a halt")
        next(self.offices).settle()
        self.told.append("look")
        for email in EMAILS:
            self.worlds[email] = self.real_ones(email)

    def real_ones(self, email: str) -> list[World]:
        worlds = self.worlds[email]
        for world in worlds:
            world.expire(self.now)
        after = [later for world in worlds for later in look(world, self.now)]
        for world in after:
            world.post(self.now)
        is_so = self.observed(email)
        real = [world for world in after if as_told(world) == is_so]
        if not real:
            closest = max(after, key=lambda world: sum(a == b for a, b in zip(as_told(world), is_so, strict=True)))
            assert as_told(closest) == is_so, email
        return real

    def runs(self) -> list[dict[str, Any]]:
        return self.api.rows(schema.enrolments)

    def mails(self, email: str) -> list[dict[str, Any]]:
        rows = self.api.rows(schema.mails, lead_id=self.leads[email])
        return sorted(rows, key=lambda row: row["id"])

    def observed(self, email: str) -> tuple[Any, ...]:
        lead_id = self.leads[email]
        names = self.names["sequence_id"]
        runs = sorted(
            (names[row["sequence_id"]], row["id"], row["version"], row["step"], row["status"], row["moves"])
            for row in self.runs()
            if row["lead_id"] == lead_id
        )
        mails = [
            (names[row["sequence_id"]], row["box"], row["move"], from_micros(row["queued_at"]), row["state"],
             None if row["sent_at"] is None else from_micros(row["sent_at"]))
            for row in self.mails(email)
        ]  # fmt: skip
        rows = sorted(self.api.rows(schema.events, lead_id=lead_id), key=lambda row: row["id"])
        feed = [worded(row, self.names) for row in rows if row["kind"] not in NOT_ORDERED]
        posted = Counter(row["kind"] for row in rows if row["kind"] in {"mail_sent", "mail_not_sent"})
        assert posted == Counter(
            "mail_sent" if row["state"] == "accepted" else "mail_not_sent" for row in self.mails(email)
        )
        return [(name, *rest) for name, _, *rest in runs], mails, feed

    def forget(self) -> None:
        """Nobody is under way any more."""
        here = schema.enrolments.c.account_id == self.api.account_id
        with self.server.database.write() as connection:
            connection.execute(sa.update(schema.enrolments).where(here).values(due_at=None, status="parked"))


NOT_ORDERED = {"lead_created", "mail_sent", "mail_not_sent"}


def worded(row: dict[str, Any], names: dict[str, dict[int, str]]) -> Any:
    """An event in the words of the model."""
    details = json.loads(row["details"])
    if row["kind"] == "lead_edited":
        details = dict.fromkeys(details["fields"]) and {"field": details["fields"][0]}
    details.pop("reason", None)
    told = tuple(names[name][value] if name in names else value for name, value in details.items())
    return row["kind"], told, from_micros(row["at"])


def as_told(world: World) -> tuple[Any, ...]:
    runs = [
        (name, run.version, run.box, run.status, run.moves) for name, runs in sorted(world.runs.items()) for run in runs
    ]
    mails = [
        (letter.sequence, letter.box, letter.move, letter.queued, letter.state, letter.sent) for letter in world.letters
    ]
    return runs, mails, list(world.feed)


@pytest.fixture
def server(engine: str, databases: Databases) -> Iterator[Server]:
    """One of its own: the offices take everybody along who is due."""
    running = Server(databases.new(engine))
    yield running
    running.stop()


def test_no_step_is_taken_early_twice_or_never(
    server: Server, engine: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    taken: Counter[str] = Counter()
    numbers = range(IN_SUITE) if not HISTORIES else range(1000, 1000 + HISTORIES)
    with closing(Office(server)) as one, closing(Office(server)) as other:
        for number in numbers:
            history = History(server, [one, other], Dice(f"history {number}"))
            try:
                history.go()
            except Exception as failure:
                failure.add_note(f"in history {number}:\n" + "\n".join(history.told))
                raise
            finally:
                history.forget()
            for worlds in history.worlds.values():
                taken.update(worlds[0].taken)
    record_testsuite_property(f"{engine}: flow histories", len(numbers))
    assert set(taken) == {step.__struct_config__.tag for step in STEP_TYPES}
