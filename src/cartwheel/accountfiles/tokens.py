"""An account's bearer tokens: made and shown once, revoked, and that taken back."""

from collections.abc import Iterable
from datetime import datetime

from cartwheel.accountfiles.accountkeys import RESTORABLE
from cartwheel.accounts import LONGEST_NAME, Account
from cartwheel.api.credentials import new_secret
from cartwheel.data import catalogchanges, tokenstore
from cartwheel.data.catalog import key_digest
from cartwheel.data.db import Database
from cartwheel.errors import BadAccountFile, NoSuchName
from cartwheel.people import Right

SCOPES = tuple(
    right for right in Right if right not in {Right.EXPORT, Right.INTEGRATIONS, Right.SETTINGS, Right.PEOPLE}
)
"""What a token can be for: what people may do to leads and lists, and nothing that is about who may."""

PREFIX = "cwt_"
"""So that people, and programs that look for secrets where none should be, see what it is."""

USUAL_RATE = 20
HIGHEST_RATE = 1_000_000


def make(
    database: Database,
    account: Account,
    name: str,
    scopes: Iterable[str],
    now: datetime,
    *,
    rate_limit: int = USUAL_RATE,
    expires_at: datetime | None = None,
) -> tuple[int, str]:
    """Its number, and the token itself, which is known to nobody later. Raises `BadAccountFile` or `AccountFull`."""
    scopes = sorted(set(scopes))
    unknown = [scope for scope in scopes if scope not in set(SCOPES)]
    if unknown or not scopes:
        told = f"there is no scope {unknown[0]}" if unknown else "a token needs a scope"
        raise BadAccountFile(f"{told}; there are: {', '.join(SCOPES)}")
    if not name.strip() or len(name) > LONGEST_NAME:
        raise BadAccountFile(f"a token needs a name, of {LONGEST_NAME} characters at most")
    if not 0 <= rate_limit <= HIGHEST_RATE:
        raise BadAccountFile(f"a rate limit is a number from 0 to {HIGHEST_RATE}")
    secret = PREFIX + new_secret()
    with catalogchanges.changing(database, account.id) as connection:
        number = tokenstore.add(
            connection,
            account.id,
            digest=key_digest(secret),
            name=name.strip(),
            scopes=scopes,
            rate_limit=rate_limit,
            expires_at=expires_at,
            now=now,
        )
    return number, secret


def revoke(database: Database, account: Account, number: int, now: datetime) -> None:
    """The token is void from now on. Raises `NoSuchName`."""
    with catalogchanges.changing(database, account.id) as connection:
        if not tokenstore.revoke(connection, account.id, number, now):
            raise NoSuchName(f"the account {account.name} has no token {number} that is good")


def restore(database: Database, account: Account, number: int, now: datetime) -> None:
    """Take back that a token was revoked just now. Raises `NoSuchName`."""
    with catalogchanges.changing(database, account.id) as connection:
        if not tokenstore.restore(connection, account.id, number, now - RESTORABLE):
            raise NoSuchName(f"the account {account.name} has no token {number} that was revoked just now")
