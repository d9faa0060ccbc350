"""Which failures count against an address, through a real server's answers and through the reports that come later."""

from collections import Counter
from collections.abc import Iterator

import pytest
import tomli_w
from office import Office, mails
from sink import Sink

from cartwheel.bounces.reports import Kind, Report
from cartwheel.data import schema
from cartwheel.data.signingkeys import link_signer
from cartwheel.mail.links import MailId
from cartwheel.sending.tracking import record
from harness import Api, Server, new_api

pytestmark = pytest.mark.own_server

ADA = "ada@shop.example"
DAYS = 12


@pytest.fixture
def api(server: Server) -> Api:
    """An account whose sequence sends a mail a day."""
    steps = [
        {"box": str(day), "type": "email", "subject": f"Day {day}", "html": "<p>Hello.</p>", "delay": "1 day"}
        for day in range(1, DAYS + 1)
    ]
    file = {
        "account": {"name": "Shop", "mail": {"sender": "The Shop <hello@shop.example>"}},
        "apps": [{"name": "Website", "rate_limit": 0}],
        "sequences": [{"name": "Daily", "steps": steps}],
    }
    return new_api(server, file=tomli_w.dumps(file))


@pytest.fixture
def office(server: Server, sink: Sink) -> Iterator[Office]:
    running = Office(server, CARTWHEEL_SMTP=sink.url())
    yield running
    running.close()


def start(api: Api, address: str = ADA) -> None:
    api.create(address)
    api.on(address, "subscribe_lead_to_sequence_at_step", sequence_name="Daily", step="1")


def a_day_later(server: Server, office: Office) -> None:
    server.clock.forward(hours=24, minutes=1)
    office.settle()


def count(api: Api) -> list[tuple[str, int]]:
    return [(row["reason"], row["soft_bounces"]) for row in api.rows(schema.suppressions)]


def comes_back(api: Api, box: str) -> None:
    """The relay has taken the mail of this step, and reports that the mailbox is full."""
    [row] = api.rows(schema.mails, box=box, state="accepted")
    signer = link_signer(api.server.database)
    address = signer.bounce_address(MailId(row["account_id"], row["lead_id"], row["id"]), "bounces@acme.example")
    report = Report(kind=Kind.SOFT, return_paths=(address,), status="4.2.2", diagnostic="mailbox full")
    application = api.server.application
    assert api.server.run(lambda: record(report, application.batches, api.server.database, signer)) == 1


@pytest.mark.parametrize("said", ["550 Sender verify failed", "550 Access denied - Invalid HELO name"])
def test_a_server_that_refuses_the_sender_condemns_no_recipient(
    server: Server, api: Api, office: Office, sink: Sink, said: str
) -> None:
    sink.script["rcpt"] = [said] * 10
    for number in range(10):
        start(api, f"lead{number}@host{number}.example")
    a_day_later(server, office)
    assert Counter(row["state"] for row in api.rows(schema.mails)) == {"failed": 10}
    assert count(api) == []


def test_a_server_that_wants_a_password_condemns_no_recipient_and_fails_no_mail(
    server: Server, api: Api, office: Office, sink: Sink
) -> None:
    sink.script["rcpt"] = ["550 Please turn on SMTP Authentication in your mail client"] * 20
    for number in range(10):
        start(api, f"lead{number}@host{number}.example")
    a_day_later(server, office)
    assert Counter(row["state"] for row in api.rows(schema.mails)) == {"queued": 10}
    assert count(api) == []


def test_a_bare_refusal_condemns_an_address_only_if_it_comes_again_and_again(
    server: Server, api: Api, office: Office, sink: Sink
) -> None:
    sink.script["rcpt"] = ["550 no"] * DAYS
    start(api)
    counts = []
    for _ in range(5):
        a_day_later(server, office)
        counts += count(api)
    assert counts == [("", 1), ("", 2), ("", 3), ("", 4), ("repeated soft bounces", 4)]
    assert {mail.state.value for mail in mails(api, ADA)} == {"failed"}


def test_bounces_in_a_row_stop_the_mail_although_a_relay_takes_every_one(
    server: Server, api: Api, office: Office, sink: Sink
) -> None:
    start(api)
    for _ in range(DAYS):
        a_day_later(server, office)
        for row in api.rows(schema.mails, state="accepted"):
            comes_back(api, row["box"])
    assert len(sink.messages) == 5
    assert count(api)[0][0] == "repeated soft bounces"


def test_bounces_that_come_days_later_count_as_well(server: Server, api: Api, office: Office, sink: Sink) -> None:
    start(api)
    for day in range(1, 9):
        a_day_later(server, office)
        if day > 4:
            comes_back(api, str(day - 4))
    assert count(api) == [("", 4)]
    a_day_later(server, office)
    comes_back(api, "5")
    assert count(api)[0][0] == "repeated soft bounces"
    assert len(sink.messages) == 9


def test_bounces_with_mails_between_them_that_arrived_never_add_up(
    server: Server, api: Api, office: Office, sink: Sink
) -> None:
    start(api)
    for day in range(1, DAYS + 1):
        a_day_later(server, office)
        if day % 2:
            comes_back(api, str(day))
    assert count(api) == [("", 1)]
    assert len(sink.messages) == DAYS
