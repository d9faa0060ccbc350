"""What the simulator tells is what the worker then does: the same random flows, the same what-ifs, moment by moment.

Where two runs of a lead are due at the same moment either may go first, as the how-to about testing a sequence says.
"""

from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import tomli_w
from office import Office
from randomflows import LISTS, SEQUENCES, TAGS, Dice, Step

from cartwheel.accountfiles import accountfile
from cartwheel.accounts import Account
from cartwheel.data import mailbox, schema
from cartwheel.leads.events import KINDS
from cartwheel.leads.leadparts import Part, RunStatus
from cartwheel.simulation import simulator, worlds
from cartwheel.simulation.stories import Story, What
from cartwheel.simulation.whatifs import WhatIf, act, read
from cartwheel.times import from_micros, to_micros
from cartwheel.work.batches import Desk
from cartwheel.work.housekeeping import Housekeeping
from cartwheel.work.leadwork import OneLead
from conftest import Databases
from harness import API_PASSWORD, Api, Server

HISTORIES = 12
LENGTH = timedelta(days=20)
EMAIL = "ada@shop.example"
SUBJECT = "Hello {first_name|you}, {score} points in {city|nowhere}"
HAPPENINGS = (
    "tag:Red", "untag:Red", "tag:Blue", "list:News", "unlist:News", "points:5", "points:-3", "field:city=Paris",
    "field:lead_preferred_time_zone=Asia/Tokyo", "leave", "bounce", "complaint", "delete",
)  # fmt: skip


class OddDice(Dice):
    """Hardly ever lets two runs be due at the same moment."""

    def delay(self) -> str:
        return f"{self.randint(1, 5000)} minutes"

    def what_ifs(self, flow: list[Step]) -> list[str]:
        mails = [step["box"] for step in flow if step["type"] == "email"]
        kinds = [*HAPPENINGS, *(f"{seen}:{box}" for box in mails for seen in ("opened", "clicked"))]
        return [f"{self.choice(kinds)}@{self.randint(1, 20_000)}m" for _ in range(self.randint(0, 5))]


class ActWork(OneLead):
    """What the world does to a lead."""

    def __init__(self, lead_id: tuple[int, int], what_if: WhatIf, sequence_id: int, mail: int) -> None:
        super().__init__(lead_id, Part.WHOLE, "tests")
        self._what_if, self._sequence_id, self._mail = what_if, sequence_id, mail

    def decide(self, desk: Desk) -> None:
        lead = self.lead(desk)
        act(self._what_if, lead, desk.account(lead.account_id), self._sequence_id, self._mail, desk.now)


class Reality:
    """An account with random flows, and one lead that really goes through them."""

    def __init__(self, server: Server, office: Office, number: int, flows: dict[str, list[Step]] | None = None) -> None:
        self.server, self.office = server, office
        dice = OddDice(f"simulation {number}")
        server.clock.now = datetime(2026, dice.choice([3, 10]), 24, dice.randrange(24), dice.randrange(60), tzinfo=UTC)
        server.forgive()  # by a clock that was set back, the gate would have callers wait
        self.flows = flows or {name: dice.flow(server.clock.now) for name in SEQUENCES}
        for step in (step for flow in self.flows.values() for step in flow if step["type"] == "email"):
            step["subject"] = SUBJECT
        self.what_ifs = [] if flows else [read(text) for text in dice.what_ifs(self.flows["One"])]
        account = {"name": f"Simulated {number}", "timezone": "Europe/Madrid", "api_password": API_PASSWORD}
        file = {
            "account": account | {"api_key": f"simulated-key-{number}"},
            "apps": [{"name": "Website", "app_id": f"simulated-app-{number}", "rate_limit": 0}],
            "tags": [{"name": name} for name in TAGS],
            "lists": [{"name": name} for name in LISTS],
            "sequences": [{"name": name, "steps": flow} for name, flow in self.flows.items()],
        }
        text = accountfile.read_text(tomli_w.dumps(file), Path())
        made = accountfile.apply(server.database, text, server.clock())
        self.api = Api(server, made["account_id"], f"simulated-app-{number}", f"simulated-key-{number}")
        self.lead_id = (self.api.account_id, int(self.api.create(EMAIL, first_name=dice.choice(["Ada", ""]))))
        self.tied = False
        """Whether two of its runs were due at the same moment."""

    @property
    def account(self) -> Account:
        return self.server.application.batches.catalog.accounts[self.api.account_id]

    def simulated(self) -> Story:
        world, lead = worlds.stored(self.server.database, self.account, "One", self.lead_id, onward=False)
        assert lead is not None
        return simulator.simulate(
            world, lead, self.account.sequence_named("One").id, self.server.clock(), LENGTH, what_ifs=self.what_ifs
        )

    def happen(self) -> None:
        """Look at every moment at which something is to be done, and at no other."""
        begun = self.server.clock.now
        agenda = [(begun + what_if.after, what_if, 0) for what_if in self.what_ifs if not what_if.of_mail]
        sent: set[int] = set()
        self.api.on(EMAIL, "subscribe_lead_to_sequence_at_step", sequence_name="One", step=self.flows["One"][0]["box"])
        while True:
            self._look()
            new = [row for row in self._mails("accepted") if row["id"] not in sent]
            sent |= {row["id"] for row in new}
            agenda += [
                (from_micros(row["sent_at"]) + what_if.after, what_if, row["id"])
                for row in new
                for what_if in self.what_ifs
                if what_if.of_mail and (what_if.name, "One") == (row["box"], self._name(row))
            ]
            moments = [at for at, _, _ in agenda] + [from_micros(due) for due in self._due()]
            if not any(run["status"] == "active" for run in self._runs()) or not moments:
                return
            now = max(min(moments), self.server.clock.now)
            if now > begun + LENGTH:
                return
            self.server.clock.now = now
            for _, what_if, mail in (entry for entry in agenda if entry[0] <= now):
                work = ActWork(self.lead_id, what_if, self.account.sequence_named("One").id, mail)
                self.server.run(lambda work=work: self.server.application.batches.submit(work))  # type: ignore[misc]
            agenda = [entry for entry in agenda if entry[0] > now]

    def _look(self) -> None:
        housekeeping = Housekeeping(self.server.database, self.server.application.batches, clock=self.server.clock)
        while self.server.run(housekeeping.round):
            pass
        for _ in range(60):
            due = [run for run in self._runs() if run["due_at"] is not None and run["due_at"] <= self._micros]
            self.tied |= len(due) > 1
            self.office.settle()
            if not due:
                return
        raise AssertionError("it never comes to a halt")

    @property
    def _micros(self) -> int:
        return to_micros(self.server.clock.now)

    def _runs(self) -> list[dict[str, Any]]:
        return self.api.rows(schema.enrolments)

    def _due(self) -> list[int]:
        grants = self.api.rows(schema.points, reversed_at=None)
        due = [*(run["due_at"] for run in self._runs()), *(grant["expires_at"] for grant in grants)]
        return [at for at in due if at is not None]

    def _mails(self, state: str) -> list[dict[str, Any]]:
        return sorted(self.api.rows(schema.mails, state=state), key=lambda row: row["id"])

    def _name(self, row: dict[str, Any]) -> str:
        return self.account.sequence_names[row["sequence_id"]]

    # -- what is compared --

    def told(self) -> dict[str, Any]:
        with self.server.database.read() as connection:
            kept = {mail.mail: mail.subject for mail in mailbox.kept(connection, self.api.account_id, 10_000)}
        lead = self.api.rows_of_leads()[0]
        runs = self._runs()
        return {
            "mails": [
                (from_micros(row["sent_at"]), self._name(row), row["box"], kept[row["id"]])
                for row in self._mails("accepted")
            ],
            "not mailed": Counter((self._name(row), row["box"], row["reply"]) for row in self._mails("suppressed")),
            "events": sorted(self._events()),
            "visits": {
                name: sum(run["moves"] + 1 for run in runs if self._name(run) == name)
                for name in {self._name(run) for run in runs}
            },
            "ended": {self._name(run): (run["status"], run["step"]) for run in runs if run["latest"]},
            "score": lead["score"],
        }

    def _events(self) -> list[tuple[datetime, str]]:
        rows = [row for row in self.api.rows(schema.events) if row["kind"] not in {"lead_created", *OF_MAILS}]
        read = [(row["at"], msgspec.json.decode(row["details"], type=KINDS[row["kind"]])) for row in rows]
        return [(from_micros(at), event.told(self.account.names)) for at, event in read]

    def forget(self) -> None:
        with self.server.database.write() as connection:
            for run in self._runs():
                row = schema.enrolments.update().filter_by(account_id=run["account_id"], lead_id=run["lead_id"])
                connection.execute(row.values(due_at=None, status=RunStatus.PARKED.value))


