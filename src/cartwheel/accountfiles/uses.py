"""Which steps of sequences, and which automations, need a list, a tag or a custom field, so that nobody takes it away from under them."""

from dataclasses import replace
from typing import NamedTuple

import sqlalchemy as sa

from cartwheel.accounts import Account, CustomField, MailingList, Tag
from cartwheel.data import flowstore, schema
from cartwheel.leads.leadparts import RunStatus
from cartwheel.mail.composing import content_of, known_names
from cartwheel.mail.merge import BadContent
from cartwheel.mail.render import compile_mail
from cartwheel.sequences.automations import plan_of
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.steps import AnyStep, EmailStep

Entry = MailingList | Tag | CustomField


class Use(NamedTuple):
    """The steps of a version of a sequence; `newest` says whether it is the one that starts now."""

    sequence: str
    sequence_id: int
    newest: bool
    boxes: tuple[str, ...]
    automation: str = ""
    """Instead of a sequence, the automation that needs it."""


def of(connection: sa.Connection, account: Account, entry: Entry) -> list[Use]:
    """The steps that speak of the entry by its name, in the versions that some lead is in or may begin."""
    without = _without(account, entry)
    uses = []
    for sequence in account.sequences.values():
        for version, flow in flowstore.versions(connection, account.id, sequence.id):
            boxes = tuple(step.box for step in flow.steps if _needs(step, account, without))
            newest = version == sequence.version
            if boxes and (newest or _is_under_way(connection, account.id, sequence.id, version)):
                uses.append(Use(sequence.name, sequence.id, newest, boxes))
    return uses + [Use("", 0, newest=True, boxes=(), automation=name) for name in automations_with(account, without)]


def automations_with(account: Account, without: Account) -> list[str]:
    """The names of the automations that could not be used in the account without what it is without there."""
    plans = {entry.name: plan for entry in account.automations.values() if (plan := plan_of(entry))}
    return [name for name, plan in plans.items() if set(plan.problems(account)) != set(plan.problems(without))]


def automations_of_sequence(account: Account, sequence_id: int) -> list[str]:
    """The names of those that speak of the sequence."""
    kept = {key: entry for key, entry in account.sequences.items() if entry.id != sequence_id}
    return automations_with(account, replace(account, sequences=kept))


def _without(account: Account, entry: Entry) -> Account:
    if isinstance(entry, MailingList):
        return replace(account, lists={key: kept for key, kept in account.lists.items() if kept.id != entry.id})
    if isinstance(entry, Tag):
        return replace(account, tags={key: kept for key, kept in account.tags.items() if kept.id != entry.id})
    return replace(account, fields={key: kept for key, kept in account.fields.items() if kept.id != entry.id})


def _needs(step: AnyStep, account: Account, without: Account) -> bool:
    alone = Flow((step,))
    if set(alone.problems(account)) != set(alone.problems(without)):
        return True
    if without.fields is account.fields or not isinstance(step, EmailStep):
        return False
    try:
        mail = compile_mail(content_of(step))
    except BadContent:
        return False
    return mail.unknown(known_names(account)) != mail.unknown(known_names(without))


def _is_under_way(connection: sa.Connection, account_id: int, sequence_id: int, version: int) -> bool:
    """Whether a lead goes by this version still."""
    table, under_way = schema.enrolments, [RunStatus.ACTIVE.value, RunStatus.PARKED.value]
    query = sa.select(table.c.lead_id).where(
        table.c.account_id == account_id,
        table.c.sequence_id == sequence_id,
        table.c.latest,
        table.c.version == version,
        table.c.status.in_(under_way),
    )
    return connection.execute(query.limit(1)).first() is not None
