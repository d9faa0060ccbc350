"""Accounts with their sequences, as they are simulated: from a file, or from the database."""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from cartwheel import times
from cartwheel.accountfiles import accountfile, sequencefile
from cartwheel.accountfiles.accountfile import AccountFile
from cartwheel.accounts import Account, CustomField, MailingList, Option, Sequence, Tag, name_key
from cartwheel.data import flowstore, leadstore
from cartwheel.data.db import Database
from cartwheel.data.leadstore import LeadKey, Wanted
from cartwheel.errors import LeadNotFound
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.schedule import At
from cartwheel.sequences.steps import StartSequenceStep
from cartwheel.simulation.simulator import World
from cartwheel.simulation.stories import BadSimulation


def moment(text: str, account: Account) -> datetime:
    """`2026-12-01 09:00` or `2026-12-01T09:00`, in the account's zone. Raises `BadSchedule`."""
    return At.read(text.strip().replace("T", " ")).moment(account.zone, None)


def sequence_named(name: str, account: Account) -> Sequence:
    """Raises `BadSimulation`, which names those that there are."""
    found = account.sequences.get(name_key(name))
    if found is None:
        names = ", ".join(account.sequence_names.values()) or "none"
        raise BadSimulation(f"there is no sequence {name}; there are: {names}")
    return found


# -- of the database --


def stored(
    database: Database, account: Account, name: str, key: LeadKey | None, *, onward: bool, own: Flow | None = None
) -> tuple[World, Lead | None]:
    """The account, the sequence and those that it starts, one after the other; and the lead.

    The steps are the newest; `onward`, those that the lead keeps to; or the sequence's `own`. Raises `BadSimulation` or `LeadNotFound`.
    """
    sequence = sequence_named(name, account)
    lead = load_lead(database, key) if key else None
    run = lead.runs.get(sequence.id) if lead and onward else None
    found: dict[int, Flow] = {}
    waiting = [(sequence, run.version if run else sequence.version)]
    with database.read() as connection:
        while waiting:
            entry, version = waiting.pop()
            flow = own if entry is sequence and own else flowstore.read(connection, (account.id, entry.id, version))
            if flow is None:
                raise BadSimulation(f"the sequence {entry.name} has no steps")
            found[entry.id] = flow
            started = [name_key(step.sequence) for step in flow.steps if isinstance(step, StartSequenceStep)]
            others = [account.sequences[other] for other in started if other in account.sequences]
            waiting += [(other, other.version) for other in others if other.id not in found and other.boxes]
    return World(account, found), lead


def load_lead(database: Database, key: LeadKey) -> Lead:
    """All that steps and mails may ask about. Raises `LeadNotFound`."""
    return asyncio.run(_load(database, key))


async def _load(database: Database, key: LeadKey) -> Lead:
    lane = database.lane()
    try:
        loaded = await leadstore.load(lane, [Wanted(*key, None, Part.WHOLE)], times.now)
    finally:
        await lane.close()
    if key not in loaded.leads:
        raise LeadNotFound
    return loaded.leads[key]


# -- of a file --


def of_file(path: Path) -> World:
    """The account of a file and its sequences. Raises `BadAccountFile`."""
    read = accountfile.read_file(path)
    account = _account(read)
    for part in read.sequences:
        sequencefile.check(part, account)
    return World(account, {number: Flow(tuple(part.steps)) for number, part in enumerate(read.sequences, 1)})


def _account(read: AccountFile) -> Account:
    """As it is when the file has been applied to an empty database."""
    wanted = read.account
    return Account(
        id=1,
        name=wanted.name,
        zone=ZoneInfo(wanted.timezone),
        gdpr=wanted.gdpr,
        active=wanted.active,
        lists={
            name_key(entry.name): MailingList(number, entry.name, entry.public_name)
            for number, entry in enumerate(read.lists, 1)
        },
        tags={name_key(tag.name): Tag(number, tag.name) for number, tag in enumerate(read.tags, 1)},
        sequences={
            name_key(part.name): Sequence(
                number,
                part.name,
                public_name=part.public_name,
                boxes=tuple(step.box for step in part.steps),
                hears=Flow(tuple(part.steps)).hears,
                entry=part.entry,
                paused=part.paused,
            )
            for number, part in enumerate(read.sequences, 1)
        },
        fields={name_key(field.identifier): field for field in _fields(read)},
        mail=wanted.mail,
    )


def _fields(read: AccountFile) -> Iterable[CustomField]:
    taken = max((option.id or 0 for part in read.custom_fields for option in part.options), default=0)
    for number, part in enumerate(read.custom_fields, 1):
        options = []
        for option in part.options:
            taken += option.id is None
            options.append(Option(option.id or taken, option.name))
        yield CustomField(number, part.identifier, part.type, tuple(options))
