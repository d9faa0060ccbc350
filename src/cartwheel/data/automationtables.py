"""The tables of automations, and of what they have to say to people: `schema` has them, too."""

from sqlalchemy import Column, Index, Integer, text

from cartwheel.data.columns import flag, number, table, unique_names, words

automations = table(
    "automations",
    number("account_id"),
    number("id"),
    words("name"),
    words("name_key"),
    flag("active"),
    words("plan"),
    number("created_at"),
    number("deleted_at", null=True),
    unique_names("automations"),
    key=("account_id", "id"),
)
"""`plan` is what an automation is about, as the account file writes it, as JSON."""

notices = table(
    "notices",
    number("account_id"),
    number("lead_id"),
    number("id"),
    number("automation_id"),
    words("recipient"),
    words("event"),
    words("text"),
    number("at"),
    number("next_at", null=True),
    Column("attempts", Integer, nullable=False),
    words("reply"),
    Index(
        "notices_due", "next_at", sqlite_where=text("next_at IS NOT NULL"), postgresql_where=text("next_at IS NOT NULL")
    ),
    key=("account_id", "lead_id", "id"),
)
"""Mails to people of the account, written with what they tell of. `next_at` is when they are tried next, until they are sent
or given up; `reply` says what became of them."""
