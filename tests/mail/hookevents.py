"""What providers say, in the shapes in which they say it."""

from typing import Any

from hooksigning import SENT

from cartwheel.bounces.reports import Kind

ADA = "ada@people.example"
MESSAGE_ID = "c1.7.3f9a2b@mail.shop.example"
VERP = "bounce+x7Kq2@mail.shop.example"


def ses(kind: str, said: dict[str, Any]) -> dict[str, Any]:
    mail = {
        "timestamp": "2026-03-10T09:15:02.000Z",
        "source": VERP,
        "messageId": "0102019c-sesid-000000",
        "destination": [ADA],
        "commonHeaders": {"messageId": f"<{MESSAGE_ID}>", "subject": "Our spring letter"},
    }
    return {"notificationType": kind, kind.lower(): said, "mail": mail}


def ses_bounce(kind: str, sub: str, **whom: str) -> dict[str, Any]:
    said = {"bounceType": kind, "bounceSubType": sub, "timestamp": "2026-03-10T09:15:05.000Z"}
    return ses("Bounce", said | {"bouncedRecipients": [{"emailAddress": "Ada@People.example", **whom}]})


def ses_complaint(feedback: str) -> dict[str, Any]:
    said = {"complaintFeedbackType": feedback, "timestamp": "2026-03-10T09:15:05.000Z"}
    return ses("Complaint", said | {"complainedRecipients": [{"emailAddress": ADA}]})


def sendgrid(event: str, **more: Any) -> list[dict[str, Any]]:
    known = {
        "email": ADA,
        "timestamp": int(SENT.timestamp()),
        "smtp-id": f"<{MESSAGE_ID}>",
        "sg_event_id": "lC0Rc-FuQmKbnxCWxX1jRQ",
        "sg_message_id": "Lli-03HcQ5-JLybO9fXsJg.filter0077p1las1.21536.5717FC482.0",
    }
    return [known | {"event": event, **more}]


def mailgun(event: str, code: int = 550, message: str = "", **more: Any) -> dict[str, Any]:
    return {
        "event": event,
        "timestamp": SENT.timestamp(),
        "recipient": ADA,
        "envelope": {"sender": VERP, "transport": "smtp", "targets": ADA},
        "message": {"headers": {"to": ADA, "message-id": MESSAGE_ID, "from": "news@shop.example"}, "size": 809},
        "delivery-status": {"code": code, "message": message, "attempt-no": 1},
        **more,
    }


def postmark(kind: str, details: str = "", record: str = "Bounce") -> dict[str, Any]:
    return {
        "RecordType": record,
        "Type": kind,
        "ID": 4323372036854775807,
        "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
        "Metadata": {"message_id": MESSAGE_ID},
        "Details": details,
        "Description": "The server was unable to deliver your message.",
        "Email": ADA,
        "From": "news@shop.example",
        "BouncedAt": "2026-03-10T09:15:05.0000000Z",
    }


def brevo(event: str, reason: str = "") -> dict[str, Any]:
    return {
        "event": event,
        "email": ADA,
        "id": 26224,
        "ts_epoch": int(SENT.timestamp() * 1000),
        "date": "2026-03-10 10:15:05",
        "message-id": "<202603100915.27287306012@smtp-relay.mailin.fr>",
        "X-Mailin-custom": MESSAGE_ID,
        "reason": reason,
    }


def mailjet(event: str, **more: Any) -> dict[str, Any]:
    known = {"event": event, "time": int(SENT.timestamp()), "MessageID": 19421777835146490, "email": ADA}
    return known | {"CustomID": MESSAGE_ID, "Payload": "", **more}


def sparkpost(kind: str, bounce_class: str = "", reason: str = "") -> list[dict[str, Any]]:
    event = {
        "type": kind,
        "bounce_class": bounce_class,
        "message_id": "000443ee14578172be22",
        "msg_from": VERP,
        "rcpt_to": ADA,
        "rcpt_meta": {"message_id": MESSAGE_ID},
        "raw_reason": reason,
        "timestamp": str(int(SENT.timestamp())),
    }
    return [{"msys": {"message_event": event}}]


def own(**more: Any) -> dict[str, Any]:
    return {
        "recipient": "Ada@People.example",
        "message_id": f"<{MESSAGE_ID}>",
        "at": "2026-03-10T10:15:05+01:00",
        **more,
    }


