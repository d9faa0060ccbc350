"""The last clicks in a mail are stored, so that all processes together can tell people from machines; mails in doubt are counted at once."""

import sqlalchemy as sa

_STATEMENTS = (
    """CREATE TABLE clicks (
    account_id BIGINT NOT NULL,
    lead_id BIGINT NOT NULL,
    mail BIGINT NOT NULL,
    link BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    several BOOLEAN NOT NULL,
    person_at BIGINT,
    judge_at BIGINT,
    PRIMARY KEY (account_id, lead_id, mail)
)""",
    "CREATE INDEX clicks_due ON clicks (judge_at) WHERE judge_at IS NOT NULL",
    "CREATE INDEX mails_in_doubt ON mails (account_id) WHERE state = 'in doubt'",
)


def up(connection: sa.Connection) -> None:
    for statement in _STATEMENTS:
        connection.execute(sa.text(statement))
