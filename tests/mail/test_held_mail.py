"""What is queued waits where it has to: behind an earlier mail, and through a pause; and its owner may give it up."""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import tomli_w
from office import Office, mails, states
from sink import DROP, TAKE_AND_DROP, WAIT, Act, Sink

from cartwheel import times
from cartwheel.accountfiles import accountfile
from cartwheel.data import doctor, mailstore, schema
from cartwheel.leads.mails import MailState, WaitsFor
from commandline import Cartwheel, Ran
from conftest import Databases
from harness import Server, new_api

ADA = "ada@shop.example"
BUSY = "451 4.3.0 busy"
BOXES = ("1", "2", "3", "4")
SENDER = {"name": "Shop", "mail": {"sender": "Shop <hello@shop.example>"}}
MAIL = {"type": "email", "html": "<p>Hello</p>"}


class Shop:
    """An account whose sequence Flow sends four mails, one a minute."""

    def __init__(self, office: Office, sink: Sink, cartwheel: Cartwheel) -> None:
        self.office, self.sink, self._cartwheel = office, sink, cartwheel
        self.clock = office.server.clock
        self.ids: dict[str, int] = {}
        steps = [{"box": box, **MAIL, "subject": f"Mail {box}", "delay": "1 minute"} for box in BOXES]
        steps[0]["delay"] = "0 minutes"
        file = {"apps": [{"name": "Website", "rate_limit": 0}], "sequences": [{"name": "Flow", "steps": steps}]}
        self.api = new_api(office.server, file=tomli_w.dumps({"account": SENDER, **file}), account=SENDER)

    def change(self, **account: Any) -> None:
        file = accountfile.read_text(tomli_w.dumps({"account": {**SENDER, **account}}), Path())
        accountfile.apply(self.office.server.database, file, self.clock())

    def __call__(self, *arguments: object) -> Ran:
        return self._cartwheel(*arguments, "--account", "Shop")

    def subscribe(self, email: str = ADA) -> None:
        self.ids[email] = int(self.api.create(email))
        self.api.on(email, "subscribe_lead_to_sequence_at_step", sequence_name="Flow", step="1")

    def pass_time(self, **time: float) -> None:
        self.clock.forward(**time)
        self.office.settle()

    def arrived(self, email: str = ADA) -> list[str]:
        """The boxes of the mails to the lead, as they arrived."""
        return [
            message.data.partition(b"Subject: Mail ")[2][:1].decode()
            for message in self.sink.messages
            if message.rcpt == f"TO:<{email}>"
        ]

    def waiting(self, email: str = ADA) -> dict[str, WaitsFor]:
        """What the lead's queued mails wait for."""
        with self.office.server.database.read() as connection:
            ledger = mailstore.mails_of(connection, (self.api.account_id, self.ids[email]))
        return {mail.box: mail.waits_for for mail in ledger if mail.state is MailState.QUEUED}

    def why(self) -> str:
        return self("why", ADA).out

    def check(self) -> None:
        """Nobody is lost, and the ledger's sum holds."""
        report = doctor.examine(self.office.server.database, self.clock())
        assert report.healthy, [result for result in report.results if result.found]
        assert report.counts["mails"] == sum(report.mails.values()) == len(self.api.rows(schema.mails))


@pytest.fixture
def server(engine: str, databases: Databases) -> Iterator[Server]:
    """One of its own: offices do everything that is due in a database."""
    running = Server(databases.new(engine))
    yield running
    running.stop()


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


