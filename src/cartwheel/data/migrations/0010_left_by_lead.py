"""It is known who has left a sequence or a list by themselves: no step puts them back."""

import sqlalchemy as sa


def up(connection: sa.Connection) -> None:
    for table, left_at, event in (
        ("enrolments", "ended_at", "sequence_left"),
        ("lead_lists", "left_at", "list_left"),
    ):
        connection.execute(sa.text(f"ALTER TABLE {table} ADD COLUMN left_by_lead BOOLEAN NOT NULL DEFAULT FALSE"))
        same = f"e.account_id = {table}.account_id AND e.lead_id = {table}.lead_id AND e.at = {table}.{left_at}"
        said = f"SELECT 1 FROM events e WHERE {same} AND e.kind = '{event}' AND e.origin IN ('lead', 'report')"
        left = f"{table}.{left_at} IS NOT NULL AND EXISTS ({said})"
        connection.execute(sa.text(f"UPDATE {table} SET left_by_lead = TRUE WHERE {left}"))
