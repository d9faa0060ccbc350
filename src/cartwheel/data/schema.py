"""The tables, and nothing else.

Every table of an account starts its primary key with `account_id`, so that pages stay local, tenants stay apart and the
tables can be distributed by account. Names that people choose stand beside a `name_key`, the form in which they are
matched and unique (trimmed, without regard to case). Columns `…_at` are microseconds since 1970 in UTC
(docs/decisions/0005-times.md), JSON is text.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from cartwheel.leads.leadparts import PROFILE_FIELDS

metadata = MetaData()


def _table(name: str, *columns: Column[Any] | Index, key: tuple[str, ...]) -> Table:
    """A table clustered by its key where the engine can do that."""
    return Table(name, metadata, *columns, PrimaryKeyConstraint(*key), sqlite_with_rowid=False)


def _number(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=null, autoincrement=False)


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, Text, nullable=null)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


# -- the catalog: what rarely changes, cached by every process --

catalog_version = _table("catalog_version", _number("id"), _number("version"), key=("id",))
"""One row. Whoever changes an account raises the version, and gives it to the account, in the same transaction."""

accounts = _table(
    "accounts",
    _number("id"),
    _text("name"),
    _text("name_key"),
    _text("timezone"),
    _flag("gdpr"),
    _flag("active"),
    _number("version"),
    _number("created_at"),
    _text("mail"),
    Index("accounts_name", "name_key", unique=True),
    key=("id",),
)

api_keys = _table(
    "api_keys",
    _number("account_id"),
    _text("key_digest"),
    _text("password_hash"),
    _number("created_at"),
    Index("api_keys_digest", "key_digest", unique=True),
    key=("account_id", "key_digest"),
)
"""The key as the hex SHA-256 of it (it is long and random), the password as an argon2 hash."""

apps = _table(
    "apps",
    _number("account_id"),
    _number("id"),
    _text("app_id"),
    _text("name"),
    _text("name_key"),
    _text("mode"),
    Column("rate_limit", Integer, nullable=False),
    _text("allow_ips"),
    _text("commands"),
    _flag("active"),
    _number("created_at"),
    Index("apps_app_id", "app_id", unique=True),
    Index("apps_name", "account_id", "name_key", unique=True),
    key=("account_id", "id"),
)

lists = _table(
    "lists",
    _number("account_id"),
    _number("id"),
    _text("name"),
    _text("name_key"),
    _text("public_name"),
    _number("created_at"),
    Index("lists_name", "account_id", "name_key", unique=True),
    key=("account_id", "id"),
)

tags = _table(
    "tags",
    _number("account_id"),
    _number("id"),
    _text("name"),
    _text("name_key"),
    _number("created_at"),
    Index("tags_name", "account_id", "name_key", unique=True),
    key=("account_id", "id"),
)

sequences = _table(
    "sequences",
    _number("account_id"),
    _number("id"),
    _text("name"),
    _text("name_key"),
    _number("created_at"),
    _text("public_name"),
    _number("version"),
    _text("boxes"),
    _text("hears"),
    _text("entry"),
    _flag("paused"),
    _number("resumed_at", null=True),
    Index("sequences_name", "account_id", "name_key", unique=True),
    key=("account_id", "id"),
)
"""`version` is the newest of its flows. `boxes` (its), `hears` (of all versions) and `entry` are JSON."""

flows = _table(
    "flows",
    _number("account_id"),
    _number("sequence_id"),
    _number("version"),
    _text("steps"),
    _number("published_at"),
    key=("account_id", "sequence_id", "version"),
)
"""Every version of a sequence's steps, as the account file writes them, as JSON. A run keeps to the one it began with."""

custom_fields = _table(
    "custom_fields",
    _number("account_id"),
    _number("id"),
    _text("identifier"),
    _text("name_key"),
    _text("type"),
    _number("created_at"),
    Index("custom_fields_name", "account_id", "name_key", unique=True),
    key=("account_id", "id"),
)

custom_field_options = _table(
    "custom_field_options",
    _number("account_id"),
    _number("id"),
    _number("field_id"),
    _text("name"),
    Column("position", Integer, nullable=False),
    key=("account_id", "id"),
)

