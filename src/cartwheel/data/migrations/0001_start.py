"""The first tables. Frozen: later changes are later migrations."""

import sqlalchemy as sa

TABLES = """
CREATE TABLE migrations (
    name TEXT NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE catalog_version (
    id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE accounts (
    id BIGINT NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    timezone TEXT NOT NULL,
    gdpr BOOLEAN NOT NULL,
    active BOOLEAN NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id)
);
CREATE UNIQUE INDEX accounts_name ON accounts (name_key);

CREATE TABLE api_keys (
    account_id BIGINT NOT NULL,
    key_digest TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, key_digest)
);
CREATE UNIQUE INDEX api_keys_digest ON api_keys (key_digest);

CREATE TABLE apps (
    account_id BIGINT NOT NULL,
    id BIGINT NOT NULL,
    app_id TEXT NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    mode TEXT NOT NULL,
    rate_limit INTEGER NOT NULL,
    allow_ips TEXT NOT NULL,
    commands TEXT NOT NULL,
    active BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX apps_app_id ON apps (app_id);
CREATE UNIQUE INDEX apps_name ON apps (account_id, name_key);

CREATE TABLE lists (
    account_id BIGINT NOT NULL,
    id BIGINT NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    public_name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX lists_name ON lists (account_id, name_key);

CREATE TABLE tags (
    account_id BIGINT NOT NULL,
    id BIGINT NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX tags_name ON tags (account_id, name_key);

CREATE TABLE sequences (
    account_id BIGINT NOT NULL,
    id BIGINT NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX sequences_name ON sequences (account_id, name_key);

CREATE TABLE steps (
    account_id BIGINT NOT NULL,
    sequence_id BIGINT NOT NULL,
    box TEXT NOT NULL,
    position INTEGER NOT NULL,
    settings TEXT NOT NULL,
    PRIMARY KEY (account_id, sequence_id, box)
);

CREATE TABLE custom_fields (
    account_id BIGINT NOT NULL,
    id BIGINT NOT NULL,
    identifier TEXT NOT NULL,
    name_key TEXT NOT NULL,
    type TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX custom_fields_name ON custom_fields (account_id, name_key);

CREATE TABLE custom_field_options (
    account_id BIGINT NOT NULL,
    id BIGINT NOT NULL,
    field_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (account_id, id)
);

CREATE TABLE leads (
    account_id BIGINT NOT NULL,
    id BIGINT NOT NULL,
    email TEXT NOT NULL,
    score BIGINT NOT NULL,
    source TEXT NOT NULL,
    source_id BIGINT NOT NULL,
    test BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    phone TEXT NOT NULL,
    phone_country_code TEXT NOT NULL,
    first_name TEXT NOT NULL,
    middle_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    last_name2 TEXT NOT NULL,
    ip TEXT NOT NULL,
    address TEXT NOT NULL,
    zip TEXT NOT NULL,
    city TEXT NOT NULL,
    state TEXT NOT NULL,
    country TEXT NOT NULL,
    company TEXT NOT NULL,
    lead_picture TEXT NOT NULL,
    website TEXT NOT NULL,
    facebook TEXT NOT NULL,
    twitter TEXT NOT NULL,
    linkedin TEXT NOT NULL,
    google_plus TEXT NOT NULL,
    lead_preferred_time_zone TEXT NOT NULL,
    sales_tax_id TEXT NOT NULL,
    business_type TEXT NOT NULL,
    notes TEXT NOT NULL,
    ip_country TEXT NOT NULL,
    blacklisted BOOLEAN NOT NULL,
    gdpr_status INTEGER NOT NULL,
    gdpr_status_at BIGINT,
    gdpr_status_ip TEXT NOT NULL,
    gdpr_communications BOOLEAN NOT NULL,
    PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX leads_email ON leads (account_id, email);

CREATE TABLE lead_tags (
    account_id BIGINT NOT NULL,
    lead_id BIGINT NOT NULL,
    tag_id BIGINT NOT NULL,
    assigned_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, lead_id, tag_id)
);

CREATE TABLE lead_lists (
    account_id BIGINT NOT NULL,
    lead_id BIGINT NOT NULL,
    list_id BIGINT NOT NULL,
    joined_at BIGINT NOT NULL,
    left_at BIGINT,
    PRIMARY KEY (account_id, lead_id, list_id)
);

CREATE TABLE lead_fields (
    account_id BIGINT NOT NULL,
    lead_id BIGINT NOT NULL,
    field_id BIGINT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (account_id, lead_id, field_id)
);

CREATE TABLE points (
    account_id BIGINT NOT NULL,
    lead_id BIGINT NOT NULL,
    id BIGINT NOT NULL,
    points BIGINT NOT NULL,
    given_at BIGINT NOT NULL,
    expires_at BIGINT,
    reversed_at BIGINT,
    PRIMARY KEY (account_id, lead_id, id)
);
CREATE INDEX points_due ON points (expires_at) WHERE expires_at IS NOT NULL AND reversed_at IS NULL;

CREATE TABLE enrolments (
    account_id BIGINT NOT NULL,
    lead_id BIGINT NOT NULL,
    id BIGINT NOT NULL,
    sequence_id BIGINT NOT NULL,
    step TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    latest BOOLEAN NOT NULL,
    PRIMARY KEY (account_id, lead_id, id)
);
CREATE UNIQUE INDEX enrolments_latest ON enrolments (account_id, lead_id, sequence_id) WHERE latest;

CREATE TABLE events (
    account_id BIGINT NOT NULL,
    lead_id BIGINT NOT NULL,
    id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    details TEXT NOT NULL,
    origin TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (account_id, lead_id, id)
);

CREATE TABLE idempotent_calls (
    account_id BIGINT NOT NULL,
    app_id TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    body_digest TEXT NOT NULL,
    answer TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (account_id, app_id, idempotency_key)
);
CREATE INDEX idempotent_calls_at ON idempotent_calls (at);

CREATE TABLE rate_limits (
    account_id BIGINT NOT NULL,
    app BIGINT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (account_id, app)
);

CREATE TABLE counters (
    name TEXT NOT NULL,
    next BIGINT NOT NULL,
    PRIMARY KEY (name)
);
"""

ROWS = """
INSERT INTO catalog_version (id, version) VALUES (1, 1);
INSERT INTO counters (name, next) VALUES ('leads', 1);
"""


def up(connection: sa.Connection) -> None:
    sqlite = connection.dialect.name == "sqlite"
    for statement in (TABLES + ROWS).split(";"):
        sql = statement.strip()
        if sqlite and sql.startswith("CREATE TABLE"):
            sql += " WITHOUT ROWID"
        if sql:
            connection.execute(sa.text(sql))
    if not sqlite:
        # The limits in it are a second old at most: not worth a write-ahead log.
        connection.execute(sa.text("ALTER TABLE rate_limits SET UNLOGGED"))
