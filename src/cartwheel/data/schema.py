"""The tables, and nothing else.

Every table of an account starts its primary key with `account_id`, so that pages stay local, tenants stay apart and the
tables can be distributed by account. Names that people choose stand beside a `name_key`, the form in which they are
matched and unique (trimmed, without regard to case). Columns `…_at` are microseconds since 1970 in UTC
(docs/decisions/0005-times.md), JSON is text.
"""

from sqlalchemy import Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table, text

from cartwheel.data import importtables as importtables  # noqa: PLC0414 - so that they are known
from cartwheel.data.automationtables import automations, notices
from cartwheel.data.catalogtables import (
    accounts,
    api_keys,
    apps,
    catalog_version,
    custom_field_options,
    custom_fields,
    drafts,
    flows,
    lists,
    member_countings,
    member_counts,
    sequences,
    tags,
)
from cartwheel.data.columns import flag, metadata, number, table, words
from cartwheel.data.hooktables import hook_deliveries, hook_endpoints
from cartwheel.data.peopletables import (
    api_calls,
    audit_log,
    bulk_jobs,
    bulk_leads,
    memberships,
    one_time_links,
    recovery_codes,
    segments,
    sessions,
    users,
)
from cartwheel.leads.leadparts import PROFILE_FIELDS

__all__ = [
    "accounts",
    "api_calls",
    "api_keys",
    "apps",
    "audit_log",
    "automations",
    "bulk_jobs",
    "bulk_leads",
    "catalog_version",
    "custom_field_options",
    "custom_fields",
    "drafts",
    "flows",
    "hook_deliveries",
    "hook_endpoints",
    "lists",
    "member_countings",
    "member_counts",
    "memberships",
    "metadata",
    "notices",
    "one_time_links",
    "recovery_codes",
    "segments",
    "sequences",
    "sessions",
    "tags",
    "users",
]
"""Those that stand elsewhere; the others stand here."""

# -- leads --

leads = table(
    "leads",
    number("account_id"),
    number("id"),
    words("email"),
    number("score"),
    words("source"),
    number("source_id"),
    flag("test"),
    number("created_at"),
    number("deleted_at", null=True),
    *(words(name) for name in PROFILE_FIELDS),
    words("notes"),
    words("ip_country"),
    flag("blacklisted"),
    Column("gdpr_status", Integer, nullable=False),
    number("gdpr_status_at", null=True),
    words("gdpr_status_ip"),
    flag("gdpr_communications"),
    flag("untracked"),
    *(words(name) for name in ("email_key", "first_key", "last_key")),
    Index("leads_email", "account_id", "email", unique=True),
    key=("account_id", "id"),
)
"""`score` always equals the sum of the lead's ledger rows that are not reversed. The keys are `leads.searchkeys.keys_of` it."""

Index("leads_created", leads.c.account_id, leads.c.created_at, leads.c.id)
Index("leads_score", leads.c.account_id, leads.c.score, leads.c.id)
Index(
    "leads_deleted",
    leads.c.account_id,
    leads.c.id,
    sqlite_where=leads.c.deleted_at.is_not(None),
    postgresql_where=leads.c.deleted_at.is_not(None),
)
for _keys in (("email_key",), ("first_key", "last_key"), ("last_key", "first_key")):
    Index(
        f"leads_{_keys[0]}",
        leads.c.account_id,
        *(leads.c[_key] for _key in _keys),
        sqlite_where=text(f"{_keys[0]} <> ''"),
        postgresql_where=text(f"{_keys[0]} <> ''"),
        postgresql_ops=dict.fromkeys(_keys, "text_pattern_ops"),
    )
Index("leads_address", leads.c.account_id, leads.c.email, postgresql_ops={"email": "text_pattern_ops"}).ddl_if(
    dialect="postgresql"
)
"""For the beginning of an address; of SQLite's texts, `leads_email` knows it, because they are compared as bytes."""

lead_tags = table(
    "lead_tags",
    number("account_id"),
    number("lead_id"),
    number("tag_id"),
    number("assigned_at"),
    Index("lead_tags_tag", "account_id", "tag_id", "lead_id"),
    key=("account_id", "lead_id", "tag_id"),
)

lead_lists = table(
    "lead_lists",
    number("account_id"),
    number("lead_id"),
    number("list_id"),
    number("joined_at"),
    number("left_at", null=True),
    flag("left_by_lead"),
    Index(
        "lead_lists_list",
        "account_id",
        "list_id",
        "lead_id",
        sqlite_where=text("left_at IS NULL"),
        postgresql_where=text("left_at IS NULL"),
    ),
    key=("account_id", "lead_id", "list_id"),
)

lead_fields = table(
    "lead_fields",
    number("account_id"),
    number("lead_id"),
    number("field_id"),
    words("value"),
    Index("lead_fields_field", "account_id", "field_id", "lead_id"),
    key=("account_id", "lead_id", "field_id"),
)
"""`value` is JSON: a string, or an array of option ids."""

points = table(
    "points",
    number("account_id"),
    number("lead_id"),
    number("id"),
    number("points"),
    number("given_at"),
    number("expires_at", null=True),
    number("reversed_at", null=True),
    key=("account_id", "lead_id", "id"),
)
"""The ledger. A grant that expired keeps its row, with the time at which it was taken back."""

Index(
    "points_due",
    points.c.expires_at,
    sqlite_where=points.c.expires_at.is_not(None) & points.c.reversed_at.is_(None),
    postgresql_where=points.c.expires_at.is_not(None) & points.c.reversed_at.is_(None),
)

