"""An account can say for how long it keeps what happened."""

import sqlalchemy as sa


def up(connection: sa.Connection) -> None:
    connection.execute(sa.text("ALTER TABLE accounts ADD COLUMN retention TEXT NOT NULL DEFAULT '{}'"))
