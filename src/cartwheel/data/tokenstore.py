"""Bearer tokens of /v1: made, revoked, restored. The catalog holds those that there are, by their digests."""

import json
from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from cartwheel.accounts import MOST
from cartwheel.data import catalog, catalogtables
from cartwheel.errors import AccountFull
from cartwheel.times import micros_or_none, moment_or_none, to_micros

_TOKENS = catalogtables.api_tokens


def add(
    connection: sa.Connection,
    account_id: int,
    *,
    digest: str,
    name: str,
    scopes: Iterable[str],
    rate_limit: int,
    expires_at: datetime | None,
    now: datetime,
) -> int:
    """Returns its number. Raises `AccountFull`."""
    mine = sa.select(sa.func.count()).select_from(_TOKENS).where(_TOKENS.c.account_id == account_id)
    if connection.execute(mine).scalar_one() >= MOST["tokens"]:
        raise AccountFull(f"tokens: {MOST['tokens']} at most, those that were revoked counted")
    number = catalog.next_id(connection, _TOKENS, account_id)
    row = {
        "account_id": account_id,
        "id": number,
        "digest": digest,
        "name": name,
        "scopes": json.dumps(sorted(scopes)),
        "rate_limit": rate_limit,
        "created_at": to_micros(now),
        "expires_at": micros_or_none(expires_at),
    }
    connection.execute(sa.insert(_TOKENS).values(row))
    return number


def revoke(connection: sa.Connection, account_id: int, number: int, now: datetime) -> bool:
    """Whether the account has such a token, and it was good."""
    good = _TOKENS.c.revoked_at.is_(None) & (_TOKENS.c.expires_at.is_(None) | (_TOKENS.c.expires_at > to_micros(now)))
    revoked = sa.update(_TOKENS).where(_here(account_id, number), good).values(revoked_at=to_micros(now))
    return connection.execute(revoked).rowcount == 1


def restore(connection: sa.Connection, account_id: int, number: int, since: datetime) -> bool:
    """Whether there is such a token that was revoked since then."""
    recently = _TOKENS.c.revoked_at >= to_micros(since)
    restored = sa.update(_TOKENS).where(_here(account_id, number), recently).values(revoked_at=None)
    return connection.execute(restored).rowcount == 1


def used(connection: sa.Connection, account_id: int) -> dict[int, datetime | None]:
    """When each token was last used, about, by its number."""
    query = sa.select(_TOKENS.c.id, _TOKENS.c.used_at).where(_TOKENS.c.account_id == account_id)
    return {row.id: moment_or_none(row.used_at) for row in connection.execute(query)}


def note_use(connection: sa.Connection, account_id: int, number: int, now: datetime) -> None:
    connection.execute(sa.update(_TOKENS).where(_here(account_id, number)).values(used_at=to_micros(now)))


def _here(account_id: int, number: int) -> sa.ColumnElement[bool]:
    return (_TOKENS.c.account_id == account_id) & (_TOKENS.c.id == number)