UNKNOWN = "550 5.1.1 <ada@people.example>: Recipient address rejected: User unknown"
FULL = "552 5.2.2 mailbox full"
LISTED = "554 5.7.1 Service unavailable; Client host [192.0.2.10] blocked using zen.spamhaus.org"

SAYINGS: list[tuple[str, Any, Kind | None, str]] = [
    ("ses", ses_bounce("Permanent", "General", status="5.1.1", diagnosticCode=f"smtp; {UNKNOWN}"), Kind.HARD, "5.1.1"),
    (
        "ses",
        ses_bounce("Permanent", "General", status="5.7.1", diagnosticCode=f"smtp; {LISTED}"),
        Kind.BLOCKED,
        "5.7.1",
    ),
    ("ses", ses_bounce("Permanent", "OnAccountSuppressionList"), Kind.HARD, ""),
    ("ses", ses_bounce("Transient", "MailboxFull", status="5.2.2", diagnosticCode=FULL), Kind.SOFT, "5.2.2"),
    ("ses", ses_bounce("Transient", "ContentRejected"), Kind.BLOCKED, ""),
    ("ses", ses_bounce("Undetermined", "Undetermined"), Kind.SOFT, ""),
    ("ses", ses_bounce("Unheard-of", "General"), None, ""),
    ("ses", ses_complaint("abuse"), Kind.COMPLAINT, ""),
    ("ses", ses_complaint("not-spam"), None, ""),
    ("ses", ses("Delivery", {"recipients": [ADA]}), None, ""),
    ("ses", {"eventType": "DeliveryDelay", "deliveryDelay": {"delayedRecipients": [{"emailAddress": ADA}]}}, None, ""),
    ("sendgrid", sendgrid("bounce", type="bounce", status="5.1.1", reason=UNKNOWN), Kind.HARD, "5.1.1"),
    ("sendgrid", sendgrid("bounce", type="bounce", status="5.2.2", reason=FULL), Kind.SOFT, "5.2.2"),
    ("sendgrid", sendgrid("bounce", type="bounce", status="5.0.0", reason="550 no"), Kind.HARD, "5.0.0"),
    (
        "sendgrid",
        sendgrid("bounce", type="bounce", reason="550 no", bounce_classification="Reputation"),
        Kind.BLOCKED,
        "5.0.0",
    ),
    (
        "sendgrid",
        sendgrid("bounce", type="bounce", reason="550 no", bounce_classification="Technical"),
        Kind.SOFT,
        "5.0.0",
    ),
    ("sendgrid", sendgrid("bounce", type="blocked", status="5.7.1", reason=LISTED), Kind.BLOCKED, "5.7.1"),
    ("sendgrid", sendgrid("bounce", type="blocked", reason="550 no"), Kind.BLOCKED, "5.0.0"),
    ("sendgrid", sendgrid("dropped", reason="Bounced Address"), Kind.HARD, ""),
    ("sendgrid", sendgrid("dropped", reason="Spam Reporting Address"), Kind.COMPLAINT, ""),
    ("sendgrid", sendgrid("dropped", reason="Unsubscribed Address"), None, ""),
    ("sendgrid", sendgrid("spamreport"), Kind.COMPLAINT, ""),
    ("sendgrid", sendgrid("deferred", response="451 4.3.0 later"), None, ""),
    ("sendgrid", sendgrid("open"), None, ""),
    ("mailgun", mailgun("failed", message=UNKNOWN[4:], severity="permanent", reason="bounce"), Kind.HARD, "5.1.1"),
    ("mailgun", mailgun("failed", message="Host not there", severity="permanent", reason="bounce"), Kind.HARD, "5.0.0"),
    ("mailgun", mailgun("failed", 552, "5.2.2 full", severity="permanent", reason="bounce"), Kind.SOFT, "5.2.2"),
    ("mailgun", mailgun("failed", 498, "No MX for it", severity="permanent", reason="old"), Kind.SOFT, ""),
    (
        "mailgun",
        mailgun("failed", 605, "Not delivering", severity="permanent", reason="suppress-bounce"),
        Kind.HARD,
        "",
    ),
    ("mailgun", mailgun("failed", 607, severity="permanent", reason="suppress-complaint"), Kind.COMPLAINT, ""),
    ("mailgun", mailgun("failed", 606, severity="permanent", reason="suppress-unsubscribe"), None, ""),
    ("mailgun", mailgun("failed", 450, "Greylisted", severity="temporary", reason="greylisted"), None, ""),
    ("mailgun", mailgun("complained"), Kind.COMPLAINT, ""),
    ("mailgun", mailgun("delivered", 250, "OK"), None, ""),
    ("postmark", postmark("HardBounce", f"smtp;{UNKNOWN}"), Kind.HARD, "5.1.1"),
    ("postmark", postmark("HardBounce"), Kind.HARD, ""),
    ("postmark", postmark("SoftBounce", f"smtp;{FULL}"), Kind.SOFT, "5.2.2"),
    ("postmark", postmark("SoftBounce", f"smtp;{UNKNOWN}"), Kind.SOFT, "5.1.1"),
    ("postmark", postmark("Blocked", f"smtp;{LISTED}"), Kind.BLOCKED, "5.7.1"),
    ("postmark", postmark("SpamNotification"), Kind.BLOCKED, ""),
    ("postmark", postmark("SpamComplaint", record="SpamComplaint"), Kind.COMPLAINT, ""),
    ("postmark", postmark("AutoResponder"), None, ""),
    ("postmark", postmark("Transient"), None, ""),
    ("postmark", postmark("HardBounce", record="SubscriptionChange"), None, ""),
    ("brevo", brevo("hard_bounce", f" RecipientError: {UNKNOWN}"), Kind.HARD, "5.1.1"),
    ("brevo", brevo("invalid_email"), Kind.HARD, ""),
    ("brevo", brevo("soft_bounce", "undefined Unable to find MX of domain"), Kind.SOFT, ""),
    ("brevo", brevo("blocked", "blocked : due to blacklist user"), Kind.BLOCKED, ""),
    ("brevo", brevo("spam"), Kind.COMPLAINT, ""),
    ("brevo", brevo("deferred", f"550 RecipientError: {UNKNOWN}"), None, ""),
    ("brevo", brevo("opened"), None, ""),
    ("mailjet", mailjet("bounce", hard_bounce=True, error="user unknown", comment=UNKNOWN), Kind.HARD, "5.1.1"),
    ("mailjet", mailjet("bounce", hard_bounce=False, error="quota exceeded", comment=FULL), Kind.SOFT, "5.2.2"),
    ("mailjet", mailjet("bounce", hard_bounce=False, error="greylisted"), None, ""),
    ("mailjet", mailjet("blocked", error="preblocked"), Kind.BLOCKED, ""),
    ("mailjet", [mailjet("spam", source="JMRPP")], Kind.COMPLAINT, ""),
    ("mailjet", mailjet("sent"), None, ""),
    ("sparkpost", sparkpost("bounce", "10", UNKNOWN), Kind.HARD, "5.1.1"),
    ("sparkpost", sparkpost("out_of_band", "30", "550 no"), Kind.HARD, "5.0.0"),
    ("sparkpost", sparkpost("bounce", "22", FULL), Kind.SOFT, "5.2.2"),
    ("sparkpost", sparkpost("bounce", "51", LISTED), Kind.BLOCKED, "5.7.1"),
    ("sparkpost", sparkpost("bounce", "60", "away"), None, ""),
    ("sparkpost", sparkpost("policy_rejection", "25", "suppressed"), Kind.BLOCKED, ""),
    ("sparkpost", sparkpost("spam_complaint"), Kind.COMPLAINT, ""),
    ("sparkpost", sparkpost("delay", "20", "451 later"), None, ""),
    ("sparkpost", [{"msys": {}}], None, ""),
    ("signed", own(kind="hard"), Kind.HARD, ""),
    ("signed", own(diagnostic=UNKNOWN), Kind.HARD, "5.1.1"),
    ("signed", own(status="5.2.2"), Kind.SOFT, "5.2.2"),
    ("signed", own(kind="hard", diagnostic=LISTED), Kind.BLOCKED, "5.7.1"),
    ("signed", [own(kind="complaint")], Kind.COMPLAINT, ""),
]
"""Provider, what it says, what that is."""
