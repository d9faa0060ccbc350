"""Reading what comes back by mail: delivery reports, complaints, and what only looks like them. Pure.

Anybody can write such a mail. Who acts on a report looks first for the message it is about among those that were sent.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from itertools import islice

from cartwheel.bounces.mailparts import Mail, below, blocks, value, values
from cartwheel.bounces.reports import (
    ADDRESS,
    STATUS,
    TELLING,
    Kind,
    Report,
    any_of,
    bare_message_id,
    find_address,
    find_status,
    one_line,
    weigh,
)

_EMPTY_LINE = re.compile(r"\n[ \t]*\n")
_LONGEST_BEFORE = 500
_LONGEST_PARAGRAPH = 2_000
_MOST_ADDRESSES = 50


@dataclass(frozen=True, slots=True)
class _Finding:
    kind: Kind
    recipient: str = ""
    status: str = ""
    diagnostic: str = ""


# -- mails with a form --

_COMPLAINTS = {"abuse", "fraud", "other", "opt-out", "opt-out-list", "complaint", "miscategorized"}
"""The feedback (RFC 5965) by which somebody does not want the mail. There is also not-spam, auth-failure, virus."""


def _feedback(mail: Mail) -> _Finding | None:
    if "message/feedback-report" in mail.parts:
        fields = next(iter(below(mail.parts["message/feedback-report"])), None)
        meant = value(fields, "feedback-type").lower()
        recipient = find_address(value(fields, "original-rcpt-to", "removal-recipient"))
        return _Finding(Kind.COMPLAINT if meant in _COMPLAINTS else Kind.NOTICE, recipient, "", meant)
    if recipient := find_address(value(mail.original, "x-hmxmroriginalrecipient")):  # Microsoft's have no form
        return _Finding(Kind.COMPLAINT, recipient)
    return None


_ADDRESS_TYPE = re.compile(r"^[\w-]+\s*;\s*")
_HAPPENED = ("failed", "", "delayed", "delivered", "relayed", "expanded")


def _delivery_status(mail: Mail) -> _Finding | None:
    """Delivery status notifications (RFC 3464). If they tell of several addresses, then of one that failed."""
    part = mail.parts.get("message/delivery-status") or mail.parts.get("message/global-delivery-status")
    told = [block for block in blocks(part) if value(block, "final-recipient", "action", "status")]
    if not told:
        return None
    block = min(told, key=lambda block: _HAPPENED.index(_action(block)))
    recipients = (_ADDRESS_TYPE.sub("", text) for text in values(block, "original-recipient", "final-recipient"))
    recipient = next(filter(None, map(find_address, recipients)), "")
    diagnostic = _ADDRESS_TYPE.sub("", value(block, "diagnostic-code"))
    status = find_status(value(block, "status"))
    if not status or status.endswith(".0.0"):
        status = find_status(diagnostic) or status
    words = diagnostic or _paragraph(mail.told, STATUS)
    failed = _action(block) == "failed" or (not _action(block) and status.startswith("5"))
    return _Finding(weigh(status, words) if failed else Kind.NOTICE, recipient, status, words)


def _action(block: Message) -> str:
    said = re.match("[a-z]*", value(block, "action").lower())
    return said[0] if said and said[0] in _HAPPENED else ""


def _disposition(mail: Mail) -> _Finding | None:
    return _Finding(Kind.NOTICE) if "message/disposition-notification" in mail.parts else None


_QMAIL = re.compile(r"\s*Hi\. This is the ")
_QMAIL_RECIPIENT = re.compile(r"^<([^<>\n]{3,320})>:\n((?:.+(?:\n|\Z)){1,40})", re.MULTILINE)


def _qmail(mail: Mail) -> _Finding | None:
    """Bounces of qmail and its descendants (QSBMF)."""
    failed = _QMAIL_RECIPIENT.search(mail.told)
    if not _QMAIL.match(mail.told) or not failed:
        return None
    status = find_status(failed[2])
    return _Finding(weigh(status, failed[2]), find_address(failed[1]), status, failed[2])


def _failed_recipients(mail: Mail) -> _Finding | None:
    """Bounces of Exim, by its own header."""
    named = value(mail.head, "x-failed-recipients")
    return _told(mail, find_address(named)) if named and not _AWAY.search(mail.subject) else None


# -- mails without one --

_AWAY = any_of(r"""
    ^(?:(?:re|aw): ?)?auto(?:matic|mated|matische)?[ -]?(?:reply|response|antwort)
    ^auto(?:matic reply)?:
    ^automatisch antwoord
    ^r[ée]ponse automatique
    ^respuesta autom[áa]tica
    ^ris?posta automatica
    ^resposta autom[áa]tica
    ^autosvar
    \bout[ -]of[ -](?:the[ -])?office
    ^away from
    ^(?:on )?vacation
    ^abwesen
    ^absen[ct]
    fuera de (?:la )?oficina
    fuori ufficio
    自动回复|自動返信
""")
_CHALLENGE = any_of(r"""
    (?:confirm|verify) your (?:message|e-?mail|identity)
    your (?:message|e-?mail) (?:to .{1,80} )?(?:is awaiting|requires|needs) (?:verification|approval|confirmation)
    sender (?:verification|confirmation)
    \[spamarrest\]