enrolments = table(
    "enrolments",
    number("account_id"),
    number("lead_id"),
    number("id"),
    number("sequence_id"),
    words("step"),
    words("status"),
    number("started_at"),
    number("ended_at", null=True),
    flag("latest"),
    number("version"),
    number("arrived_at", null=True),
    number("due_at", null=True),
    number("moves"),
    words("reason"),
    words("earlier"),
    number("left_run"),
    flag("held"),
    flag("left_by_lead"),
    number("mails_due"),
    Index(
        "enrolments_latest",
        "account_id",
        "lead_id",
        "sequence_id",
        unique=True,
        sqlite_where=text("latest"),
        postgresql_where=text("latest"),
    ),
    Index(
        "enrolments_sequence",
        "account_id",
        "sequence_id",
        "lead_id",
        sqlite_where=text("latest"),
        postgresql_where=text("latest"),
    ),
    key=("account_id", "lead_id", "id"),
)
"""Runs through sequences; of each only the latest is loaded. `mails_due` counts its `mails`, so that a lost one is missed."""

mails = table(
    "mails",
    number("account_id"),
    number("lead_id"),
    number("id"),
    number("run"),
    number("move"),
    number("sequence_id"),
    number("version"),
    words("box"),
    words("state"),
    number("queued_at"),
    number("next_at", null=True),
    number("attempts"),
    number("soft"),
    words("address"),
    words("server"),
    words("reply"),
    number("sent_at", null=True),
    number("opened_at", null=True),
    number("clicked_at", null=True),
    number("machine_opened_at", null=True),
    number("machine_clicked_at", null=True),
    words("waits_for"),
    number("trouble_since", null=True),
    Index("mails_once", "account_id", "lead_id", "run", "move", unique=True),
    key=("account_id", "lead_id", "id"),
)
"""The ledger of mail: a row for each mail that was due, once for each visit of a run to its step."""

clicks = table(
    "clicks",
    number("account_id"),
    number("lead_id"),
    number("mail"),
    number("link"),
    number("first_at"),
    number("last_at"),
    flag("several"),
    number("person_at", null=True),
    number("judge_at", null=True),
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

suppressions = table(
    "suppressions",
    number("account_id"),
    words("email"),
    words("reason"),
    number("at"),
    words("details"),
    number("soft_bounces"),
    number("lead", null=True),
    key=("account_id", "email"),
)
"""Addresses not to be mailed, or with an empty `reason` those with temporary failures. `lead` had the address then."""

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

Index(
    "suppressions_reason",
    suppressions.c.account_id,
    suppressions.c.reason,
    suppressions.c.email,
    sqlite_where=text("reason <> ''"),
    postgresql_where=text("reason <> ''"),
)

erased_addresses = table(
    "erased_addresses",
    number("account_id"),
    words("digest"),
    words("reason"),
    number("at"),
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

events = table(
    "events",
    number("account_id"),
    number("lead_id"),
    number("id"),
    words("kind"),
    words("details"),
    words("origin"),
    number("at"),
    Index("events_in_order", "account_id", "id", "lead_id"),
    key=("account_id", "lead_id", "id"),
)
"""What happened to each lead, in order of `id`. `origin` says who did it: `app:1/3` (account and number of an App), `cli`, `cartwheel`."""

AUTOMATED = text("kind = 'automation_ran'")
_OF_ORIGIN = (events.c.account_id, events.c.origin, events.c.at)
Index("events_automated", *_OF_ORIGIN, sqlite_where=AUTOMATED, postgresql_where=AUTOMATED)

daily_counts = table(
    "daily_counts",
    number("account_id"),
    number("day"),
    words("what"),
    number("slot"),
    number("number"),
    key=("account_id", "day", "what", "slot"),
)
"""How much of what happened on each day of the account's calendar (`day` as `date.toordinal` has it): the sum over the
slots, of which each lane has one, so that none waits for another."""

# -- the API --

idempotent_calls = table(
    "idempotent_calls",
    number("account_id"),
    words("app_id"),
    words("idempotency_key"),
    words("body_digest"),
    words("answer"),
    number("at"),
    number("lead", null=True),
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

rate_limits = table(
    "rate_limits",
    number("account_id"),
    number("app"),
    number("until"),
    key=("account_id", "app"),
)
"""How far ahead of the clock an App has spent its calls (microseconds since 1970); shared by the processes."""

counters = table("counters", words("name"), number("next"), key=("name",))
"""The next lead id to hand out. Processes take them in blocks."""

# -- sending --

sender_domains = table(
    "sender_domains",
    number("account_id"),
    words("domain"),
    words("selector"),
    words("private_key"),
    number("created_at"),
    number("removed_at", null=True),
    key=("account_id", "domain", "selector"),
)
"""The keys that mail from a domain is signed with. Which algorithm, the key tells."""

send_limits = table("send_limits", words("name"), number("until"), key=("name",))
"""How far ahead of the clock a mail server or a receiving domain has been used (microseconds since 1970)."""

test_mailbox = Table(
    "test_mailbox",
    metadata,
    number("account_id"),
    number("lead_id"),
    number("mail"),
    number("at"),
    words("sender"),
    words("recipient"),
    words("subject"),
    Column("message", LargeBinary, nullable=False),
    Index("test_mailbox_at", "account_id", "at"),
    PrimaryKeyConstraint("account_id", "lead_id", "mail"),
)
"""What would have been sent, whole."""

secrets = table("secrets", words("name"), words("value"), key=("name",))
"""What this installation made for itself: the keys that links in mails are signed and erased addresses hashed with."""

installation = table("installation", words("name"), words("value"), key=("name",))
"""What people set on the pages for the whole installation, and not for one account."""
