"""Keys that overlap while integrations change over, and the API's last calls."""

import sqlalchemy as sa


def up(connection: sa.Connection) -> None:
    rowless = " WITHOUT ROWID" if connection.dialect.name == "sqlite" else ""
    for sql in (
        "ALTER TABLE api_keys ADD COLUMN expires_at BIGINT",
        "ALTER TABLE api_keys ADD COLUMN revoked_at BIGINT",
        "ALTER TABLE api_keys ADD COLUMN used_at BIGINT",
        f"""CREATE TABLE api_calls (
            account_id BIGINT NOT NULL, request_id TEXT NOT NULL, at BIGINT NOT NULL, app TEXT NOT NULL,
            admitted BOOLEAN NOT NULL, ok BOOLEAN NOT NULL, refused TEXT NOT NULL, told TEXT NOT NULL,
            lead BIGINT, other_lead BIGINT, email TEXT NOT NULL, new_email TEXT NOT NULL, other_email TEXT NOT NULL,
            client TEXT NOT NULL, content_type TEXT NOT NULL, query TEXT NOT NULL, body TEXT NOT NULL,
            tree TEXT NOT NULL, answer TEXT NOT NULL, status BIGINT NOT NULL, micros BIGINT NOT NULL,
            PRIMARY KEY (account_id, request_id)){rowless}""",
        "CREATE INDEX api_calls_newest ON api_calls (account_id, at)",
        "CREATE INDEX api_calls_app ON api_calls (account_id, app, admitted, at)",
        "CREATE INDEX api_calls_old ON api_calls (at)",
    ):
        connection.execute(sa.text(sql))
