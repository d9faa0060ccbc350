"""Who bounces or complains is not mailed again, whichever way the report comes."""

import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from comeback import bounce, complaint, head
from imapserver import HANG, ImapServer, in_a_thread
from office import Office, mails, states
from sink import Sink, Taken

from cartwheel.config import Settings, find
from cartwheel.data import schema
from cartwheel.errors import BadSetting
from cartwheel.leads.mails import MailState
from commandline import Cartwheel as CommandLine
from commandline import Ran
from conftest import Databases
from harness import Api, Server, new_api
from running import Cartwheel
from test_serving import until

ADA = "ada@shop.example"
SENDER = {"mail": {"sender": "The Shop <hello@shop.example>", "soft_bounces": 2}}
ALL = {"CARTWHEEL_BOUNCE_ADDRESS": "bounces@shop.example"}


@pytest.fixture
def server(engine: str, databases: Databases) -> Iterator[Server]:
    """One of its own: offices do everything that is due in a database."""
    running = Server(databases.migrated(engine), {"CARTWHEEL_BOUNCE_HOOKS": "postmark=let-me-in"})
    yield running
    running.stop()


@pytest.fixture
def shop(server: Server) -> Api:
    api = new_api(server, account=SENDER)
    subscribe(api, ADA)
    return api


@pytest.fixture
def box() -> Iterator[ImapServer]:
    with in_a_thread(ImapServer()) as running:
        yield running


def url_of(box: ImapServer) -> str:
    return f"imap://user:pass@127.0.0.1:{box.port}/INBOX"


def at_work(server: Server, sink: Sink, box: ImapServer, **environment: str) -> Office:
    given = {**ALL, "CARTWHEEL_SMTP": sink.url(), "CARTWHEEL_BOUNCE_MAILBOX": url_of(box), **environment}
    return Office(server, **given)


@pytest.fixture
def office(server: Server, sink: Sink, box: ImapServer) -> Iterator[Office]:
    running = at_work(server, sink, box)
    yield running
    running.close()


def subscribe(api: Api, email: str) -> None:
    api.create(email)
    api.on(email, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")


def sent(office: Office, sink: Sink) -> Taken:
    """The first mail, on its way."""
    office.settle()
    [taken] = sink.messages
    return taken


def suppression(api: Api) -> str:
    """Why the lead is not mailed."""
    return next((row["reason"] for row in api.rows(schema.suppressions)), "")


# -- from the mailbox --


@pytest.mark.parametrize(
    ("report", "reason", "ledger"),
    [
        (bounce, "hard bounce", [("1", MailState.FAILED), ("2", MailState.SUPPRESSED)]),
        (complaint, "complaint", [("1", MailState.ACCEPTED)]),  # who complains leaves the sequence
    ],
)
@pytest.mark.parametrize("address", ["bounces@shop.example", ""], ids=["return path", "Message-ID"])
def test_who_bounces_or_complains_gets_no_further_mail(
    server: Server,
    shop: Api,
    sink: Sink,
    box: ImapServer,
    report: Callable[[Taken], bytes],
    reason: str,
    ledger: list[tuple[str, MailState]],
    address: str,
) -> None:
    office = at_work(server, sink, box, CARTWHEEL_BOUNCE_ADDRESS=address)
    box.deliver(b"Subject: Hello\r\n\r\nA person asks something.\r\n", report(sent(office, sink)))
    assert office.read_bounces() is False
    assert suppression(shop) == reason
    assert box.raws(without="\\Seen") == []
    server.clock.forward(days=2)
    office.settle()
    office.close()
    assert len(sink.messages) == 1
    assert states(shop, ADA) == ledger
    assert all(mail.reply.startswith(reason) for mail in mails(shop, ADA)[1:])


def test_a_report_counts_once_however_many_workers_read_it(
    server: Server, shop: Api, office: Office, sink: Sink, box: ImapServer
) -> None:
    report = bounce(sent(office, sink), "4.4.7", "450 4.4.7 gone for too long")
    box.deliver(report)
    office.read_bounces()
    other = at_work(server, sink, box)
    box.folders["INBOX"][0].flags.clear()  # as it was when the other one looked
    other.read_bounces()
    other.close()
    assert [row["soft_bounces"] for row in shop.rows(schema.suppressions)] == [1]
    assert suppression(shop) == ""
    assert [kind for kind, _ in shop.events(shop.lead(ADA)["id"])].count("mail_bounced") == 1


def test_a_report_that_somebody_made_up_harms_nobody(shop: Api, office: Office, sink: Sink, box: ImapServer) -> None:
    taken = sent(office, sink)
    box.deliver(bounce(Taken("FROM:<bounces+aaaa@shop.example>", taken.rcpt, b"Message-ID: <a@b.example>\r\n\r\n")))
    office.read_bounces()
    assert suppression(shop) == ""
    assert states(shop, ADA) == [("1", MailState.ACCEPTED)]


def test_a_mailbox_in_trouble_is_told_without_its_password(
    office: Office, box: ImapServer, caplog: pytest.LogCaptureFixture
) -> None:
    box.password = "another"
    with caplog.at_level(logging.INFO):
        assert office.read_bounces() is False
    [told] = [record.getMessage() for record in caplog.records if "bounces" in record.getMessage()]
    assert told.startswith("bounces cannot be read: user@127.0.0.1")
    assert "pass" not in told
    box.password = "pass"
    assert office.read_bounces() is False


def test_a_worker_reads_the_box_when_it_starts_and_stops_while_the_box_hangs(
    server: Server, shop: Api, office: Office, sink: Sink, box: ImapServer
) -> None:
    box.deliver(bounce(sent(office, sink)))
    settings: dict[str, Any] = {
        "database": server.database.url,
        "public_url": "https://shop.example",
        "bounce_mailbox": url_of(box),
    }
    with Cartwheel("worker", **settings) as worker:
        until(lambda: suppression(shop) == "hard bounce")
        assert worker.stop() == 0
    assert not [line for line in worker.said if "pass" in line]
    box.faults["UID SEARCH"] = HANG
    with Cartwheel("worker", **settings) as worker:
        until(lambda: box.open_sessions == 1)
        assert worker.stop() == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CARTWHEEL_BOUNCE_MAILBOX", "pop3://user:secret@host"),
        ("CARTWHEEL_BOUNCE_MAILBOX", "imaps://host/INBOX"),
        ("CARTWHEEL_BOUNCE_ADDRESS", "a-much-too-long-name@shop.example"),
        ("CARTWHEEL_BOUNCE_ADDRESS", "bounces"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_told_without_its_secret(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=name) as error:
        Settings.load({name: value})
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        (
            "CARTWHEEL_BOUNCE_MAILBOX",
            "imaps://b@shop.example:secret@host/INBOX",
            "imaps://b@shop.example:***@host/INBOX",
        ),
        ("CARTWHEEL_SMTP", "smtp://a@shop.example:sec@ret@host", "smtp://a@shop.example:***@host"),
        (
            "CARTWHEEL_SMTP",
            "smtp://127.0.0.1 x.example=smtp://u:secret@host",
            "smtp://127.0.0.1 x.example=smtp://u:***@host",
        ),
    ],
)
def test_a_password_behind_an_address_is_masked(name: str, value: str, shown: str) -> None:
    [found] = [entry for entry in find({name: value}) if entry.variable == name]
    assert found.shown == shown


