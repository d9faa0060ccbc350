"""The ledger of mail is read newest first, and what happens is counted by the day."""

from collections import Counter
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa

_TABLE = """CREATE TABLE daily_counts (
    account_id BIGINT NOT NULL, day BIGINT NOT NULL, what TEXT NOT NULL, slot BIGINT NOT NULL, number BIGINT NOT NULL,
    PRIMARY KEY (account_id, day, what, slot))"""

_INDEXES = (
    "CREATE INDEX mails_newest ON mails (account_id, id, lead_id)",
    "CREATE INDEX mails_newest_of_sequence ON mails (account_id, sequence_id, id, lead_id)",
    "CREATE INDEX mails_newest_in_state ON mails (account_id, state, id, lead_id) WHERE state <> 'accepted'",
    "CREATE INDEX suppressions_newest ON suppressions (account_id, at, email) WHERE reason <> ''",
    "CREATE INDEX enrolments_parked ON enrolments (account_id, sequence_id) WHERE status = 'parked'",
)

_QUARTER = 900_000_000
"""Microseconds: every zone's days begin at a full quarter of an hour."""

_KINDS = "'mail_sent', 'mail_not_sent', 'mail_bounced', 'mail_opened', 'mail_clicked'"

_SO_FAR = (
    f"SELECT account_id, at / {_QUARTER}, kind, count(*) FROM events WHERE kind IN ({_KINDS}) GROUP BY 1, 2, 3",
    f"SELECT account_id, created_at / {_QUARTER}, 'lead_created', count(*) FROM leads GROUP BY 1, 2",
    f"SELECT account_id, deleted_at / {_QUARTER}, 'lead_gone', count(*) FROM leads WHERE deleted_at IS NOT NULL GROUP BY 1, 2",
)


def up(connection: sa.Connection) -> None:
    connection.execute(sa.text(_TABLE + (" WITHOUT ROWID" if connection.dialect.name == "sqlite" else "")))
    for statement in _INDEXES:
        connection.execute(sa.text(statement))
    rows = [
        {"account": account_id, "day": day, "what": what, "number": number}
        for (account_id, day, what), number in so_far(connection).items()
    ]
    if rows:
        connection.execute(sa.text("INSERT INTO daily_counts VALUES (:account, :day, :what, 0, :number)"), rows)


def so_far(connection: sa.Connection) -> Counter[tuple[int, int, str]]:
    """By account, day and what."""
    zones = {number: _zone(name) for number, name in connection.execute(sa.text("SELECT id, timezone FROM accounts"))}
    counts: Counter[tuple[int, int, str]] = Counter()
    for query in _SO_FAR:
        for account_id, quarter, what, number in connection.execute(sa.text(query)):
            at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=quarter * _QUARTER)
            counts[account_id, at.astimezone(zones.get(account_id, UTC)).toordinal(), what] += number
    return counts


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
