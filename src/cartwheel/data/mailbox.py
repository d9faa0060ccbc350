"""The test mailbox: what would have been sent, kept whole in the database instead of leaving the machine."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from email import policy
from email.parser import BytesHeaderParser, BytesParser
from typing import NamedTuple

import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.data.db import Database
from cartwheel.data.lanes import Insert, Row
from cartwheel.mail.outgoing import Outgoing
from cartwheel.mail.replies import Fate, Outcome, Phase
from cartwheel.mail.smtpurl import Server
from cartwheel.times import from_micros, to_micros

MAILBOX = "test mailbox"

SERVER = Server(host=MAILBOX, port=0, connections=50)


class MailboxTransport:
    """Takes every mail. It is stored by whoever settles it, in the same transaction."""

    async def send(self, _message: Outgoing, on_final_dot: Callable[[], None] | None = None) -> Outcome:
        if on_final_dot is not None:
            on_final_dot()
        return Outcome(Fate.ACCEPTED, Phase.DOT, "kept in the test mailbox", 250)

    async def close(self) -> None:
        """Nothing to close."""


KEPT = Insert(schema.test_mailbox, update=("at", "sender", "recipient", "subject", "message"))


def row_of(account_id: int, lead_id: int, number: int, message: Outgoing, now: datetime) -> Row:
    """What is stored of a mail that stays here, under a number that no other of the lead has."""
    head = message.data.partition(b"\r\n\r\n")[0]
    subject = str(BytesHeaderParser(policy=policy.default).parsebytes(head)["Subject"])
    return (account_id, lead_id, number, to_micros(now), message.envelope_from, message.to, subject, message.data)


def keep(connection: sa.Connection, row: Row) -> None:
    """Keep one that is not in the ledger, such as a test that somebody sent to themselves."""
    connection.execute(sa.insert(schema.test_mailbox).values(row))


Place = tuple[int, int, int]
"""(microseconds, lead, number)"""


class Kept(NamedTuple):
    """A mail in the test mailbox."""

    lead_id: int
    mail: int
    at: datetime
    sender: str
    recipient: str
    subject: str

    @property
    def place(self) -> Place:
        return to_micros(self.at), self.lead_id, self.mail


def kept(connection: sa.Connection, account_id: int, most: int, after: Place | None = None) -> Sequence[Kept]:
    """The newest first, from the one after the place."""
    table = schema.test_mailbox
    columns = (table.c.lead_id, table.c.mail, table.c.at, table.c.sender, table.c.recipient, table.c.subject)
    order = (table.c.at, table.c.lead_id, table.c.mail)
    query = sa.select(*columns).where(table.c.account_id == account_id)
    if after is not None:
        query = query.where(table.c.at <= after[0], sa.tuple_(*order) < after)
    query = query.order_by(*(column.desc() for column in order)).limit(most)
    return [Kept(row[0], row[1], from_micros(row[2]), *row[3:]) for row in connection.execute(query)]


def leads_of(connection: sa.Connection, account_id: int, mail: int) -> list[int]:
    """To whom a mail of this number is kept: numbers differ within a lead, and rarely stand twice."""
    table = schema.test_mailbox
    return list(connection.execute(sa.select(table.c.lead_id).filter_by(account_id=account_id, mail=mail)).scalars())


def message(connection: sa.Connection, account_id: int, lead_id: int, mail: int) -> bytes | None:
    """The whole mail."""
    table = schema.test_mailbox
    query = sa.select(table.c.message).filter_by(account_id=account_id, lead_id=lead_id, mail=mail)
    return connection.execute(query).scalar_one_or_none()


def clear(connection: sa.Connection, account_id: int) -> int:
    """Throw an account's mails away; returns how many there were."""
    table = schema.test_mailbox
    return connection.execute(sa.delete(table).where(table.c.account_id == account_id)).rowcount


KEPT_FOR = timedelta(days=30)
MOST_FORGOTTEN = 100
"""Mails that are deleted in one transaction: each may be some megabytes long."""


def forget(database: Database, now: datetime) -> int:
    """Away with old mails of one account, a few at a time; returns how many."""
    table, accounts = schema.test_mailbox, schema.accounts
    old = table.c.at < to_micros(now - KEPT_FOR)
    full = sa.select(accounts.c.id).where(sa.exists().where(table.c.account_id == accounts.c.id, old)).limit(1)
    with database.read() as connection:
        account_id = connection.execute(full).scalar_one_or_none()
    if account_id is None:
        return 0
    some = sa.select(*table.primary_key).where(table.c.account_id == account_id, old).limit(MOST_FORGOTTEN)
    with database.write() as connection:
        free = some.with_for_update(skip_locked=True)  # another process may be at it
        return connection.execute(sa.delete(table).where(sa.tuple_(*table.primary_key).in_(free))).rowcount


class Letter(NamedTuple):
    """A mail as a mail program would show it."""

    headers: list[tuple[str, str]]
    text: str
    html: str
    attachments: list[str]
    """Their names."""


def read(raw: bytes) -> Letter:
    parsed = BytesParser(policy=policy.default).parsebytes(raw)
    bodies = (parsed.get_body((kind,)) for kind in ("plain", "html"))
    text, html = ("" if body is None else str(body.get_content()).replace("\r\n", "\n") for body in bodies)
    headers = [(name, str(value)) for name, value in parsed.items()]
    return Letter(headers, text, html, [part.get_filename("") for part in parsed.iter_attachments()])
