"""People sign in to the pages."""

import sqlalchemy as sa


def up(connection: sa.Connection) -> None:
    rowless = " WITHOUT ROWID" if connection.dialect.name == "sqlite" else ""
    for sql in (
        """CREATE TABLE users (
            id BIGINT NOT NULL, email TEXT NOT NULL, name TEXT NOT NULL, password_hash TEXT NOT NULL,
            totp_secret TEXT NOT NULL, totp_used BIGINT NOT NULL, language TEXT NOT NULL, theme TEXT NOT NULL,
            created_at BIGINT NOT NULL, PRIMARY KEY (id))""",
        "CREATE TABLE recovery_codes (user_id BIGINT NOT NULL, code_hash TEXT NOT NULL, PRIMARY KEY (user_id, code_hash))",
        """CREATE TABLE memberships (
            account_id BIGINT NOT NULL, user_id BIGINT NOT NULL, role TEXT NOT NULL, created_at BIGINT NOT NULL,
            PRIMARY KEY (account_id, user_id))""",
        """CREATE TABLE sessions (
            digest TEXT NOT NULL, user_id BIGINT NOT NULL, account_id BIGINT NOT NULL, created_at BIGINT NOT NULL,
            seen_at BIGINT NOT NULL, address TEXT NOT NULL, agent TEXT NOT NULL, notice TEXT NOT NULL,
            PRIMARY KEY (digest))""",
        """CREATE TABLE one_time_links (
            digest TEXT NOT NULL, kind TEXT NOT NULL, account_id BIGINT, email TEXT NOT NULL,
            role TEXT NOT NULL, user_id BIGINT, created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL,
            PRIMARY KEY (digest))""",
        """CREATE TABLE audit_log (
            account_id BIGINT NOT NULL, id BIGINT NOT NULL, at BIGINT NOT NULL, user_id BIGINT NOT NULL,
            who TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL, PRIMARY KEY (account_id, id))""",
    ):
        connection.execute(sa.text(sql + rowless))
    for sql in (
        "CREATE UNIQUE INDEX users_email ON users (email)",
        "CREATE INDEX memberships_user ON memberships (user_id)",
        "CREATE INDEX sessions_user ON sessions (user_id)",
    ):
        connection.execute(sa.text(sql))
