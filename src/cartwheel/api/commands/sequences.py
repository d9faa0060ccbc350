"""Sequences: series of steps, such as mails, that a lead goes through."""

from typing import Annotated, Any

from cartwheel.api import wire
from cartwheel.api.registry import AccountCall, LeadCall, Name, Scope, command
from cartwheel.errors import SequenceNotFound, StepNotAlphanumeric, StepNotFound
from cartwheel.leads.leadparts import Part


@command(scope=Scope.ACCOUNT_READ, success=None, result={"account_sequences": list[str]})
def retrieve_account_sequences(call: AccountCall) -> dict[str, Any]:
    """The names of all sequences in the account."""
    return {"account_sequences": [sequence.name for sequence in call.account.sequences.values()]}


@command(
    scope=Scope.SEQUENCES_WRITE,
    loads=Part.SEQUENCES,
    success=wire.SEQUENCE_JOINED,
    errors={
        SequenceNotFound: wire.SEQUENCE_UNKNOWN_ON_SUBSCRIBE,
        StepNotAlphanumeric: wire.STEP_NOT_ALPHANUMERIC,
        StepNotFound: wire.STEP_UNKNOWN,
    },
    example={"sequence_name": "Welcome", "step": "1"},
)
def subscribe_lead_to_sequence_at_step(
    call: LeadCall,
    sequence_name: Annotated[str, Name(empty=wire.SEQUENCE_EMPTY)],
    step: Annotated[str, Name(empty=wire.STEP_EMPTY)],
) -> None:
    """Start the lead in a sequence at the step with this box number (`1`, `A2`). If it is in it, it stays where it is."""
    sequence = call.account.sequence_named(sequence_name)
    call.lead.enrol(
        sequence.id, sequence.check_box(step), call.desk.now, version=sequence.version, entry=sequence.entry
    )


@command(
    scope=Scope.SEQUENCES_WRITE,
    loads=Part.SEQUENCES,
    success=wire.SEQUENCE_LEFT,
    errors={SequenceNotFound: wire.SEQUENCE_UNKNOWN_ON_UNSUBSCRIBE},
    example={"sequence_name": "Welcome"},
)
def unsubscribe_lead_from_sequence(
    call: LeadCall, sequence_name: Annotated[str, Name(empty=wire.SEQUENCE_EMPTY)]
) -> None:
    """Take the lead out of a sequence. If it is not in it, nothing happens."""
    call.lead.unenrol(call.account.sequence_named(sequence_name).id, call.desk.now)