# -- leads --

leads = _table(
    "leads",
    _number("account_id"),
    _number("id"),
    _text("email"),
    _number("score"),
    _text("source"),
    _number("source_id"),
    _flag("test"),
    _number("created_at"),
    _number("deleted_at", null=True),
    *(_text(name) for name in PROFILE_FIELDS),
    _text("notes"),
    _text("ip_country"),
    _flag("blacklisted"),
    Column("gdpr_status", Integer, nullable=False),
    _number("gdpr_status_at", null=True),
    _text("gdpr_status_ip"),
    _flag("gdpr_communications"),
    _flag("untracked"),
    Index("leads_email", "account_id", "email", unique=True),
    key=("account_id", "id"),
)
"""`score` always equals the sum of the lead's ledger rows that are not reversed."""

lead_tags = _table(
    "lead_tags",
    _number("account_id"),
    _number("lead_id"),
    _number("tag_id"),
    _number("assigned_at"),
    key=("account_id", "lead_id", "tag_id"),
)

lead_lists = _table(
    "lead_lists",
    _number("account_id"),
    _number("lead_id"),
    _number("list_id"),
    _number("joined_at"),
    _number("left_at", null=True),
    key=("account_id", "lead_id", "list_id"),
)

lead_fields = _table(
    "lead_fields",
    _number("account_id"),
    _number("lead_id"),
    _number("field_id"),
    _text("value"),
    key=("account_id", "lead_id", "field_id"),
)
"""`value` is JSON: a string, or an array of option ids."""

points = _table(
    "points",
    _number("account_id"),
    _number("lead_id"),
    _number("id"),
    _number("points"),
    _number("given_at"),
    _number("expires_at", null=True),
    _number("reversed_at", null=True),
    key=("account_id", "lead_id", "id"),
)
"""The ledger. A grant that expired keeps its row, with the time at which it was taken back."""

Index(
    "points_due",
    points.c.expires_at,
    sqlite_where=points.c.expires_at.is_not(None) & points.c.reversed_at.is_(None),
    postgresql_where=points.c.expires_at.is_not(None) & points.c.reversed_at.is_(None),
)

enrolments = _table(
    "enrolments",
    _number("account_id"),
    _number("lead_id"),
    _number("id"),
    _number("sequence_id"),
    _text("step"),
    _text("status"),
    _number("started_at"),
    _number("ended_at", null=True),
    _flag("latest"),
    _number("version"),
    _number("arrived_at", null=True),
    _number("due_at", null=True),
    _number("moves"),
    _text("reason"),
    _text("earlier"),
    _number("left_run"),
    _flag("held"),
    Index(
        "enrolments_latest",
        "account_id",
        "lead_id",
        "sequence_id",
        unique=True,
        sqlite_where=text("latest"),
        postgresql_where=text("latest"),
    ),
    key=("account_id", "lead_id", "id"),
)
"""Runs through sequences. Only the latest one through each sequence is loaded with its lead."""

mails = _table(
    "mails",
    _number("account_id"),
    _number("lead_id"),
    _number("id"),
    _number("run"),
    _number("move"),
    _number("sequence_id"),
    _number("version"),
    _text("box"),
    _text("state"),
    _number("queued_at"),
    _number("next_at", null=True),
    _number("attempts"),
    _number("soft"),
    _text("address"),
    _text("server"),
    _text("reply"),
    _number("sent_at", null=True),
    _number("opened_at", null=True),
    _number("clicked_at", null=True),
    _number("machine_opened_at", null=True),
    _number("machine_clicked_at", null=True),
    _text("waits_for"),
    _number("trouble_since", null=True),
    Index("mails_once", "account_id", "lead_id", "run", "move", unique=True),
    key=("account_id", "lead_id", "id"),
)
"""The ledger of mail: a row for each mail that was due, once for each visit of a run to its step."""

clicks = _table(
    "clicks",
    _number("account_id"),
    _number("lead_id"),
    _number("mail"),
    _number("link"),
    _number("first_at"),
    _number("last_at"),
    _flag("several"),
    _number("person_at", null=True),
    _number("judge_at", null=True),
    key=("account_id", "lead_id", "mail"),
)
"""The last clicks in each mail that was clicked in, as far as they came one right after the other."""

