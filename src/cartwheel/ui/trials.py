"""A mail of a draft as somebody would get it: shown, and sent once to whoever asks, beside the ledger."""

import asyncio
import base64
import html
import re
from collections.abc import Callable, Sequence
from datetime import datetime

from cartwheel.accounts import Account
from cartwheel.data import leadstore, mailbox, signingkeys
from cartwheel.data.db import Database
from cartwheel.data.signingkeys import SigningKeys
from cartwheel.leads.lead import Lead
from cartwheel.leads.mails import Mail, MailState
from cartwheel.mail.composing import Composer, content_of, values_of
from cartwheel.mail.merge import MERGE_NAMES
from cartwheel.mail.mime import media_type_of
from cartwheel.mail.outgoing import Outgoing
from cartwheel.mail.render import Filled, compile_mail
from cartwheel.mail.replies import Fate, Outcome
from cartwheel.mail.smtpurl import Route
from cartwheel.sending.servers import Servers
from cartwheel.sequences.steps import EmailStep
from cartwheel.simulation import madeup, simulator, worlds
from cartwheel.times import to_micros

POLICY = (
    "default-src 'none'; img-src https: http: data:; style-src 'unsafe-inline'; font-src https: data:; "
    "sandbox; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
"""Of the page in the frame: no scripts, no forms, an origin of its own."""

PATIENCE_S = 20.0
"""So long somebody waits for a mail server."""

NOBODY = 0
"""The number of no lead: links of a mail that was sent for a trial do nothing to anybody."""

_SAMPLES = {entry.name: entry.sample for entry in MERGE_NAMES}


def reader(database: Database, account: Account, email: str, now: datetime) -> tuple[Lead, bool]:
    """Whose eyes a mail is seen with: the lead of this address, or a sample; and whether that lead is there."""
    if email:
        with database.read() as connection:
            number = leadstore.find_lead(connection, account.id, email)
        if number is not None:
            return worlds.load_lead(database, (account.id, number)), True
    known = {name: _SAMPLES[name] for name in ("first_name", "last_name", "city", "country", "company")}
    known["email"] = email if "@" in email else _SAMPLES["email"]
    return madeup.made_up(account, now, known, number=NOBODY), False


def shown(account: Account, step: EmailStep, lead: Lead) -> Filled:
    """The mail as the lead would read it. Raises `BadContent`."""
    filled = compile_mail(content_of(step)).fill(values_of(lead, account) | simulator.LINKS)
    pictures = {file.inline: file for file in step.attachments if file.inline}

    def picture(found: re.Match[str]) -> str:
        file = pictures.get(html.unescape(found[1]))
        if file is None:
            return found[0]
        kind = file.media_type or media_type_of(file.name)
        return f"data:{kind};base64,{base64.b64encode(file.data).decode()}"

    return Filled(filled.subject, re.sub(r"cid:([^\"'\s>)]+)", picture, filled.html), filled.text)


def send(
    routes: Sequence[Route],
    database: Database,
    account: Account,
    step: EmailStep,
    lead: Lead,
    to: str,
    *,
    base_url: str,
    clock: Callable[[], datetime],
) -> tuple[Outcome, str]:
    """Send a mail once to this address, as the lead would get it; the server's answer, and the server's name.

    Raises `Unsendable` if there is no such mail, `BadContent`, and `TimeoutError` if the server is slow.
    """
    return asyncio.run(_send(routes, database, account, step, lead, to, base_url, clock))


async def _send(
    routes: Sequence[Route],
    database: Database,
    account: Account,
    step: EmailStep,
    lead: Lead,
    to: str,
    base_url: str,
    clock: Callable[[], datetime],
) -> tuple[Outcome, str]:
    now = clock()
    lead.id, lead.email, lead.untracked = NOBODY, to, True
    mail = Mail(to_micros(now), 0, 0, 0, step.box, 0, MailState.QUEUED, now, now)
    composer = Composer(signingkeys.link_signer(database), base_url)
    servers = Servers(routes, clock=clock) if routes and not lead.test else None
    signers = await SigningKeys(database).of(account.id, 0)
    message = composer.compose(account, lead, mail, step, now=now, signers=signers, nobody_outside=servers is None)
    if servers is None:
        return await _keep(database, account, lead, mail, message, now), mailbox.MAILBOX
    try:
        post = servers.for_sender(message.envelope_from)
        async with asyncio.timeout(PATIENCE_S):
            return await post.transport.send(message), post.name
    finally:
        await servers.close()


async def _keep(
    database: Database, account: Account, lead: Lead, mail: Mail, message: Outgoing, now: datetime
) -> Outcome:
    outcome = await mailbox.MailboxTransport().send(message)
    if outcome.fate is Fate.ACCEPTED:
        with database.write() as connection:
            mailbox.keep(connection, mailbox.row_of(account.id, lead.id, mail.key, message, now))
    return outcome
