"""A run knows which runs before it, or itself, were left by anybody but their own steps: their mails are not sent."""

import sqlalchemy as sa


def up(connection: sa.Connection) -> None:
    connection.execute(sa.text("ALTER TABLE enrolments ADD COLUMN left_run BIGINT NOT NULL DEFAULT -1"))
    left = "status = 'unsubscribed' AND reason <> 'a step of the sequence ended it'"
    connection.execute(sa.text(f"UPDATE enrolments SET left_run = id WHERE {left}"))
