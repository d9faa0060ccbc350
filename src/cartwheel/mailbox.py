"""The test mailbox: what would have been sent, kept whole in the database instead of leaving the machine."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from email import message_from_bytes, policy
from typing import NamedTuple

import sqlalchemy as sa

from cartwheel import schema
from cartwheel.db import Database
from cartwheel.errors import Unavailable
from cartwheel.mails import Mail
from cartwheel.outgoing import Outgoing
from cartwheel.replies import Fate, Outcome, Phase
from cartwheel.smtpurl import Server
from cartwheel.times import from_micros, to_micros

MAILBOX = "test mailbox"

SERVER = Server(host=MAILBOX, port=0, connections=50)


class MailboxTransport:
    """Takes every mail."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def send(self, message: Outgoing, on_final_dot: Callable[[], None] | None = None) -> Outcome:
        try:
            await asyncio.to_thread(self._keep, message)
        except Unavailable as trouble:
            return Outcome(Fate.SERVER_TROUBLE, Phase.CONNECT, str(trouble))
        if on_final_dot is not None:
            on_final_dot()
        return Outcome(Fate.ACCEPTED, Phase.DOT, "kept in the test mailbox", 250)

    def _keep(self, message: Outgoing) -> None:
        mail: Mail
        account_id, lead_id, mail = message.tag
        table = schema.test_mailbox
        key = {"account_id": account_id, "lead_id": lead_id, "mail": mail.key}
        with self._database.write() as connection:
            connection.execute(sa.delete(table).filter_by(**key))
            connection.execute(
                sa.insert(table).values(
                    **key,
                    at=to_micros(self._clock()),
                    sender=message.envelope_from,
                    recipient=message.to,
                    subject=str(message_from_bytes(message.data, policy=policy.default)["Subject"]),
                    message=message.data,
                )
            )

    async def close(self) -> None:
        """Nothing to close."""


class Kept(NamedTuple):
    """A mail in the test mailbox."""

    lead_id: int
    mail: int
    at: datetime
    sender: str
    recipient: str
    subject: str


def kept(connection: sa.Connection, account_id: int, most: int) -> Sequence[Kept]:
    """The newest first."""
    table = schema.test_mailbox
    columns = (table.c.lead_id, table.c.mail, table.c.at, table.c.sender, table.c.recipient, table.c.subject)
    query = sa.select(*columns).where(table.c.account_id == account_id).order_by(table.c.at.desc()).limit(most)
    return [Kept(row[0], row[1], from_micros(row[2]), *row[3:]) for row in connection.execute(query)]


def message(connection: sa.Connection, account_id: int, lead_id: int, mail: int) -> bytes | None:
    """The whole mail."""
    table = schema.test_mailbox
    query = sa.select(table.c.message).filter_by(account_id=account_id, lead_id=lead_id, mail=mail)
    return connection.execute(query).scalar_one_or_none()
