"""What a line of an export says of a lead, an event or a mail: under which name which value."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from cartwheel.accounts import Account, CustomField
from cartwheel.data.exportstore import Event, Exported
from cartwheel.data.mailstore import Listed
from cartwheel.leads.leadparts import PROFILE_FIELDS, Gdpr
from cartwheel.times import from_micros, moment_or_none

Value = str | int | bool | datetime | None | Sequence[str]
"""The texts of a sequence stand in one cell of a table."""

Record = Mapping[str, Value]

LEAD = (
    "id", "email", *PROFILE_FIELDS, "notes", "source", "created_at", "score", "ip_country", "test", "consent",
    "consent_at", "not_mailed_because", "untracked", "tags", "lists",
)  # fmt: skip
EVENT = ("at", "lead_id", "email", "event", "told", "by", "details")
MAIL = (
    "id", "lead_id", "email", "to", "sequence", "step", "version", "state", "server", "reply", "attempts", "queued_at",
    "sent_at", "opened_at", "clicked_at", "opened_by_machine_at", "clicked_by_machine_at",
)  # fmt: skip


def custom_columns(account: Account) -> dict[int, str]:
    """What the column of each custom field is called: its identifier, unless a column of ours has that name."""
    taken = set(LEAD)
    names = {field.id: field.identifier for field in account.fields.values()}
    return {number: f"custom_{name}" if name in taken else name for number, name in names.items()}


def lead_columns(account: Account) -> list[str]:
    return [*LEAD, *custom_columns(account).values()]


def of_lead(lead: Exported, account: Account) -> Record:
    row, tags, lists = lead.row, account.tag_names, account.list_names
    columns, fields = custom_columns(account), {field.id: field for field in account.fields.values()}
    return {
        **{name: getattr(row, name) for name in ("id", "email", *PROFILE_FIELDS, "notes", "source")},
        "created_at": from_micros(row.created_at),
        "score": row.score,
        "ip_country": row.ip_country,
        "test": bool(row.test),
        "consent": Gdpr(row.gdpr_status).name.lower(),
        "consent_at": moment_or_none(row.gdpr_status_at),
        "not_mailed_because": lead.suppression,
        "untracked": bool(row.untracked),
        "tags": [tags[number] for number in lead.tags if number in tags],
        "lists": [lists[number] for number in lead.lists if number in lists],
        **dict.fromkeys(columns.values()),
        **{
            columns[number]: _custom(fields[number], value) for number, value in lead.fields.items() if number in fields
        },
    }


def _custom(field: CustomField, value: str) -> Value:
    """Options by their names."""
    held = json.loads(value)
    if isinstance(held, str):
        return held
    names = [option.name for option in field.options if option.id in held]
    return names if field.type.takes_many else next(iter(names), "")


def of_event(event: Event, account: Account) -> Record:
    """`details` are the facts as they are stored, as JSON; `told` says them in words."""
    what = event.happened
    return {
        "at": what.at,
        "lead_id": event.lead_id,
        "email": event.email,
        "event": what.kind,
        "told": str(what.event.told(account.names)) if what.event else "",
        "by": what.origin,
        "details": what.details,
    }


def of_mail(listed: Listed, account: Account) -> Record:
    mail = listed.mail
    return {
        "id": mail.key,
        "lead_id": listed.lead_id,
        "email": listed.email,
        "to": mail.address,
        "sequence": account.sequence_names.get(mail.sequence_id, ""),
        "step": mail.box,
        "version": mail.version,
        "state": mail.state.value,
        "server": mail.server,
        "reply": mail.reply,
        "attempts": mail.attempts,
        "queued_at": mail.queued_at,
        "sent_at": mail.sent_at,
        "opened_at": mail.opened_at,
        "clicked_at": mail.clicked_at,
        "opened_by_machine_at": mail.machine_opened_at,
        "clicked_by_machine_at": mail.machine_clicked_at,
    }