Index(
    "clicks_due",
    clicks.c.judge_at,
    sqlite_where=clicks.c.judge_at.is_not(None),
    postgresql_where=clicks.c.judge_at.is_not(None),
)

Index(
    "mails_next",
    mails.c.next_at,
    sqlite_where=mails.c.next_at.is_not(None),
    postgresql_where=mails.c.next_at.is_not(None),
)

IN_DOUBT = text("state = 'in doubt'")
"""In these words, so that SQLite sees that the index is meant."""

Index("mails_in_doubt", mails.c.account_id, sqlite_where=IN_DOUBT, postgresql_where=IN_DOUBT)

NOT_ACCEPTED = text("state <> 'accepted'")
"""As the index says it; most mails are accepted, and need no place in it."""

_NEWEST = (mails.c.id, mails.c.lead_id)
Index("mails_newest", mails.c.account_id, *_NEWEST)
Index("mails_newest_of_sequence", mails.c.account_id, mails.c.sequence_id, *_NEWEST)
Index(
    "mails_newest_in_state",
    mails.c.account_id,
    mails.c.state,
    *_NEWEST,
    sqlite_where=NOT_ACCEPTED,
    postgresql_where=NOT_ACCEPTED,
)
MAILS_HELD = text("waits_for <> ''")
"""What the index asks for, as a query has to say it so that SQLite takes it; as is `RUNS_HELD`."""

Index(
    "mails_held",
    mails.c.waits_for,
    mails.c.account_id,
    mails.c.sequence_id,
    sqlite_where=MAILS_HELD,
    postgresql_where=MAILS_HELD,
)

suppressions = _table(
    "suppressions",
    _number("account_id"),
    _text("email"),
    _text("reason"),
    _number("at"),
    _text("details"),
    _number("soft_bounces"),
    _number("lead", null=True),
    key=("account_id", "email"),
)
"""Addresses that are not to be mailed; with an empty `reason` only the temporary failures are counted. `lead` is who had
the address when this was written."""

Index(
    "suppressions_lead",
    suppressions.c.account_id,
    suppressions.c.lead,
    sqlite_where=suppressions.c.lead.is_not(None),
    postgresql_where=suppressions.c.lead.is_not(None),
)

SUPPRESSED = text("reason <> ''")

Index(
    "suppressions_newest",
    suppressions.c.account_id,
    suppressions.c.at,
    suppressions.c.email,
    sqlite_where=SUPPRESSED,
    postgresql_where=SUPPRESSED,
)

erased_addresses = _table(
    "erased_addresses",
    _number("account_id"),
    _text("digest"),
    _text("reason"),
    _number("at"),
    key=("account_id", "digest"),
)
"""Addresses of erased leads that are not to be mailed should they come back, as keyed hashes. A row of `suppressions`
for an address is newer, and counts instead."""

Index(
    "enrolments_due",
    enrolments.c.due_at,
    sqlite_where=enrolments.c.due_at.is_not(None),
    postgresql_where=enrolments.c.due_at.is_not(None),
)
RUNS_HELD = text("held")

Index(
    "enrolments_held",
    enrolments.c.account_id,
    enrolments.c.sequence_id,
    sqlite_where=RUNS_HELD,
    postgresql_where=RUNS_HELD,
)

RUNS_PARKED = text("status = 'parked'")

Index(
    "enrolments_parked",
    enrolments.c.account_id,
    enrolments.c.sequence_id,
    sqlite_where=RUNS_PARKED,
    postgresql_where=RUNS_PARKED,
)

events = _table(
    "events",
    _number("account_id"),
    _number("lead_id"),
    _number("id"),
    _text("kind"),
    _text("details"),
    _text("origin"),
    _number("at"),
    key=("account_id", "lead_id", "id"),
)
"""What happened to each lead, in order of `id`. `origin` says who did it: `app:1/3` (account and number of an App), `cli`, `cartwheel`."""

