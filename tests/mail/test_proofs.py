"""Nobody but a provider is believed to be one."""

import base64
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hookevents import SAYINGS, own, ses_bounce
from hooksigning import (
    CERTIFICATE_URL,
    CONFIRM_URL,
    EC_KEY,
    NOW,
    OLDEST,
    RSA_KEY,
    SENT,
    SIGNERS,
    SNS,
    TOPIC,
    Amazon,
    Sent,
    certificate,
    read,
    sign_sns,
    sns_message,
    standard_signature,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from cartwheel.bounces.proofs import HookRefused
from cartwheel.bounces.providers import PROVIDERS, read_hook
from cartwheel.errors import CartwheelError

HONEST = {provider: SIGNERS[provider](payload, SENT) for provider, payload, kind, _ in SAYINGS if kind}
SIGNING = sorted(OLDEST)
SHARING = sorted(PROVIDERS.keys() - OLDEST.keys())


def test_a_refusal_says_why() -> None:
    assert issubclass(HookRefused, CartwheelError)
    with pytest.raises(HookRefused, match=r"There is no provider 'nobody'; there are ses, sendgrid"):
        read("nobody", HONEST["ses"])


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("secret", ["", " \n"])
def test_without_a_secret_nobody_is_believed(provider: str, secret: str) -> None:
    with pytest.raises(HookRefused, match="There is no secret for"):
        read(provider, HONEST[provider]._replace(secret=secret, url_secret=secret))


OTHER_KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
OTHER_SECRETS = {
    "sendgrid": base64.b64encode(
        OTHER_KEY.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).decode(),
    "ses": TOPIC.replace("bounces", "others"),
    "signed": "whsec_" + base64.b64encode(b"another key of this length").decode(),
}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_another_secret_does_not_fit(provider: str) -> None:
    with pytest.raises(HookRefused, match=r"wrong|another topic"):
        read(provider, HONEST[provider]._replace(secret=OTHER_SECRETS.get(provider, "another secret")))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_call_that_proves_nothing_is_refused(provider: str) -> None:
    sent = HONEST[provider]
    body = re.sub(rb'"[Ss]ignature": ("[^"]*"|\{[^}]*\})', b'"x": ""', sent.body)
    with pytest.raises(HookRefused, match="missing or wrong"):
        read(provider, Sent({}, body, sent.secret))


@pytest.mark.parametrize("provider", ["ses", "sendgrid", "signed"])
def test_a_changed_body_is_refused(provider: str) -> None:
    body = HONEST[provider].body
    with pytest.raises(HookRefused):
        read(provider, HONEST[provider]._replace(body=re.sub(b"(?i)ada@", b"bob@", body)))


@pytest.mark.parametrize("provider", SIGNING)
def test_an_old_signature_is_refused(provider: str) -> None:
    sent, age = HONEST[provider], OLDEST[provider]
    assert read(provider, sent, now=SENT + age)
    with pytest.raises(HookRefused, match="was signed more than"):
        read(provider, sent, now=SENT + age + timedelta(seconds=2))


@pytest.mark.parametrize("provider", SIGNING)
def test_a_signature_from_the_future_is_refused(provider: str) -> None:
    sent = HONEST[provider]
    assert read(provider, sent, now=SENT - timedelta(minutes=4))
    with pytest.raises(HookRefused, match="in the future"):
        read(provider, sent, now=SENT - timedelta(minutes=6))


@pytest.mark.parametrize("timestamp", ["", "soon", "-1", "1e9", "٣", "9" * 400])
def test_a_signature_without_a_time_is_refused(timestamp: str) -> None:
    body, secret = b"{}", "a secret as it is, without a prefix"
    headers = {
        "webhook-id": "1",
        "webhook-timestamp": timestamp,
        "webhook-signature": standard_signature(secret.encode(), "1", timestamp, body),
    }
    with pytest.raises(HookRefused, match="does not say when"):
        read("signed", Sent(headers, body, secret))


def test_a_secret_without_a_prefix_signs_as_it_is() -> None:
    body, timestamp = json.dumps(own(kind="soft")).encode(), str(int(SENT.timestamp()))
    signature = standard_signature(b"plain secret for a script", "1", timestamp, body)
    headers = {"webhook-id": "1", "webhook-timestamp": timestamp, "webhook-signature": signature}
    assert len(read("signed", Sent(headers, body, "plain secret for a script"))) == 1


@pytest.mark.parametrize("secret", ["whsec_", "whsec_!", "whsec_====", "whsec_é"])
def test_an_empty_key_signs_nothing(secret: str) -> None:
    body, timestamp = json.dumps(own(kind="hard")).encode(), str(int(SENT.timestamp()))
    signature = standard_signature(b"", "1", timestamp, body)
    headers = {"webhook-id": "1", "webhook-timestamp": timestamp, "webhook-signature": signature}
    with pytest.raises(HookRefused):
        read("signed", Sent(headers, body, secret))


def basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


@pytest.mark.parametrize(
    ("secret", "headers"),
    [
        ("tell-nobody", basic("hook:tell-nobody")),
        ("hook:tell-nobody", basic("hook:tell-nobody")),
        ("with:colon", basic("hook:with:colon")),
        ("tell-nobody", {"AUTHORIZATION": "bearer tell-nobody"}),
        ("pässwort", basic("hook:pässwort")),
    ],
)
@pytest.mark.parametrize("provider", SHARING)
def test_a_shared_secret_may_come_as_a_password_or_a_token(provider: str, secret: str, headers: dict[str, str]) -> None:
    assert read(provider, Sent(headers, HONEST[provider].body, secret))


@pytest.mark.parametrize(
    "headers",
    [
        basic("tell-nobody:"),
        basic("tell-nobody:x"),
        basic("hook:tell-nobody2"),
        {"authorization": "Basic %%%"},
        {"authorization": "Basic"},
        {"authorization": "tell-nobody"},
        {"authorization": "Digest tell-nobody"},
        {"authorization": "Bearer tell-nobody\udcff"},
        {"authorization": "Bearer "},
    ],
)
def test_nothing_else_passes_for_a_shared_secret(headers: dict[str, str]) -> None:
    with pytest.raises(HookRefused, match="The secret is missing or wrong"):
        read("brevo", Sent(headers, HONEST["brevo"].body, "tell-nobody", "tell-anybody"))


@pytest.mark.parametrize("key", ["", "!", base64.b64encode(b"no key").decode(), "-----BEGIN PUBLIC KEY-----"])
def test_a_verification_key_has_to_be_one(key: str) -> None:
    with pytest.raises(HookRefused, match=r"verification key|no secret"):
        read("sendgrid", HONEST["sendgrid"]._replace(secret=key))


def test_a_verification_key_of_another_kind_is_refused() -> None:
    der = RSA_KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(HookRefused, match="verification key"):
        read("sendgrid", HONEST["sendgrid"]._replace(secret=base64.b64encode(der).decode()))


# -- Amazon --

BOUNCE = json.dumps(ses_bounce("Permanent", "General"))


@pytest.mark.parametrize("changed", [{"SignatureVersion": "1"}, {"Subject": "Amazon SES"}, {"Subject": None}])
def test_amazon_signs_in_several_ways(changed: dict[str, Any]) -> None:
    amazon = Amazon()
    assert read("ses", Sent({}, sign_sns(sns_message(BOUNCE, **changed)), TOPIC), amazon=amazon)
    assert amazon.asked == [CERTIFICATE_URL]


def test_several_topics_can_be_ours() -> None:
    body = sign_sns(sns_message(BOUNCE))
    assert read("ses", Sent({}, body, f"arn:aws:sns:us-east-1:123456789012:complaints\n{TOPIC}"))


ELSEWHERE = [
    "",
    CERTIFICATE_URL.replace("https", "http"),
    CERTIFICATE_URL.replace("eu-west-1", "us-east-1"),
    CERTIFICATE_URL.replace("sns.eu-west-1.amazonaws.com", "sns.eu-west-1.amazonaws.com.evil.example"),
    CERTIFICATE_URL.replace("sns.eu-west-1.amazonaws.com", "evil.example/sns.eu-west-1.amazonaws.com"),
    CERTIFICATE_URL.replace("https://", "https://sns.eu-west-1.amazonaws.com@evil.example/"),
    CERTIFICATE_URL.replace("https://", "https://evil.example#"),
    CERTIFICATE_URL.replace("sns.eu-west-1.amazonaws.com", "snsXeu-west-1.amazonaws.com"),
    CERTIFICATE_URL.replace("sns.eu-west-1.amazonaws.com", "sns.eu-west-1.amazonaws.com:8443"),
    CERTIFICATE_URL.replace("sns.", "bucket.s3."),
    CERTIFICATE_URL.replace("SimpleNotificationService", "../SimpleNotificationService"),
    CERTIFICATE_URL.replace(".pem", ".pem?x=.pem"),
    CERTIFICATE_URL + "\n",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_certificate_from_elsewhere_is_not_even_fetched(url: str) -> None:
    amazon = Amazon()
    with pytest.raises(HookRefused, match="The certificate is not at Amazon's"):
        read("ses", Sent({}, sign_sns(sns_message(BOUNCE, SigningCertURL=url)), TOPIC), amazon=amazon)
    assert amazon.asked == []


def test_for_another_topic_nothing_is_fetched() -> None:
    """Amazon signs for everybody: somebody's own topic proves nothing."""
    amazon = Amazon()
    body = sign_sns(sns_message(BOUNCE, TopicArn=TOPIC.replace("123456789012", "999999999999")))
    with pytest.raises(HookRefused, match="another topic"):
        read("ses", Sent({}, body, TOPIC), amazon=amazon)
    assert amazon.asked == []


def test_a_secret_that_is_no_topic_fits_nothing() -> None:
    with pytest.raises(HookRefused, match="ARN"):
        read("ses", Sent({}, sign_sns(sns_message(BOUNCE, TopicArn="bounces")), "bounces"))


@pytest.mark.parametrize(
    ("pem", "why"),
    [
        (certificate(ends=NOW - timedelta(days=1)), "has expired"),
        (certificate(ends=NOW + timedelta(days=400)), "not valid yet"),
        (certificate(EC_KEY), "of an unknown kind"),
        (certificate(rsa.generate_private_key(public_exponent=65537, key_size=2048)), "missing or wrong"),
        (b"<html>not found</html>", "cannot be read"),
    ],
)
def test_a_certificate_has_to_be_a_good_one(pem: bytes, why: str) -> None:
    with pytest.raises(HookRefused, match=why):
        read("ses", HONEST["ses"], amazon=Amazon(pem))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"SignatureVersion": "3"}, "of an unknown kind"),
        ({"SignatureVersion": 2}, "of an unknown kind"),
        ({"Type": "Invitation", "Token": "x", "SubscribeURL": "x"}, "of an unknown type"),
        ({"Timestamp": "today"}, "does not say when"),
        ({"Timestamp": "0001-01-01T00:00:00+23:59"}, "does not say when"),
    ],
)
def test_a_message_of_amazon_has_to_have_its_form(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(HookRefused, match=why):
        read("ses", Sent({}, sign_sns(sns_message(BOUNCE, **changed)), TOPIC))


def test_without_a_way_out_amazon_is_not_believed() -> None:
    sent = HONEST["ses"]
    with pytest.raises(HookRefused, match="cannot be fetched"):
        read_hook("ses", sent.headers, sent.body, secret=sent.secret, now=NOW)


def confirmation(kind: str = "SubscriptionConfirmation", url: str = CONFIRM_URL) -> Sent:
    text = "You have chosen to subscribe to the topic."
    return Sent({}, sign_sns(sns_message(text, Type=kind, Token="2336412f37", SubscribeURL=url)), TOPIC)


def test_a_subscription_is_confirmed() -> None:
    amazon = Amazon()
    assert read("ses", confirmation(), amazon=amazon) == []
    assert amazon.asked == [CERTIFICATE_URL, CONFIRM_URL]


def test_an_end_of_a_subscription_is_not_taken_back() -> None:
    amazon = Amazon()
    assert read("ses", confirmation("UnsubscribeConfirmation"), amazon=amazon) == []
    assert amazon.asked == [CERTIFICATE_URL]


def test_a_confirmation_that_amazon_did_not_sign_confirms_nothing() -> None:
    sent, amazon = confirmation(), Amazon()
    with pytest.raises(HookRefused, match="missing or wrong"):
        read("ses", sent._replace(body=sent.body.replace(b"Token=2336412f37", b"Token=other")), amazon=amazon)
    assert amazon.asked == [CERTIFICATE_URL]


@pytest.mark.parametrize("url", [CONFIRM_URL.replace(SNS, "https://evil.example/"), f"{SNS}?Action=DeleteTopic&x=1"])
def test_a_confirmation_goes_nowhere_else(url: str) -> None:
    amazon = Amazon()
    with pytest.raises(HookRefused, match="not at Amazon's"):
        read("ses", confirmation(url=url), amazon=amazon)
    assert amazon.asked == [CERTIFICATE_URL]


def test_a_greeting_by_hand_reports_nothing() -> None:
    body = sign_sns(sns_message("Successfully validated SNS topic for Amazon SES event publishing."))
    assert read("ses", Sent({}, body, TOPIC)) == []


# -- whatever comes --


@settings(max_examples=500, derandomize=True, deadline=None, database=None)
@given(provider=st.sampled_from(sorted(PROVIDERS)), body=st.binary(max_size=100), headers=st.data())
def test_whatever_a_stranger_sends_is_refused(provider: str, body: bytes, headers: st.DataObject) -> None:
    names = st.sampled_from([*HONEST[provider].headers, "authorization"])
    sent = headers.draw(st.dictionaries(names, st.text(max_size=40), max_size=4))
    with pytest.raises(HookRefused):
        read(provider, Sent(sent, body, HONEST[provider].secret))
