"""Sequences are edited as drafts of their next version."""

import sqlalchemy as sa


def up(connection: sa.Connection) -> None:
    rowless = " WITHOUT ROWID" if connection.dialect.name == "sqlite" else ""
    connection.execute(
        sa.text(
            """CREATE TABLE drafts (
            account_id BIGINT NOT NULL, sequence_id BIGINT NOT NULL, steps TEXT NOT NULL, before TEXT NOT NULL,
            changed_at BIGINT NOT NULL, PRIMARY KEY (account_id, sequence_id))"""
            + rowless
        )
    )
