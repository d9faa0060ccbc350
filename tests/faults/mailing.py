"""Shops whose mail real workers send, which tests kill; and their books, against what the mail servers took."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from office import Office
from realserver import STOP_S, ForkedProcess, clean_environment
from sink import Sink

from cartwheel import times
from cartwheel.data import doctor, schema
from cartwheel.data.leadstore import Wanted
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Gdpr, Part
from cartwheel.leads.mails import MailState
from cartwheel.mail.smtpurl import Server as MailServer
from cartwheel.sending.handover import lease
from cartwheel.sending.settling import PAUSES
from cartwheel.work.batches import Desk, IdempotencyKey
from harness import Server, new_api
from waiting import wait_until

SHOP = """
[account]
name = "Shop"
[[apps]]
name = "Website"
app_id = "the-app"
rate_limit = 0
[[sequences]]
name = "Welcome"
[[sequences.steps]]
box = "1"
type = "email"
subject = "Welcome"
html = "<p>Hello</p>"
"""

MAILS_EACH = 1
"""What the sequence sends to each lead."""

DEADLINE_S = 60


class Entry(NamedTuple):
    """A mail in the ledger."""

    email: str
    state: MailState
    attempts: int
    reply: str


class Subscription:
    """Make a lead, and start it in the account's only sequence."""

    idempotency: IdempotencyKey | None = None
    may_make_lead = True
    origin = "tests"

    def __init__(self, account_id: int, email: str) -> None:
        self.wanted = [Wanted(account_id, None, email, Part.NONE)]

    def decide(self, desk: Desk) -> None:
        [(account_id, _, email, _)] = self.wanted
        assert email is not None
        lead_id = desk.new_lead_id()
        lead = Lead.create(account_id, lead_id, email, desk.now, source="api", test=False, gdpr=Gdpr.OFF)
        [sequence] = desk.account(account_id).sequences.values()
        lead.enrol(sequence.id, "1", desk.now, version=sequence.version)
        desk.add(lead)


class Shop:
    """An account that has one mail for each of its leads."""

    def __init__(self, server: Server, *, in_doubt: str = "hold") -> None:
        self.server = server
        mail = {"sender": "Shop <hello@shop.example>", "in_doubt": in_doubt}
        self.api = new_api(server, account={"mail": mail}, file=SHOP)
        self.emails: list[str] = []

    @property
    def url(self) -> str:
        return self.server.database.url

    def subscribe(self, count: int) -> None:
        """So many more leads are to get their mail."""
        account_id, batches = self.api.account_id, self.server.application.batches
        first = len(self.emails)
        new = [f"lead{number}@shop{account_id}.example" for number in range(first, first + count)]

        async def submit() -> None:
            await asyncio.gather(*(batches.submit(Subscription(account_id, email)) for email in new))

        self.server.run(submit)
        self.emails += new

    @property
    def ledger(self) -> list[Entry]:
        mails, leads = schema.mails, schema.leads
        same = (leads.c.account_id == mails.c.account_id) & (leads.c.id == mails.c.lead_id)
        columns = (leads.c.email, mails.c.state, mails.c.attempts, mails.c.reply)
        query = sa.select(*columns).select_from(mails.join(leads, same))
        with self.server.database.read() as connection:
            rows = connection.execute(query.where(mails.c.account_id == self.api.account_id)).all()
        return [Entry(email, MailState(state), attempts, reply) for email, state, attempts, reply in rows]

    @property
    def states(self) -> dict[str, int]:
        """How many mails are in each state."""
        return dict(Counter(entry.state.value for entry in self.ledger))

    def wait_for(self, states: dict[str, int]) -> None:
        """Until the ledger has these."""
        deadline = time.monotonic() + DEADLINE_S
        while (now := self.states) != states:
            assert time.monotonic() < deadline, f"the ledger has {now}, not {states}"
            time.sleep(0.02)

    def got(self, *sinks: Sink) -> Counter[str]:
        """How many mails each lead got, those in the test mailbox included."""
        here = f"@shop{self.api.account_id}.example"
        found = (message.rcpt.removeprefix("TO:<").removesuffix(">") for sink in sinks for message in sink.messages)
        kept = (row["recipient"] for row in self.api.rows(schema.test_mailbox))
        return Counter(email for email in (*found, *kept) if email.endswith(here))

    def check(self, *sinks: Sink) -> None:
        """Nobody is lost, nobody got what the ledger does not know of, and the doctor finds nothing."""
        report = doctor.examine(self.server.database, self.server.clock())
        assert report.healthy, [result for result in report.results if result.found]
        assert report.mails_due == sum(report.mails.values())
        assert Counter(entry.email for entry in self.ledger) == dict.fromkeys(self.emails, MAILS_EACH)
        ledger, got = {entry.email: entry for entry in self.ledger}, self.got(*sinks)
        assert got.keys() <= ledger.keys()
        for email, entry in ledger.items():
            assert got[email] <= entry.attempts, f"{email} got {got[email]}: {entry}"
            assert got[email] or entry.state is not MailState.ACCEPTED, f"{email} got nothing: {entry}"
        assert [violation for sink in sinks for violation in sink.violations] == []

    def check_once(self, *sinks: Sink) -> None:
        """The same, and nobody got anything twice."""
        self.check(*sinks)
        assert [email for email, count in self.got(*sinks).items() if count > 1] == []


