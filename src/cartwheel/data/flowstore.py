"""The versions of sequences in the database: published, and read by who takes leads along them."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.data.db import Database
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.steps import AnyStep
from cartwheel.times import to_micros

log = logging.getLogger(__name__)

FlowKey = tuple[int, int, int]
"""(account id, sequence id, version)"""

_decoder = msgspec.json.Decoder(list[AnyStep])


def encode(steps: Sequence[AnyStep]) -> str:
    return msgspec.json.encode(steps).decode()


def decode(text: str) -> Flow:
    return Flow(tuple(_decoder.decode(text)))


def read(connection: sa.Connection, key: FlowKey) -> Flow | None:
    """The flow of this version, if there is one."""
    table = schema.flows
    query = sa.select(table.c.steps).where(
        table.c.account_id == key[0], table.c.sequence_id == key[1], table.c.version == key[2]
    )
    text = connection.execute(query).scalar_one_or_none()
    return None if text is None else decode(text)


def versions(connection: sa.Connection, account_id: int, sequence_id: int) -> Iterator[tuple[int, Flow]]:
    """All that there are, oldest first; read one by one, because they may hold a lot of text."""
    table = schema.flows
    here = (table.c.account_id == account_id) & (table.c.sequence_id == sequence_id)
    query = sa.select(table.c.version).where(here).order_by(table.c.version)
    for version in connection.execute(query).scalars().all():
        flow = read(connection, (account_id, sequence_id, version))
        if flow is not None:
            yield version, flow


def publish(connection: sa.Connection, account_id: int, sequence_id: int, flow: Flow, now: int) -> int:
    """Make this the newest version of a sequence; returns its number. Whoever is under way keeps to the old one."""
    table = schema.flows
    here = (table.c.account_id == account_id) & (table.c.sequence_id == sequence_id)
    newest = sa.select(sa.func.coalesce(sa.func.max(table.c.version), 0)).where(here)
    version = int(connection.execute(newest).scalar_one()) + 1
    connection.execute(
        sa.insert(table).values(
            account_id=account_id, sequence_id=sequence_id, version=version, steps=encode(flow.steps), published_at=now
        )
    )
    return version


KEPT_FOR = timedelta(days=30)
"""So long a version that nobody uses is kept after another has taken its place."""

MOST_FORGOTTEN = 20
"""Versions that are deleted at one look."""


def forget(database: Database, now: datetime) -> int:
    """Away with old versions that no run and no mail is of; returns how many. Reads all runs and mails, if there are any."""
    table, newer = schema.flows, schema.flows.alias()
    same = (newer.c.account_id == table.c.account_id) & (newer.c.sequence_id == table.c.sequence_id)
    later = (newer.c.version > table.c.version) & (newer.c.published_at < to_micros(now - KEPT_FOR))
    replaced = sa.select(*table.primary_key).where(sa.exists().where(same, later))
    with database.read() as connection:
        unused = {tuple(row) for row in connection.execute(replaced)}
        for users in _USERS if unused else ():
            of = (users.c.account_id, users.c.sequence_id, users.c.version)
            unused -= {tuple(row) for row in connection.execute(sa.select(*of).distinct())}
    return sum(_forget_one(database, key) for key in sorted(unused)[:MOST_FORGOTTEN])


def _forget_one(database: Database, key: tuple[int, ...]) -> int:
    """Unless somebody has come to it since."""
    table = schema.flows
    deletion = sa.delete(table).where(sa.tuple_(*table.primary_key) == key)
    for users in _USERS:
        of = (users.c.account_id, users.c.sequence_id, users.c.version)
        deletion = deletion.where(~sa.exists().where(sa.tuple_(*of) == key))
    with database.write() as connection:
        return connection.execute(deletion).rowcount


_USERS = (schema.enrolments, schema.mails)


class Flows:
    """Those that are in use, kept in memory: a version never changes."""

    MOST = 500

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[FlowKey, Flow] = OrderedDict()

    async def learn(self, keys: Iterable[FlowKey]) -> None:
        """Read those that are not in memory yet, without holding up the event loop."""
        for key in keys:
            if self._kept.get(key) is None:
                await asyncio.to_thread(self.get, key)

    def get(self, key: FlowKey) -> Flow | None:
        """None for one that is gone or cannot be read. Reads the database, unless the event loop has called `learn` first."""
        flow = self._kept.get(key)
        if flow is None:
            with self._database.read() as connection:
                flow = self._read(connection, key)
            if flow is not None:
                self._kept[key] = flow
            while len(self._kept) > self.MOST:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return flow

    def _read(self, connection: sa.Connection, key: FlowKey) -> Flow | None:
        """One flow that this program cannot read, such as a newer one's, must not stop all others."""
        try:
            return read(connection, key)
        except msgspec.DecodeError as error:
            log.error("sequence %d of account %d, version %d, cannot be read: %s", key[1], key[0], key[2], error)  # noqa: TRY400 - a line, not a stack
            return None
