"""What is known of a mail server's health is each process's own: its table was never used."""

import sqlalchemy as sa


def up(connection: sa.Connection) -> None:
    connection.execute(sa.text("DROP TABLE mail_servers"))
