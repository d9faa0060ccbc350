"""Drafts: what the next version of a sequence is going to be, as people edit it. Each remembers its last change."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cartwheel.data import flowstore, schema
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.steps import AnyStep
from cartwheel.times import to_micros

_DRAFTS = schema.drafts


def _here(account_id: int, sequence_id: int) -> sa.ColumnElement[bool]:
    return (_DRAFTS.c.account_id == account_id) & (_DRAFTS.c.sequence_id == sequence_id)


def digest(steps: Sequence[AnyStep], version: int = 0) -> str:
    """What forms say they were made from, so that nobody changes or publishes what somebody else has put there since."""
    return hashlib.sha256(f"{version} {flowstore.encode(steps)}".encode()).hexdigest()[:32]


def lock(connection: sa.Connection, account_id: int, sequence_id: int) -> int | None:
    """Nobody else changes or publishes the draft before this transaction ends; the version that runs, None if it is gone."""
    table = schema.sequences
    here = (table.c.account_id == account_id) & (table.c.id == sequence_id)
    return connection.execute(sa.select(table.c.version).where(here).with_for_update()).scalar_one_or_none()


def read(connection: sa.Connection, account_id: int, sequence_id: int) -> Flow | None:
    """The draft, if there is one."""
    text = connection.execute(sa.select(_DRAFTS.c.steps).where(_here(account_id, sequence_id))).scalar_one_or_none()
    return None if text is None else flowstore.decode(text)


def of_account(connection: sa.Connection, account_id: int) -> set[int]:
    """The sequences that have one."""
    query = sa.select(_DRAFTS.c.sequence_id).where(_DRAFTS.c.account_id == account_id)
    return set(connection.execute(query).scalars())


def put(
    connection: sa.Connection,
    account_id: int,
    sequence_id: int,
    steps: Sequence[AnyStep],
    before: Sequence[AnyStep],
    now: datetime,
) -> None:
    """Make these the draft's steps; `before`, which they were until now, can be had again by `undo`."""
    values: dict[str, Any] = {
        "steps": flowstore.encode(steps),
        "before": flowstore.encode(before),
        "changed_at": to_micros(now),
    }
    here = _here(account_id, sequence_id)
    if not connection.execute(sa.update(_DRAFTS).where(here).values(**values)).rowcount:
        connection.execute(sa.insert(_DRAFTS).values(account_id=account_id, sequence_id=sequence_id, **values))


def undo(connection: sa.Connection, account_id: int, sequence_id: int) -> bool:
    """Take the last change back, or make it again; whether there is a draft."""
    swapped = {"steps": _DRAFTS.c.before, "before": _DRAFTS.c.steps}
    statement = sa.update(_DRAFTS).where(_here(account_id, sequence_id)).values(**swapped)
    return connection.execute(statement).rowcount > 0


def drop(connection: sa.Connection, account_id: int, sequence_id: int) -> None:
    connection.execute(sa.delete(_DRAFTS).where(_here(account_id, sequence_id)))
