"""Whoever comes too late changes nothing: an answer to an earlier try, a decision about a run that was moved, a second mail."""

import time
import tomllib
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
import tomli_w
from office import Office, mails, states
from sentmail import BROWSER, SentMail
from sink import TAKE_AND_DROP, WAIT, Sink

from cartwheel.data import flowstore, schema
from cartwheel.data.signingkeys import link_signer
from cartwheel.leads.mails import MailState
from cartwheel.mail.links import MailId
from cartwheel.work.engine import StepWork
from harness import DEMO, Api, Server, new_api

ADA = "ada@shop.example"


pytestmark = pytest.mark.own_server


def shop(server: Server, in_doubt: str = "hold") -> Api:
    api = new_api(server, account={"mail": {"sender": "Shop <hello@shop.example>", "in_doubt": in_doubt}})
    api.create(ADA)
    api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")
    return api


def begin(server: Server, sink: Sink) -> Office:
    """An office whose mail waits for the answer to its final dot."""
    office = Office(server, CARTWHEEL_SMTP=sink.url())
    office.take_along()
    deadline = time.monotonic() + 20
    while not sink.waiting:
        assert time.monotonic() < deadline
        office.hand_over()
    return office


def test_an_answer_that_comes_when_the_mail_is_in_doubt_settles_it(server: Server) -> None:
    api = shop(server)
    with Sink(dot=[WAIT]) as slow, Sink() as other_sink:
        late = begin(server, slow)
        server.clock.forward(hours=1)
        other = Office(server, CARTWHEEL_SMTP=other_sink.url())
        other.settle()
        assert states(api, ADA) == [("1", MailState.IN_DOUBT)]
        slow.go_on()
        late.settle()
        assert states(api, ADA) == [("1", MailState.ACCEPTED)]
        assert (len(slow.messages), len(other_sink.messages)) == (1, 0)
        late.close()
        other.close()


def test_an_answer_to_an_earlier_try_says_nothing_of_the_one_under_way(server: Server) -> None:
    api = shop(server, in_doubt="resend")
    with Sink(dot=[WAIT]) as slow, Sink(dot=[WAIT]) as other_sink:
        late = begin(server, slow)
        server.clock.forward(hours=1)
        finder = Office(server, CARTWHEEL_SMTP=other_sink.url())
        finder.hand_over()  # which finds that the time is up
        finder.close()
        server.clock.forward(hours=1)
        other = begin(server, other_sink)
        [mail] = mails(api, ADA)
        assert (mail.state, mail.attempts) == (MailState.HANDED_OVER, 2)
        slow.go_on()
        late.settle()
        assert mails(api, ADA) == [mail]
        other_sink.script["dot"] = []
        other_sink.go_on()
        other.settle()
        assert states(api, ADA) == [("1", MailState.ACCEPTED)]
        late.close()
        other.close()


def test_a_run_that_was_moved_since_it_was_found_is_not_taken_along_in_the_old_version(server: Server) -> None:
    api = shop(server)
    [run] = api.rows(schema.enrolments)
    key = (api.account_id, run["sequence_id"], run["version"])
    with server.database.write() as connection:
        old = flowstore.read(connection, key)
        connection.execute(sa.update(schema.enrolments).values(version=run["version"] + 1))
    work = StepWork((api.account_id, run["lead_id"]), key, old)
    assert server.run(lambda: server.application.batches.submit(work)) is False
    assert api.rows(schema.enrolments) == [run | {"version": run["version"] + 1}]
    assert api.rows(schema.mails) == []


def test_a_step_that_is_decided_twice_queues_one_mail(server: Server) -> None:
    """Whatever went wrong with the run: the ledger knows that it was here."""
    api = shop(server)
    with Sink() as sink:
        office = Office(server, CARTWHEEL_SMTP=sink.url())
        before = api.rows(schema.enrolments)[0]
        office.settle()
        with server.database.write() as connection:
            connection.execute(sa.update(schema.enrolments).values(before))
        office.take_along()
        office.hand_over()
        assert [message.rcpt for message in sink.messages] == [f"TO:<{ADA}>"]
        assert states(api, ADA) == [("1", MailState.ACCEPTED)]
        office.close()


CLICKED = {"type": "clicked", "box": "1"}
ASKED = [
    {"box": "1", "type": "email", "subject": "Look", "html": "<p>Look.</p>"},
    {"box": "2", "type": "wait_until", "condition": CLICKED, "timeout": "3 days", "on_timeout": "4"},
    {"box": "3", "type": "email", "subject": "You looked", "html": "<p>Well.</p>", "ends": True},
    {"box": "4", "type": "email", "subject": "You never looked", "html": "<p>Well.</p>"},
]


def in_doubt(server: Server, office: Office, sink: Sink) -> SentMail:
    """A mail that its server took without a word."""
    file = {**tomllib.loads(DEMO), "sequences": [{"name": "Welcome", "steps": ASKED}]}
    api = new_api(server, account={"mail": {"sender": "Shop <hello@shop.example>"}}, file=tomli_w.dumps(file))
    sink.script["dot"] = [TAKE_AND_DROP]
    api.create(ADA)
    api.on(ADA, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")
    office.settle()
    [row] = api.rows(schema.mails)
    assert row["state"] == "in doubt"
    server.clock.forward(minutes=10)
    mail = MailId(row["account_id"], row["lead_id"], row["id"])
    return SentMail(api, ADA, mail, link_signer(server.database))


@pytest.fixture
def office(server: Server, sink: Sink) -> Iterator[Office]:
    running = Office(server, CARTWHEEL_SMTP=sink.url())
    yield running
    running.close()


def test_a_click_in_a_mail_in_doubt_is_heard_and_ends_the_doubt(server: Server, office: Office, sink: Sink) -> None:
    sent = in_doubt(server, office, sink)
    sent.get(sent.click())
    sent.judge()
    assert (sent.row["state"], sent.row["reply"]) == ("accepted", "its reader has clicked in it")
    assert sent.row["sent_at"] == sent.row["queued_at"]
    assert sent.kinds.count("mail_sent") == 1
    office.settle()
    server.clock.forward(days=4)
    office.settle()
    assert [box for box, _ in states(sent.api, ADA)] == ["1", "3"]


@pytest.mark.parametrize(("agent", "state"), [(BROWSER["User-Agent"], "accepted"), ("curl/8", "in doubt")])
def test_only_a_person_who_opens_a_mail_ends_the_doubt(
    server: Server, office: Office, sink: Sink, agent: str, state: str
) -> None:
    sent = in_doubt(server, office, sink)
    sent.get(sent.pixel, **{"User-Agent": agent})
    sent.settle()
    assert sent.row["state"] == state