daily_counts = _table(
    "daily_counts",
    _number("account_id"),
    _number("day"),
    _text("what"),
    _number("slot"),
    _number("number"),
    key=("account_id", "day", "what", "slot"),
)
"""How much of what happened on each day of the account's calendar (`day` as `date.toordinal` has it): the sum over the
slots, of which each lane has one, so that none waits for another."""

# -- the API --

idempotent_calls = _table(
    "idempotent_calls",
    _number("account_id"),
    _text("app_id"),
    _text("idempotency_key"),
    _text("body_digest"),
    _text("answer"),
    _number("at"),
    _number("lead", null=True),
    Index("idempotent_calls_at", "at"),
    key=("account_id", "app_id", "idempotency_key"),
)
"""`lead` is the one whose data the answer tells, if it does; when that one is erased, the answer is empty."""

Index(
    "idempotent_calls_lead",
    idempotent_calls.c.account_id,
    idempotent_calls.c.lead,
    sqlite_where=idempotent_calls.c.lead.is_not(None),
    postgresql_where=idempotent_calls.c.lead.is_not(None),
)

rate_limits = _table(
    "rate_limits",
    _number("account_id"),
    _number("app"),
    _number("until"),
    key=("account_id", "app"),
)
"""How far ahead of the clock an App has spent its calls (microseconds since 1970); shared by the processes."""

counters = _table("counters", _text("name"), _number("next"), key=("name",))
"""The next lead id to hand out. Processes take them in blocks."""

# -- sending --

sender_domains = _table(
    "sender_domains",
    _number("account_id"),
    _text("domain"),
    _text("selector"),
    _text("private_key"),
    _number("created_at"),
    key=("account_id", "domain", "selector"),
)
"""The keys that mail from a domain is signed with. Which algorithm, the key tells."""

send_limits = _table("send_limits", _text("name"), _number("until"), key=("name",))
"""How far ahead of the clock a mail server or a receiving domain has been used (microseconds since 1970)."""

test_mailbox = Table(
    "test_mailbox",
    metadata,
    _number("account_id"),
    _number("lead_id"),
    _number("mail"),
    _number("at"),
    _text("sender"),
    _text("recipient"),
    _text("subject"),
    Column("message", LargeBinary, nullable=False),
    Index("test_mailbox_at", "account_id", "at"),
    PrimaryKeyConstraint("account_id", "lead_id", "mail"),
)
"""What would have been sent, whole."""

secrets = _table("secrets", _text("name"), _text("value"), key=("name",))
"""What this installation made for itself: the keys that links in mails are signed and erased addresses hashed with."""

# -- people who sign in --

users = _table(
    "users",
    _number("id"),
    _text("email"),
    _text("name"),
    _text("password_hash"),
    _text("totp_secret"),
    _number("totp_used"),
    _text("language"),
    _text("theme"),
    _number("created_at"),
    Index("users_email", "email", unique=True),
    key=("id",),
)
"""`totp_used` is the last time step whose code was taken: none is taken twice."""

recovery_codes = _table("recovery_codes", _number("user_id"), _text("code_hash"), key=("user_id", "code_hash"))

memberships = _table(
    "memberships",
    _number("account_id"),
    _number("user_id"),
    _text("role"),
    _number("created_at"),
    Index("memberships_user", "user_id"),
    key=("account_id", "user_id"),
)

sessions = _table(
    "sessions",
    _text("digest"),
    _number("user_id"),
    _number("account_id"),
    _number("created_at"),
    _number("seen_at"),
    _text("address"),
    _text("agent"),
    _text("notice"),
    Index("sessions_user", "user_id"),
    key=("digest",),
)
"""Browsers that are signed in, by the SHA-256 of their cookies. `notice` is JSON that the next page shows."""

one_time_links = _table(
    "one_time_links",
    _text("digest"),
    _text("kind"),
    _number("account_id"),
    _text("email"),
    _text("role"),
    _number("created_at"),
    _number("expires_at"),
    key=("digest",),
)

audit_log = _table(
    "audit_log",
    _number("account_id"),
    _number("id"),
    _number("at"),
    _number("user_id"),
    _text("who"),
    _text("action"),
    _text("subject"),
    key=("account_id", "id"),
)
"""What people changed on the pages. `subject` says of what, in words; `who` outlives its user."""
