"""Erasing a lead: what is left of it in memory is a number, and what became of its mails. Pure.

`data/erasures.py` wipes what is stored of it.
"""

from datetime import datetime

from cartwheel.leads.events import LeadErased
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import (
    ERASURE,
    ROW,
    SAID_BY_THE_PERSON,
    SCORE,
    Address,
    Consent,
    Part,
    Suppression,
    SuppressionReason,
    nobody,
)


def erase(lead: Lead, now: datetime) -> None:
    """Forget who the lead is, for good. Whoever has its address next is not mailed, unless an owner allows it."""
    lead.stop(now, "the lead was erased")
    lead.addresses = _kept(lead, now)
    lead.email = nobody(lead.id)
    lead.deleted_at = lead.deleted_at or now
    lead.profile, lead.custom, lead.notes, lead.ip_country = {}, {}, "", ""
    lead.source_id = 0
    lead.consent = Consent()
    lead.blacklisted = lead.untracked = False
    lead.suppression = Suppression()
    lead.tags, lead.lists, lead.grants = set(), {}, {}
    lead.score = 0
    lead.dirty = {entry for entry in lead.dirty if entry[0] in {Part.SEQUENCES, Part.MAILS}}
    lead.dirty |= {ROW, SCORE, ERASURE}
    lead.events.append(LeadErased())


def _kept(lead: Lead, now: datetime) -> dict[str, Address]:
    """Its addresses, each with why it is not mailed: the one that it has, because the person wants nothing of us any more."""
    told = lead.suppression
    if told.reason not in SAID_BY_THE_PERSON:
        told = Suppression(SuppressionReason.DO_NOT_CONTACT, now)
    return lead.addresses | {lead.email: Address(lead.addresses[lead.email].digest, told)}
