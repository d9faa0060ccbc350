"""What providers report over HTTP: a row for each, with how it proves itself and how its JSON is read. Pure."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from cartwheel.bounces.proofs import (
    Fetch,
    HookCall,
    HookRefused,
    iso_time,
    prove_by_secret,
    prove_mailgun,
    prove_sendgrid,
    prove_signed,
    prove_sns,
)
from cartwheel.bounces.reading import read_report
from cartwheel.bounces.reports import Kind, Report, bare_message_id, find_address, find_status, one_line, weigh

_LONGEST_TEXT = 4_000
_MILDEST_FIRST = (Kind.BLOCKED, Kind.SOFT, Kind.HARD)


@dataclass(frozen=True)
class Provider:
    """What there is to know about a provider."""

    title: str
    secret: str
    """What its secret is, for people."""

    prove: Callable[[HookCall], None]
    read: Callable[[HookCall], Iterator[Report | None]]
    echo: tuple[str, str] | None = None
    """The header by which a message makes it give our Message-ID back, where it replaces that by its own."""


def read_hook(
    provider: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    secret: str,
    now: datetime,
    url_secret: str = "",
    fetch: Fetch | None = None,
) -> list[Report]:
    """What a provider's call reports; raises `HookRefused`. Events that are no failures and no complaints are left out.

    `url_secret` is what the address held that was called. What `fetch` raises goes through.
    """
    row = PROVIDERS.get(provider)
    if row is None:
        raise HookRefused(f"There is no provider {one_line(provider)!r}; there are {', '.join(PROVIDERS)}")
    if not secret.strip():
        raise HookRefused(f"There is no secret for {row.title}, so that nobody can prove anything")
    by_name = {name.lower(): value for name, value in headers.items()}
    call = HookCall(by_name, body, secret.strip(), url_secret, now, fetch)
    row.prove(call)
    return [report for report in row.read(call) if report is not None]


# -- reading JSON that somebody else shapes --


def _get(node: Any, *path: str) -> Any:
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node


def _text(node: Any, *path: str) -> str:
    found = _get(node, *path)
    return str(found)[:_LONGEST_TEXT] if isinstance(found, str | int | float) else ""


def _all(node: Any, *path: str) -> list[Any]:
    """The entries of a list; something else counts as a list of it."""
    found = _get(node, *path)
    return found if isinstance(found, list) else [found]


def _since_1970(node: Any, *path: str, per_second: int = 1) -> datetime | None:
    text = _text(node, *path)
    try:
        seconds = float(text) / per_second
        return datetime.fromtimestamp(seconds, UTC) if math.isfinite(seconds) else None
    except (ValueError, OverflowError, OSError):
        return None


def _report(
    kind: Kind | None,
    recipient: str,
    said: str = "",
    *,
    status: str = "",
    message_id: str = "",
    remote_id: str = "",
    return_path: str = "",
    sender: str = "",
    at: datetime | None = None,
) -> Report | None:
    """A report of this kind, or of a milder one if what the receiving server said is milder."""
    if kind is None:
        return None
    status = find_status(status) or find_status(said)
    if kind in _MILDEST_FIRST:
        kind = min(kind, weigh(status, said, otherwise=kind), key=_MILDEST_FIRST.index)
    return Report(
        kind=kind,
        recipient=find_address(recipient),
        original_message_id=bare_message_id(message_id),
        remote_id=one_line(remote_id),
        return_paths=(one_line(return_path),) if return_path else (),
        sender=find_address(sender or return_path),
        status=status,
        diagnostic=one_line(said),
        at=at,
    )


# -- Amazon SES, over SNS --

_SES_BOUNCES = {"Permanent": Kind.HARD, "Transient": Kind.SOFT, "Undetermined": Kind.SOFT}
_SES_REFUSED = {"MessageTooLarge", "ContentRejected", "AttachmentRejected"}


def _read_ses(call: HookCall) -> Iterator[Report | None]:
    if call.field("Type") != "Notification":
        return
    try:
        event = msgspec.json.decode(call.field("Message"))
    except (msgspec.MsgspecError, RecursionError):
        return  # a greeting that somebody published by hand
    kind = _text(event, "eventType") or _text(event, "notificationType")
    mail = _get(event, "mail")
    known = {
        "message_id": _text(mail, "commonHeaders", "messageId"),
        "remote_id": _text(mail, "messageId"),
        "return_path": _text(mail, "source"),
    }
    if kind == "Bounce":
        bounce = _get(event, "bounce")
        verdict = _SES_BOUNCES.get(_text(bounce, "bounceType"))
        verdict = Kind.BLOCKED if _text(bounce, "bounceSubType") in _SES_REFUSED else verdict
        at = iso_time(_text(bounce, "timestamp"))
        for whom in _all(bounce, "bouncedRecipients"):
            said, status = _text(whom, "diagnosticCode").removeprefix("smtp; "), _text(whom, "status")
            yield _report(verdict, _text(whom, "emailAddress"), said, status=status, at=at, **known)
    if kind == "Complaint" and _text(event, "complaint", "complaintFeedbackType") != "not-spam":
        at = iso_time(_text(event, "complaint", "timestamp"))
        for whom in _all(event, "complaint", "complainedRecipients"):
            said = _text(event, "complaint", "complaintFeedbackType")
            yield _report(Kind.COMPLAINT, _text(whom, "emailAddress"), said, at=at, **known)


# -- SendGrid --

_SENDGRID_CLASSES = {
    "Invalid Address": Kind.HARD,
    "Technical": Kind.SOFT,
    "Mailbox Unavailable": Kind.SOFT,
    "Content": Kind.BLOCKED,
    "Reputation": Kind.BLOCKED,
    "Frequency or Volume Too High": Kind.BLOCKED,
    "Frequency/Volume": Kind.BLOCKED,
}
_SENDGRID_DROPS = {
    "Bounced Address": Kind.HARD,
    "Invalid": Kind.HARD,
    "Spam Reporting Address": Kind.COMPLAINT,
    "Spam Content": Kind.BLOCKED,
}


def _read_sendgrid(call: HookCall) -> Iterator[Report | None]:
    for event in _all(call.tree):
        kind, said = _text(event, "event"), _text(event, "reason")
        verdict = None
        if kind == "bounce" and _text(event, "type") == "blocked":
            verdict = Kind.BLOCKED
        elif kind == "bounce":
            verdict = _SENDGRID_CLASSES.get(_text(event, "bounce_classification"), Kind.HARD)
        elif kind == "dropped":
            verdict = _SENDGRID_DROPS.get(said)
        elif kind == "spamreport":
            verdict = Kind.COMPLAINT
        yield _report(
            verdict,
            _text(event, "email"),
            said,
            status=_text(event, "status"),
            message_id=_text(event, "smtp-id"),
            remote_id=_text(event, "sg_message_id").partition(".")[0],
            at=_since_1970(event, "timestamp"),
        )


# -- Mailgun --

_MAILGUN_REASONS = {
    "bounce": Kind.HARD,
    "suppress-bounce": Kind.HARD,
    "suppress-complaint": Kind.COMPLAINT,
    "suppress-unsubscribe": None,
    "espblock": Kind.BLOCKED,
}


def _read_mailgun(call: HookCall) -> Iterator[Report | None]:
    event = _get(call.tree, "event-data")
    kind, outcome = _text(event, "event"), _get(event, "delivery-status")
    verdict = Kind.COMPLAINT if kind == "complained" else None
    if kind == "failed" and _text(event, "severity") == "permanent":  # otherwise it tries on
        verdict = _MAILGUN_REASONS.get(_text(event, "reason"), Kind.SOFT)
    code, words = _text(outcome, "code"), _text(outcome, "message") or _text(outcome, "description")
    yield _report(
        verdict,
        _text(event, "recipient"),
        f"{code} {words}".strip(),
        status=_text(outcome, "enhanced-code"),
        message_id=_text(event, "message", "headers", "message-id"),
        return_path=_text(event, "envelope", "sender"),
        at=_since_1970(event, "timestamp"),
    )


# -- Postmark --

_POSTMARK_TYPES = {
    "HardBounce": Kind.HARD,
    "BadEmailAddress": Kind.HARD,
    "ManuallyDeactivated": Kind.HARD,
    "SoftBounce": Kind.SOFT,
    "DnsError": Kind.SOFT,
    "Unknown": Kind.SOFT,
    "SpamNotification": Kind.BLOCKED,
    "VirusNotification": Kind.BLOCKED,
    "Blocked": Kind.BLOCKED,
    "DMARCPolicy": Kind.BLOCKED,
    "SpamComplaint": Kind.COMPLAINT,
}
"""Others say that it tries on, that somebody is away, or that a list was left."""


def _read_postmark(call: HookCall) -> Iterator[Report | None]:
    event = call.tree
    told = _text(event, "RecordType") in {"Bounce", "SpamComplaint"}
    yield _report(
        _POSTMARK_TYPES.get(_text(event, "Type")) if told else None,
        _text(event, "Email"),
        _text(event, "Details") or _text(event, "Description"),
        message_id=_text(event, "Metadata", "message_id"),
        remote_id=_text(event, "MessageID"),
        sender=_text(event, "From"),
        at=iso_time(_text(event, "BouncedAt")),
    )


# -- Brevo --

_BREVO_EVENTS = {
    "hard_bounce": Kind.HARD,
    "invalid_email": Kind.HARD,
    "soft_bounce": Kind.SOFT,
    "blocked": Kind.BLOCKED,
    "spam": Kind.COMPLAINT,
    "complaint": Kind.COMPLAINT,
}


def _read_brevo(call: HookCall) -> Iterator[Report | None]:
    for event in _all(call.tree):
        yield _report(
            _BREVO_EVENTS.get(_text(event, "event")),
            _text(event, "email"),
            _text(event, "reason"),
            message_id=_text(event, "X-Mailin-custom"),
            remote_id=bare_message_id(_text(event, "message-id")),
            at=_since_1970(event, "ts_epoch", per_second=1000),
        )


# -- Mailjet --


def _read_mailjet(call: HookCall) -> Iterator[Report | None]:
    for event in _all(call.tree):
        kind, error = _text(event, "event"), _text(event, "error")
        verdict = {"blocked": Kind.BLOCKED, "spam": Kind.COMPLAINT}.get(kind)
        if kind == "bounce" and error != "greylisted":
            verdict = Kind.HARD if _get(event, "hard_bounce") is True else Kind.SOFT
        yield _report(
            verdict,
            _text(event, "email"),
            f"{error} {_text(event, 'comment')}".strip(),
            message_id=_text(event, "CustomID"),
            remote_id=_text(event, "MessageID"),
            at=_since_1970(event, "time"),
        )


# -- SparkPost --

_SPARKPOST_CLASSES = {
    **dict.fromkeys(("10", "30"), Kind.HARD),
    **dict.fromkeys(("23", "25", "50", "51", "52", "53", "54"), Kind.BLOCKED),
    **dict.fromkeys(("60", "80", "90", "100"), None),  # away, joins, leaves, wants a proof
}


def _read_sparkpost(call: HookCall) -> Iterator[Report | None]:
    for entry in _all(call.tree):
        event = _get(entry, "msys", "message_event")
        kind = _text(event, "type")
        verdict = {"spam_complaint": Kind.COMPLAINT, "policy_rejection": Kind.BLOCKED}.get(kind)
        if kind in {"bounce", "out_of_band"}:
            verdict = _SPARKPOST_CLASSES.get(_text(event, "bounce_class"), Kind.SOFT)
        yield _report(
            verdict,
            _text(event, "rcpt_to"),
            _text(event, "raw_reason") or _text(event, "reason"),
            message_id=_text(event, "rcpt_meta", "message_id"),
            remote_id=_text(event, "message_id"),
            return_path=_text(event, "msg_from"),
            at=_since_1970(event, "timestamp"),
        )


# -- one's own --


class _Own(msgspec.Struct, forbid_unknown_fields=True):
    """A report in our own words. Without a kind it weighs what its status and its diagnostic say."""

    recipient: str
    kind: Kind | None = None
    message_id: str = ""
    return_path: str = ""
    status: str = ""
    diagnostic: str = ""
    at: datetime | None = None


def _read_own(call: HookCall) -> Iterator[Report | None]:
    """A mail as it came, or one report in JSON, or a list of them."""
    if call.headers.get("content-type", "").lower().startswith("message/rfc822"):
        yield read_report(call.body)
        return
    try:
        reports = msgspec.convert(_all(call.tree), list[_Own])
    except msgspec.ValidationError as error:
        raise HookRefused(f"The report cannot be read: {one_line(str(error))}") from None
    for own in reports:
        yield _report(
            own.kind or weigh(own.status, own.diagnostic),
            own.recipient,
            own.diagnostic,
            status=own.status,
            message_id=own.message_id,
            return_path=own.return_path,
            at=iso_time(own.at.isoformat()) if own.at else None,
        )


# -- all of them --

_SHARED = "The secret at the end of the hook's address, or the password that it is called with."

PROVIDERS: dict[str, Provider] = {
    "ses": Provider("Amazon SES", "The ARN of the SNS topic; several with spaces.", prove_sns, _read_ses),
    "sendgrid": Provider(
        "SendGrid", "The verification key of the signed event webhook.", prove_sendgrid, _read_sendgrid
    ),
    "mailgun": Provider("Mailgun", "The HTTP webhook signing key.", prove_mailgun, _read_mailgun),
    "postmark": Provider("Postmark", _SHARED, prove_by_secret, _read_postmark, ("X-PM-Metadata-message_id", "{}")),
    "brevo": Provider("Brevo", _SHARED, prove_by_secret, _read_brevo, ("X-Mailin-custom", "{}")),
    "mailjet": Provider("Mailjet", _SHARED, prove_by_secret, _read_mailjet, ("X-MJ-CustomID", "{}")),
    "sparkpost": Provider(
        "SparkPost", _SHARED, prove_by_secret, _read_sparkpost, ("X-MSYS-API", '{"metadata":{"message_id":"{}"}}')
    ),
    "signed": Provider("a program of your own", "A secret of at least 24 characters.", prove_signed, _read_own),
}
"""By the name in the hook's address."""


def echo_headers(providers: Iterable[Provider], message_id: str) -> list[tuple[str, str]]:
    """What a message needs in its head so that the reports of these providers name it."""
    return [(name, form.replace("{}", message_id)) for name, form in (row.echo for row in providers if row.echo)]
