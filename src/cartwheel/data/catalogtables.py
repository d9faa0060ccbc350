"""The tables of what rarely changes, cached by every process: `schema` has them, too."""

from sqlalchemy import Column, Index, Integer

from cartwheel.data.columns import flag, number, table, unique_names, words

# What was deleted keeps its row, so that it can be taken back and old events can name it: `deleted_at`; the leads' rows
# about it are gone from `wiped_at` on.

catalog_version = table("catalog_version", number("id"), number("version"), key=("id",))
"""One row. Whoever changes an account raises the version, and gives it to the account, in the same transaction."""

accounts = table(
    "accounts",
    number("id"),
    words("name"),
    words("name_key"),
    words("timezone"),
    flag("gdpr"),
    flag("active"),
    number("version"),
    number("created_at"),
    words("mail"),
    words("retention"),
    Index("accounts_name", "name_key", unique=True),
    key=("id",),
)

api_keys = table(
    "api_keys",
    number("account_id"),
    words("key_digest"),
    words("password_hash"),
    number("created_at"),
    number("expires_at", null=True),
    number("revoked_at", null=True),
    number("used_at", null=True),
    Index("api_keys_digest", "key_digest", unique=True),
    key=("account_id", "key_digest"),
)
"""The key as the hex SHA-256 of it (it is long and random), the password as an argon2 hash.

An account may have several: each is good until it expires or is revoked. `used_at` is written now and then only.
"""

api_tokens = table(
    "api_tokens",
    number("account_id"),
    number("id"),
    words("digest"),
    words("name"),
    words("scopes"),
    Column("rate_limit", Integer, nullable=False),
    number("created_at"),
    number("expires_at", null=True),
    number("revoked_at", null=True),
    number("used_at", null=True),
    Index("api_tokens_digest", "digest", unique=True),
    key=("account_id", "id"),
)
"""The bearer tokens of /v1, as hex SHA-256. `scopes` is JSON. `used_at` is written now and then only."""

apps = table(
    "apps",
    number("account_id"),
    number("id"),
    words("app_id"),
    words("name"),
    words("name_key"),
    words("mode"),
    Column("rate_limit", Integer, nullable=False),
    words("allow_ips"),
    words("commands"),
    flag("active"),
    number("created_at"),
    Index("apps_app_id", "app_id", unique=True),
    Index("apps_name", "account_id", "name_key", unique=True),
    key=("account_id", "id"),
)

lists = table(
    "lists",
    number("account_id"),
    number("id"),
    words("name"),
    words("name_key"),
    words("public_name"),
    number("created_at"),
    number("deleted_at", null=True),
    number("wiped_at", null=True),
    unique_names("lists"),
    key=("account_id", "id"),
)

tags = table(
    "tags",
    number("account_id"),
    number("id"),
    words("name"),
    words("name_key"),
    number("created_at"),
    number("deleted_at", null=True),
    number("wiped_at", null=True),
    unique_names("tags"),
    key=("account_id", "id"),
)

sequences = table(
    "sequences",
    number("account_id"),
    number("id"),
    words("name"),
    words("name_key"),
    number("created_at"),
    words("public_name"),
    number("version"),
    words("boxes"),
    words("hears"),
    words("entry"),
    flag("paused"),
    number("resumed_at", null=True),
    number("archived_at", null=True),
    Index("sequences_name", "account_id", "name_key", unique=True),
    key=("account_id", "id"),
)
"""`version` is the newest of its flows. `boxes` (its), `hears` (of all versions) and `entry` are JSON."""

flows = table(
    "flows",
    number("account_id"),
    number("sequence_id"),
    number("version"),
    words("steps"),
    number("published_at"),
    key=("account_id", "sequence_id", "version"),
)
"""Every version of a sequence's steps, as the account file writes them, as JSON. A run keeps to the one it began with."""

drafts = table(
    "drafts",
    number("account_id"),
    number("sequence_id"),
    words("steps"),
    words("before"),
    number("changed_at"),
    key=("account_id", "sequence_id"),
)
"""What the next version of a sequence is going to be, as JSON, and what that was before its last change."""

custom_fields = table(
    "custom_fields",
    number("account_id"),
    number("id"),
    words("identifier"),
    words("name_key"),
    words("type"),
    number("created_at"),
    number("deleted_at", null=True),
    number("wiped_at", null=True),
    unique_names("custom_fields"),
    key=("account_id", "id"),
)

custom_field_options = table(
    "custom_field_options",
    number("account_id"),
    number("id"),
    number("field_id"),
    words("name"),
    Column("position", Integer, nullable=False),
    key=("account_id", "id"),
)

member_counts = table(
    "member_counts",
    number("account_id"),
    words("what"),
    number("id"),
    number("leads"),
    key=("account_id", "what", "id"),
)
"""How many leads each list, tag or custom field had when they were counted, in accounts too large to count each time."""

member_countings = table(
    "member_countings",
    number("account_id"),
    words("what"),
    number("counted_at", null=True),
    number("wanted_at", null=True),
    key=("account_id", "what"),
)
"""When they were counted, and since when somebody wants to see newer numbers."""
