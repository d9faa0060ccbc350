"""Automations: when something happens to a lead, something is done; and what they have to say to people."""

import sqlalchemy as sa


def up(connection: sa.Connection) -> None:
    rowless = " WITHOUT ROWID" if connection.dialect.name == "sqlite" else ""
    for sql in (
        """CREATE TABLE automations (
            account_id BIGINT NOT NULL, id BIGINT NOT NULL, name TEXT NOT NULL, name_key TEXT NOT NULL,
            active BOOLEAN NOT NULL, plan TEXT NOT NULL, created_at BIGINT NOT NULL, deleted_at BIGINT,
            PRIMARY KEY (account_id, id))""",
        """CREATE TABLE notices (
            account_id BIGINT NOT NULL, lead_id BIGINT NOT NULL, id BIGINT NOT NULL, automation_id BIGINT NOT NULL,
            recipient TEXT NOT NULL, event TEXT NOT NULL, text TEXT NOT NULL, at BIGINT NOT NULL, next_at BIGINT,
            attempts INTEGER NOT NULL, reply TEXT NOT NULL, PRIMARY KEY (account_id, lead_id, id))""",
    ):
        connection.execute(sa.text(sql + rowless))
    for sql in (
        "CREATE UNIQUE INDEX automations_name ON automations (account_id, name_key) WHERE deleted_at IS NULL",
        "CREATE INDEX events_automated ON events (account_id, origin, at) WHERE kind = 'automation_ran'",
        "CREATE INDEX notices_due ON notices (next_at) WHERE next_at IS NOT NULL",
    ):
        connection.execute(sa.text(sql))
