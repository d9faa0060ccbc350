"""Whoever comes too late changes nothing: an answer to an earlier try, a decision about a run that was moved, a second mail."""

import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from office import Office, mails, states
from sink import WAIT, Sink

from cartwheel.data import flowstore, schema
from cartwheel.errors import Conflict
from cartwheel.leads.mails import MailState
from cartwheel.work.engine import StepWork
from conftest import Databases
from harness import Api, Server, new_api

ADA = "ada@shop.example"


@pytest.fixture
def server(engine: str, databases: Databases) -> Iterator[Server]:
    """One of its own: offices do everything that is due in a database."""
    running = Server(databases.new(engine))
    yield running
    running.stop()


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
        other = begin(server, other_sink)  # which finds that the time is up
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
        with pytest.raises(Conflict):
            office.take_along()
        office.hand_over()
        assert [message.rcpt for message in sink.messages] == [f"TO:<{ADA}>"]
        assert states(api, ADA) == [("1", MailState.ACCEPTED)]
        office.close()
