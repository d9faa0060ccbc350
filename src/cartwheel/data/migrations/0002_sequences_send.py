"""Sequences are taken along, and send: versions of their steps, the ledger of mail, suppression, mail servers."""

import json

import sqlalchemy as sa

COLUMNS = """
ALTER TABLE accounts ADD COLUMN mail TEXT NOT NULL DEFAULT '{}';
ALTER TABLE sequences ADD COLUMN public_name TEXT NOT NULL DEFAULT '';
ALTER TABLE sequences ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sequences ADD COLUMN boxes TEXT NOT NULL DEFAULT '[]';
ALTER TABLE sequences ADD COLUMN hears TEXT NOT NULL DEFAULT '[]';
ALTER TABLE sequences ADD COLUMN entry TEXT NOT NULL DEFAULT '{}';
ALTER TABLE sequences ADD COLUMN paused BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE sequences ADD COLUMN resumed_at BIGINT;
ALTER TABLE enrolments ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE enrolments ADD COLUMN arrived_at BIGINT;
ALTER TABLE enrolments ADD COLUMN due_at BIGINT;
ALTER TABLE enrolments ADD COLUMN moves BIGINT NOT NULL DEFAULT 0;
ALTER TABLE enrolments ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE enrolments ADD COLUMN earlier TEXT NOT NULL DEFAULT '[]';
UPDATE enrolments SET due_at = started_at WHERE status = 'active';
CREATE INDEX enrolments_due ON enrolments (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX enrolments_held ON enrolments (account_id, sequence_id) WHERE status = 'active' AND due_at IS NULL;
"""

TABLES = """
CREATE TABLE flows (
    account_id BIGINT NOT NULL,
    sequence_id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    steps TEXT NOT NULL,
    published_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, sequence_id, version)
);

CREATE TABLE mails (
    account_id BIGINT NOT NULL,
    lead_id BIGINT NOT NULL,
    id BIGINT NOT NULL,
    run BIGINT NOT NULL,
    move BIGINT NOT NULL,
    sequence_id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    box TEXT NOT NULL,
    state TEXT NOT NULL,
    queued_at BIGINT NOT NULL,
    next_at BIGINT,
    attempts BIGINT NOT NULL,
    soft BIGINT NOT NULL,
    address TEXT NOT NULL,
    server TEXT NOT NULL,
    reply TEXT NOT NULL,
    sent_at BIGINT,
    opened_at BIGINT,
    clicked_at BIGINT,
    machine_opened_at BIGINT,
    machine_clicked_at BIGINT,
    PRIMARY KEY (account_id, lead_id, id)
);
CREATE UNIQUE INDEX mails_once ON mails (account_id, lead_id, run, move);
CREATE INDEX mails_next ON mails (next_at) WHERE next_at IS NOT NULL;

CREATE TABLE suppressions (
    account_id BIGINT NOT NULL,
    email TEXT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL,
    details TEXT NOT NULL,
    soft_bounces BIGINT NOT NULL,
    PRIMARY KEY (account_id, email)
);

CREATE TABLE sender_domains (
    account_id BIGINT NOT NULL,
    domain TEXT NOT NULL,
    selector TEXT NOT NULL,
    private_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, domain, selector)
);

CREATE TABLE send_limits (
    name TEXT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE mail_servers (
    name TEXT NOT NULL,
    failures BIGINT NOT NULL,
    open_until BIGINT NOT NULL,
    trouble TEXT NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE secrets (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name)
);
"""

MAILBOX = """
CREATE TABLE test_mailbox (
    account_id BIGINT NOT NULL,
    lead_id BIGINT NOT NULL,
    mail BIGINT NOT NULL,
    at BIGINT NOT NULL,
    sender TEXT NOT NULL,
    recipient TEXT NOT NULL,
    subject TEXT NOT NULL,
    message {bytes} NOT NULL,
    PRIMARY KEY (account_id, lead_id, mail)
)
"""


def up(connection: sa.Connection) -> None:
    sqlite = connection.dialect.name == "sqlite"
    for statement in (COLUMNS + TABLES).split(";"):
        sql = statement.strip()
        if sqlite and sql.startswith("CREATE TABLE"):
            sql += " WITHOUT ROWID"
        if sql:
            connection.execute(sa.text(sql))
    connection.execute(sa.text(MAILBOX.format(bytes="BLOB" if sqlite else "BYTEA")))
    connection.execute(sa.text("CREATE INDEX test_mailbox_at ON test_mailbox (account_id, at)"))
    _publish_steps(connection)


def _publish_steps(connection: sa.Connection) -> None:
    """The steps that there are become the first version of their sequences."""
    steps: dict[tuple[int, int], list[dict[str, object]]] = {}
    sequences = connection.execute(sa.text("SELECT account_id, id, created_at FROM sequences")).all()
    rows = connection.execute(sa.text("SELECT account_id, sequence_id, settings FROM steps ORDER BY position"))
    for account_id, sequence_id, settings in rows:
        steps.setdefault((account_id, sequence_id), []).append({"type": "email", **json.loads(settings)})
    insert = sa.text("INSERT INTO flows VALUES (:account_id, :sequence_id, 1, :steps, :at)")
    update = sa.text(
        "UPDATE sequences SET version = 1, boxes = :boxes WHERE account_id = :account_id AND id = :sequence_id"
    )
    for account_id, sequence_id, at in sequences:
        here = {"account_id": account_id, "sequence_id": sequence_id}
        written = steps.get((account_id, sequence_id), [])
        connection.execute(insert, {**here, "steps": json.dumps(written), "at": at})
        connection.execute(update, {**here, "boxes": json.dumps([step["box"] for step in written])})
    connection.execute(sa.text("DROP TABLE steps"))
