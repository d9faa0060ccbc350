"""Bearer tokens of the modern API, and events in the order in which they happened."""

import sqlalchemy as sa


def up(connection: sa.Connection) -> None:
    rowless = " WITHOUT ROWID" if connection.dialect.name == "sqlite" else ""
    connection.execute(
        sa.text(
            """CREATE TABLE api_tokens (
            account_id BIGINT NOT NULL, id BIGINT NOT NULL, digest TEXT NOT NULL, name TEXT NOT NULL,
            scopes TEXT NOT NULL, rate_limit INTEGER NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT,
            revoked_at BIGINT, used_at BIGINT, PRIMARY KEY (account_id, id))"""
            + rowless
        )
    )
    connection.execute(sa.text("CREATE UNIQUE INDEX api_tokens_digest ON api_tokens (digest)"))
    connection.execute(sa.text("CREATE INDEX events_in_order ON events (account_id, id, lead_id)"))
