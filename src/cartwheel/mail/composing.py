"""From a mail of the ledger to the bytes that go out: what the step says, the lead's values, links, headers, signatures."""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from email.utils import format_datetime, parseaddr
from functools import lru_cache, partial
from urllib.parse import quote

from cartwheel.accounts import Account
from cartwheel.bounces import providers
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.errors import CartwheelError
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import PROFILE_FIELDS
from cartwheel.leads.mails import Mail
from cartwheel.mail import dkim
from cartwheel.mail.inert import one_line
from cartwheel.mail.links import Kind, MailId, Signer
from cartwheel.mail.mailhtml import Kind as Language
from cartwheel.mail.merge import MERGE_NAMES, BadContent, Template, clean_text
from cartwheel.mail.mime import Attachment, address, ascii_domain, header, header_text, media_type_of, text_entity
from cartwheel.mail.outgoing import Outgoing
from cartwheel.mail.render import Built, CompiledMail, Content, compile_mail
from cartwheel.sequences.steps import EmailStep

MOST_COMPILED = 500

SENDER_MISSING = "the account has no sender: give `[account.mail] sender`"

TEST_SENDER = "no-reply@cartwheel.invalid"
"""Whom mails come from as long as an account has not said, where nothing leaves the machine."""

ECHOED_DOMAIN = "cartwheel.invalid"
"""Behind the token that a provider gives back: they take 80 characters, which a sender's domain may not fit."""

FEEDBACK_SENDER = "cartwheel"
"""The last field of a Feedback-ID: 5 to 15 characters that are always the same."""

_NO_PROFILE = dict.fromkeys(PROFILE_FIELDS, "")


class Unsendable(CartwheelError):
    """The mail cannot be made: an owner has to see to it."""


def content_of(step: EmailStep) -> Content:
    """The author's part of a mail."""
    kind, source = next((kind, source) for kind in Language if (source := getattr(step, kind.value)) is not None)
    return Content(
        subject=step.subject,
        kind=kind,
        source=source,
        preview=step.preview,
        text=step.text or "",
        attachments=tuple(
            Attachment(file.name, file.media_type or media_type_of(file.name), file.data, inline_id=file.inline)
            for file in step.attachments
        ),
    )


def known_names(account: Account) -> frozenset[str]:
    """Every name that a mail of the account may use in braces."""
    return frozenset(
        [
            *(entry.name for entry in MERGE_NAMES),
            *PROFILE_FIELDS,
            *(field.identifier for field in account.fields.values()),
        ]
    )


def doubts(mail: CompiledMail, account: Account) -> Iterator[str]:
    """What can go out as it is, but will hardly be meant so."""
    for name in mail.unknown(known_names(account)):
        yield f"nothing is called {{{name}}}, it stays as it is"
    for source in mail.lost_pictures:
        yield f"no reader sees the picture {source}: give `cid:` with the `inline` of an attachment, or an https address"


def values_of(lead: Lead, account: Account) -> dict[str, str]:
    """What stands for the names in a mail to the lead, its links left out."""
    joined = lead.created_at.astimezone(account.zone)
    values = _NO_PROFILE | lead.profile
    values |= {
        "email": lead.email,
        "email_address": lead.email,
        "score": str(lead.score),
        "date_joined": f"{joined:%B} {joined.day}, {joined.year}",
        "account_address": account.mail.address,
    }
    for field in account.fields.values():
        chosen = lead.custom.get(field.id, "")
        if not isinstance(chosen, str):
            chosen = ", ".join(option.name for option in field.options if option.id in chosen)
        values[field.identifier] = chosen
    return values


def subject_of(step: EmailStep, lead: Lead, account: Account) -> str:
    """What the lead reads in its list of mails."""
    return one_line(Template.parse(clean_text(step.subject)).fill(values_of(lead, account), one_line)).strip()


def gaps(step: EmailStep, lead: Lead, account: Account) -> Iterator[str]:
    """What its subject says nothing for, because it is not known of the lead and has no fallback."""
    values = values_of(lead, account)
    for field in Template.parse(step.subject).fields:
        if field.value(values) == "":
            text = f"step {step.box}: {field.typed} in the subject is empty for this lead"
            yield f"{text}; {{{field.name}|…}} says what stands there instead"


@lru_cache(maxsize=1000)
def read_sender(text: str) -> tuple[str, str]:
    """(name, address) of `Name <address>`; raises `Unsendable`."""
    name, email = parseaddr(text)
    try:
        return name, read_email(email)
    except EmailNotValid:
        raise Unsendable(f"{text!r} is no sender: give `Name <address>`") from None


# What is the same in many mails that are made one after another.
_date = lru_cache(maxsize=2)(format_datetime)
_own_address = lru_cache(maxsize=1000)(address)
_quoted = lru_cache(maxsize=1000)(partial(quote, safe=""))


