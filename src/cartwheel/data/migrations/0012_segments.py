"""People look for leads by what they are and have, give such questions names, and do things with many leads at once."""

import sqlalchemy as sa

TABLES = (
    """CREATE TABLE segments (
        account_id BIGINT NOT NULL, id BIGINT NOT NULL, name TEXT NOT NULL, name_key TEXT NOT NULL,
        created_at BIGINT NOT NULL, filter TEXT NOT NULL, PRIMARY KEY (account_id, id))""",
    """CREATE TABLE bulk_jobs (
        account_id BIGINT NOT NULL, id BIGINT NOT NULL, user_id BIGINT NOT NULL, act TEXT NOT NULL, who TEXT NOT NULL,
        state TEXT NOT NULL, before BIGINT, looked BIGINT NOT NULL, changed BIGINT NOT NULL, created_at BIGINT NOT NULL,
        ended_at BIGINT, next_at BIGINT, undone_at BIGINT, PRIMARY KEY (account_id, id))""",
    """CREATE TABLE bulk_leads (
        account_id BIGINT NOT NULL, job_id BIGINT NOT NULL, lead_id BIGINT NOT NULL,
        PRIMARY KEY (account_id, job_id, lead_id))""",
)

INDEXES = (
    "CREATE UNIQUE INDEX segments_name ON segments (account_id, name_key)",
    "CREATE INDEX bulk_jobs_next ON bulk_jobs (next_at) WHERE next_at IS NOT NULL",
    "CREATE INDEX leads_created ON leads (account_id, created_at, id)",
    "CREATE INDEX leads_score ON leads (account_id, score, id)",
    "CREATE INDEX leads_deleted ON leads (account_id, id) WHERE deleted_at IS NOT NULL",
    "CREATE INDEX leads_first_name ON leads (account_id, lower(first_name){ops}, lower(last_name){ops}) WHERE first_name <> ''",
    "CREATE INDEX leads_last_name ON leads (account_id, lower(last_name){ops}, lower(first_name){ops}) WHERE last_name <> ''",
    "CREATE INDEX lead_tags_tag ON lead_tags (account_id, tag_id, lead_id)",
    "CREATE INDEX lead_lists_list ON lead_lists (account_id, list_id, lead_id) WHERE left_at IS NULL",
    "CREATE INDEX lead_fields_field ON lead_fields (account_id, field_id, lead_id)",
    "CREATE INDEX enrolments_sequence ON enrolments (account_id, sequence_id, lead_id) WHERE latest",
    "CREATE INDEX suppressions_reason ON suppressions (account_id, reason, email) WHERE reason <> ''",
)

ADDRESS = "CREATE INDEX leads_address ON leads (account_id, email text_pattern_ops)"
"""SQLite compares texts as bytes, so that `leads_email` will do."""


def up(connection: sa.Connection) -> None:
    sqlite = connection.dialect.name == "sqlite"
    for sql in TABLES:
        connection.execute(sa.text(sql + " WITHOUT ROWID" * sqlite))
    for sql in INDEXES:
        connection.execute(sa.text(sql.format(ops="" if sqlite else " text_pattern_ops")))
    if not sqlite:
        connection.execute(sa.text(ADDRESS))
