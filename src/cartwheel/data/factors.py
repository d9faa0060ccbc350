"""Second factors: the secret of a person's authenticator program, which of its codes was taken last, and recovery codes.

A recovery code is long and random, and stored as its SHA-256 only.
"""

import base64
import secrets
from collections.abc import Sequence

import sqlalchemy as sa

from cartwheel.data import schema, userstore

RECOVERY_CODES = 10

_CODE_BYTES = 10


def new_recovery_codes() -> list[str]:
    """Ten like `mfrg-2zdf-mztw-q2lk`."""
    return [_code() for _ in range(RECOVERY_CODES)]


def _code() -> str:
    text = base64.b32encode(secrets.token_bytes(_CODE_BYTES)).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def _digest(code: str) -> str:
    return userstore.digest("".join(code.lower().replace("-", " ").split()))


def switch_on(connection: sa.Connection, user_id: int, secret: str, step: int, codes: Sequence[str]) -> None:
    """From now on codes after this time step count."""
    userstore.change(connection, user_id, totp_secret=secret, totp_used=step)
    replace_codes(connection, user_id, codes)


def switch_off(connection: sa.Connection, user_id: int) -> None:
    userstore.change(connection, user_id, totp_secret="", totp_used=0)
    replace_codes(connection, user_id, ())


def replace_codes(connection: sa.Connection, user_id: int, codes: Sequence[str]) -> None:
    table = schema.recovery_codes
    connection.execute(sa.delete(table).where(table.c.user_id == user_id))
    for code in codes:
        connection.execute(sa.insert(table).values(user_id=user_id, code_hash=_digest(code)))


def use_step(connection: sa.Connection, user_id: int, step: int) -> bool:
    """Whether a code of this time step may be taken: none is taken twice, and none after a later one."""
    table = schema.users
    unused = (table.c.id == user_id) & (table.c.totp_used < step)
    return connection.execute(sa.update(table).where(unused).values(totp_used=step)).rowcount == 1


def use_recovery_code(connection: sa.Connection, user_id: int, code: str) -> bool:
    """Whether it is one of those that are left; it is none any more."""
    table = schema.recovery_codes
    this = (table.c.user_id == user_id) & (table.c.code_hash == _digest(code))
    return connection.execute(sa.delete(table).where(this)).rowcount == 1


def codes_left(connection: sa.Connection, user_id: int) -> int:
    table = schema.recovery_codes
    query = sa.select(sa.func.count()).select_from(table).where(table.c.user_id == user_id)
    return int(connection.execute(query).scalar_one())
