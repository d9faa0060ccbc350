"""How a provider's call proves that it comes from there: each gives a reason when it does not. Pure.

A captured call could be sent again for as long as a proof is good. Providers that do not reach us try again for hours, and
nobody says whether they sign anew; a report that comes twice does no harm, one that is refused for good is lost.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from cartwheel.errors import CartwheelError

Fetch = Callable[[str], bytes]
"""Gets what is at an https address of Amazon's. It may take its time, so a caller in an event loop needs a thread."""

_CLOCKS_DIFFER = timedelta(minutes=5)


class HookRefused(CartwheelError):
    """The call is not accepted."""


@dataclass(frozen=True)
class HookCall:
    """A call that says it is a provider's. The names of headers are in lower case."""

    headers: Mapping[str, str]
    body: bytes
    secret: str
    url_secret: str
    now: datetime
    fetch: Fetch | None

    @cached_property
    def tree(self) -> Any:
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise HookRefused("The body is not JSON") from None

    def field(self, *path: str) -> str:
        """A text in the body, or an empty one."""
        node = self.tree
        for name in path:
            node = node.get(name) if isinstance(node, dict) else None
        return node if isinstance(node, str) else ""

    def check_age(self, at: datetime | None, longest: timedelta) -> None:
        if at is None:
            raise HookRefused("The call does not say when it was signed")
        if at > self.now + _CLOCKS_DIFFER:
            raise HookRefused("The call was signed in the future: one of the two clocks is wrong")
        if at < self.now - longest:
            raise HookRefused(f"The call was signed more than {longest} ago")


def same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _seconds(text: str) -> datetime | None:
    return datetime.fromtimestamp(int(text), UTC) if re.fullmatch(r"[0-9]{1,11}", text) else None


# -- a secret that both know --


def prove_by_secret(call: HookCall) -> None:
    """The secret in the address, as a bearer's token or as the password of the basic kind (alone or after `user:`)."""
    kind, _, credentials = call.headers.get("authorization", "").partition(" ")
    shown = [call.url_secret]
    if kind.lower() == "bearer":
        shown.append(credentials.strip())
    if kind.lower() == "basic":
        pair = _base64(credentials.strip()).decode("utf-8", "replace")
        shown += [pair, pair.partition(":")[2]]
    if not any([same(text, call.secret) for text in shown]):  # noqa: C419 - all of them are compared, always
        raise HookRefused("The secret is missing or wrong")


# -- signatures with a secret --

_MAILGUN_TRIES = timedelta(hours=9)


def prove_mailgun(call: HookCall) -> None:
    timestamp, token = call.field("signature", "timestamp"), call.field("signature", "token")
    expected = hmac.new(call.secret.encode(), f"{timestamp}{token}".encode("utf-8", "replace"), hashlib.sha256)
    if not same(call.field("signature", "signature"), expected.hexdigest()):
        raise HookRefused("The signature is missing or wrong")
    call.check_age(_seconds(timestamp), _MAILGUN_TRIES)


_OWN_AGE = timedelta(minutes=5)
_SECRET_PREFIX = "whsec_"  # noqa: S105 - how such secrets begin


def sign(secret: str, webhook_id: str, timestamp: str, body: bytes) -> str:
    """The signature of the Standard Webhooks specification. A secret without its prefix is taken as it is."""
    key = _base64(secret.removeprefix(_SECRET_PREFIX)) if secret.startswith(_SECRET_PREFIX) else secret.encode()
    if not key:
        raise HookRefused(f"What follows {_SECRET_PREFIX} in the secret has to be base64")
    signed = f"{webhook_id}.{timestamp}.".encode("utf-8", "replace") + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def prove_signed(call: HookCall) -> None:
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    webhook_id, timestamp, signatures = (call.headers.get(name, "") for name in names)
    expected = sign(call.secret, webhook_id, timestamp, call.body)
    if not any([same(signature, expected) for signature in signatures.split()]):  # noqa: C419 - as above
        raise HookRefused("The signature is missing or wrong")
    call.check_age(_seconds(timestamp), _OWN_AGE)


# -- signatures with a key pair --

_SENDGRID_TRIES = timedelta(hours=25)


def prove_sendgrid(call: HookCall) -> None:
    timestamp = call.headers.get("x-twilio-email-event-webhook-timestamp", "")
    signature = _base64(call.headers.get("x-twilio-email-event-webhook-signature", ""))
    try:
        key = serialization.load_der_public_key(_base64(call.secret))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise HookRefused("The secret for SendGrid has to be the verification key that it shows")
    try:
        key.verify(signature, timestamp.encode("utf-8", "replace") + call.body, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise HookRefused("The signature is missing or wrong") from None
    call.check_age(_seconds(timestamp), _SENDGRID_TRIES)


# -- Amazon's SNS --

_SNS_TRIES = timedelta(hours=7)
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:([a-z0-9-]+):[0-9]{12}:[A-Za-z0-9_.-]+")
_HASHES = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 - the first is Amazon's choice, and its default
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
"""What is signed of each type of message, in this order; a subject only if there is one."""


def prove_sns(call: HookCall) -> None:
    """Amazon signs for everybody who has a topic there, so the secret is which topics are ours, with spaces between them.

    That we want a topic's messages is confirmed at once.
    """
    topic, kind = call.field("TopicArn"), call.field("Type")
    ours = next((arn for arn in call.secret.split() if same(arn, topic)), "")
    known = _TOPIC.fullmatch(ours)
    if not known:
        raise HookRefused("The message is from another topic, or the secret for Amazon SES is not the topic's ARN")
    if kind not in _SIGNED:
        raise HookRefused("The message is of an unknown type")
    call.check_age(iso_time(call.field("Timestamp")), _SNS_TRIES)
    place = rf"https://sns\.{re.escape(known[1])}\.amazonaws\.com(\.cn)?/"
    if not re.fullmatch(place + r"SimpleNotificationService-[0-9A-Za-z]{1,80}\.pem", call.field("SigningCertURL")):
        raise HookRefused("The certificate is not at Amazon's")
    if call.fetch is None:
        raise HookRefused("The certificate cannot be fetched")
    _verify_sns(call, kind, call.fetch(call.field("SigningCertURL")))
    if kind == "SubscriptionConfirmation":
        if not re.fullmatch(place + r"\?Action=ConfirmSubscription&[\x21-\x7e]{1,2000}", call.field("SubscribeURL")):
            raise HookRefused("The address for the confirmation is not at Amazon's")
        call.fetch(call.field("SubscribeURL"))


def _verify_sns(call: HookCall, kind: str, pem: bytes) -> None:
    from cryptography import x509  # noqa: PLC0415 - only who gets such calls has to load it

    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise HookRefused("The certificate cannot be read") from None
    if not certificate.not_valid_before_utc <= call.now <= certificate.not_valid_after_utc:
        raise HookRefused("The certificate has expired, or is not valid yet")
    algorithm = _HASHES.get(call.field("SignatureVersion"))
    if algorithm is None or not isinstance(key, rsa.RSAPublicKey):
        raise HookRefused("The signature is of an unknown kind")
    pairs = ((name, call.field(name)) for name in _SIGNED[kind])
    signed = "".join(f"{name}\n{value}\n" for name, value in pairs if name != "Subject" or value)
    try:
        key.verify(_base64(call.field("Signature")), signed.encode("utf-8", "replace"), padding.PKCS1v15(), algorithm)
    except InvalidSignature:
        raise HookRefused("The signature is missing or wrong") from None


def iso_time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
