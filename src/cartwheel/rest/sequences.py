"""Sequences: written as text, as account files have them, and published."""

import sqlalchemy as sa

from cartwheel import accounts
from cartwheel.accountfiles import accountexport, drafting, sequencefile
from cartwheel.accountfiles.drafting import Edited
from cartwheel.accounts import Account, name_key
from cartwheel.data import draftstore
from cartwheel.people import Right
from cartwheel.rest.calls import Call
from cartwheel.rest.named import renewed
from cartwheel.rest.operations import operation
from cartwheel.rest.problems import ACCOUNT_FULL, CANNOT_RUN, INVALID, NAME_TAKEN, NOT_THERE, Refusal
from cartwheel.rest.records import (
    FindingRecord,
    Number,
    Published,
    SequencePage,
    SequenceRecord,
    SequencesTaken,
    SequenceText,
    WholeSequence,
)


def _sequence(one: accounts.Sequence) -> SequenceRecord:
    return SequenceRecord(
        id=one.id,
        name=one.name,
        public_name=one.public_name,
        version=one.version,
        boxes=list(one.boxes),
        paused=one.paused,
        archived=one.archived_at is not None,
    )


def _numbered(account: Account, number: int) -> accounts.Sequence:
    found = account.sequence_by_id.get(number)
    if found is None:
        raise Refusal(NOT_THERE, f"The account has no sequence {number}.")
    return found


def _findings(account: Account, found: Edited) -> list[FindingRecord]:
    told = drafting.findings(account, found.sequence, found.draft)
    return [FindingRecord(box=one.box, text=one.text, stops=one.stops) for one in told]


def _whole(account: Account, found: Edited) -> WholeSequence:
    return WholeSequence(
        sequence=_sequence(found.sequence),
        text=accountexport.write_sequences([found.part]),
        changed=found.changed,
        findings=_findings(account, found),
    )


@operation("GET", "/v1/sequences", scope=Right.ACCOUNT_READ, example={})
def read_sequences(call: Call) -> SequencePage:
    """All sequences of the account, without their steps."""
    return SequencePage(sequences=[_sequence(one) for one in call.account.sequences.values()])


@operation("GET", "/v1/sequences/{sequence}", scope=Right.ACCOUNT_READ, problems=(NOT_THERE,), example={"sequence": 1})
def read_sequence(call: Call, *, sequence: Number) -> WholeSequence:
    """One sequence with its steps as text, and what is to be said of them."""
    one = _numbered(call.account, sequence)
    with call.database.read() as connection:
        return _whole(call.account, drafting.read(connection, call.account, one))


_EXAMPLE = """\
[[sequences]]
name = "Spring"

[[sequences.steps]]
box = "1"
type = "email"
subject = "Time to sow, {first_name|friend}"
markdown = "The ground is warm enough."
"""


@operation(
    "POST",
    "/v1/sequences",
    scope=Right.SEQUENCES_WRITE,
    problems=(NAME_TAKEN, ACCOUNT_FULL),
    example={"body": {"text": _EXAMPLE}},
)
def write_sequences(call: Call, body: SequenceText) -> SequencesTaken:
    """Take the sequences in the text as drafts: new ones are made, of known ones the steps are replaced.

    Nothing runs before it is published.
    """
    parts = sequencefile.read_text(body.text)
    if not parts:
        raise Refusal(INVALID, "There is no [[sequences]] in the text.", places={"/text": "has no [[sequences]]"})
    keys = [name_key(part.name) for part in parts]
    if len(set(keys)) < len(keys):
        raise Refusal(INVALID, "Two sequences in the text have the same name.")

    def do(connection: sa.Connection, account: Account) -> SequencesTaken:
        for part in parts:
            if name_key(part.name) in account.sequences:
                drafting.take(connection, account, part, call.now)
            else:
                drafting.add(connection, account.id, part, part.steps, call.now)
        fresh = renewed(connection, account)
        found = [drafting.read(connection, fresh, fresh.sequences[key]) for key in keys]
        return SequencesTaken(sequences=[_whole(fresh, one) for one in found])

    return call.change(do)


@operation(
    "POST",
    "/v1/sequences/{sequence}/publish",
    scope=Right.SEQUENCES_WRITE,
    problems=(NOT_THERE, CANNOT_RUN, ACCOUNT_FULL),
    example={"sequence": 1},
)
def publish_sequence(call: Call, *, sequence: Number) -> Published:
    """Make the draft the version that leads start with from now on. Those under way keep to theirs."""

    def do(connection: sa.Connection, account: Account) -> Published:
        one = _numbered(account, sequence)
        draftstore.lock(connection, account.id, one.id)
        found = drafting.read(connection, account, one)
        told = _findings(account, found)
        stopping = {f"box {finding.box}": finding.text for finding in told if finding.stops}
        if not found.draft.steps:
            raise Refusal(CANNOT_RUN, "There is no step yet.")
        if stopping:
            box, text = next(iter(stopping.items()))
            raise Refusal(CANNOT_RUN, f"{box}: {text}", places=stopping)
        if found.changed:
            drafting.release(connection, account, found, call.now)
        else:
            draftstore.drop(connection, account.id, one.id)
        fresh = _numbered(renewed(connection, account), sequence)
        return Published(sequence=_sequence(fresh), changed=found.changed, findings=told)

    return call.change(do)


@operation(
    "POST",
    "/v1/sequences/{sequence}/pause",
    scope=Right.SEQUENCES_WRITE,
    problems=(NOT_THERE,),
    example={"sequence": 1},
)
def pause_sequence(call: Call, *, sequence: Number) -> SequenceRecord:
    """Have everybody in the sequence wait where they are."""
    return _pause(call, sequence, paused=True)


@operation(
    "POST",
    "/v1/sequences/{sequence}/resume",
    scope=Right.SEQUENCES_WRITE,
    problems=(NOT_THERE,),
    example={"sequence": 1},
)
def resume_sequence(call: Call, *, sequence: Number) -> SequenceRecord:
    """Let a paused sequence go on; delays that were running begin anew."""
    return _pause(call, sequence, paused=False)


def _pause(call: Call, number: int, *, paused: bool) -> SequenceRecord:
    def do(connection: sa.Connection, account: Account) -> SequenceRecord:
        one = _numbered(account, number)
        sequencefile.set_paused(connection, account.id, one.id, call.now, paused=paused)
        return _sequence(_numbered(renewed(connection, account), number))

    return call.change(do)
