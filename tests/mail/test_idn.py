"""Where the sender's domain or the own address is not ASCII, mails still go to servers without SMTPUTF8."""

import pytest
from office import Office, mails
from sink import Sink

from cartwheel.config import Settings
from cartwheel.leads.mails import MailState
from harness import Server, new_api

pytestmark = pytest.mark.own_server

OLD = ("PIPELINING", "8BITMIME", "SIZE 10000000")


def test_the_domain_of_a_sender_may_have_letters_beyond_ascii(server: Server) -> None:
    api = new_api(server, account={"mail": {"sender": "Müller <hallo@müller.example>"}})
    api.create("ada@shop.example")
    api.on("ada@shop.example", "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")
    with Sink(extensions=OLD) as sink:
        office = Office(server, CARTWHEEL_SMTP=sink.url())
        office.settle()
        office.close()
        [mail] = mails(api, "ada@shop.example")
        assert mail.state is MailState.ACCEPTED, mail.reply
        [taken] = sink.messages
    head = taken.data.partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert b"@xn--mller-kva.example>" in next(line for line in head.splitlines() if line.startswith(b"Message-ID:"))


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://müller.example", "https://xn--mller-kva.example"),
        ("http://müller.example:8080/über/uns", "http://xn--mller-kva.example:8080/%C3%BCber/uns"),
        ("https://mail.shop.example/ü", "https://mail.shop.example/%C3%BC"),
        ("https://Mail.shop.example:8443/a%20b", "https://Mail.shop.example:8443/a%20b"),
    ],
)
def test_the_own_address_is_put_into_links_as_the_dns_has_it(given: str, url: str) -> None:
    assert Settings.load({"CARTWHEEL_PUBLIC_URL": given}).public_url == url
