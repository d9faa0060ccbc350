"""Sequences that leads were in can be archived."""

import sqlalchemy as sa


def up(connection: sa.Connection) -> None:
    connection.execute(sa.text("ALTER TABLE sequences ADD COLUMN archived_at BIGINT"))
