"""What an account has beside its leads, so that every page has something to show: `bench/ui.py` asks for all of them."""

import sqlite3
import time
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import fill
import sequencefill
import sqlalchemy as sa

from cartwheel import times
from cartwheel.accounts import name_key
from cartwheel.data import hookstore, importtables, installation, schema, userstore
from cartwheel.data.db import Database
from cartwheel.mail.dkim import Algorithm
from cartwheel.people import Role

DOMAIN = "shop.example"
LEAD = 4321
"""The lead whose pages are looked at. Its run and its mail have the same number."""

EVENTS_EACH = 5
SUPPRESSED_EACH = 50
"""Of so many leads one is not mailed."""

KEPT_MAILS, AUDITED, CALLS, DAYS, SEGMENTS = 2000, 10_000, 300, 400, 20
AUTOMATIONS, TOLD, REFUSED = 20, 50_000, 5000

RAN_EACH = 10
"""An automation ran for one of so many leads."""

COUNTED = ("lead_created", "mail_sent", "mail_bounced", "mail_opened", "mail_clicked", "call", "call_failed")

_STATE = "CASE WHEN lead_id % 1000 = 7 THEN 'in doubt' WHEN lead_id % 100 = 3 THEN 'failed' ELSE 'accepted' END"


def fill_all(path: Path, leads: int) -> None:
    """An empty file becomes an account that has been at work for a while."""
    url = f"sqlite:///{path}"
    fill.fill(url, leads)
    database = Database(url)
    try:
        sequencefill.prepare(database, key=Algorithm.ED25519)
        now = time.time_ns() // 1000
        asleep = now + 12 * sequencefill.HOUR
        sequencefill.enrol(database, 1, leads, step="2", due_at=asleep, arrived_at=now - 23 * sequencefill.HOUR)
        sequencefill.queue_mails(database, 1, leads)
        with database.write() as connection:
            for table, rows in (_others(leads, now) | _connected(leads, now)).items():
                connection.execute(sa.insert(table), [_whole(table, row) for row in rows])
            installation.put_mail_servers(connection, "smtp://mail.example:587")
            user = userstore.add(connection, "bench@shop.example", "Bench", "-", times.now())
            userstore.put_member(connection, 1, user.id, Role.OWNER, times.now())
    finally:
        database.close()
    _in_bulk(path, leads, now)


def _whole(table: sa.Table, row: dict[str, Any]) -> dict[str, Any]:
    return dict(zip(table.c.keys(), fill.row_of(table, **row), strict=True))


def _others(leads: int, now: int) -> dict[sa.Table, list[dict[str, Any]]]:
    of = {"account_id": 1}
    hour = sequencefill.HOUR
    message = _message()
    today = times.now().toordinal()
    return {
        schema.suppressions: [
            {**of, "email": fill.email_of(number), "reason": "hard bounce", "at": now - number, "lead": number}
            for number in range(1, leads, SUPPRESSED_EACH)
        ],
        schema.test_mailbox: [
            {**of, "lead_id": number, "mail": number, "at": now - number, "sender": f"hello@{DOMAIN}",
             "recipient": fill.email_of(number), "subject": "News", "message": message}
            for number in range(LEAD, LEAD + KEPT_MAILS)
        ],
        schema.audit_log: [
            {**of, "id": number, "at": now - (AUDITED - number) * hour // 10, "user_id": 1, "who": "Bench",
             "action": "Made a list", "subject": f"List {number}"}
            for number in range(1, AUDITED + 1)
        ],
        schema.daily_counts: [
            {**of, "day": today - day, "what": what, "slot": 0, "number": 1000 + day}
            for day in range(DAYS)
            for what in COUNTED
        ],
        schema.segments: [
            {**of, "id": number, "name": f"Segment {number}", "name_key": name_key(f"Segment {number}"),
             "created_at": now, "filter": '{"type":"all","conditions":[{"type":"tag","tag":1}]}'}
            for number in range(1, SEGMENTS + 1)
        ],
        schema.api_calls: [
            {**of, "request_id": f"bench-{number}", "at": now - number * hour // 60, "app": "app:1/1", "admitted": True,
             "ok": True, "told": '[["create_lead","200"]]', "lead": number, "email": fill.email_of(number),
             "client": "127.0.0.1", "content_type": "application/x-www-form-urlencoded", "status": 200, "micros": 900,
             "body": "actions%5B0%5D%5Bcmd%5D=create_lead", "tree": '{"actions":[{"cmd":"create_lead"}]}',
             "answer": '{"status":"Success"}'}
            for number in range(1, CALLS + 1)
        ],
        schema.bulk_jobs: [
            {**of, "id": 1, "user_id": 1, "act": "{\"type\":\"give_tag\",\"tag\":1}", "state": "finished", "looked": leads,
             "changed": 0, "created_at": now, "ended_at": now}
        ],
    }  # fmt: skip


