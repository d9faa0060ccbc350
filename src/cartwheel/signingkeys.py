"""What this installation signs with: its domains' DKIM keys, and the secret behind the links in its mails."""

import asyncio
import base64
import secrets
from collections.abc import Sequence

import sqlalchemy as sa

from cartwheel import dkim, schema
from cartwheel.db import Database
from cartwheel.links import Signer

_LINKS = "links"


def link_signer(database: Database) -> Signer:
    """The signer of links, whose secret is made when it is first needed; all processes find the same."""
    with database.read() as connection:
        found = _link_secret(connection)
    return Signer(base64.b64decode(found or _make_link_secret(database)))


def _link_secret(connection: sa.Connection) -> str | None:
    table = schema.secrets
    return connection.execute(sa.select(table.c.value).where(table.c.name == _LINKS)).scalar_one_or_none()


def _make_link_secret(database: Database) -> str:
    with database.write() as connection:
        if database.name == "postgresql":
            connection.execute(sa.text("LOCK TABLE secrets IN SHARE ROW EXCLUSIVE MODE"))
        found = _link_secret(connection)  # another process may have been quicker
        if found is None:
            found = base64.b64encode(secrets.token_bytes(32)).decode()
            connection.execute(sa.insert(schema.secrets).values(name=_LINKS, value=found))
        return found


class SigningKeys:
    """The DKIM keys of accounts, read again when the catalog has changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[int, tuple[int, Sequence[dkim.Signer]]] = {}

    async def of(self, account_id: int, catalog_version: int) -> Sequence[dkim.Signer]:
        known = self._known.get(account_id)
        if known is None or known[0] != catalog_version:
            signers = await asyncio.to_thread(self._read, account_id)
            known = self._known[account_id] = (catalog_version, signers)
        return known[1]

    def _read(self, account_id: int) -> Sequence[dkim.Signer]:
        table = schema.sender_domains
        with self._database.read() as connection:
            rows = connection.execute(sa.select(table).where(table.c.account_id == account_id)).all()
        return [dkim.Signer(row.domain, row.selector, row.private_key.encode()) for row in rows]