# -- through a pipe --


@pytest.fixture
def pipe(server: Server, monkeypatch: pytest.MonkeyPatch, cartwheel: CommandLine) -> Callable[..., Ran]:
    """`cartwheel bounce` with this on its stdin."""
    monkeypatch.setenv("CARTWHEEL_DATABASE", server.database.url)

    def run(raw: bytes, *arguments: str) -> Ran:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(raw), isatty=lambda: False))
        return cartwheel("bounce", *arguments)

    return run


def test_a_pipe_records_what_a_mail_reports(shop: Api, office: Office, sink: Sink, pipe: Callable[..., Ran]) -> None:
    report = bounce(sent(office, sink))
    ran = pipe(report)
    assert (ran.code, ran.out) == (0, "")
    assert ran.trouble == "cartwheel: hard, ada@shop.example 5.1.1 550 5.1.1 no such user; recorded of 1 mail"
    assert suppression(shop) == "hard bounce"
    again = pipe(report + b"x" * (1 << 20), "--json")
    assert (again.code, again.err) == (0, "")
    assert again.json == {
        "kind": "hard",
        "recipient": ADA,
        "status": "5.1.1",
        "diagnostic": "550 5.1.1 no such user",
        "recorded": 1,
    }
    assert [kind for kind, _ in shop.events(shop.lead(ADA)["id"])].count("mail_bounced") == 1


def test_what_is_no_report_is_no_trouble(pipe: Callable[..., Ran]) -> None:
    assert "a person" in pipe(b"Subject: Hello\r\n\r\nAre you there?\r\n").trouble
    for raw in (b"", b"\xff" * 1000):
        ran = pipe(raw, "--json")
        assert (ran.code, ran.json["kind"], ran.json["recorded"]) == (0, None, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CARTWHEEL_DATABASE", "sqlite:///nowhere/there-is-none.db"),
        ("CARTWHEEL_DATABASE", "postgresql://nobody@127.0.0.1:1/none"),
        ("CARTWHEEL_QUEUE", "none"),
    ],
)
def test_when_it_cannot_be_recorded_the_mail_has_to_come_again(
    monkeypatch: pytest.MonkeyPatch, pipe: Callable[..., Ran], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    ran = pipe(b"Subject: Hello\r\n\r\n")
    assert ran.code == os.EX_TEMPFAIL == 75
    assert "has to come again" in ran.trouble


# -- from a provider that names mails in its own way --


def test_a_mail_asks_the_provider_for_its_name_and_is_found_by_it(
    server: Server, shop: Api, sink: Sink, box: ImapServer
) -> None:
    office = at_work(server, sink, box, CARTWHEEL_BOUNCE_HOOKS="postmark=let-me-in, ses=arn")
    first = sent(office, sink)
    server.clock.forward(days=2)
    office.settle()
    office.close()
    asked = head(first)["X-PM-Metadata-message_id"]
    assert len(asked) <= 80  # as much as it takes
    event = {"RecordType": "Bounce", "Type": "SpamNotification", "Email": ADA, "Metadata": {"message_id": asked}}
    answer = server.http.post("/hooks/postmark/let-me-in", content=json.dumps(event))
    assert answer.status_code == 200
    assert [mail.state for mail in mails(shop, ADA)] == [MailState.FAILED, MailState.ACCEPTED]


@pytest.mark.usefixtures("shop")
def test_a_mail_asks_nothing_of_providers_whose_reports_nobody_hears(office: Office, sink: Sink) -> None:
    assert [name for name in head(sent(office, sink)) if name.lower().startswith("x-")] == []
