"""The tables of imports; part of `schema`."""

from sqlalchemy import Column, Index, LargeBinary, PrimaryKeyConstraint, Table

from cartwheel.data.columns import metadata, number, table, words

imports = table(
    "imports",
    number("account_id"),
    number("id"),
    number("user_id", null=True),
    words("file"),
    words("dialect"),
    words("columns"),
    words("samples"),
    words("plan"),
    words("state"),
    number("slices"),
    number("done"),
    number("rows"),
    number("made"),
    number("changed"),
    number("same"),
    number("refused"),
    number("repeated"),
    number("undone"),
    number("kept"),
    words("named"),
    words("report"),
    words("told"),
    number("created_at"),
    number("ended_at", null=True),
    number("next_at", null=True),
    key=("account_id", "id"),
)
"""`slices` is how many slices the file has, `done` how many of them were imported (while it is taken back: are still there).
`rows`, `made`, `changed`, `same`, `refused` and `repeated` count rows; `undone` and `kept` leads that were put back, and that
somebody has changed since. `named` is JSON: the lists, tags and fields that it has made, by number. `report` is what the dry
run found. `user_id` is null if the command line did it."""

Index(
    "imports_next",
    imports.c.next_at,
    sqlite_where=imports.c.next_at.is_not(None),
    postgresql_where=imports.c.next_at.is_not(None),
)

import_slices = Table(
    "import_slices",
    metadata,
    number("account_id"),
    number("import_id"),
    number("number"),
    Column("rows", LargeBinary, nullable=False),
    number("first_id"),
    number("made"),
    number("at"),
    PrimaryKeyConstraint("account_id", "import_id", "number"),
)
"""The rows of a file, some at a time: packed while they wait, empty when they are imported. The leads that a slice has made
have the ids from `first_id` on."""

import_leads = table(
    "import_leads",
    number("account_id"),
    number("import_id"),
    number("lead_id"),
    words("change"),
    Index("import_leads_lead", "account_id", "lead_id"),
    key=("account_id", "import_id", "lead_id"),
)
"""Leads that there were and that the file names. `change` is JSON (leads/importing.py), empty if nothing was changed."""

import_refusals = table(
    "import_refusals",
    number("account_id"),
    number("import_id"),
    number("line"),
    words("email"),
    words("reason"),
    words("cells"),
    Index("import_refusals_email", "account_id", "email"),
    key=("account_id", "import_id", "line"),
)
"""Rows of the file that were refused, as they are; `email` is the address in them, if there is one."""

import_templates = table(
    "import_templates",
    number("account_id"),
    number("id"),
    words("name"),
    words("name_key"),
    number("created_at"),
    words("columns"),
    Index("import_templates_name", "account_id", "name_key", unique=True),
    key=("account_id", "id"),
)
"""What columns are about, by their names, as JSON."""
