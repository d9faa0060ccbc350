"""The verbs about mail: domains to sign for, the test mailbox, the ledger, and mails in doubt."""

import email
import email.policy
import re
from collections.abc import Callable, Iterator

import pytest
from office import Office, mails, states
from sentmail import SentMail, send_mail
from sink import TAKE_AND_DROP, Sink
from test_dkim import verified

from cartwheel import times
from cartwheel.data import schema
from cartwheel.leads.mails import MailState
from commandline import Cartwheel, Ran
from harness import Api, Server, new_api

ADA = "ada@shop.example"
SENDER = {"mail": {"sender": "The Shop <hello@news.shop.example>"}}

Verb = Callable[..., Ran]


pytestmark = pytest.mark.own_server


@pytest.fixture
def shop(server: Server) -> Api:
    return new_api(server, account={**SENDER, "name": "Shop"})


@pytest.fixture
def office(server: Server, sink: Sink) -> Iterator[Office]:
    running = Office(server, CARTWHEEL_SMTP=sink.url())
    yield running
    running.close()


@pytest.fixture
def verb(shop: Api, monkeypatch: pytest.MonkeyPatch, cartwheel: Cartwheel) -> Verb:
    """The command line, on the shop's database, at the shop's time."""
    monkeypatch.setenv("CARTWHEEL_DATABASE", shop.server.database.url)
    monkeypatch.setattr(times, "now", shop.server.clock)
    return cartwheel


def subscribe(api: Api, address: str = ADA) -> None:
    api.create(address, first_name="Ada")
    api.on(address, "subscribe_lead_to_sequence_at_step", sequence_name="Welcome", step="1")


# -- sender domains --


@pytest.mark.parametrize("algorithm", ["rsa", "ed25519"])
def test_mail_of_a_domain_is_signed_from_when_it_is_added_until_it_is_removed(
    shop: Api, office: Office, sink: Sink, verb: Verb, algorithm: str
) -> None:
    subscribe(shop, "before@shop.example")
    office.settle()
    added = verb("domain", "add", "Shop.example", "--algorithm", algorithm, "--json").json
    [key] = added["keys"]
    assert (key["domain"], key["selector"]) == ("shop.example", f"cartwheel-{algorithm}")
    published = {record["name"]: record["value"] for record in added["records"]}
    assert set(published) == {f"cartwheel-{algorithm}._domainkey.shop.example", "_dmarc.shop.example"}
    subscribe(shop)
    office.settle()
    assert verb("domain", "remove", "shop.example").code == 0
    subscribe(shop, "after@shop.example")
    office.settle()
    signatures = [email.message_from_bytes(taken.data)["DKIM-Signature"] for taken in sink.messages]
    assert [signature is not None for signature in signatures] == [False, True, False]
    assert verified(sink.messages[1].data, dns=published)


def test_a_domain_may_have_several_keys(verb: Verb) -> None:
    first = verb("domain", "add", "shop.example")
    assert "TXT  cartwheel-rsa._domainkey.shop.example" in first.out
    verb("domain", "add", "shop.example", "--algorithm", "ed25519")
    verb("domain", "add", "other.example", "--selector", "s1")
    assert "give another --selector" in verb("domain", "add", "Shop.Example").trouble
    listed = verb("domain", "list", "--json").json
    assert [(key["domain"], key["selector"], key["algorithm"]) for key in listed] == [
        ("other.example", "s1", "rsa"),
        ("shop.example", "cartwheel-ed25519", "ed25519"),
        ("shop.example", "cartwheel-rsa", "rsa"),
    ]
    assert "PRIVATE" not in str(listed) + verb("domain", "list").out
    records = verb("domain", "show", "SHOP.example", "--json").json["records"]
    assert [record["name"].partition(".")[0] for record in records] == ["cartwheel-ed25519", "_dmarc", "cartwheel-rsa"]
    assert "1 key is gone" in verb("domain", "remove", "shop.example", "--selector", "Cartwheel-RSA").out
    assert [key["selector"] for key in verb("domain", "list", "--json").json] == ["s1", "cartwheel-ed25519"]


