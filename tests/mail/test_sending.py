"""A lead in a sequence really gets its mail, at the right time, once; and the ledger says what became of each."""

import email
import email.policy
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dkim as dkimpy
import pytest
import sqlalchemy as sa
import tomli_w
from office import Office, mails, states
from sink import DROP, TAKE_AND_DROP, WAIT, Act, Sink

from cartwheel.accountfiles import accountfile
from cartwheel.data import schema
from cartwheel.leads.mails import MailState, WaitsFor
from cartwheel.mail import dkim
from cartwheel.mail.composing import Composer
from cartwheel.sending.handover import HandOverWork
from cartwheel.sending.tracking import TrackWork
from cartwheel.times import to_micros
from commandline import name_of
from harness import DEMO, Api, Server, new_api
from waiting import wait_until

SENDER = {"mail": {"sender": "The Shop <hello@shop.example>", "address": "1 Example Road, London"}}


pytestmark = pytest.mark.own_server


@pytest.fixture
def api(server: Server) -> Api:
    return new_api(server)


@pytest.fixture
def shop(server: Server) -> Api:
    return new_api(server, account=SENDER)


@pytest.fixture
def office(server: Server, sink: Sink) -> Iterator[Office]:
    running = Office(server, CARTWHEEL_SMTP=sink.url())
    yield running
    running.close()


def start(api: Api, address: str = "ada@shop.example", step: str = "1") -> None:
    api.create(address, first_name="Ada")
    answer = api.on(address, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step=step)
    assert answer["actions"][0]["subscribe_lead_to_sequence_at_step"]["type"] == "107"


def test_a_lead_that_is_subscribed_gets_the_mail_of_its_step(shop: Api, office: Office, sink: Sink) -> None:
    start(shop)
    office.settle()
    [taken] = sink.messages
    message = email.message_from_bytes(taken.data, policy=email.policy.default)
    assert taken.rcpt == "TO:<ada@shop.example>"
    assert message["Subject"] == "Welcome, Ada"
    assert message["From"] == "The Shop <hello@shop.example>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    text = message.get_body(("plain",))
    html = message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert "Hello Ada, good to have you." in text.get_content()
    assert "1 Example Road, London" in text.get_content()
    assert "<p>Hello Ada, good to have you.</p>" in html.get_content()
    assert states(shop, "ada@shop.example") == [("1", MailState.ACCEPTED)]


def change(api: Api, **account: Any) -> None:
    """Apply the account's file again with these changes."""
    file = {"account": {"name": name_of(api), **account}}
    accountfile.apply(api.server.database, accountfile.read_text(tomli_w.dumps(file), Path()), api.server.clock())


def metric(server: Server, name: str) -> float:
    text = server.http.get("/metrics").text
    return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()[-1])


def next_lead_id(server: Server) -> int:
    with server.database.read() as connection:
        return int(
            connection.execute(sa.select(schema.counters.c.next).where(schema.counters.c.name == "leads")).scalar_one()
        )


def test_mails_to_an_untracked_lead_have_no_tracked_links_and_no_pixel(
    server: Server, office: Office, sink: Sink
) -> None:
    step = {"box": "1", "type": "email", "subject": "Hello", "html": '<a href="https://shop.example/new">New</a>'}
    api = new_api(
        server,
        account=SENDER,
        file=tomli_w.dumps({**tomllib.loads(DEMO), "sequences": [{"name": "Welcome", "steps": [step]}]}),
    )
    start(api)
    start(api, "grace@shop.example")
    lead_id = int(api.lead("grace@shop.example")["id"])
    server.run(lambda: server.application.batches.submit(TrackWork((api.account_id, lead_id), on=False)))
    office.settle()
    links = {message.rcpt: (b"/c/" in message.data, b"/o/" in message.data) for message in sink.messages}
    assert links == {"TO:<ada@shop.example>": (True, True), "TO:<grace@shop.example>": (False, False)}


def test_a_worker_uses_up_no_numbers_of_leads(server: Server, shop: Api, office: Office) -> None:
    start(shop)
    before = next_lead_id(server)
    office.settle()
    assert next_lead_id(server) == before


def test_the_second_step_waits_for_its_delay_and_window(server: Server, shop: Api, office: Office, sink: Sink) -> None:
    start(shop)  # on Sunday, March 1st, at 14:15 UTC
    office.settle()
    server.clock.forward(days=2, minutes=-1)
    office.settle()
    assert len(sink.messages) == 1
    server.clock.forward(minutes=1)  # Tuesday 9:15 in New York: the window is open
    office.settle()
    assert len(sink.messages) == 2


def test_nothing_is_sent_twice_however_often_is_looked(shop: Api, office: Office, sink: Sink) -> None:
    start(shop)
    for _ in range(3):
        office.settle()
    assert len(sink.messages) == 1