@pytest.fixture
def shop(server: Server, sink: Sink, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The command line goes by its clock, too."""
    monkeypatch.setenv("CARTWHEEL_DATABASE", server.database.url)
    monkeypatch.setattr(times, "now", server.clock)
    office = Office(server, CARTWHEEL_SMTP=sink.url())
    yield Shop(office, sink, cartwheel)
    office.close()


# -- in order --


def test_a_mail_that_is_refused_for_now_is_not_overtaken_by_the_next(shop: Shop) -> None:
    shop.sink.script["rcpt"] = [BUSY]
    shop.subscribe()
    shop.office.settle()
    for _ in range(4):  # the mail of step 1 is tried again after five minutes
        shop.pass_time(minutes=1)
    assert shop.arrived() == []
    assert shop.waiting() == {"1": WaitsFor.NOTHING} | dict.fromkeys(BOXES[1:], WaitsFor.EARLIER_MAIL)
    assert "The mail of step 2 of Flow (Mail 2) waits: an earlier mail of the sequence comes first." in shop.why()
    shop.pass_time(minutes=1)
    assert shop.arrived() == list(BOXES)
    assert [mail.attempts for mail in mails(shop.api, ADA)] == [2, 1, 1, 1], "who waits is not tried"


def test_who_waits_behind_an_earlier_mail_keeps_nobody_busy(shop: Shop) -> None:
    shop.sink.script["rcpt"] = [BUSY] * 4
    shop.subscribe()
    for _ in range(3):
        shop.pass_time(minutes=1)
    first, *others = mails(shop.api, ADA)
    assert first.next_at is not None
    assert all(mail.next_at is not None and mail.next_at > first.next_at for mail in others)


@pytest.mark.parametrize("end", ["550 5.7.1 no", TAKE_AND_DROP], ids=["refused", "in doubt"])
def test_a_mail_that_is_settled_holds_up_no_other(shop: Shop, end: Act) -> None:
    """In doubt too: it may stay so for days."""
    shop.sink.script["rcpt" if isinstance(end, str) else "dot"] = [end]
    shop.subscribe()
    shop.office.settle()
    shop.pass_time(minutes=1)
    assert shop.arrived()[-1] == "2"


def test_a_mail_whose_sender_vanished_holds_the_next_until_it_is_in_doubt(shop: Shop) -> None:
    shop.sink.script["dot"] = [WAIT]
    shop.subscribe()
    shop.office.take_along()
    shop.office.hand_over()
    other = Office(shop.office.server, CARTWHEEL_SMTP=shop.sink.url())
    shop.clock.forward(minutes=1)
    other.settle()
    assert states(shop.api, ADA) == [("1", MailState.HANDED_OVER), ("2", MailState.QUEUED)]
    shop.clock.forward(hours=1)
    other.settle()
    assert states(shop.api, ADA)[:2] == [("1", MailState.IN_DOUBT), ("2", MailState.ACCEPTED)]
    shop.sink.go_on()
    other.close()


def test_runs_and_leads_do_not_wait_for_each_other(shop: Shop) -> None:
    shop.sink.script["rcpt"] = [BUSY]
    shop.subscribe()
    shop.office.settle()
    shop.api.on(ADA, "unsubscribe_lead_from_sequence", sequence_name="Flow")
    shop.api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Flow", step="2")
    shop.subscribe("grace@shop.example")
    shop.pass_time(minutes=1)
    assert (shop.arrived(), shop.arrived("grace@shop.example")) == (["2"], ["1"])


@pytest.mark.parametrize("seed", range(4))
def test_whatever_servers_say_the_mails_of_a_run_arrive_in_order(shop: Shop, seed: int) -> None:
    dice = random.Random(seed)
    acts: list[Act] = [BUSY, BUSY, "450 4.2.1 greylisted", "550 5.7.1 no", "452 4.3.1 no room", DROP]
    emails = [f"lead{number}@shop.example" for number in range(3)]
    for email in emails:
        shop.subscribe(email)
    for _ in range(14):
        shop.sink.script["rcpt"] = dice.choices(acts, k=dice.randrange(4))
        shop.sink.script["dot"] = dice.choices([TAKE_AND_DROP, BUSY], k=dice.randrange(2))
        if dice.random() < 0.2:
            shop("sequence", dice.choice(["pause", "resume"]), "Flow")
        shop.pass_time(minutes=dice.choice([1, 1, 2, 6, 20]))
    shop("sequence", "resume", "Flow")
    shop.sink.script.clear()
    for _ in range(4):
        shop.pass_time(days=1)
    for email in emails:
        assert shop.arrived(email) == sorted(shop.arrived(email))
        assert all(state.settled for _, state in states(shop.api, email))
    assert shop.sink.messages
    shop.check()


# -- pauses --


def pause(shop: Shop) -> Callable[[], object]:
    shop("sequence", "pause", "Flow")
    return lambda: shop("sequence", "resume", "Flow")


def put_to_rest(shop: Shop) -> Callable[[], object]:
    shop.change(active=False)
    return lambda: shop.change(active=True)


@pytest.mark.parametrize(
    ("stop", "told"), [(pause, "the sequence is paused"), (put_to_rest, "the account is not active")]
)
def test_what_is_queued_waits_through_a_pause(
    shop: Shop, stop: Callable[[Shop], Callable[[], object]], told: str
) -> None:
    shop.subscribe()
    shop.subscribe("grace@shop.example")
    shop.office.take_along()
    go_on = stop(shop)
    for _ in range(3):
        shop.pass_time(hours=20)
    assert shop.sink.messages == []
    assert shop.waiting()["1"] is WaitsFor.PAUSE
    assert f"The mail of step 1 of Flow (Mail 1) waits: {told}." in shop.why()
    assert told in shop("mail", "list").out
    shop.check()
    go_on()
    shop.office.settle()
    assert shop.arrived()[:1] == shop.arrived("grace@shop.example")[:1] == ["1"]
    shop.check()


def test_a_mail_under_way_goes_on_through_a_pause_and_is_not_tried_again(shop: Shop) -> None:
    shop.sink.script["dot"] = [WAIT]
    shop.sink.script["rcpt"] = ["250 ok", BUSY]
    for email in (ADA, "grace@shop.example"):
        shop.subscribe(email)
    shop.office.take_along()
    shop.office.hand_over()
    shop("sequence", "pause", "Flow")
    shop.sink.go_on()
    shop.pass_time(minutes=10)
    states_ = sorted(state for email in (ADA, "grace@shop.example") for _, state in states(shop.api, email))
    assert states_ == [MailState.ACCEPTED, MailState.QUEUED]


def test_a_mail_held_by_a_process_that_reads_late_of_the_end_of_a_pause_goes_out(shop: Shop) -> None:
    shop("sequence", "pause", "Flow")
    shop("sequence", "resume", "Flow")
    shop.office.settle()
    shop.subscribe()
    shop.office.take_along()
    held = {"waits_for": "pause", "next_at": times.to_micros(shop.clock() + timedelta(days=1))}
    with shop.office.server.database.write() as connection:  # what a batch commits that began before
        connection.execute(sa.update(schema.mails).values(**held))
    shop.pass_time(seconds=29)
    assert shop.arrived() == []
    shop.pass_time(seconds=2)
    assert shop.arrived() == ["1"]


# -- giving up --


def test_what_a_sequence_has_queued_can_be_given_up(shop: Shop) -> None:
    emails = [ADA, *(f"lead{number}@shop.example" for number in range(5))]
    for email in emails:
        shop.subscribe(email)
    shop.office.take_along()
    shop("sequence", "pause", "Flow")
    shop.office.settle()
    assert shop("mail", "drop", "--queued", "--sequence", "flow", "--reason", "the offer is over").out == (
        "6 mails are given up.\n"
    )
    [mail] = mails(shop.api, ADA)
    assert (mail.state, mail.reply, mail.waits_for) == (MailState.FAILED, "the offer is over", WaitsFor.NOTHING)
    assert shop.api.events(shop.api.lead(ADA)["id"])[-1][0] == "mail_not_sent"
    assert shop("mail", "drop", "--queued", "--sequence", "Flow", "--json").json == {"dropped": 0}
    shop.check()
    shop("sequence", "resume", "Flow")
    shop.pass_time(minutes=1)
    assert shop.arrived() == ["2"], "who is in the sequence goes on"
    shop.check()


def test_giving_up_what_is_queued_says_what_it_needs(shop: Shop) -> None:
    assert "Nowhere" in shop("mail", "drop", "--queued", "--sequence", "Nowhere").trouble
    for wrong in (["--queued"], ["--sequence", "Flow"], ["--queued", "--sequence", "Flow", "--all"]):
        assert shop("mail", "drop", *wrong).code == 2
