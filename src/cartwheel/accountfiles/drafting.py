"""Sequences as they are written: their drafts, what is to be said of them, and publishing."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from cartwheel import accounts
from cartwheel.accountfiles import sequencefile
from cartwheel.accountfiles.fileparts import SequencePart
from cartwheel.accountfiles.sequencefile import Finding
from cartwheel.accounts import Account, name_key
from cartwheel.data import catalogchanges, draftstore, flowstore, schema
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.steps import AnyStep
from cartwheel.times import to_micros

EMPTY = Flow(())


class Edited(NamedTuple):
    """A sequence with the steps that run, and those that are to be."""

    sequence: accounts.Sequence
    published: Flow
    draft: Flow
    """As published, if nothing is changed."""

    @property
    def changed(self) -> bool:
        return list(self.published.steps) != list(self.draft.steps)

    @property
    def seen(self) -> str:
        """What a page says that it showed, for a form that publishes it."""
        return draftstore.digest(self.draft.steps, self.sequence.version)

    @property
    def part(self) -> SequencePart:
        """The draft as an account file has it."""
        one = self.sequence
        return SequencePart(one.name, one.public_name, one.paused, one.entry, list(self.draft.steps))


def read(connection: sa.Connection, account: Account, sequence: accounts.Sequence) -> Edited:
    published = flowstore.read(connection, (account.id, sequence.id, sequence.version)) or EMPTY
    draft = draftstore.read(connection, account.id, sequence.id)
    return Edited(sequence, published, published if draft is None else draft)


def add(connection: sa.Connection, account_id: int, part: SequencePart, draft: Sequence[AnyStep], now: datetime) -> int:
    """A sequence that nobody can be in yet, with a draft of its steps. Raises `NameTaken`."""
    values = sequencefile.row_of(part, None, to_micros(now)) | {"boxes": "[]", "version": 0, "hears": "[]"}
    values |= {"paused": False, "resumed_at": None, "archived_at": None}
    number = catalogchanges.add_named(connection, schema.sequences, account_id, values.pop("name"), now, **values)
    draftstore.drop(connection, account_id, number)
    draftstore.put(connection, account_id, number, draft, [], now)
    return number


def take(connection: sa.Connection, account: Account, part: SequencePart, now: datetime) -> None:
    """Make the steps the draft of a sequence that is there, leaving all else of it."""
    known = account.sequences[name_key(part.name)]
    draftstore.lock(connection, account.id, known.id)
    before = read(connection, account, known).draft
    draftstore.put(connection, account.id, known.id, part.steps, before.steps, now)


def release(connection: sa.Connection, account: Account, found: Edited, now: datetime) -> int | None:
    """Make the draft that was looked at the version that runs. None if there is another one meanwhile."""
    sequence = found.sequence
    running = draftstore.lock(connection, account.id, sequence.id)
    if running != sequence.version or read(connection, account, sequence).seen != found.seen:
        return None
    version = sequencefile.release(connection, account.id, sequence.id, found.part, to_micros(now))
    draftstore.drop(connection, account.id, sequence.id)
    return version


def with_steps(account: Account, sequence: accounts.Sequence, flow: Flow) -> Account:
    """The account as it is when the steps are published."""
    fresh = replace(
        sequence, boxes=tuple(step.box for step in flow.steps), hears=flow.hears, version=max(1, sequence.version)
    )
    return replace(account, sequences={**account.sequences, name_key(sequence.name): fresh})


def findings(account: Account, sequence: accounts.Sequence, flow: Flow) -> list[Finding]:
    """What is to be said of a draft, what stops it first."""
    found = sequencefile.findings(flow.steps, with_steps(account, sequence, flow))
    return sorted(found, key=lambda finding: not finding.stops)
