"""Other systems are told what happens: endpoints, and the log of deliveries."""

import sqlalchemy as sa


def up(connection: sa.Connection) -> None:
    rowless = " WITHOUT ROWID" if connection.dialect.name == "sqlite" else ""
    for sql in (
        f"""CREATE TABLE hook_endpoints (
            account_id BIGINT NOT NULL, id BIGINT NOT NULL, name TEXT NOT NULL, name_key TEXT NOT NULL,
            url TEXT NOT NULL, enabled BOOLEAN NOT NULL, events TEXT NOT NULL, score BIGINT NOT NULL,
            numbers_as_strings BOOLEAN NOT NULL, not_from TEXT NOT NULL, secret TEXT NOT NULL,
            created_at BIGINT NOT NULL, failing_since BIGINT, paused_at BIGINT, paused_why TEXT NOT NULL,
            deleted_at BIGINT,
            PRIMARY KEY (account_id, id)){rowless}""",
        "CREATE UNIQUE INDEX hook_endpoints_name ON hook_endpoints (account_id, name_key) WHERE deleted_at IS NULL",
        f"""CREATE TABLE hook_deliveries (
            account_id BIGINT NOT NULL, lead_id BIGINT NOT NULL, id BIGINT NOT NULL, endpoint BIGINT NOT NULL,
            action TEXT NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL, queued_at BIGINT NOT NULL,
            next_at BIGINT, attempts BIGINT NOT NULL, tried_at BIGINT, micros BIGINT, status INTEGER,
            answer TEXT NOT NULL, trouble TEXT NOT NULL,
            PRIMARY KEY (account_id, lead_id, id, endpoint)){rowless}""",
        """CREATE INDEX hook_deliveries_due ON hook_deliveries (account_id, endpoint, next_at, id)
            WHERE next_at IS NOT NULL""",
        """CREATE INDEX hook_deliveries_waiting ON hook_deliveries (account_id, endpoint, lead_id, id)
            WHERE next_at IS NOT NULL""",
        """CREATE INDEX hook_deliveries_parked ON hook_deliveries (account_id, endpoint, id, lead_id)
            WHERE state = 'parked'""",
        "CREATE INDEX hook_deliveries_newest ON hook_deliveries (account_id, endpoint, id, lead_id)",
        "CREATE INDEX hook_deliveries_age ON hook_deliveries (queued_at) WHERE state = 'delivered'",
        "CREATE INDEX hook_deliveries_old ON hook_deliveries (queued_at) WHERE state <> 'delivered'",
    ):
        connection.execute(sa.text(sql))