def test_the_records_take_nothing_from_other_senders(verb: Verb) -> None:
    verb("domain", "add", "shop.example")
    there = ("--spf", '"v=spf1 include:other.example ~all"', "--dmarc", "v=DMARC1; p=reject")
    shown = verb("domain", "show", "shop.example", "--carrier", "ip4:192.0.2.1", *there, "--json").json
    values = [record["value"] for record in shown["records"]]
    assert values[1:] == ["v=spf1 include:other.example ip4:192.0.2.1 ~all", "v=DMARC1; p=reject"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("add", "no domain"), "is no domain"),
        (("add", "shop.example", "--selector", "a b"), "is no selector"),
        (("show", "shop.example"), "cartwheel domain add shop.example"),
        (("remove", "shop.example"), "has no key for shop.example"),
    ],
)
def test_what_cannot_be_signed_for_is_told(verb: Verb, arguments: tuple[str, ...], told: str) -> None:
    ran = verb("domain", *arguments)
    assert (ran.code, told in ran.trouble) == (1, True)


def test_nobody_sees_or_removes_somebody_elses_keys(server: Server, verb: Verb) -> None:
    new_api(server, account={"name": "Stranger"})
    verb("domain", "add", "shop.example", "--account", "Shop")
    assert "several accounts" in verb("domain", "list").trouble
    assert verb("domain", "list", "--account", "Stranger", "--json").json == []
    assert verb("domain", "remove", "shop.example", "--account", "Stranger").code == 1
    assert len(verb("domain", "list", "--account", "Shop", "--json").json) == 1


# -- the test mailbox --


@pytest.fixture
def kept(server: Server, shop: Api) -> Iterator[None]:
    """Two mails in the test mailbox."""
    office = Office(server)
    subscribe(shop)
    office.settle()
    server.clock.forward(hours=1)
    subscribe(shop, "grace@shop.example")
    office.settle()
    yield
    office.close()


@pytest.mark.usefixtures("kept")
def test_what_would_have_been_sent_can_be_read(verb: Verb) -> None:
    listed = verb("mailbox", "list", "--json").json
    assert [mail["recipient"] for mail in listed] == ["grace@shop.example", ADA]
    assert [mail["number"] for mail in verb("mailbox", "list", "--most", 1, "--json").json] == [listed[0]["number"]]
    number = listed[1]["number"]
    assert str(number) in verb("mailbox", "list").out
    shown = verb("mailbox", "show", number).out
    assert re.search(r"^Subject +Welcome, Ada$", shown, re.MULTILINE)
    assert re.search(r"^To +Ada <ada@shop.example>$", shown, re.MULTILINE)
    assert "\nHello Ada, good to have you." in shown
    assert "<p>Hello Ada, good to have you.</p>" in verb("mailbox", "show", number, "--html").out
    data = verb("mailbox", "show", number, "--json").json
    assert ["Subject", "Welcome, Ada"] in data["headers"]
    assert data["text"] in shown
    assert data["attachments"] == []


@pytest.mark.usefixtures("kept")
def test_the_bytes_are_those_that_would_have_gone_out(shop: Api, verb: Verb) -> None:
    number = verb("mailbox", "list", "--json").json[0]["number"]
    [row] = shop.rows(schema.test_mailbox, mail=number)
    assert verb("mailbox", "show", number, "--raw").out.encode() == row["message"]


@pytest.mark.usefixtures("kept")
def test_the_test_mailbox_can_be_cleared(server: Server, shop: Api, verb: Verb) -> None:
    number = verb("mailbox", "list", "--json").json[0]["number"]
    new_api(server, account={"name": "Stranger"})
    stranger = ("--account", "Stranger")
    assert verb("mailbox", "list", *stranger, "--json").json == []
    assert "there is no mail" in verb("mailbox", "show", number, *stranger).trouble
    assert verb("mailbox", "clear", *stranger).out == "0 mails are gone.\n"
    assert verb("mailbox", "clear", "--account", "Shop").out == "2 mails are gone.\n"
    assert shop.rows(schema.test_mailbox) == []
    assert [state for _, state in states(shop, ADA)] == [MailState.ACCEPTED]


# -- the ledger --


def in_doubt(shop: Api, office: Office, sink: Sink, *addresses: str) -> list[int]:
    """Send to these so that nobody can tell whether it arrived; returns the mails' numbers."""
    sink.script["dot"] = [TAKE_AND_DROP] * len(addresses)
    for address in addresses:
        subscribe(shop, address)
        office.settle()
    return [mails(shop, address)[0].key for address in addresses]