def _connected(leads: int, now: int) -> dict[sa.Table, list[dict[str, Any]]]:
    """Automations, webhooks and an import."""
    of = {"account_id": 1}
    hour = sequencefill.HOUR
    return {
        schema.automations: [
            {**of, "id": number, "name": f"Automation {number}", "name_key": name_key(f"Automation {number}"),
             "active": True, "created_at": now,
             "plan": '{"when":{"type":"assign_tag","tag":"Tag 1"},"then":[{"type":"points","points":1}]}'}
            for number in range(1, AUTOMATIONS + 1)
        ],
        schema.events: [
            {**of, "lead_id": number, "id": now + hour + number, "kind": "automation_ran", "origin": "automation:1",
             "details": '{"automation_id":1,"event":"tag_assigned"}', "at": now}
            for number in range(1, leads, RAN_EACH)
        ],
        schema.hook_endpoints: [
            {**of, "id": 1, "name": "CRM", "name_key": name_key("CRM"), "url": "https://crm.example/", "enabled": True,
             "events": '{"assign_tag":null}', "not_from": "[]", "secret": hookstore.new_secret(), "created_at": now}
        ],
        schema.hook_deliveries: [
            {**of, "lead_id": LEAD + number, "id": LEAD, "endpoint": 1, "action": "assign_tag", "queued_at": now, "attempts": 1,
             "body": '{"lead":{},"action":"assign_tag","action_details":{}}', "state": "parked" if number % 50 else "delivered",
             "tried_at": now, "micros": 20_000, "status": 500 if number % 50 else 200, "answer": "{}"}
            for number in range(TOLD)
        ],
        importtables.imports: [
            {**of, "id": 1, "user_id": 1, "file": "leads.csv", "dialect": '{"delimiter":","}', "columns": '["Email"]',
             "samples": "[]", "plan": '{"columns":["email"]}', "state": "finished", "slices": 1, "done": 1, "rows": leads,
             "made": leads - REFUSED, "refused": REFUSED, "named": "{}", "created_at": now, "ended_at": now}
        ],
        importtables.import_refusals: [
            {**of, "import_id": 1, "line": line, "email": "", "reason": "there is no address", "cells": '["nobody"]'}
            for line in range(1, REFUSED + 1)
        ],
    }  # fmt: skip


def _message() -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = f"hello@{DOMAIN}", "ada@mail1.example", "News"
    message.set_content("Good news.")
    message.add_alternative(sequencefill.mail_html(), subtype="html")
    message.add_attachment(b"%PDF-1.4 " * 100, maintype="application", subtype="pdf", filename="catalogue.pdf")
    return message.as_bytes()


def _in_bulk(path: Path, leads: int, now: int) -> None:
    """More of what happened to each lead; and each has got its mail, which a third opened and a tenth clicked in."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    for first in range(1, leads + 1, fill.CHUNK):
        connection.execute("BEGIN")
        rows = (
            (1, lead, now + number, "tag_assigned", f'{{"tag_id":{1 + number}}}', "app:1/1", now + number)
            for lead in range(first, min(first + fill.CHUNK, leads + 1))
            for number in range(1, EVENTS_EACH)
        )
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute(
            f"UPDATE mails SET state = {_STATE}, next_at = NULL, attempts = 1, sent_at = ?1, server = 'mail.example', "
            "opened_at = iif(lead_id % 3 = 0, ?1, NULL), clicked_at = iif(lead_id % 10 = 0, ?1, NULL) "
            "WHERE account_id = 1 AND lead_id BETWEEN ?2 AND ?3",
            (now, first, first + fill.CHUNK - 1),
        )
        connection.execute("COMMIT")
    connection.execute("ANALYZE")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
