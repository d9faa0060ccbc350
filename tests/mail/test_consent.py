"""Who has declined commercial mail is not mailed; under the GDPR, only those are who have agreed to it."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from office import Office, mails, states
from sink import Sink

from cartwheel.data import schema
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Gdpr
from cartwheel.leads.mails import MailState
from cartwheel.leads.merging import merge
from commandline import Cartwheel, name_of
from harness import Server, new_api

pytestmark = pytest.mark.own_server

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


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


@pytest.mark.parametrize("before", [["disagree"], ["agree", "disagree"], ["disagree", "disagree"]], ids="-".join)
@pytest.mark.parametrize("gdpr", [False, True])
def test_who_has_declined_is_mailed_in_no_account(
    server: Server, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch, before: list[str], *, gdpr: bool
) -> None:
    monkeypatch.setenv("CARTWHEEL_DATABASE", server.database.url)
    api = new_api(server, account={"gdpr": gdpr, "mail": {"sender": "hello@shop.example"}})
    number = api.create("ada@shop.example")
    ada = ("ada@shop.example", "--account", name_of(api))
    for verb in before:
        cartwheel("lead", verb, *ada)
    lead = api.lead("ada@shop.example")
    assert (lead["gdpr_lead_status"], lead["gdpr_lead_communications"]) == (3, 0)
    told = [details["agreed"] for kind, details in api.events(number) if kind == "consent_changed"]
    assert told == ([True, False] if "agree" in before else [False])
    api.on("ada@shop.example", "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")
    office = Office(server)
    office.settle()
    office.close()
    [refused] = mails(api, "ada@shop.example")
    assert (refused.state, refused.reply) == (MailState.SUPPRESSED, "the lead has declined commercial mail")
    assert "It has declined commercial mail on" in cartwheel("why", *ada).out
    simulated = cartwheel("simulate", "Welcome", "--lead", *ada).out
    assert "the lead has declined commercial mail" in simulated


def test_doctor_finds_a_mail_to_who_has_declined(
    server: Server, cartwheel: Cartwheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARTWHEEL_DATABASE", server.database.url)
    api = new_api(server, account={"mail": {"sender": "hello@shop.example"}})
    api.create("ada@shop.example")
    api.on("ada@shop.example", "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")
    with Sink() as sink:
        office = Office(server, CARTWHEEL_SMTP=sink.url())
        office.settle()
        office.close()

    def found() -> int:
        checks = {check["name"]: check for check in cartwheel("doctor", "--json").json["checks"]}
        return int(checks["suppressed mail"]["found"])

    [sent] = api.rows(schema.mails)
    for ago, expected in ((timedelta(0), 0), (timedelta(days=1), 1)):
        declined = {"gdpr_status": Gdpr.NOT_ACCEPTED.value, "gdpr_status_at": sent["sent_at"] - ago // MICROSECOND}
        with server.database.write() as connection:
            connection.execute(sa.update(schema.leads).values(declined))
        assert found() == expected


def test_who_declined_under_another_address_has_declined_when_the_two_are_merged() -> None:
    def lead(number: int) -> Lead:
        return Lead.create(1, number, f"ada{number}@shop.example", NOON, source="api", test=False, gdpr=Gdpr.OFF)

    for known, declined in ((False, True), (True, False)):
        kept, other = lead(1), lead(2)
        other.agree(NOON, agreed=False)
        if known:
            kept.agree(NOON, agreed=True)
        merge(kept, other, [], NOON)
        assert kept.consent.declined is declined
