"""Under the GDPR, only those are mailed who have agreed to it."""

from collections.abc import Iterator

import pytest
from office import Office, mails, states
from sink import Sink

from cartwheel.leads.mails import MailState
from commandline import Cartwheel, name_of
from conftest import Databases
from harness import Server, new_api


@pytest.fixture
def server(engine: str, databases: Databases) -> Iterator[Server]:
    running = Server(databases.new(engine))
    yield running
    running.stop()


def test_who_has_not_agreed_is_not_mailed_where_that_is_asked_for(
    server: Server, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = {"mail": {"sender": "hello@shop.example"}}
    asking, other = new_api(server, account={"gdpr": True, **sender}), new_api(server, account=sender)
    for api in (asking, other):
        for email in ("ada@shop.example", "grace@shop.example"):
            api.create(email)
            api.on(email, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")
    monkeypatch.setenv("CARTWHEEL_DATABASE", server.database.url)
    for api in (asking, other):
        cartwheel("lead", "agree", "ada@shop.example", "--account", name_of(api))
    with Sink() as sink:
        office = Office(server, CARTWHEEL_SMTP=sink.url())
        office.settle()
        office.close()
        taken = sorted(message.rcpt for message in sink.messages)
    assert taken == ["TO:<ada@shop.example>", "TO:<ada@shop.example>", "TO:<grace@shop.example>"]
    [refused] = mails(asking, "grace@shop.example")
    assert (refused.state, refused.reply) == (MailState.SUPPRESSED, "the lead has not agreed to commercial mail")
    for api, email in ((asking, "ada@shop.example"), (other, "ada@shop.example"), (other, "grace@shop.example")):
        assert states(api, email) == [("1", MailState.ACCEPTED)]


def test_who_agrees_no_more_is_told_so_by_the_api_and_not_mailed(
    server: Server, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARTWHEEL_DATABASE", server.database.url)
    api = new_api(server, account={"gdpr": True, "mail": {"sender": "hello@shop.example"}})
    number = api.create("ada@shop.example")
    ada = ("ada@shop.example", "--account", name_of(api))
    cartwheel("lead", "agree", *ada)
    assert (
        api.lead("ada@shop.example")["gdpr_lead_status"],
        api.lead("ada@shop.example")["gdpr_lead_communications"],
    ) == (2, 1)
    cartwheel("lead", "agree", *ada)
    cartwheel("lead", "disagree", *ada)
    assert (
        api.lead("ada@shop.example")["gdpr_lead_status"],
        api.lead("ada@shop.example")["gdpr_lead_communications"],
    ) == (3, 0)
    assert [details for kind, details in api.events(number) if kind == "consent_changed"] == [
        {"agreed": True},
        {"agreed": False},
    ]
    api.on("ada@shop.example", "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")
    office = Office(server)
    office.settle()
    office.close()
    assert states(api, "ada@shop.example") == [("1", MailState.SUPPRESSED)]