def test_the_ledger_is_listed_by_state_and_lead(shop: Api, office: Office, sink: Sink, verb: Verb) -> None:
    [number] = in_doubt(shop, office, sink, ADA)
    shop.server.clock.forward(hours=1)
    subscribe(shop, "grace@shop.example")
    office.settle()
    listed = verb("mail", "list", "--json").json
    assert [(mail["email"], mail["state"]) for mail in listed] == [
        ("grace@shop.example", "accepted"),
        (ADA, "in doubt"),
    ]
    assert [mail["number"] for mail in verb("mail", "list", "--state", "in doubt", "--json").json] == [number]
    assert [mail["email"] for mail in verb("mail", "list", "--lead", ADA, "--json").json] == [ADA]
    assert verb("mail", "list", "--lead", ADA, "--state", "queued", "--json").json == []
    assert re.search(rf"^{number} .* in doubt +ada@shop.example +Welcome 1 ", verb("mail", "list").out, re.MULTILINE)
    wrong = verb("mail", "list", "--state", "lost")
    assert (wrong.code, "in doubt" in wrong.trouble) == (2, True)


def test_a_mail_in_doubt_is_sent_again(shop: Api, office: Office, sink: Sink, verb: Verb) -> None:
    [number] = in_doubt(shop, office, sink, ADA)
    [told] = verb("mail", "resend", number, "--reason", "she says that it never came", "--json").json
    assert (told["number"], told["state"], told["reply"]) == (number, "queued", "she says that it never came")
    office.settle()
    assert len(sink.messages) == 2
    assert len({email.message_from_bytes(taken.data)["Message-ID"] for taken in sink.messages}) == 1
    assert states(shop, ADA) == [("1", MailState.ACCEPTED)]


def test_a_mail_in_doubt_is_given_up(shop: Api, office: Office, sink: Sink, verb: Verb) -> None:
    [number] = in_doubt(shop, office, sink, ADA)
    verb("mail", "drop", number, "--reason", "too late now")
    office.settle()
    [mail] = mails(shop, ADA)
    assert (mail.state, mail.reply, len(sink.messages)) == (MailState.FAILED, "too late now", 1)
    kind, details = shop.events(shop.lead(ADA)["id"])[-1]
    assert (kind, details["reason"]) == ("mail_not_sent", "too late now")
    assert "All is well." in verb("doctor").out


def test_all_mails_in_doubt_are_decided_about_at_once(shop: Api, office: Office, sink: Sink, verb: Verb) -> None:
    addresses = [f"lead{number}@shop.example" for number in range(3)]
    in_doubt(shop, office, sink, *addresses)
    assert verb("mail", "drop", "--all", "--lead", addresses[0]).code == 0
    resent = verb("mail", "resend", "--all", "--json").json
    assert sorted(mail["email"] for mail in resent) == addresses[1:]
    assert verb("mail", "resend", "--all", "--json").json == []


def test_only_mails_in_doubt_can_be_decided_about(shop: Api, office: Office, verb: Verb) -> None:
    subscribe(shop)
    office.settle()
    [mail] = mails(shop, ADA)
    for what in ("resend", "drop"):
        assert "is accepted, not in doubt" in verb("mail", what, mail.key).trouble
        assert verb("mail", what, 1).trouble == "cartwheel: there is no mail 1"
        assert verb("mail", what).code == 2
        assert verb("mail", what, mail.key, "--all").code == 2
    assert mails(shop, ADA) == [mail]


def test_of_two_mails_with_one_number_the_lead_has_to_be_named(shop: Api, verb: Verb) -> None:
    first, second = send_mail(shop), send_mail(shop, "grace@shop.example")  # at the same time by two workers
    assert first.id.mail_id == second.id.mail_id
    number = first.id.mail_id
    assert "name one of them with --lead" in verb("mail", "drop", number).trouble
    assert "is accepted" in verb("mail", "drop", number, "--lead", ADA).trouble


def test_the_ledger_of_others_is_nobodys_business(server: Server, shop: Api, verb: Verb) -> None:
    sent: SentMail = send_mail(shop)
    new_api(server, account={"name": "Stranger"})
    assert verb("mail", "list", "--account", "Stranger", "--json").json == []
    assert "there is no mail" in verb("mail", "drop", sent.id.mail_id, "--account", "Stranger").trouble