class Composer:
    """One for a process. `base_url` is where its links lead; `hooks` are the providers whose reports are heard."""

    def __init__(self, signer: Signer, base_url: str, *, bounce_mailbox: str = "", hooks: Collection[str] = ()) -> None:
        self._signer = signer
        self._base_url = base_url.rstrip("/")
        self._bounce_mailbox = bounce_mailbox
        self._echoing = [providers.PROVIDERS[name] for name in hooks if providers.PROVIDERS[name].echo]
        self._compiled: OrderedDict[tuple[int, int, int, str], CompiledMail] = OrderedDict()

    def compose(
        self,
        account: Account,
        lead: Lead,
        mail: Mail,
        step: EmailStep,
        *,
        now: datetime,
        signers: Sequence[dkim.Signer] = (),
        nobody_outside: bool = False,
    ) -> Outgoing:
        """Raises `Unsendable`. `nobody_outside` when the mail stays in the test mailbox."""
        number = MailId(lead.account_id, lead.id, mail.key)
        name, sender = self._sender(account, step, nobody_outside=nobody_outside)
        compiled = self._compile(account, mail, step)
        links = self._links(number)
        track_clicks = account.mail.track_clicks and step.track_clicks and not lead.untracked
        track_opens = account.mail.track_opens and step.track_opens and not lead.untracked
        reply_to = step.reply_to or account.mail.reply_to
        headers = [*self._headers(lead, number, (name, sender), reply_to, now, links), _feedback_id(account, mail)]
        built = compiled.build(
            values_of(lead, account) | links,
            headers,
            rewrite=(lambda link, target: self._click(number, link, target)) if track_clicks else None,
            pixel=f"{self._base_url}/o/{self._signer.token(Kind.OPEN, number)}" if track_opens else None,
        )
        envelope_from = self._signer.bounce_address(number, self._bounce_mailbox) if self._bounce_mailbox else sender
        return Outgoing(envelope_from, lead.email, _signed(built, sender, signers, now), as_on_the_wire=True)

    def _sender(self, account: Account, step: EmailStep, *, nobody_outside: bool) -> tuple[str, str]:
        told = step.sender or account.mail.sender
        if told:
            return read_sender(told)
        if nobody_outside:
            return account.name, TEST_SENDER
        raise Unsendable(SENDER_MISSING)

    def _compile(self, account: Account, mail: Mail, step: EmailStep) -> CompiledMail:
        key = (account.id, mail.sequence_id, mail.version, mail.box)
        compiled = self._compiled.get(key)
        if compiled is None:
            try:
                compiled = self._compiled[key] = compile_mail(content_of(step))
            except BadContent as error:
                raise Unsendable(f"box {mail.box}: {error}") from error
            if len(self._compiled) > MOST_COMPILED:
                self._compiled.popitem(last=False)
        return compiled

    def _links(self, mail: MailId) -> dict[str, str]:
        return {
            "unsubscribe_link": f"{self._base_url}/u/{self._signer.token(Kind.UNSUBSCRIBE, mail)}",
            "preferences_link": f"{self._base_url}/p/{self._signer.token(Kind.PREFERENCES, mail)}",
        }

    def _click(self, mail: MailId, link: int, target: str) -> str:
        token = self._signer.token(Kind.CLICK, mail, link, target)
        return f"{self._base_url}/c/{token}?to={_quoted(target)}"

    def _headers(
        self,
        lead: Lead,
        mail: MailId,
        sender: tuple[str, str],
        reply_to: str,
        now: datetime,
        links: Mapping[str, str],
    ) -> Sequence[tuple[str, str]]:
        person = " ".join(filter(None, (lead.profile.get("first_name", ""), lead.profile.get("last_name", ""))))
        return (
            ("Date", _date(now.replace(microsecond=0))),
            ("From", _own_address(*sender)),
            ("To", address(person, lead.email)),
            *([("Reply-To", _own_address(*read_sender(reply_to)))] if reply_to else []),
            ("Message-ID", self._signer.message_id(mail, ascii_domain(sender[1].rpartition("@")[2]))),
            ("List-Unsubscribe", f"<{links['unsubscribe_link']}>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
            *self._asked_back(mail),
        )

    def _asked_back(self, mail: MailId) -> Sequence[tuple[str, str]]:
        if not self._echoing:
            return ()
        return providers.echo_headers(self._echoing, self._signer.message_id(mail, ECHOED_DOMAIN).strip("<>"))


def _feedback_id(account: Account, mail: Mail) -> tuple[str, str]:
    """By what Gmail counts complaints: the step, its sequence, the account, and who sends at all.

    It counts each field for itself, so that none may read like another's in any account.
    """
    sender = f"account{account.id}"
    sequence = f"{sender}-sequence{mail.sequence_id}"
    return "Feedback-ID", f"{sequence}-{mail.box}:{sequence}:{sender}:{FEEDBACK_SENDER}"


def note(
    sender: str, to: str, subject: str, text: str, *, number: str, now: datetime, signers: Sequence[dkim.Signer] = ()
) -> Outgoing:
    """A mail of Cartwheel itself to one of its people, in plain text; `number` is what only this one has.

    Raises `Unsendable` if `sender` is none.
    """
    name, email = read_sender(sender)
    body = text_entity("plain", [clean_text(text).rstrip() + "\n"])
    subject = header_text(one_line(clean_text(subject)), len("Subject: "))
    headers = (
        ("Date", format_datetime(now)),
        ("From", address(name, email)),
        ("To", address("", to)),
        ("Message-ID", f"<{number}@{ascii_domain(email.rpartition('@')[2])}>"),
        ("Auto-Submitted", "auto-generated"),
        ("Subject", subject),
        ("MIME-Version", "1.0"),
    )
    pieces = [piece for piece in body.body if isinstance(piece, bytes)]
    built = Built([*(header(*line) for line in headers), *body.headers], pieces)
    return Outgoing(email, to, _signed(built, email, signers, now))


def _signed(built: Built, sender: str, signers: Sequence[dkim.Signer], now: datetime) -> bytes:
    """By every key of the sender's domain, or of the one above it."""
    domain = ascii_domain(sender.rpartition("@")[2].lower())
    mine = [signer for signer in signers if domain == signer.domain or domain.endswith(f".{signer.domain}")]
    if mine:
        signatures = dkim.sign(mine, built.headers, built.body, int(now.timestamp()))
        built.headers[:0] = [(b"DKIM-Signature", signature) for signature in signatures]
    return built.as_bytes()
