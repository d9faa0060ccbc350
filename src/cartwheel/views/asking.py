"""Asking why a lead got a mail or did not: what there is to know of it is read, and `why` says what it means."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cartwheel import accounts
from cartwheel.accounts import Account
from cartwheel.data import erasures, flowstore
from cartwheel.data.catalog import Catalog
from cartwheel.data.db import Database
from cartwheel.data.flowstore import FlowKey
from cartwheel.data.leadstore import LeadKey
from cartwheel.data.signingkeys import link_signer
from cartwheel.emails import read_email
from cartwheel.errors import LeadNotFound, NoSuchName
from cartwheel.leads.leadparts import Part
from cartwheel.phrases import form, kept, phrase
from cartwheel.readers import digits
from cartwheel.sequences import telling
from cartwheel.sequences.flows import Flow
from cartwheel.views import leadcard
from cartwheel.views.why import About, Fact, Known, explain

MOST_EVENTS = 2000
"""How far back in the feed is looked for who did something."""


@dataclass(frozen=True)
class Answer:
    account: Account
    email: str
    facts: Sequence[Fact]

    def as_data(self) -> dict[str, Any]:
        return {
            "account": self.account.name,
            "email": self.email,
            "facts": [fact._asdict() for fact in self.facts],
        }


async def read(database: Database, catalog: Catalog, key: LeadKey) -> Known:
    """Raises `LeadNotFound`."""
    card = await leadcard.read_card(database, catalog, key, most_events=MOST_EVENTS, parts=Part.WHOLE)
    lead = card.lead
    keys = {(key[0], run.sequence_id, run.version) for run in lead.runs.values()}
    keys |= {(key[0], mail.sequence_id, mail.version) for mail in lead.mails.values()}
    return Known(card.account, lead, card.feed, await asyncio.to_thread(_flows, database, keys))


def _of_erased(database: Database, account: Account, email: str) -> Fact | None:
    """Of an address that no lead has any more."""
    with database.read() as connection:
        erased_at = erasures.erased_at(connection, account.id, read_email(email))
    if erased_at is None:
        return None
    on = telling.clock(erased_at, account.zone, None)
    allow = telling.command("lead", "allow", email)
    text = form(
        "{account} has no lead {email} any more. The address is not to be mailed since {on}: {details}, "
        "and a hash of it was kept. If it comes back, {allow} has it mailed."
    )
    details = kept(erasures.DETAILS)
    told = phrase(text, account=account.name, email=email, on=on, details=details, allow=allow)
    return Fact(About.LEAD, told, stops=True)


def _flows(database: Database, keys: set[FlowKey]) -> dict[FlowKey, Flow]:
    with database.read() as connection:
        found = {key: flowstore.read(connection, key) for key in keys}
    return {key: flow for key, flow in found.items() if flow is not None}


def _mail_named(database: Database, text: str, key: LeadKey | None) -> int | None:
    """The number of a mail that is called by it, or by its Message-ID; that may be another lead's."""
    if (number := digits(text)) is not None:
        return number
    named = link_signer(database).read_message_id(text)
    return named.mail_id if named and (named.account_id, named.lead_id) == key else None


def ask(database: Database, catalog: Catalog, account: Account, who: str, about: str | None, now: datetime) -> Answer:
    """`who` is an address or a lead's id; `about` a sequence's name, or a mail's number or Message-ID.

    Raises `NoSuchName` for any of them.
    """
    key = leadcard.find(database, account, who)
    try:
        known = asyncio.run(read(database, catalog, key)) if key else None
    except LeadNotFound:
        known = None
    if known is None:
        gone = _of_erased(database, account, who) if key is None else None
        if gone is None:
            raise NoSuchName(f"{account.name} has no lead {who}: it was never added, or has another address now")
        return Answer(account, who, [gone])
    sequence = account.sequences.get(accounts.name_key(about)) if about else None
    mail = _mail_named(database, about, key) if about and sequence is None else None
    if about and sequence is None and mail not in known.lead.mails:
        there = ", ".join(account.sequence_names.values()) or "none"
        raise NoSuchName(
            f"{account.name} has no sequence {about}, and {known.lead.email} no mail {about}; there are: {there}"
        )
    return Answer(account, known.lead.email, explain(known, now, sequence=sequence, mail=mail))
