"""The tables of what other systems are told: `schema` has them, too."""

from sqlalchemy import Column, Index, Integer, text

from cartwheel.data.columns import flag, number, table, unique_names, words

hook_endpoints = table(
    "hook_endpoints",
    number("account_id"),
    number("id"),
    words("name"),
    words("name_key"),
    words("url"),
    flag("enabled"),
    words("events"),
    number("score"),
    flag("numbers_as_strings"),
    words("not_from"),
    words("secret"),
    number("created_at"),
    number("failing_since", null=True),
    number("paused_at", null=True),
    words("paused_why"),
    number("deleted_at", null=True),
    unique_names("hook_endpoints"),
    key=("account_id", "id"),
)
"""`events` (the actions, each with the number of the only object or null) and `not_from` (origins) are JSON. One that is
paused still gets deliveries, which wait; one that is not `enabled` gets none."""

HOOK_WAITS = text("next_at IS NOT NULL")
"""In these words, so that SQLite sees that the index is meant; as are the others."""

HOOK_PARKED = text("state = 'parked'")
HOOK_TAKEN = text("state = 'delivered'")
HOOK_NOT_TAKEN = text("state <> 'delivered'")

hook_deliveries = table(
    "hook_deliveries",
    number("account_id"),
    number("lead_id"),
    number("id"),
    number("endpoint"),
    words("action"),
    words("body"),
    words("state"),
    number("queued_at"),
    number("next_at", null=True),
    number("attempts"),
    number("tried_at", null=True),
    number("micros", null=True),
    Column("status", Integer, nullable=True),
    words("answer"),
    words("trouble"),
    Index(
        "hook_deliveries_due", "account_id", "endpoint", "next_at", "id",
        sqlite_where=HOOK_WAITS, postgresql_where=HOOK_WAITS,
    ),
    Index(
        "hook_deliveries_waiting", "account_id", "endpoint", "lead_id", "id",
        sqlite_where=HOOK_WAITS, postgresql_where=HOOK_WAITS,
    ),
    Index(
        "hook_deliveries_parked", "account_id", "endpoint", "id", "lead_id",
        sqlite_where=HOOK_PARKED, postgresql_where=HOOK_PARKED,
    ),
    Index("hook_deliveries_newest", "account_id", "endpoint", "id", "lead_id"),
    Index("hook_deliveries_age", "queued_at", sqlite_where=HOOK_TAKEN, postgresql_where=HOOK_TAKEN),
    Index("hook_deliveries_old", "queued_at", sqlite_where=HOOK_NOT_TAKEN, postgresql_where=HOOK_NOT_TAKEN),
    key=("account_id", "lead_id", "id", "endpoint"),
)  # fmt: skip
"""A row for each event that an endpoint is told; `id` is that of the event. It waits as long as it has a `next_at`, which
is also the end of the lease of whoever is at it. `status`, `answer`, `micros` and `trouble` are the last try's."""
