"""A lead can be erased: what tells of one says so, and of its addresses only keyed hashes stay."""

import base64
import json
import secrets

import sqlalchemy as sa

TABLES = """
CREATE TABLE erased_addresses (
    account_id BIGINT NOT NULL,
    digest TEXT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (account_id, digest)
)
"""

COLUMNS = (
    "ALTER TABLE suppressions ADD COLUMN lead BIGINT",
    "CREATE INDEX suppressions_lead ON suppressions (account_id, lead) WHERE lead IS NOT NULL",
    "ALTER TABLE idempotent_calls ADD COLUMN lead BIGINT",
    "CREATE INDEX idempotent_calls_lead ON idempotent_calls (account_id, lead) WHERE lead IS NOT NULL",
)

WHOSE = """
UPDATE suppressions SET lead = (
    SELECT l.id FROM leads l WHERE l.account_id = suppressions.account_id AND l.email = suppressions.email
)
"""

WHOSE_BEFORE = """
SELECT s.account_id, s.email, MAX(m.lead_id) AS lead FROM mails m
JOIN suppressions s ON s.account_id = m.account_id AND s.email = m.address
WHERE s.lead IS NULL GROUP BY s.account_id, s.email
"""


def up(connection: sa.Connection) -> None:
    sqlite = connection.dialect.name == "sqlite"
    for statement in (TABLES + ("WITHOUT ROWID" if sqlite else ""), *COLUMNS, WHOSE):
        connection.execute(sa.text(statement))
    update = sa.text("UPDATE suppressions SET lead = :lead WHERE account_id = :account_id AND email = :email")
    for row in connection.execute(sa.text(WHOSE_BEFORE)).mappings().all():
        connection.execute(update, dict(row))
    _find_told(connection)
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    connection.execute(sa.text("INSERT INTO secrets VALUES ('erased addresses', :secret)"), {"secret": secret})


def _find_told(connection: sa.Connection) -> None:
    """Whose data the stored answers tell: that of `get_lead`, which stands at the top."""
    key = "account_id, app_id, idempotency_key"
    found = connection.execute(
        sa.text(f"SELECT {key}, answer FROM idempotent_calls WHERE answer LIKE '%\"lead_details\"%'")
    )
    update = sa.text(
        "UPDATE idempotent_calls SET lead = :lead WHERE account_id = :account_id AND app_id = :app_id "
        "AND idempotency_key = :idempotency_key"
    )
    for row in found.mappings().all():
        told = json.loads(row["answer"]).get("lead_details")
        if told:
            connection.execute(update, {**row, "lead": int(told["id"])})
