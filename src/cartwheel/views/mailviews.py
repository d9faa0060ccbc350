"""What people and programs see of mails, of the test mailbox, of bounces and of sender domains."""

from collections.abc import Iterator, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from rich.text import Text

from cartwheel.accounts import Account
from cartwheel.data.mailbox import Kept, Letter
from cartwheel.data.mailstore import Listed
from cartwheel.data.signingkeys import SenderKey
from cartwheel.leads.mails import MailState
from cartwheel.mail.dkim import Record
from cartwheel.sending.bouncereader import Heard
from cartwheel.sequences import telling
from cartwheel.views import terminal

_STYLES = {
    MailState.ACCEPTED: "green",
    MailState.FAILED: "red",
    MailState.SUPPRESSED: "dim",
    MailState.IN_DOUBT: "bold yellow",
}


def _heads(*names: str) -> list[Text]:
    return [Text(name, "dim") for name in names]


# -- sender domains --


def keys(listed: Sequence[SenderKey], zone: ZoneInfo) -> Iterator[Text]:
    rows = (
        [
            *map(terminal.plain, (key.signer.domain, key.signer.selector, key.signer.algorithm)),
            Text(telling.clock(key.created_at, zone), "dim"),
        ]
        for key in listed
    )
    yield from terminal.columns([_heads("domain", "selector", "algorithm", "since"), *rows])


def key_data(key: SenderKey) -> dict[str, Any]:
    signer = key.signer
    return {
        "domain": signer.domain,
        "selector": signer.selector,
        "algorithm": signer.algorithm,
        "created_at": key.created_at.isoformat(),
    }


def records(listed: Sequence[Record]) -> Iterator[Text]:
    """Each as it has to be typed into a form, one value a line, so that it can be copied."""
    for record in listed:
        yield Text.assemble((record.type, "bold"), "  ", terminal.plain(record.name, "bold"))
        yield from terminal.indented([terminal.plain(record.value), terminal.plain(record.advice, "dim")])
        yield Text()


def record_data(record: Record) -> dict[str, Any]:
    return {
        "name": record.name,
        "type": record.type,
        "value": record.value,
        "zone_line": record.zone_line,
        "advice": record.advice,
    }


# -- the test mailbox --


def kept(listed: Sequence[Kept], zone: ZoneInfo) -> Iterator[Text]:
    rows = (
        [
            Text(str(mail.mail), "bold"),
            Text(telling.clock(mail.at, zone), "dim"),
            terminal.plain(mail.recipient),
            terminal.plain(mail.subject),
        ]
        for mail in listed
    )
    yield from terminal.columns([_heads("number", "at", "to", "subject"), *rows])


def kept_data(mail: Kept) -> dict[str, Any]:
    return {
        "number": mail.mail,
        "lead_id": mail.lead_id,
        "at": mail.at.isoformat(),
        "sender": mail.sender,
        "recipient": mail.recipient,
        "subject": mail.subject,
    }


def letter(read: Letter) -> Iterator[Text]:
    """Its headers, and its text part."""
    yield from terminal.pairs(read.headers)
    for name in read.attachments:
        yield terminal.plain(f"attached: {name}", "dim")
    yield Text()
    for line in read.text.splitlines():
        yield terminal.plain(line.expandtabs())


def letter_data(read: Letter) -> dict[str, Any]:
    return {**read._asdict(), "headers": [list(pair) for pair in read.headers]}


# -- the ledger --


def mails(listed: Sequence[Listed], account: Account) -> Iterator[Text]:
    rows = (_mail(entry, account) for entry in listed)
    yield from terminal.columns([_heads("number", "queued", "state", "to", "step", "said last"), *rows])


def _mail(entry: Listed, account: Account) -> list[Text]:
    mail = entry.mail
    return [
        Text(str(mail.key), "bold"),
        Text(telling.clock(mail.queued_at, account.zone), "dim"),
        Text(mail.state, _STYLES.get(mail.state, "")),
        terminal.plain(mail.address or entry.email),
        terminal.plain(f"{_sequence(entry, account)} {mail.box}"),
        terminal.plain(telling.mail_waits(mail, account), "dim"),
    ]


def mail_data(entry: Listed, account: Account) -> dict[str, Any]:
    mail = entry.mail
    times = ("queued_at", "next_at", "sent_at", "opened_at", "clicked_at")
    return {
        "number": mail.key,
        "lead_id": entry.lead_id,
        "email": entry.email,
        "sequence": _sequence(entry, account),
        "step": mail.box,
        "state": mail.state,
        "attempts": mail.attempts,
        "address": mail.address,
        "server": mail.server,
        "reply": mail.reply,
        "waits_for": mail.waits_for or None,
        **{name: at.isoformat() if (at := getattr(mail, name)) else None for name in times},
    }


def _sequence(entry: Listed, account: Account) -> str:
    return account.sequence_names.get(entry.mail.sequence_id, "a sequence of the past")


# -- bounces --


def heard(told: Heard) -> str:
    """What a mail reported, on one line."""
    report, mails = told
    if report is None:
        return "no report: most likely a person wrote this mail"
    about = " ".join(filter(None, (report.recipient, report.status, report.diagnostic)))
    return f"{report.kind}, {about or 'nothing else is known'}; recorded of {mails} {'mail' if mails == 1 else 'mails'}"


def heard_data(told: Heard) -> dict[str, Any]:
    report = told.report
    return {
        "kind": report and report.kind,
        "recipient": report.recipient if report else "",
        "status": report.status if report else "",
        "diagnostic": report.diagnostic if report else "",
        "recorded": told.mails,
    }
