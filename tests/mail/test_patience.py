"""What is not a mail's fault costs it nothing: it waits, for a window, a quota, an owner; and doubts make few copies."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import tomli_w
from office import Office, mails, states
from sink import AS_USUAL, TAKE_AND_DROP, Act, Sink

from cartwheel import times
from cartwheel.accountfiles import accountfile
from cartwheel.bounces.reports import Kind, Report
from cartwheel.data import doctor, schema
from cartwheel.leads.mails import MailState, WaitsFor
from cartwheel.sending.tracking import BounceWork
from commandline import Cartwheel, Ran
from harness import Api, Server, new_api

pytestmark = pytest.mark.own_server

ADA = "ada@shop.example"
WEEKDAYS = {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "17:00"}
QUOTA = "452 4.5.3 daily sending quota exceeded"
NOT_OWNED = "553 5.7.1 <hello@shop.example>: Sender address rejected: not owned by user relay"
FRIDAY = datetime(2026, 3, 6, 16, 50, tzinfo=UTC)
MONDAY = datetime(2026, 3, 9, 9, tzinfo=UTC)


class Shop:
    """An account whose sequence Flow sends one mail."""

    def __init__(self, server: Server, sink: Sink, cartwheel: Cartwheel) -> None:
        self.server, self.sink, self._cartwheel = server, sink, cartwheel
        self.offices: list[Office] = []

    def open(self, *, window: dict[str, Any] | None = None, queue: int = 0, **options: Any) -> None:
        """With these `options` of the mail server, and a worker whose queue holds so much."""
        in_doubt, more = options.pop("in_doubt", "hold"), options.pop("more", [])
        step = {"box": "1", "type": "email", "subject": "Hi", "html": "<p>Hi</p>"} | (
            {"window": window} if window else {}
        )
        account = {
            "name": "Shop",
            "timezone": "UTC",
            "mail": {"sender": "Shop <hello@shop.example>", "in_doubt": in_doubt},
        }
        file = {
            "apps": [{"name": "Website", "rate_limit": 0}],
            "sequences": [{"name": "Flow", "steps": [step, *more]}],
        }
        self.api: Api = new_api(self.server, file=tomli_w.dumps({"account": account, **file}), account=account)
        settings = {"CARTWHEEL_QUEUE": str(queue)} if queue else {}
        self.offices.append(Office(self.server, CARTWHEEL_SMTP=self.sink.url(**options), **settings))

    def change(self, **account: Any) -> None:
        file = accountfile.read_text(tomli_w.dumps({"account": {"name": "Shop", **account}}), Path())
        accountfile.apply(self.server.database, file, self.server.clock())

    @property
    def office(self) -> Office:
        return self.offices[-1]

    def subscribe(self, *emails: str) -> None:
        for email in emails:
            self.api.create(email)
            self.api.on(email, "subscribe_lead_to_sequence_at_step", sequence_name="Flow", step="1")

    def work(self, *, every: timedelta, until: timedelta) -> None:
        for _ in range(until // every):
            self.office.settle()
            self.server.clock.forward(seconds=every.total_seconds())

    def states(self) -> Counter[str]:
        return Counter(row["state"] for row in self.api.rows(schema.mails))

    def __call__(self, *arguments: object) -> Ran:
        return self._cartwheel(*arguments, "--account", "Shop")

    def check(self) -> None:
        report = doctor.examine(self.server.database, self.server.clock())
        assert report.healthy, [result for result in report.results if result.found]


@pytest.fixture
def shop(server: Server, sink: Sink, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setenv("CARTWHEEL_DATABASE", server.database.url)
    monkeypatch.setattr(times, "now", server.clock)
    shop = Shop(server, sink, cartwheel)
    yield shop
    for office in shop.offices:
        office.close()


# -- doubts --


def test_a_mail_that_stays_in_doubt_is_sent_again_twice_and_then_held(shop: Shop) -> None:
    shop.sink.script["dot"] = [TAKE_AND_DROP] * 1000
    shop.open(in_doubt="resend")
    shop.subscribe(ADA)
    shop.office.settle()
    for copies, minutes in ((1, 4), (2, 1), (2, 14), (3, 1)):
        shop.server.clock.forward(minutes=minutes)
        shop.office.settle()
        assert len(shop.sink.messages) == copies, "the pauses grow"
    shop.work(every=timedelta(hours=6), until=timedelta(days=6))
    assert len(shop.sink.messages) == 3
    assert states(shop.api, ADA) == [("1", MailState.IN_DOUBT)]
    shop.check()


def test_a_doubt_is_where_days_in_vain_begin(shop: Shop) -> None:
    shop.sink.script["dot"] = [TAKE_AND_DROP]
    shop.sink.script["rcpt"] = [AS_USUAL, *["450 4.2.0 greylisted"] * 1000]
    shop.open(in_doubt="resend")
    shop.subscribe(ADA)
    since = shop.server.clock()
    shop.office.settle()
    assert [(mail.attempts, mail.trouble_since) for mail in mails(shop.api, ADA)] == [(1, since)]
    shop.work(every=timedelta(hours=6), until=timedelta(days=5))
    [mail] = mails(shop.api, ADA)
    assert (mail.state, mail.reply) == (MailState.FAILED, "given up after 4 days: 4.2.0 greylisted")


# -- quotas --


def test_a_quota_fails_no_mail_however_many_days_it_takes(shop: Shop) -> None:
    shop.open(connections=1)
    shop.subscribe(*(f"lead{number}@shop.example" for number in range(28)))
    for _ in range(8):
        shop.sink.script["mail"] = [*[AS_USUAL] * 3, *[QUOTA] * 1000]
        shop.work(every=timedelta(hours=6), until=timedelta(days=1))
    assert shop.states() == {"accepted": 24, "queued": 4}
    waiting = shop.api.rows(schema.mails, state="queued")
    assert {row["waits_for"] for row in waiting} == {WaitsFor.QUOTA}
    assert "takes no more for now: " in shop("mail", "list", "--state", "queued").out
    shop.sink.script.clear()
    shop.work(every=timedelta(minutes=20), until=timedelta(hours=2))
    assert shop.states() == {"accepted": 28}
    shop.check()


def test_a_mail_that_only_finds_its_server_away_has_all_its_days_left(shop: Shop) -> None:
    shop.sink.script["connect"] = ["554 5.3.2 maintenance"]
    shop.open()
    shop.subscribe(ADA)
    shop.office.settle()
    shop.subscribe("grace@shop.example")
    shop.office.settle()
    shop.server.clock.forward(days=5)
    shop.sink.script["rcpt"] = ["450 4.2.0 greylisted"]
    shop.office.settle()
    assert states(shop.api, "grace@shop.example") == [("1", MailState.QUEUED)]
    shop.server.clock.forward(minutes=5)
    shop.office.settle()
    assert shop.states() == {"accepted": 2}


def test_days_before_a_quota_do_not_count_after_it(shop: Shop) -> None:
    shop.sink.script["rcpt"] = ["450 4.2.0 greylisted"]
    shop.open()
    shop.subscribe(ADA)
    shop.office.settle()
    shop.sink.script["mail"] = [QUOTA] * 1000
    shop.server.clock.forward(minutes=5)
    shop.work(every=timedelta(hours=6), until=timedelta(days=5))
    shop.sink.script = {"rcpt": ["450 4.2.0 greylisted"]}
    shop.work(every=timedelta(minutes=20), until=timedelta(hours=6))
    assert states(shop.api, ADA) == [("1", MailState.ACCEPTED)]


# -- windows --


def test_a_limit_sends_nothing_after_the_window_has_closed(shop: Shop) -> None:
    shop.server.clock.now = FRIDAY - timedelta(minutes=50)
    shop.open(window=WEEKDAYS, per_hour=10)
    shop.subscribe(*(f"lead{number}@shop.example" for number in range(30)))
    shop.work(every=timedelta(minutes=10), until=timedelta(hours=10))
    assert 5 <= shop.states()["accepted"] <= 15
    sent = [times.from_micros(row["sent_at"]) for row in shop.api.rows(schema.mails, state="accepted")]
    assert max(sent) < FRIDAY + timedelta(minutes=10)
    queued = shop.api.rows(schema.mails, state="queued")
    assert {(times.from_micros(row["next_at"]), row["waits_for"]) for row in queued} == {(MONDAY, WaitsFor.WINDOW)}
    shop.server.clock.now = MONDAY
    shop.work(every=timedelta(minutes=10), until=timedelta(hours=6))
    assert shop.states() == {"accepted": 30}


def greylisted(shop: Shop) -> None:
    shop.sink.script["rcpt"] = ["451 4.7.1 greylisted"] * 2
    shop.office.settle()
    shop.work(every=timedelta(minutes=5), until=timedelta(hours=3))


def paused(shop: Shop) -> None:
    shop.office.take_along()
    shop("sequence", "pause", "Flow")
    shop.office.settle()
    shop.server.clock.now = MONDAY - timedelta(hours=30)
    shop("sequence", "resume", "Flow")
    shop.office.settle()


@pytest.mark.parametrize("kept", [greylisted, paused])
def test_a_mail_that_was_kept_until_its_window_is_shut_waits_for_the_next(
    shop: Shop, kept: Callable[[Shop], None]
) -> None:
    shop.server.clock.now = FRIDAY
    shop.open(window=WEEKDAYS)
    shop.subscribe(ADA)
    kept(shop)
    assert shop.sink.messages == []
    assert "for its window until Mon 2026-03-09 09:00" in shop("why", ADA).out
    assert "its window is shut until Mon 2026-03-09 09:00" in " ".join(shop("mail", "list").out.split())
    shop.check()
    shop.server.clock.now = MONDAY
    shop.work(every=timedelta(minutes=5), until=timedelta(minutes=30))
    [mail] = mails(shop.api, ADA)
    assert mail.state is MailState.ACCEPTED, mail


# -- senders --


@pytest.mark.parametrize(
    ("phase", "said"), [("mail", NOT_OWNED), ("rcpt", NOT_OWNED), ("dot", "554 Email address is not verified.")]
)
def test_mails_wait_until_their_sender_is_allowed(shop: Shop, phase: str, said: Act) -> None:
    shop.sink.script[phase] = [said] * 1000
    shop.open()
    shop.subscribe(*(f"lead{number}@shop.example" for number in range(5)))
    shop.work(every=timedelta(hours=6), until=timedelta(days=6))
    assert shop.states() == {"queued": 5}
    assert {row["waits_for"] for row in shop.api.rows(schema.mails)} == {WaitsFor.OWNER}
    shop.sink.script.clear()
    shop.server.clock.forward(hours=1)
    shop.office.settle()
    assert shop.states() == {"accepted": 5}


def test_what_failed_for_a_cause_that_is_mended_is_sent_again(shop: Shop) -> None:
    emails = [f"lead{number}@shop.example" for number in range(5)]
    shop.sink.script["dot"] = ["554 5.7.1 content refused: bad link"] * 3
    shop.sink.script["rcpt"] = [*[AS_USUAL] * 3, "550 5.1.1 nobody", "554 5.7.1 other words"]
    shop.open(connections=1)
    shop.subscribe(*emails)
    shop.office.settle()
    assert shop.states() == {"failed": 5}
    assert "`cartwheel mail resend" in shop("why", emails[0]).out
    resent = shop("mail", "resend", "--failed", "BAD link", "--reason", "the link is mended", "--json").json
    assert [(mail["state"], mail["reply"]) for mail in resent] == [("queued", "the link is mended")] * 3
    shop.office.settle()
    assert shop.states() == {"accepted": 3, "failed": 2}
    assert shop("mail", "resend", "--failed", "nobody", "--json").json == [], "the lead is not mailed any more"
    [hard] = [row["id"] for row in shop.api.rows(schema.mails, state="failed") if "nobody" in row["reply"]]
    assert "hard bounce" in shop("mail", "resend", hard).trouble
    assert shop("mail", "resend", "--failed", "x", "--all").code == 2
    shop.check()


@pytest.mark.parametrize("state", ["accepted", "in doubt"])
def test_what_a_server_had_taken_and_gave_back_is_not_sent_again(shop: Shop, state: str) -> None:
    if state == "in doubt":
        shop.sink.script["dot"] = [TAKE_AND_DROP]
    shop.open()
    shop.subscribe(ADA)
    shop.office.settle()
    [mail] = mails(shop.api, ADA)
    full = Report(kind=Kind.SOFT, recipient=ADA, status="5.2.2", diagnostic="mailbox full")
    work = BounceWork((shop.api.account_id, int(shop.api.lead(ADA)["id"])), mail.key, full)
    assert shop.office.do(work)
    [mail] = mails(shop.api, ADA)
    assert mail.state is MailState.FAILED
    assert "is failed, not in doubt" in shop("mail", "resend", mail.key).trouble
    assert shop("mail", "resend", "--failed", "mailbox full", "--json").json == []


def test_a_mail_brought_back_after_days_in_vain_has_its_days_again(shop: Shop) -> None:
    shop.sink.script["rcpt"] = ["450 4.2.0 greylisted"] * 1000
    shop.open()
    shop.subscribe(ADA)
    shop.work(every=timedelta(hours=6), until=timedelta(days=6))
    [mail] = mails(shop.api, ADA)
    assert mail.state is MailState.FAILED
    shop("mail", "resend", mail.key)
    shop.office.settle()
    assert states(shop.api, ADA) == [("1", MailState.QUEUED)]


# -- runs --


def test_one_run_that_cannot_be_stored_keeps_no_other_from_going_on(shop: Shop) -> None:
    """Nor does a queue that is full park anybody."""
    shop.open(queue=20)
    emails = [f"lead{number}@shop.example" for number in range(60)]
    shop.subscribe(*emails)
    broken = shop.api.rows(schema.enrolments)[7]
    values = dict.fromkeys((column.name for column in schema.mails.columns), 0)
    texts = {"box": "1", "state": "accepted", "address": "", "server": "", "reply": "", "waits_for": ""}
    nothing = {column.name: None for column in schema.mails.columns if column.nullable}
    keys = {"account_id": broken["account_id"], "lead_id": broken["lead_id"], "run": broken["id"]}
    with shop.server.database.write() as connection:  # another mail of the same visit to the step
        connection.execute(sa.insert(schema.mails).values({**values, **texts, **nothing, **keys, "id": 1}))
    for _ in range(10):
        shop.office.settle()
    runs = shop.api.rows(schema.enrolments)
    assert Counter((run["status"], run["reason"]) for run in runs) == {
        ("completed", ""): 59,
        ("parked", "Cartwheel failed: Conflict"): 1,
    }
    assert len(shop.sink.messages) == 59


def test_who_is_in_a_sequence_of_an_account_that_is_not_active_stays_there(shop: Shop) -> None:
    later = {"box": "2", "type": "email", "subject": "Later", "html": "<p>Hi</p>", "delay": "1 day"}
    shop.open(more=[later, {**later, "box": "3"}])
    shop.subscribe(ADA)
    shop.office.settle()
    shop.change(active=False)
    shop.work(every=timedelta(hours=12), until=timedelta(days=9))
    assert shop.states() == {"accepted": 1}
    assert "because the account is not active" in shop("why", ADA).out
    shop.check()
    shop.change(active=True)
    shop.office.settle()
    assert [box for box, _ in states(shop.api, ADA)] == ["1", "2"], "one at a time"
    shop.work(every=timedelta(hours=12), until=timedelta(days=2))
    assert [box for box, _ in states(shop.api, ADA)] == ["1", "2", "3"]
    shop.check()
