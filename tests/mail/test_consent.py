"""Under the GDPR, only those are mailed who have agreed to it."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from office import Office, mails, states
from sink import Sink

from cartwheel.data import schema
from cartwheel.leads.mails import MailState
from conftest import Databases
from harness import Server, new_api


@pytest.fixture
def server(engine: str, databases: Databases) -> Iterator[Server]:
    running = Server(databases.new(engine))
    yield running
    running.stop()


def test_who_has_not_agreed_is_not_mailed_where_that_is_asked_for(server: Server) -> None:
    sender = {"mail": {"sender": "hello@shop.example"}}
    asking, other = new_api(server, account={"gdpr": True, **sender}), new_api(server, account=sender)
    for api in (asking, other):
        for email in ("ada@shop.example", "grace@shop.example"):
            api.create(email)
            api.on(email, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")
    leads = schema.leads
    with server.database.write() as connection:
        connection.execute(sa.update(leads).where(leads.c.email == "ada@shop.example").values(gdpr_communications=True))
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
