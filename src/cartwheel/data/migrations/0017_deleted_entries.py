"""Lists, tags and custom fields can be deleted, and taken back; and their leads are counted now and then."""

import sqlalchemy as sa


def up(connection: sa.Connection) -> None:
    for table in ("lists", "tags", "custom_fields"):
        for sql in (
            f"ALTER TABLE {table} ADD COLUMN deleted_at BIGINT",
            f"ALTER TABLE {table} ADD COLUMN wiped_at BIGINT",
            f"DROP INDEX {table}_name",
            f"CREATE UNIQUE INDEX {table}_name ON {table} (account_id, name_key) WHERE deleted_at IS NULL",
        ):
            connection.execute(sa.text(sql))
    rowless = " WITHOUT ROWID" if connection.dialect.name == "sqlite" else ""
    for sql in (
        """CREATE TABLE member_counts (
            account_id BIGINT NOT NULL, what TEXT NOT NULL, id BIGINT NOT NULL, leads BIGINT NOT NULL,
            PRIMARY KEY (account_id, what, id))""",
        """CREATE TABLE member_countings (
            account_id BIGINT NOT NULL, what TEXT NOT NULL, counted_at BIGINT, wanted_at BIGINT,
            PRIMARY KEY (account_id, what))""",
    ):
        connection.execute(sa.text(sql + rowless))
