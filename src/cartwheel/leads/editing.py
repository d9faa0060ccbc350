"""What people change of a lead by hand, beside what commands and sequences do. Pure."""

from datetime import datetime

from msgspec.structs import replace

from cartwheel.leads.events import LeadEdited, SequenceMoved
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import ROW, Enrolment, RunStatus

LONGEST_NOTES = 20_000


def note(lead: Lead, text: str) -> None:
    """Put these notes in the place of those that are there."""
    if lead.notes != text:
        lead.notes = text
        lead.dirty.add(ROW)
        lead.events.append(LeadEdited(["notes"], []))


def send_to(lead: Lead, run: Enrolment, step: str, version: int, now: datetime) -> None:
    """Have the run go on at this step of this version, as one that has just come there; also one that was stuck."""
    there = replace(run, version=version, status=RunStatus.ACTIVE)
    lead.go_to(there, step, now)
    lead.events.append(SequenceMoved(run.sequence_id, step, version))
