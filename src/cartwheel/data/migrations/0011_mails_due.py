"""A run counts the mails that its steps have put into the ledger, so that a row that is lost there is missed."""

import sqlalchemy as sa

COUNTED = """
UPDATE enrolments SET mails_due = (
    SELECT COUNT(*) FROM mails m
    WHERE m.account_id = enrolments.account_id AND m.lead_id = enrolments.lead_id AND m.run = enrolments.id
)
"""


def up(connection: sa.Connection) -> None:
    connection.execute(sa.text("ALTER TABLE enrolments ADD COLUMN mails_due BIGINT NOT NULL DEFAULT 0"))
    connection.execute(sa.text(COUNTED))
