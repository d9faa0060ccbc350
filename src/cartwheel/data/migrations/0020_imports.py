"""Leads are imported from files, slice by slice, and an import can be taken back."""

import sqlalchemy as sa

CLUSTERED = (
    """CREATE TABLE imports (
        account_id BIGINT NOT NULL, id BIGINT NOT NULL, user_id BIGINT, file TEXT NOT NULL, dialect TEXT NOT NULL,
        columns TEXT NOT NULL, samples TEXT NOT NULL, plan TEXT NOT NULL, state TEXT NOT NULL, slices BIGINT NOT NULL,
        done BIGINT NOT NULL, rows BIGINT NOT NULL, made BIGINT NOT NULL, changed BIGINT NOT NULL, same BIGINT NOT NULL,
        refused BIGINT NOT NULL, repeated BIGINT NOT NULL, undone BIGINT NOT NULL, kept BIGINT NOT NULL,
        named TEXT NOT NULL, report TEXT NOT NULL, told TEXT NOT NULL, created_at BIGINT NOT NULL, ended_at BIGINT,
        next_at BIGINT, PRIMARY KEY (account_id, id))""",
    """CREATE TABLE import_leads (
        account_id BIGINT NOT NULL, import_id BIGINT NOT NULL, lead_id BIGINT NOT NULL, change TEXT NOT NULL,
        PRIMARY KEY (account_id, import_id, lead_id))""",
    """CREATE TABLE import_refusals (
        account_id BIGINT NOT NULL, import_id BIGINT NOT NULL, line BIGINT NOT NULL, email TEXT NOT NULL,
        reason TEXT NOT NULL, cells TEXT NOT NULL, PRIMARY KEY (account_id, import_id, line))""",
    """CREATE TABLE import_templates (
        account_id BIGINT NOT NULL, id BIGINT NOT NULL, name TEXT NOT NULL, name_key TEXT NOT NULL,
        created_at BIGINT NOT NULL, columns TEXT NOT NULL, PRIMARY KEY (account_id, id))""",
)

SLICES = """CREATE TABLE import_slices (
    account_id BIGINT NOT NULL, import_id BIGINT NOT NULL, number BIGINT NOT NULL, rows {blob} NOT NULL,
    first_id BIGINT NOT NULL, made BIGINT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (account_id, import_id, number))"""

INDEXES = (
    "CREATE INDEX import_leads_lead ON import_leads (account_id, lead_id)",
    "CREATE INDEX import_refusals_email ON import_refusals (account_id, email)",
    "CREATE INDEX imports_next ON imports (next_at) WHERE next_at IS NOT NULL",
    "CREATE UNIQUE INDEX import_templates_name ON import_templates (account_id, name_key)",
)


def up(connection: sa.Connection) -> None:
    sqlite = connection.dialect.name == "sqlite"
    for sql in CLUSTERED:
        connection.execute(sa.text(sql + " WITHOUT ROWID" * sqlite))
    connection.execute(sa.text(SLICES.format(blob="BLOB" if sqlite else "BYTEA")))
    for sql in INDEXES:
        connection.execute(sa.text(sql))
