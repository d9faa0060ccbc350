"""What this installation signs with: its domains' DKIM keys, and the secret behind the links in its mails."""

import asyncio
import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from cartwheel.data import catalog, schema
from cartwheel.data.db import Database
from cartwheel.errors import NameTaken
from cartwheel.mail import dkim
from cartwheel.mail.links import Signer
from cartwheel.times import from_micros, to_micros

_LINKS = "links"

_KEPT = timedelta(days=1)
"""So long a key that was removed on the page can come back."""


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
        with self._database.read() as connection:
            return [key.signer for key in stored(connection, account_id)]


# -- looking and changing --


@dataclass(frozen=True)
class SenderKey:
    """A key with which mail from a domain is signed."""

    signer: dkim.Signer
    created_at: datetime


def stored(connection: sa.Connection, account_id: int, domain: str | None = None) -> list[SenderKey]:
    """Those of an account, or of one of its domains, by their names."""
    table = schema.sender_domains
    here = (table.c.account_id == account_id) & table.c.removed_at.is_(None)
    query = sa.select(table).where(here).order_by(table.c.domain, table.c.selector)
    if domain is not None:
        query = query.where(table.c.domain == domain.lower())
    return [
        SenderKey(dkim.Signer(row.domain, row.selector, row.private_key.encode()), from_micros(row.created_at))
        for row in connection.execute(query)
    ]


def add(
    database: Database, account_id: int, domain: str, selector: str, algorithm: dkim.Algorithm, now: datetime
) -> SenderKey:
    """Make a key: from now on mail from the domain is signed with it. Raises `CannotSign` or `NameTaken`."""
    pem = dkim.new_key(algorithm)
    signer = dkim.Signer(domain, selector, pem)
    place = {"account_id": account_id, "domain": signer.domain, "selector": signer.selector}
    table = schema.sender_domains
    with database.write() as connection:
        catalog.touch(connection, account_id)
        connection.execute(sa.delete(table).filter_by(**place).where(table.c.removed_at.is_not(None)))
        if connection.execute(sa.select(table.c.domain).filter_by(**place)).first() is not None:
            raise NameTaken(f"there is a key {signer.selector} for {signer.domain}: give another --selector")
        values = place | {"private_key": pem.decode(), "created_at": to_micros(now)}
        connection.execute(sa.insert(table).values(values))
    return SenderKey(signer, now)


def remove(database: Database, account_id: int, domain: str, selector: str | None) -> int:
    """Forget a domain's key, or all its keys; returns how many there were. Mail is not signed with them any more."""
    place = {"account_id": account_id, "domain": domain.lower()}
    if selector is not None:
        place["selector"] = selector.lower()
    with database.write() as connection:
        catalog.touch(connection, account_id)
        return connection.execute(sa.delete(schema.sender_domains).filter_by(**place)).rowcount


def lay_aside(database: Database, account_id: int, domain: str, selector: str, now: datetime) -> bool:
    """Stop signing with a key, so that `take_back` undoes it within a day; returns whether there was one."""
    table = schema.sender_domains
    old = table.c.removed_at <= to_micros(now - _KEPT)
    this = (table.c.account_id == account_id) & (table.c.domain == domain) & (table.c.selector == selector)
    with database.write() as connection:
        catalog.touch(connection, account_id)
        connection.execute(sa.delete(table).where(table.c.account_id == account_id, old))
        aside = sa.update(table).where(this & table.c.removed_at.is_(None)).values(removed_at=to_micros(now))
        return connection.execute(aside).rowcount > 0


def take_back(database: Database, account_id: int, domain: str, selector: str) -> bool:
    """Sign with a key again that was laid aside; returns whether it was there still."""
    table = schema.sender_domains
    this = (table.c.account_id == account_id) & (table.c.domain == domain) & (table.c.selector == selector)
    with database.write() as connection:
        catalog.touch(connection, account_id)
        back = sa.update(table).where(this & table.c.removed_at.is_not(None)).values(removed_at=None)
        return connection.execute(back).rowcount > 0
