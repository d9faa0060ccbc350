"""The tables of those who sign in to the pages, and of what they do there; part of `schema`."""

from sqlalchemy import Index

from cartwheel.data.columns import flag, number, table, words

# -- people who sign in --

users = table(
    "users",
    number("id"),
    words("email"),
    words("name"),
    words("password_hash"),
    words("totp_secret"),
    number("totp_used"),
    words("language"),
    words("theme"),
    number("created_at"),
    Index("users_email", "email", unique=True),
    key=("id",),
)
"""`totp_used` is the last time step whose code was taken: none is taken twice."""

recovery_codes = table("recovery_codes", number("user_id"), words("code_hash"), key=("user_id", "code_hash"))

memberships = table(
    "memberships",
    number("account_id"),
    number("user_id"),
    words("role"),
    number("created_at"),
    Index("memberships_user", "user_id"),
    key=("account_id", "user_id"),
)

sessions = table(
    "sessions",
    words("digest"),
    number("user_id"),
    number("account_id"),
    number("created_at"),
    number("seen_at"),
    words("address"),
    words("agent"),
    words("notice"),
    Index("sessions_user", "user_id"),
    key=("digest",),
)
"""Browsers that are signed in, by the SHA-256 of their cookies. `notice` is JSON that the next page shows."""

one_time_links = table(
    "one_time_links",
    words("digest"),
    words("kind"),
    number("account_id", null=True),
    words("email"),
    words("role"),
    number("user_id", null=True),
    number("created_at"),
    number("expires_at"),
    key=("digest",),
)
"""`user_id` is who sent an invitation; null if the command line made it."""

audit_log = table(
    "audit_log",
    number("account_id"),
    number("id"),
    number("at"),
    number("user_id"),
    words("who"),
    words("action"),
    words("subject"),
    Index("audit_log_person", "account_id", "user_id", "id"),
    key=("account_id", "id"),
)
"""What people changed on the pages. `subject` says of what, in words; `who` outlives its user."""

# -- what people do with leads --

segments = table(
    "segments",
    number("account_id"),
    number("id"),
    words("name"),
    words("name_key"),
    number("created_at"),
    words("filter"),
    Index("segments_name", "account_id", "name_key", unique=True),
    key=("account_id", "id"),
)
"""Filters that were given a name. `filter` is JSON (leads/filters.py)."""

bulk_jobs = table(
    "bulk_jobs",
    number("account_id"),
    number("id"),
    number("user_id"),
    words("act"),
    words("who"),
    words("state"),
    number("before", null=True),
    number("looked"),
    number("changed"),
    number("created_at"),
    number("ended_at", null=True),
    number("next_at", null=True),
    number("undone_at", null=True),
    key=("account_id", "id"),
)
"""What somebody does with many leads at once, slice by slice. `act` and `who` (empty when it has ended) are JSON. It goes
on with the leads whose ids are lower than `before`, at `next_at`; whoever takes a slice puts that off. It is undone once."""

Index(
    "bulk_jobs_next",
    bulk_jobs.c.next_at,
    sqlite_where=bulk_jobs.c.next_at.is_not(None),
    postgresql_where=bulk_jobs.c.next_at.is_not(None),
)

bulk_leads = table(
    "bulk_leads", number("account_id"), number("job_id"), number("lead_id"), key=("account_id", "job_id", "lead_id")
)
"""The leads that a job has changed, written with the change: none is changed twice, and all can be changed back."""

# -- the API's last calls, for people who want to see them --

api_calls = table(
    "api_calls",
    number("account_id"),
    words("request_id"),
    number("at"),
    words("app"),
    flag("admitted"),
    flag("ok"),
    words("refused"),
    words("told"),
    number("lead", null=True),
    number("other_lead", null=True),
    words("email"),
    words("new_email"),
    words("other_email"),
    words("client"),
    words("content_type"),
    words("query"),
    words("body"),
    words("tree"),
    words("answer"),
    number("status"),
    number("micros"),
    Index("api_calls_newest", "account_id", "at"),
    Index("api_calls_app", "account_id", "app", "admitted", "at"),
    Index("api_calls_old", "at"),
    key=("account_id", "request_id"),
)
"""The last calls of each App, without credentials. `app` is its origin, empty if nobody knows which; `told` is JSON: each
command with its reply's number. Whom a call is about stands in `lead` and `email`, and what it asked of another in the rest.
"""
