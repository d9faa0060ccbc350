"""Two leads are one person: one of them gets what the other has, and the other is deleted. Pure."""

from collections.abc import Sequence
from datetime import datetime

from cartwheel.leads.events import LeadMerged, LeadMergedInto
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import ROW, Grant, Part, Parts, RunStatus, SuppressionReason

NEEDED: Parts = Part.PROFILE | Part.TAGS | Part.LISTS | Part.SEQUENCES | Part.POINTS | Part.QUEUE | Part.SUPPRESSION


def merge(kept: Lead, other: Lead, ledger: Sequence[Grant], now: datetime) -> None:
    """What the kept one says wins. `ledger` is the other's: what is left of it goes over, with when it expires.

    The other's mails and feed stay with it, so that it can be told what happened; nothing more is sent to it.
    """
    profile = {name: text for name, text in other.profile.items() if text and not kept.profile.get(name)}
    kept.edit(profile, {key: value for key, value in other.custom.items() if key not in kept.custom})
    notes = [text for text in (kept.notes, other.notes) if text]
    kept.notes = "\n\n".join(dict.fromkeys(notes))
    for tag_id in sorted(other.tags):
        kept.tag(tag_id)
    for list_id, place in sorted(other.lists.items()):
        if place.active and list_id not in kept.lists:  # who has left a list is not put on it again
            kept.join(list_id, now)
    for grant in ledger:
        if grant.reversed_at is None:
            kept.book(grant.points, now, grant.expires_at)
    for sequence_id, run in other.runs.items():
        if run.status is RunStatus.ACTIVE and sequence_id not in kept.runs:
            kept.enrol(sequence_id, run.step, now, version=run.version)
    if other.suppression.reason:
        kept.suppress(SuppressionReason(other.suppression.reason), other.suppression.details, now)
    if other.consent.declined and not kept.consent.communications:
        kept.agree(now, agreed=False)
    kept.events.append(LeadMerged(other.id))
    kept.dirty.add(ROW)
    other.delete(now)
    other.events.append(LeadMergedInto(kept.id))
