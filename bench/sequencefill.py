"""Leads in sequences, in bulk: due mails, and runs that sleep or are due."""

import time
from pathlib import Path
from typing import Any

import fill
import sqlalchemy as sa

from cartwheel import times
from cartwheel.accountfiles import accountfile
from cartwheel.data import schema
from cartwheel.data.catalog import touch
from cartwheel.data.db import Database
from cartwheel.mail import dkim

ACCOUNT = 1
HOUR = 3_600 * 1_000_000

_WORDS = (
    "We have been busy in the workshop this month and have three things to show you. The first is small, and it is the "
    "one that we are proudest of: every parcel now comes in paper alone. "
)
_STYLE = (
    "margin:0 0 16px;padding:0 24px;font-family:Helvetica,Arial,sans-serif;font-size:16px;line-height:1.5;color:#24292f"
)
_PARAGRAPH = (
    f'<table role="presentation" width="600" cellpadding="0" cellspacing="0" border="0" align="center"><tr>'
    f'<td style="{_STYLE}"><div style="{_STYLE}"><p style="{_STYLE}">{_WORDS}</p></div></td></tr></table>'
)
MAIL_BYTES = 20_000


def mail_html() -> str:
    """A page of about 20 kB with eight merge fields, two of them links."""
    head = (
        "<html><body><h1>Dear {first_name|friend} {last_name},</h1>"
        "<p>We write to {email}. You live in {city}, {country}, and have {score} points since {date_joined}.</p>"
        '<p><a href="https://shop.example/this-month">This month</a></p>'
    )
    tail = '<p><a href="{unsubscribe_link}">Unsubscribe</a></p></body></html>'
    room = MAIL_BYTES - len(head) - len(tail)
    return head + _PARAGRAPH * (room // len(_PARAGRAPH)) + tail


def prepare(database: Database, *, delay: str = "1 day", key: dkim.Algorithm | None = None) -> None:
    """The account's sequence `Bench`: a mail, and after a while one more step; with a key, its mail is signed."""
    sequence = f"""
[account.mail]
sender = "The Shop <hello@shop.example>"
address = "1 Example Road, London"

[[sequences]]
name = "Bench"

[[sequences.steps]]
box = "1"
type = "email"
subject = "{{first_name}}, what is new in our shop"
html = '''{mail_html()}'''

[[sequences.steps]]
box = "2"
type = "points"
points = 1
delay = "{delay}"

[[sequences.steps]]
box = "3"
type = "points"
points = 1
delay = "{delay}"
"""
    accountfile.apply(database, accountfile.read_text(fill.account_file() + sequence, Path()), times.now())
    if key is not None:
        with database.write() as connection:
            connection.execute(
                sa.insert(schema.sender_domains).values(
                    account_id=ACCOUNT,
                    domain="shop.example",
                    selector="bench",
                    private_key=dkim.new_key(key).decode(),
                    created_at=0,
                )
            )
            touch(connection, ACCOUNT)


def enrol(database: Database, first: int, last: int, *, step: str, due_at: int | None, arrived_at: int) -> None:
    """A run for each lead from `first` to `last`; it stands at this step. Its number is the lead's."""
    values = {
        "sequence_id": 1,
        "step": step,
        "status": "active" if due_at else "completed",
        "started_at": arrived_at,
        "latest": True,
        "version": 1,
        "arrived_at": arrived_at,
        "due_at": due_at,
        "earlier": "[]",
    }
    _insert(database, schema.enrolments, first, last, values)


def queue_mails(database: Database, first: int, last: int) -> None:
    """A mail of the first step that is due, for each of these leads, which `enrol` was called for."""
    now = time.time_ns() // 1000
    runs = schema.enrolments
    with database.write() as connection:
        connection.execute(sa.update(runs).where(runs.c.lead_id.between(first, last)).values(mails_due=1))
    values = {"run": sa.literal_column("leads.id"), "sequence_id": 1, "version": 1, "box": "1", "state": "queued"}
    _insert(database, schema.mails, first, last, {**values, "queued_at": now, "next_at": now})


def _insert(database: Database, table: sa.Table, first: int, last: int, values: dict[str, Any]) -> None:
    leads = schema.leads
    keys = {"account_id": leads.c.account_id, "lead_id": leads.c.id, "id": leads.c.id}
    nothings = dict(zip(table.c.keys(), fill.row_of(table), strict=True))
    row = {name: _as_column(table.c[name], value) for name, value in {**nothings, **values, **keys}.items()}
    found = sa.select(*row.values()).where(leads.c.id.between(first, last))
    with database.write() as connection:
        connection.execute(sa.insert(table).from_select(list(row), found))


def _as_column(column: sa.Column[Any], value: Any) -> sa.ColumnElement[Any]:
    return value if isinstance(value, sa.ColumnElement) else sa.literal(value, column.type)