def test_two_offices_on_one_database_send_each_mail_once(server: Server, shop: Api, office: Office, sink: Sink) -> None:
    for number in range(30):
        start(shop, f"lead{number}@shop.example")
    other = Office(server, CARTWHEEL_SMTP=sink.url())
    office.take_along()
    other.settle()
    office.settle()
    other.close()
    assert sorted(taken.rcpt for taken in sink.messages) == sorted(f"TO:<lead{n}@shop.example>" for n in range(30))


def test_who_leaves_the_sequence_gets_none_of_its_waiting_mails(shop: Api, office: Office, sink: Sink) -> None:
    start(shop)
    office.take_along()
    shop.on("ada@shop.example", "unsubscribe_lead_from_sequence", sequence_name="Welcome")
    office.settle()
    assert sink.messages == []
    [mail] = mails(shop, "ada@shop.example")
    assert (mail.state, mail.reply) == (MailState.SUPPRESSED, "the lead has left the sequence")


def test_a_lead_of_a_test_app_stays_in_the_test_mailbox(server: Server, office: Office, sink: Sink) -> None:
    api = new_api(server, account=SENDER, app={"mode": "test"})
    start(api)
    office.settle()
    assert sink.messages == []
    [kept] = api.rows(schema.test_mailbox)
    assert kept["subject"] == "Welcome, Ada"


def test_without_a_sender_the_mail_waits_and_says_why(api: Api, office: Office) -> None:
    start(api)
    office.settle()
    [mail] = mails(api, "ada@shop.example")
    assert mail.state is MailState.QUEUED
    assert mail.waits_for is WaitsFor.OWNER
    assert mail.reply == "the account has no sender: give `[account.mail] sender`"


def test_what_waits_for_an_owner_goes_as_soon_as_the_account_is_changed(api: Api, office: Office, sink: Sink) -> None:
    start(api)
    office.settle()
    assert sink.messages == []
    change(api, **SENDER)
    office.settle()
    assert len(sink.messages) == 1


def test_metrics_tell_what_waits_and_for_how_long(server: Server, api: Api, office: Office) -> None:
    start(api)
    server.clock.forward(minutes=2)
    assert metric(server, "cartwheel_runs_late_seconds") == 120
    office.settle()  # the account has no sender
    server.clock.forward(hours=3)
    assert metric(server, 'cartwheel_mails_waiting{state="queued"}') == 1
    assert metric(server, "cartwheel_mails_late_seconds") == 2 * 3600
    assert metric(server, "cartwheel_mails_oldest_seconds") == 3 * 3600
    assert metric(server, "cartwheel_runs_late_seconds") == 0