""")
_CHALLENGERS = re.compile(r"@(?:[\w-]{1,63}\.){0,3}(?:spamarrest|boxbe|mailinblack|bluebottle)\.", re.IGNORECASE)
_AUTO_REPLY_FIELDS = ("x-autoreply", "x-autorespond", "x-autoresponder", "x-ms-exchange-inbox-rules-loop")


def _auto_reply(mail: Mail) -> _Finding | None:
    precedence = value(mail.head, "precedence").lower().replace("-", "_")
    marked = precedence == "auto_reply" or value(mail.head, *_AUTO_REPLY_FIELDS)
    challenged = _CHALLENGE.search(mail.subject) or _CHALLENGERS.search(value(mail.head, "from"))
    return _Finding(Kind.AUTO_REPLY) if marked or challenged or _AWAY.search(mail.subject) else None


_SERVER = any_of(r"""
    mailer-?daemon
    postmaster@
    mail ?delivery (?:system|subsystem|service)
    (?:mail|system) administrator
    microsoft exchange
""")
_UNDELIVERED = any_of(r"""
    undeliver(?:ed|able)
    returned mail|returned to sender
    mail delivery fail
    delivery (?:has )?(?:failed|failure)|delivery (?:status )?notification
    failure notice
    not (?:be )?delivered|non-?deliver
    mail system error
    unzustellbar|nicht zustellbar|onbestelbaar
    non remis
    no se puede entregar|no entregado
    non recapitabile|mancato recapito
    n[ãa]o (?:foi |é )?(?:poss[íi]vel )?entreg
""")
_LATE = any_of(r"""
    \bdelay
    still being retried|will be retried|will retry|will keep trying|will continue to
    warning message only
    verz[öo]ger
    retard[ée]
""")


def _plain(mail: Mail) -> _Finding | None:
    """No form at all: a server writes, and its subject says that something did not arrive."""
    from_server = value(mail.head, "return-path") == "<>" or _SERVER.search(value(mail.head, "from"))
    late = bool(_LATE.search(mail.subject))
    if not from_server or not (late or _UNDELIVERED.search(mail.subject)):
        return None
    recipient = _told_recipient(mail)
    late = late or (not STATUS.search(mail.told) and bool(_LATE.search(mail.told[:_LONGEST_PARAGRAPH])))
    return _Finding(Kind.NOTICE, recipient) if late else _told(mail, recipient)


def _told(mail: Mail, recipient: str) -> _Finding:
    """A failure as the text tells it."""
    words = next(filter(None, (_paragraph(mail.told, pattern) for pattern in TELLING)), "")
    status = find_status(words)
    return _Finding(weigh(status, words), recipient, status, words)


def _paragraph(text: str, pattern: re.Pattern[str]) -> str:
    """The one in which the pattern is found."""
    found = pattern.search(text)
    if not found:
        return ""
    before = _EMPTY_LINE.split(text[max(0, found.start() - _LONGEST_BEFORE) : found.start()])[-1]
    after = _EMPTY_LINE.split(text[found.start() : found.end() + _LONGEST_PARAGRAPH], maxsplit=1)[0]
    return before + after


def _told_recipient(mail: Mail) -> str:
    """The one to whom the message was written, if the text names nobody else, or the only one it names."""
    ours = {address.lower() for address in mail.return_paths}
    found = (find_address(address) for address in islice(ADDRESS.findall(mail.told), _MOST_ADDRESSES))
    named = {address for address in found if address and address not in ours and not _SERVER.search(address)}
    written_to = find_address(value(mail.original, "to"))
    if written_to and (written_to in named or not named):
        return written_to
    return named.pop() if len(named) == 1 else ""


def _sent_by_a_machine(mail: Mail) -> _Finding | None:
    said = value(mail.head, "auto-submitted").lower()
    return _Finding(Kind.AUTO_REPLY) if said.startswith("auto-") else None


# -- all of them --

_LOOKS: tuple[Callable[[Mail], _Finding | None], ...] = (
    _feedback,
    _delivery_status,
    _disposition,
    _qmail,
    _failed_recipients,
    _auto_reply,
    _plain,
    _sent_by_a_machine,  # servers say it of their reports, too
)
"""The surest first; the first that knows the mail decides."""


def read_report(raw: bytes) -> Report | None:
    """What a mail reports, or None if it is no report: then most likely a person wrote it. Never raises."""
    try:
        return _read(Mail(raw))
    except Exception:  # the outermost: the library has its surprises, and a mailbox has to be read to its end
        return None


def _read(mail: Mail) -> Report | None:
    finding = next(filter(None, (look(mail) for look in _LOOKS)), None)
    if finding is None:
        return None
    answered = value(mail.head, "in-reply-to") or value(mail.head, "references").rpartition(" ")[2]
    return Report(
        kind=finding.kind,
        recipient=finding.recipient or find_address(value(mail.original, "to")),
        original_message_id=bare_message_id(value(mail.original, "message-id") or answered),
        return_paths=mail.return_paths,
        status=finding.status,
        diagnostic=one_line(finding.diagnostic),
        at=mail.at,
    )
