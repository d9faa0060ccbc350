"""What calls under an `Idempotency-Key` were answered, for those that change an account and not a lead.

What is done to leads is stored with its answer by the batches.
"""

from datetime import datetime

import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.times import to_micros

_CALLS = schema.idempotent_calls


def find(connection: sa.Connection, account_id: int, caller: str, key: str) -> tuple[str, str] | None:
    """(body digest, answer) of the call that came under this key before."""
    here = (_CALLS.c.account_id == account_id) & (_CALLS.c.app_id == caller) & (_CALLS.c.idempotency_key == key)
    row = connection.execute(sa.select(_CALLS.c.body_digest, _CALLS.c.answer).where(here)).one_or_none()
    return None if row is None else (row.body_digest, row.answer)


def put(
    connection: sa.Connection, account_id: int, caller: str, key: str, digest: str, answer: str, now: datetime
) -> None:
    values = {"account_id": account_id, "app_id": caller, "idempotency_key": key, "body_digest": digest}
    values |= {"answer": answer, "at": to_micros(now), "lead": None}
    connection.execute(sa.insert(_CALLS).values(values))
