"""What comes back by mail of a mail that a sink has taken: a delivery report, a complaint."""

from email import message_from_bytes
from email.message import Message

from sink import Taken

_PARTS = """\
Return-Path: <>
Delivered-To: {to}
From: Mail Delivery System <MAILER-DAEMON@mx.people.example>
To: {to}
Subject: {subject}
MIME-Version: 1.0
Content-Type: multipart/report; report-type={form}; boundary="parts"

--parts
Content-Type: text/plain

{words}

--parts
Content-Type: message/{form}

{fields}

--parts
Content-Type: text/rfc822-headers

From: Shop <hello@shop.example>
To: {recipient}
Message-ID: {message_id}

--parts--
"""


def address(command: str) -> str:
    """Of MAIL's or RCPT's argument."""
    return command.partition("<")[2].partition(">")[0]


def head(taken: Taken) -> Message:
    return message_from_bytes(taken.data)


def bounce(taken: Taken, status: str = "5.1.1", said: str = "550 5.1.1 no such user") -> bytes:
    """A report by RFC 3464, to where the mail said that it comes from."""
    recipient = address(taken.rcpt)
    fields = (
        "Reporting-MTA: dns; mx.people.example\n\n"
        f"Final-Recipient: rfc822; {recipient}\nAction: failed\nStatus: {status}\nDiagnostic-Code: smtp; {said}"
    )
    return _written(taken, "delivery-status", "Undelivered Mail Returned to Sender", said, fields)


def complaint(taken: Taken) -> bytes:
    """A report by RFC 5965."""
    fields = f"Feedback-Type: abuse\nUser-Agent: x\nVersion: 1\nOriginal-Rcpt-To: {address(taken.rcpt)}"
    return _written(taken, "feedback-report", "complaint", "This is an abuse report.", fields)


def _written(taken: Taken, form: str, subject: str, words: str, fields: str) -> bytes:
    return _PARTS.format(
        to=address(taken.mail),
        recipient=address(taken.rcpt),
        message_id=head(taken)["Message-ID"],
        form=form,
        subject=subject,
        words=words,
        fields=fields,
    ).encode()
