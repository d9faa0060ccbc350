"""What a mail says of itself beside its content: by what complaints are counted, and who has signed it."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from zoneinfo import ZoneInfo

import dkim as dkimpy
import pytest

from cartwheel.accounts import Account, MailSettings
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Gdpr
from cartwheel.leads.mails import Mail, MailState
from cartwheel.mail import dkim
from cartwheel.mail.composing import Composer
from cartwheel.mail.links import Signer
from cartwheel.sequences.steps import EmailStep

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
KEY = dkim.new_key(dkim.Algorithm.RSA)
SIGNER = dkim.Signer("shop.example", "s1", KEY)


def composed(
    *, sender: str = "hello@shop.example", lead_id: int = 1, account_id: int = 1, box: str = "1", **lead: str
) -> tuple[bytes, Message]:
    """The mail of a sequence's only step, signed by whoever may."""
    account = Account(account_id, "Demo", ZoneInfo("UTC"), gdpr=False, active=True, mail=MailSettings(sender=sender))
    reader = Lead.create(account_id, lead_id, "ada@shop.example", NOON, source="api", test=False, gdpr=Gdpr.OFF)
    reader.profile = lead
    mail = Mail(7, 3, 5, 1, box, 0, MailState.HANDED_OVER, NOON, NOON)
    step = EmailStep(box=box, subject="Hello", html="<p>Hello</p>")
    composer = Composer(Signer(b"secret" * 6), "https://mail.example")
    data = composer.compose(account, reader, mail, step, now=NOON, signers=[SIGNER]).data
    return data, message_from_bytes(data)


def feedback_id(**values: int | str) -> str:
    return str(composed(**values)[1]["Feedback-ID"])  # type: ignore[arg-type]


def test_complaints_are_told_by_step_sequence_account_and_sender() -> None:
    assert feedback_id() == "account1-sequence5-1:account1-sequence5:account1:cartwheel"
    assert feedback_id(lead_id=7, first_name="Ada") == feedback_id(lead_id=1008), "it is nobody's in particular"
    others = {feedback_id(), feedback_id(box="A2"), feedback_id(account_id=11), feedback_id(account_id=11, box="A2")}
    fields = [field for other in others for field in set(other.split(":"))]
    assert len(others) == 4
    assert all(other.count(":") == 3 for other in others)
    assert {field: fields.count(field) for field in fields if fields.count(field) > 1} == {
        "account1": 2,
        "account1-sequence5": 2,
        "account11": 2,
        "account11-sequence5": 2,
        "cartwheel": 4,
    }


@pytest.mark.parametrize("domain", ["shop.example", "SHOP.example", "news.shop.example", "a.b.shop.example"])
def test_a_domains_key_signs_for_it_and_for_those_below(domain: str) -> None:
    data, message = composed(sender=f"hello@{domain}")
    records = dkim.dns_records("shop.example", "s1", SIGNER.public_key)
    [published] = [record.value for record in records if record.name.startswith("s1._domainkey")]
    assert "d=shop.example" in message["DKIM-Signature"]
    assert dkimpy.verify(data, dnsfunc=lambda _name, timeout=5: published.encode())  # noqa: ARG005


@pytest.mark.parametrize("domain", ["notshop.example", "shop.example.net", "hop.example", "shop.example.evil.example"])
def test_it_does_not_sign_for_one_that_only_looks_like_it(domain: str) -> None:
    assert composed(sender=f"hello@{domain}")[1]["DKIM-Signature"] is None
