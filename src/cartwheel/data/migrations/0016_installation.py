"""What is set for the whole installation on its pages: the mail servers. And what one person did is found."""

import sqlalchemy as sa


def up(connection: sa.Connection) -> None:
    rowless = " WITHOUT ROWID" if connection.dialect.name == "sqlite" else ""
    connection.execute(
        sa.text("CREATE TABLE installation (name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name))" + rowless)
    )
    connection.execute(sa.text("ALTER TABLE sender_domains ADD COLUMN removed_at BIGINT"))
    connection.execute(sa.text("CREATE INDEX audit_log_person ON audit_log (account_id, user_id, id)"))
