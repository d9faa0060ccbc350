"""An account's API keys: a new one, with or without a time in which the old ones are good as well, and their end."""

from datetime import datetime, timedelta

from cartwheel.accounts import Account
from cartwheel.api.credentials import hash_password, new_secret
from cartwheel.data import catalogchanges
from cartwheel.data.catalog import key_digest
from cartwheel.data.db import Database
from cartwheel.errors import NoSuchName
from cartwheel.times import to_micros

AT_ONCE = timedelta(0)

RESTORABLE = timedelta(minutes=10)
"""So long the revocation of a key can be taken back."""


def rotate(database: Database, account: Account, now: datetime, overlap: timedelta = AT_ONCE) -> dict[str, str]:
    """Give the account a new key and password, and return them. The old ones are good for `overlap` still."""
    api_key, api_password = new_secret(), new_secret()
    password_hash = hash_password(api_password)
    with catalogchanges.changing(database, account.id) as connection:
        catalogchanges.limit_keys(connection, account.id, now + overlap)
        catalogchanges.put_key(connection, account.id, key_digest(api_key), password_hash, to_micros(now))
    return {"api_key": api_key, "api_password": api_password}


def revoke(database: Database, account: Account, digest: str, now: datetime) -> None:
    """The key is void from now on. Raises `NoSuchName`."""
    with catalogchanges.changing(database, account.id) as connection:
        if not catalogchanges.revoke_key(connection, account.id, digest, now):
            raise NoSuchName("the account has no such key any more")


def restore(database: Database, account: Account, digest: str, now: datetime) -> None:
    """Take back that a key was revoked just now. Raises `NoSuchName`."""
    with catalogchanges.changing(database, account.id) as connection:
        if not catalogchanges.restore_key(connection, account.id, digest, now - RESTORABLE):
            raise NoSuchName("the account has no key that was revoked just now")
