"""Accounts with their sequences, as they are simulated: from a file, or from the database."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from cartwheel import times
from cartwheel.accountfiles import accountfile, automationfile, sequencefile
from cartwheel.accountfiles.fileparts import AccountFile
from cartwheel.accounts import Account, Automation, CustomField, MailingList, Option, Sequence, Tag, name_key
from cartwheel.data import leadstore
from cartwheel.data.db import Database
from cartwheel.data.flowstore import Flows
from cartwheel.data.leadstore import LeadKey, Wanted
from cartwheel.errors import LeadNotFound
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part
from cartwheel.sequences.actions import StartSequence
from cartwheel.sequences.automations import plan_of
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.schedule import At, BadSchedule
from cartwheel.sequences.steps import StartSequenceStep
from cartwheel.simulation.simulator import World
from cartwheel.simulation.stories import BadSimulation

YEARS = range(2000, 3000)


def moment(text: str, account: Account) -> datetime:
    """`2026-12-01`, which begins at midnight, or `2026-12-01T09:00`, in the account's zone. Raises `BadSchedule`."""
    try:
        read = datetime.fromisoformat(text.strip())
        if read.year in YEARS:
            return At(read).moment(account.zone, None) if read.tzinfo is None else read.astimezone(UTC)
    except ValueError:
        pass
    raise BadSchedule("time", text, 'give a date, or a date and a time, like 2026-12-01 or "2026-12-01 09:00"')


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
    """The account with the sequence, those that the lead is in, and those that they start; and the lead.

    `onward` when the lead is to be taken along in the sequence. Raises `BadSimulation` or `LeadNotFound`.
    """
    sequence = sequence_named(name, account)
    lead = asyncio.run(_load(database, key)) if key else None
    runs = [run for run in lead.runs.values() if run.runs] if lead else []
    flows = Flows(database)
    read = {(run.sequence_id, run.version): flows.get((account.id, run.sequence_id, run.version)) for run in runs}
    kept = {key: flow for key, flow in read.items() if flow is not None}
    newest: dict[int, Flow] = {}
    waiting = [sequence, *(other for flow in kept.values() for other in _started(flow, account))]
    waiting += _started_by_automations(account)
    while waiting:
        entry = waiting.pop()
        read_ = own if entry is sequence and own else flows.get((account.id, entry.id, entry.version))
        flow = None if entry.id in newest else read_
        if flow is not None:
            newest[entry.id] = flow
            waiting += _started(flow, account)
    if sequence.id not in newest and not (onward and any(run.sequence_id == sequence.id for run in runs)):
        raise BadSimulation(f"the sequence {sequence.name} has no steps")
    return World(account, newest, kept), lead


def _started(flow: Flow, account: Account) -> list[Sequence]:
    """The sequences that the steps start."""
    names = [name_key(step.sequence) for step in flow.steps if isinstance(step, StartSequenceStep)]
    return [account.sequences[name] for name in names if name in account.sequences]


def _started_by_automations(account: Account) -> list[Sequence]:
    plans = [plan for entry in account.automations.values() if entry.active and (plan := plan_of(entry))]
    names = [name_key(each.sequence) for plan in plans for each in plan.then if isinstance(each, StartSequence)]
    return [account.sequences[name] for name in names if name in account.sequences]


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
    automationfile.check(read.automations, account)
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
                paused=part.paused or bool(part.archived),
            )
            for number, part in enumerate(read.sequences, 1)
        },
        fields={name_key(field.identifier): field for field in _fields(read)},
        mail=wanted.mail,
        automations={
            name_key(part.name): Automation(number, part.name, part.active, part.plan)
            for number, part in enumerate(read.automations, 1)
        },
    )


def _fields(read: AccountFile) -> Iterable[CustomField]:
    taken = max((option.id or 0 for part in read.custom_fields for option in part.options), default=0)
    for number, part in enumerate(read.custom_fields, 1):
        options = []
        for option in part.options:
            taken += option.id is None
            options.append(Option(option.id or taken, option.name))
        yield CustomField(number, part.identifier, part.type, tuple(options))
