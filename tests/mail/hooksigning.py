"""Calls as providers make them, really signed."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from cartwheel.bounces.providers import read_hook
from cartwheel.bounces.reports import Report

NOW = datetime(2026, 3, 10, 9, 15, 30, tzinfo=UTC)
SENT = datetime(2026, 3, 10, 9, 15, 5, tzinfo=UTC)


class Sent(NamedTuple):
    """A call as it reaches us."""

    headers: dict[str, str]
    body: bytes
    secret: str
    url_secret: str = ""


# -- how each of them signs --

TOPIC = "arn:aws:sns:eu-west-1:123456789012:bounces"
SNS = "https://sns.eu-west-1.amazonaws.com/"
CERTIFICATE_URL = f"{SNS}SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem"
CONFIRM_URL = f"{SNS}?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = RSA_KEY, *, ends: datetime = NOW + timedelta(days=90)
) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - timedelta(days=365))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


class Amazon:
    """What is at Amazon's addresses, and what was asked for."""

    def __init__(self, pem: bytes | None = None) -> None:
        self.pem = pem or certificate()
        self.asked: list[str] = []

    def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        return self.pem if url.endswith(".pem") else b"<ConfirmSubscriptionResponse/>"


def sns_message(message: str, now: datetime = SENT, **changed: Any) -> dict[str, Any]:
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Message": message,
        "Timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.037Z"),
        "SignatureVersion": "2",
        "SigningCertURL": CERTIFICATE_URL,
        "UnsubscribeURL": f"{SNS}?Action=Unsubscribe",
        **changed,
    }


def sign_sns(message: dict[str, Any]) -> bytes:
    keys = {"Notification": ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]}.get(
        message["Type"], ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    )
    text = "".join(f"{key}\n{message[key]}\n" for key in keys if message.get(key))
    algorithm = hashes.SHA1() if message["SignatureVersion"] == "1" else hashes.SHA256()
    signature = RSA_KEY.sign(text.encode(), padding.PKCS1v15(), algorithm)
    return json.dumps(message | {"Signature": base64.b64encode(signature).decode()}).encode()


def from_ses(payload: Any, now: datetime) -> Sent:
    return Sent({"x-amz-sns-message-type": "Notification"}, sign_sns(sns_message(json.dumps(payload), now)), TOPIC)


def from_sendgrid(payload: Any, now: datetime) -> Sent:
    body, timestamp = json.dumps(payload).encode(), str(int(now.timestamp()))
    signature = EC_KEY.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    public = EC_KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }
    return Sent(headers, body, base64.b64encode(public).decode())


def from_mailgun(payload: Any, now: datetime) -> Sent:
    timestamp, token, key = str(int(now.timestamp())), "a" * 50, "mailgun-signing-key"
    signature = hmac.new(key.encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()
    signed = {"timestamp": timestamp, "token": token, "signature": signature}
    return Sent({}, json.dumps({"signature": signed, "event-data": payload}).encode(), key)


def with_shared_secret(payload: Any, _now: datetime) -> Sent:
    return Sent(
        {"Content-Type": "application/json"}, json.dumps(payload).encode(), "s3cret-of-24-characters!", ""
    )._replace(url_secret="s3cret-of-24-characters!")


def standard_signature(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> str:
    digest = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def signed(body: bytes, now: datetime, content_type: str = "application/json") -> Sent:
    key, timestamp = b"0123456789abcdefghijklmn", str(int(now.timestamp()))
    headers = {
        "Content-Type": content_type,
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": timestamp,
        "Webhook-Signature": "v1,AAAA " + standard_signature(key, "msg_1", timestamp, body),
    }
    return Sent(headers, body, f"whsec_{base64.b64encode(key).decode()}")


def from_own_program(payload: Any, now: datetime) -> Sent:
    return signed(json.dumps(payload).encode(), now)


SIGNERS: dict[str, Callable[[Any, datetime], Sent]] = {
    "ses": from_ses,
    "sendgrid": from_sendgrid,
    "mailgun": from_mailgun,
    "postmark": with_shared_secret,
    "brevo": with_shared_secret,
    "mailjet": with_shared_secret,
    "sparkpost": with_shared_secret,
    "signed": from_own_program,
}
OLDEST = {
    "ses": timedelta(hours=7),
    "sendgrid": timedelta(hours=25),
    "mailgun": timedelta(hours=9),
    "signed": timedelta(minutes=5),
}
"""How old a signature may be, of those who sign."""


def read(provider: str, sent: Sent, *, now: datetime = NOW, amazon: Amazon | None = None) -> list[Report]:
    fetch = (amazon or Amazon()).fetch
    return read_hook(
        provider, sent.headers, sent.body, secret=sent.secret, now=now, url_secret=sent.url_secret, fetch=fetch
    )