def wait_for_messages(sink: Sink, count: int) -> None:
    wait_until(lambda: len(sink.messages) >= count, f"{count} mails were taken", DEADLINE_S)


# -- workers in this process, by the clock of the server --


@contextmanager
def office(server: Server, sink: Sink | None, **options: Any) -> Iterator[Office]:
    """Without a sink, mail goes into the test mailbox."""
    running = Office(server, **({"CARTWHEEL_SMTP": sink.url(**options)} if sink else {}))
    yield running
    running.close()


def do_all(office: Office) -> None:
    """Everything that is due. Whom a killed worker's connection still holds is passed by for a moment."""
    wait_until(lambda: _done(office), "everything that is due is done", DEADLINE_S)


def _done(office: Office) -> bool:
    office.settle()
    mails, runs = schema.mails.c.next_at, schema.enrolments.c.due_at
    now = times.to_micros(office.server.clock())
    with office.server.database.read() as connection:
        return not any(
            connection.execute(sa.select(sa.exists().where(due <= now))).scalar_one() for due in (mails, runs)
        )


def do_all_after_the_lease(office: Office) -> None:
    """When whoever had a mail is believed to be dead; and after the pause in which what is sent again waits."""
    clock = office.server.clock
    clock.now = max(clock.now, times.now()) + lease(MailServer(host="", port=0))
    do_all(office)
    clock.now += PAUSES[0]
    do_all(office)


# -- workers as processes --


class WorkerProcess:
    """`cartwheel worker`, by the real clock."""

    def __init__(self, url: str, log: Path, smtp: str) -> None:
        settings = {
            "CARTWHEEL_PUBLIC_URL": "https://mail.shop.example",
            "CARTWHEEL_LOG_LEVEL": "info",
            **({"CARTWHEEL_SMTP": smtp} if smtp else {}),
        }
        log.write_text("")
        self._log = log
        self.process = ForkedProcess(["worker"], clean_environment(url) | settings, log)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str) -> None:
        """Until its log has this."""

        def said() -> bool:
            code = self.process.poll()
            assert code is None, f"the worker ended with {code}:\n{self.log}"
            return text in self.log

        wait_until(said, text, DEADLINE_S)

    def kill(self) -> None:
        """As a power cut does it."""
        self.process.kill()
        self.process.wait(STOP_S)

    def stop(self) -> int:
        """As an operator does it; returns the exit code."""
        self.process.terminate()
        return self.process.wait(STOP_S)


@contextmanager
def working(url: str, folder: Path, sink: Sink | None, /, **options: Any) -> Iterator[WorkerProcess]:
    """A worker that is ready, and mails by the sink. It is killed at the end, if it still runs."""
    logs = len(list(folder.glob("worker*.log")))
    worker = WorkerProcess(url, folder / f"worker{logs}.log", sink.url(**options) if sink else "")
    try:
        worker.wait_for("the worker is ready")
        yield worker
    finally:
        worker.kill()
