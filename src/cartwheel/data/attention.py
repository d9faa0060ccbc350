"""What an account has to be told of, counted as far as it matters."""

from typing import NamedTuple

import sqlalchemy as sa

from cartwheel.data import hookstore, importstore, mailledger, schema, signingkeys
from cartwheel.leads.mails import MailState

MOST = 1000
"""More are many."""

MOST_NAMED = 5


class Attention(NamedTuple):
    """How many runs and mails somebody has to see to, up to `MOST`, and what there is at all."""

    parked: dict[int, int]
    """How many leads are stuck in each sequence where any is."""
    in_doubt: int
    in_trouble: int
    """Mails that mail servers did not take yet."""
    signs: frozenset[str]
    """The domains for which there are DKIM keys."""
    has_mail: bool
    webhooks: tuple[tuple[int, str, bool], ...]
    """Number and name of those that wait for somebody to resume them (true), or whose other side fails."""

    imports: tuple[tuple[int, str], ...]
    """Number and file of those that stopped by themselves."""


def read(connection: sa.Connection, account_id: int) -> Attention:
    runs, mails = schema.enrolments, schema.mails
    parked = sa.select(runs.c.sequence_id).where(runs.c.account_id == account_id, runs.c.latest, schema.RUNS_PARKED)
    stuck = parked.limit(MOST).subquery()
    by_sequence = sa.select(stuck.c.sequence_id, sa.func.count().label("leads")).group_by(stuck.c.sequence_id)
    any_mail = sa.select(mails.c.id).where(mails.c.account_id == account_id).limit(1)
    return Attention(
        parked={row.sequence_id: row.leads for row in connection.execute(by_sequence)},
        in_doubt=mailledger.counted(connection, account_id, MailState.IN_DOUBT, MOST),
        in_trouble=mailledger.in_trouble(connection, account_id, MOST),
        signs=frozenset(key.signer.domain for key in signingkeys.stored(connection, account_id)),
        has_mail=connection.execute(any_mail).first() is not None,
        webhooks=tuple(hookstore.in_need(connection, account_id)),
        imports=tuple(importstore.given_up(connection, account_id, MOST_NAMED)),
    )