def test_a_mail_in_doubt_is_counted_and_told(
    server: Server, shop: Api, office: Office, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    assert metric(server, 'cartwheel_mails_waiting{state="in doubt"}') == 0
    sink.script["dot"] = [TAKE_AND_DROP]
    start(shop)
    office.settle()
    assert states(shop, "ada@shop.example") == [("1", MailState.IN_DOUBT)]
    start(shop, "eve@shop.example")
    forsaken = {"state": "handed over", "next_at": 1, "server": "smtp.example:25", "attempts": 1}
    office.take_along()
    with server.database.write() as connection:
        connection.execute(sa.update(schema.mails).where(schema.mails.c.state == "queued").values(forsaken))
    office.settle()
    assert metric(server, 'cartwheel_mails_waiting{state="in doubt"}') == 2
    told = [line for line in caplog.records if "in doubt" in line.getMessage()]
    assert [line.levelname for line in told] == ["WARNING"] * 2
    assert [line.fields["mail"] for line in told] == [row["id"] for row in shop.rows(schema.mails)]  # type: ignore[attr-defined] # given as `extra`
    assert "@" not in str([vars(line) for line in told])


@pytest.mark.parametrize(
    ("act", "state", "suppressed"),
    [
        ("550 5.1.1 no such user", MailState.FAILED, "hard bounce"),
        ("550 5.7.1 we do not like this", MailState.FAILED, ""),
        ("450 4.2.0 greylisted", MailState.QUEUED, ""),
        ("452 4.2.2 mailbox full", MailState.QUEUED, ""),
        (DROP, MailState.QUEUED, ""),
    ],
)
def test_what_the_recipients_server_says_counts(
    shop: Api, office: Office, sink: Sink, act: Act, state: MailState, suppressed: str
) -> None:
    sink.script["rcpt"] = [act]
    start(shop)
    office.settle()
    [mail] = mails(shop, "ada@shop.example")
    assert mail.state is state
    assert [row["reason"] for row in shop.rows(schema.suppressions) if row["reason"]] == [suppressed] * bool(suppressed)
    assert shop.lead("ada@shop.example")["blacklisted"] in {"1" if suppressed else "0", int(bool(suppressed))}


def test_a_temporary_refusal_is_tried_again_later(server: Server, shop: Api, office: Office, sink: Sink) -> None:
    sink.script["rcpt"] = ["450 4.2.0 greylisted"]
    start(shop)
    office.settle()
    server.clock.forward(minutes=4)
    office.settle()
    assert sink.messages == []
    server.clock.forward(minutes=2)
    office.settle()
    assert len(sink.messages) == 1
    assert states(shop, "ada@shop.example") == [("1", MailState.ACCEPTED)]


def test_what_one_recipient_is_refused_for_keeps_no_mail_from_others(server: Server, shop: Api, sink: Sink) -> None:
    sink.script["rcpt"] = ["554 5.7.1 <bad@elsewhere.example>: Relay access denied"]
    for number in range(5):
        start(shop, f"lead{number}@shop.example")
    office = Office(server, CARTWHEEL_SMTP=sink.url(connections=1))
    office.settle()
    office.close()
    assert len(sink.messages) == 4


def test_a_server_that_holds_its_mail_up_holds_up_no_other(server: Server, sink: Sink) -> None:
    """Nor the test mailbox; and what it has not begun waits as it was."""
    slow_shop = new_api(server, account={"mail": {"sender": "x@slow.example"}})
    others = [new_api(server, account=SENDER), new_api(server, account=SENDER, app={"mode": "test"})]
    with Sink(rcpt=[WAIT] * 200) as slow:
        office = Office(server, CARTWHEEL_SMTP=f"{sink.url()} slow.example={slow.url(connections=2)}")
        for number in range(150):
            start(slow_shop, f"lead{number}@shop.example")
        office.take_along()
        office.hand_over()
        for other in others:
            start(other)
        office.take_along()
        office.hand_over()
        wait_until(lambda: len(sink.messages) + len(others[1].rows(schema.test_mailbox)) == 2, "both others got theirs")
        assert Counter(row["state"] for row in slow_shop.rows(schema.mails)) == {"handed over": 100, "queued": 50}
        slow.go_on()
        wait_until(lambda: len(slow.messages) == 100, "the slow server has taken what it was given")
        server.clock.forward(seconds=10)
        office.settle()
        assert len(slow.messages) == 150
        office.close()


def fails(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """From now on there is a mistake in the program."""
    place, name = {"composing": (Composer, "compose"), "deciding": (HandOverWork, "decide")}[what]

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(place, name, fail)


def trouble_for(server: Server, office: Office, *, days: int) -> None:
    """Mails are tried all the time."""
    for _ in range(days * 4):
        office.settle()
        server.clock.forward(hours=6, minutes=1)


@pytest.mark.parametrize("what", ["composing", "deciding"])
def test_a_mail_that_the_program_fails_on_is_given_up_after_days(
    server: Server, shop: Api, office: Office, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    fails(monkeypatch, what)
    start(shop)
    trouble_for(server, office, days=3)
    assert states(shop, "ada@shop.example")[0] == ("1", MailState.QUEUED)
    trouble_for(server, office, days=2)
    [mail] = mails(shop, "ada@shop.example")[:1]
    reply = "given up after 4 days: Cartwheel failed: ZeroDivisionError"
    assert (mail.state, mail.reply) == (MailState.FAILED, reply)
    assert shop.rows(schema.suppressions) == []


def test_what_waits_for_an_owner_is_never_given_up(server: Server, api: Api, office: Office, sink: Sink) -> None:
    start(api)
    trouble_for(server, office, days=8)  # a day on which the window of the second step opens
    change(api, **SENDER)
    office.settle()
    assert len(sink.messages) == 2


TROUBLES: list[tuple[str, Act]] = [
    ("mail", "452 4.3.1 no room"),
    ("dot", "454 Throttling failure"),
    ("rcpt", "554 5.7.1 Relay access denied"),
    ("connect", DROP),
]


@pytest.mark.parametrize(("phase", "act"), TROUBLES)
def test_trouble_comes_to_an_end_and_is_not_the_addresss_fault(
    server: Server, shop: Api, office: Office, sink: Sink, phase: str, act: Act
) -> None:
    sink.script[phase] = [act] * 1000
    start(shop)
    trouble_for(server, office, days=3)
    assert states(shop, "ada@shop.example")[0] == ("1", MailState.QUEUED)
    trouble_for(server, office, days=2)
    mail = mails(shop, "ada@shop.example")[0]
    assert mail.state is MailState.FAILED
    assert mail.reply.startswith("given up after 4 days: ")
    assert shop.rows(schema.suppressions) == []


def test_who_waited_for_long_before_the_trouble_is_not_given_up_for_it(
    server: Server, api: Api, office: Office, sink: Sink
) -> None:
    start(api)
    trouble_for(server, office, days=8)  # the account has no sender
    change(api, **SENDER)
    sink.script["dot"] = ["454 Throttling failure"] * 2
    office.settle()
    assert {state for _, state in states(api, "ada@shop.example")} == {MailState.QUEUED}
    for _ in range(2):  # the first one tries whether the server is back
        server.clock.forward(minutes=10)
        office.settle()
    assert len(sink.messages) == 2


def test_who_waited_for_long_before_a_refusal_is_tried_for_days_all_the_same(
    server: Server, api: Api, office: Office, sink: Sink
) -> None:
    start(api)
    trouble_for(server, office, days=6)  # the account has no sender
    change(api, **SENDER)
    sink.script["rcpt"] = ["450 4.2.0 greylisted"] * 1000
    trouble_for(server, office, days=3)
    assert states(api, "ada@shop.example")[0] == ("1", MailState.QUEUED)
    trouble_for(server, office, days=2)
    mail = mails(api, "ada@shop.example")[0]
    assert (mail.state, mail.reply) == (MailState.FAILED, "given up after 4 days: 4.2.0 greylisted")
    [suppression] = api.rows(schema.suppressions)
    assert suppression["soft_bounces"] == 1


def test_after_the_final_dot_without_an_answer_the_mail_is_in_doubt_and_held(
    server: Server, shop: Api, office: Office, sink: Sink
) -> None:
    sink.script["dot"] = [TAKE_AND_DROP]
    start(shop)
    office.settle()
    server.clock.forward(days=9)
    office.settle()
    assert len(sink.messages) <= 2  # the second step's is another one
    assert states(shop, "ada@shop.example")[0] == ("1", MailState.IN_DOUBT)


def test_in_doubt_is_sent_again_where_the_account_says_so(server: Server, office: Office, sink: Sink) -> None:
    api = new_api(server, account={"mail": {**SENDER["mail"], "in_doubt": "resend"}})
    sink.script["dot"] = [TAKE_AND_DROP]
    start(api)
    office.settle()
    server.clock.forward(minutes=20)
    office.settle()
    assert states(api, "ada@shop.example")[0] == ("1", MailState.ACCEPTED)


def test_who_sends_and_vanishes_leaves_a_mail_in_doubt(server: Server, shop: Api, office: Office) -> None:
    start(shop)
    office.take_along()
    table = schema.mails
    with server.database.write() as connection:  # as a worker does that dies right after it
        connection.execute(
            sa.update(table)
            .where(table.c.account_id == shop.account_id)
            .values(state="handed over", next_at=to_micros(server.clock()) + 1, attempts=1)
        )
    server.clock.forward(seconds=1)
    office.settle()
    [mail] = mails(shop, "ada@shop.example")
    assert (mail.state, mail.reply) == (MailState.IN_DOUBT, "whoever was sending it vanished")


def test_mail_is_signed_with_the_key_of_the_senders_domain(
    server: Server, shop: Api, office: Office, sink: Sink
) -> None:
    pem = dkim.new_key(dkim.Algorithm.RSA)
    with server.database.write() as connection:
        values = {"domain": "shop.example", "selector": "s1", "private_key": pem.decode(), "created_at": 0}
        connection.execute(sa.insert(schema.sender_domains).values(account_id=shop.account_id, **values))
    records = dkim.dns_records("shop.example", "s1", dkim.Signer("shop.example", "s1", pem).public_key)
    [published] = [record.value for record in records if record.name.startswith("s1._domainkey")]
    start(shop)
    office.settle()
    [taken] = sink.messages
    assert dkimpy.verify(taken.data, dnsfunc=lambda _name, timeout=5: published.encode())  # noqa: ARG005


CONDITIONAL = (
    DEMO
    + """
[[sequences]]
name = "Patient"
[[sequences.steps]]
box = "1"
type = "wait_until"
condition = { type = "has_tag", tag = "Customer" }
[[sequences.steps]]
box = "2"
type = "email"
subject = "Thank you"
html = "<p>Thank you</p>"
"""
)


def test_a_call_wakes_a_lead_that_waits_for_it(server: Server, office: Office, sink: Sink) -> None:
    api = new_api(server, account=SENDER, file=CONDITIONAL)
    api.create("ada@shop.example")
    api.on("ada@shop.example", "subscribe_lead_to_sequence_at_step", sequence_name="Patient", step="1")
    office.settle()
    assert sink.messages == []
    api.on("ada@shop.example", "assign_tag", tag_name="Trial user")
    office.settle()
    assert sink.messages == []
    api.on("ada@shop.example", "assign_tag", tag_name="Customer")
    office.settle()
    assert len(sink.messages) == 1
