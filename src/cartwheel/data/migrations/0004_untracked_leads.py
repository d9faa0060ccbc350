"""A lead can say that nobody is to record what it opens and clicks."""

import sqlalchemy as sa


def up(connection: sa.Connection) -> None:
    connection.execute(sa.text("ALTER TABLE leads ADD COLUMN untracked BOOLEAN NOT NULL DEFAULT FALSE"))