OF_MAILS = {"mail_sent", "mail_not_sent"}


def of_story(story: Story) -> dict[str, Any]:
    events = [event for event in story.events if event.what in {What.STARTS, What.DOES, What.ENDS}]
    runs = {story.account.sequence_names[number]: run for number, run in story.lead.runs.items()}
    return {
        "mails": [(mail.at.astimezone(UTC), mail.sequence, mail.box, mail.subject) for mail in story.mails],
        "not mailed": Counter(
            (event.sequence, event.box, event.text)
            for event in story.events
            if event.what is What.NO_MAIL and not event.text.startswith("only if")
        ),
        "events": sorted(
            (event.at.astimezone(UTC), event.text) for event in events if not event.text.startswith("nothing ")
        ),
        "visits": dict(Counter(sequence for sequence, _ in story.visits)),
        "ended": {name: (run.status.value, run.step) for name, run in runs.items()},
        "score": story.lead.score,
    }


def test_the_worker_does_what_the_simulator_tells(engine: str, databases: Databases) -> None:
    server = Server(databases.migrated(engine))
    compared = 0
    with closing(Office(server)) as office:
        for number in range(HISTORIES):
            reality = Reality(server, office, number)
            story = of_story(reality.simulated())
            reality.happen()
            told = reality.told()
            reality.forget()
            if story == told:
                compared += 1
                continue
            for what, is_so in told.items():
                assert reality.tied or story[what] == is_so, f"{what} in simulation {number}: {reality.what_ifs}"
    server.stop()
    assert compared >= 0.9 * HISTORIES


def test_points_are_over_when_a_step_comes_that_moment(engine: str, databases: Databases) -> None:
    """Nobody has expired them yet: the worker may come first."""
    server = Server(databases.migrated(engine))
    mail = {"type": "email", "subject": SUBJECT, "html": "<p>Hello</p>"}
    flow: list[Step] = [
        {"box": "1", "type": "points", "points": 5, "days": 1},
        {"box": "2", "type": "split", "delay": "1 day", "condition": {"type": "score", "at_least": 5}, "then": "4"},
        {"box": "3", **mail, "ends": True},
        {"box": "4", **mail},
    ]
    with closing(Office(server)) as office:
        reality = Reality(server, office, 0, {"One": flow})
        story = of_story(reality.simulated())
        assert [box for _, _, box, _ in story["mails"]] == ["3"]
        office.settle()
        reality.api.on(EMAIL, "subscribe_lead_to_sequence_at_step", sequence_name="One", step="1")
        office.settle()
        server.clock.forward(days=1)
        office.take_along()
        office.settle()
        assert reality.told() == story
    server.stop()
