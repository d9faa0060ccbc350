"""What leads are told of what is stored about them: all of it, as the GDPR has it (Article 15)."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from cartwheel.accounts import Account, MailingList, Sequence
from cartwheel.data import leadfeed, mailstore, userstore
from cartwheel.data.db import Database
from cartwheel.data.leadfeed import Happened
from cartwheel.data.leadstore import LeadKey
from cartwheel.leads.events import Names
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Grant
from cartwheel.leads.mails import Mail
from cartwheel.views.leadcard import LeadCard


def public_name(entry: MailingList | Sequence) -> str:
    """What its subscribers call it."""
    return entry.public_name or entry.name


def note_erasure(database: Database, key: LeadKey, now: datetime) -> None:
    """In the account's audit log: a lead has erased itself."""
    with database.write() as connection:
        userstore.audit_erasure(connection, key[0], now, "the lead itself", key[1])


def as_json(database: Database, lead: Lead, account: Account) -> bytes:
    """Everything of a lead, of which all but its mails has to be loaded."""
    key = (lead.account_id, lead.id)
    with database.read() as connection:
        mails = mailstore.mails_of(connection, key)
        feed = leadfeed.feed(connection, key, None)
        grants = leadfeed.ledger(connection, key)
    data = {
        "from": account.name,
        "address": account.mail.address,
        **_about(lead, account),
        "points": [_grant(grant) for grant in grants],
        "mails": [_mail(mail, account) for mail in mails],
        "events": list(_events(feed, account)),
    }
    return json.dumps(data, ensure_ascii=False, indent=2).encode()


def _about(lead: Lead, account: Account) -> dict[str, Any]:
    card = LeadCard(lead, account, [], [])
    lists = {entry.id: public_name(entry) for entry in account.lists.values()}
    told = lead.suppression
    return {
        "email": lead.email,
        "since": _time(lead.created_at),
        "source": lead.source,
        "source_id": lead.source_id,
        "fields": card.fields(),
        "notes": lead.notes,
        "tags": card.tags(),
        "score": lead.score,
        "blacklisted": lead.blacklisted,
        "country_of_ip": lead.ip_country,
        "consent": {
            "status": lead.consent.status.name.lower(),
            "at": _time(lead.consent.at),
            "ip": lead.consent.ip,
            "communications": lead.consent.communications,
        },
        "opens_and_clicks_recorded": not lead.untracked,
        "suppression": {
            "not_mailed_because": told.reason,
            "details": told.details,
            "at": _time(told.at),
            "soft_bounces": told.soft_bounces,
        },
        "lists": [
            {"name": lists[number], "joined_at": _time(place.joined_at), "left_at": _time(place.left_at)}
            for number, place in sorted(lead.lists.items())
            if number in lists
        ],
        "sequences": [
            {
                "name": _sequence(account, run.sequence_id),
                "step": run.step,
                "status": run.status.value,
                "reason": run.reason,
                "started_at": _time(run.started_at),
                "ended_at": _time(run.ended_at),
            }
            for run in lead.runs.values()
        ],
    }


def _grant(grant: Grant) -> dict[str, Any]:
    return {
        "points": grant.points,
        "given_at": _time(grant.given_at),
        "expires_at": _time(grant.expires_at),
        "taken_back_at": _time(grant.reversed_at),
    }


def _mail(mail: Mail, account: Account) -> dict[str, Any]:
    return {
        "sequence": _sequence(account, mail.sequence_id),
        "step": mail.box,
        "to": mail.address,
        "state": mail.state.value,
        "server": mail.server,
        "reply": mail.reply,
        "queued_at": _time(mail.queued_at),
        "sent_at": _time(mail.sent_at),
        "opened_at": _time(mail.opened_at),
        "clicked_at": _time(mail.clicked_at),
        "opened_by_machine_at": _time(mail.machine_opened_at),
        "clicked_by_machine_at": _time(mail.machine_clicked_at),
    }


def _events(feed: list[Happened], account: Account) -> Iterator[dict[str, Any]]:
    """Newest first, in words, under the names that subscribers know."""
    names = Names(
        tags=account.names.tags,
        lists={entry.id: public_name(entry) for entry in (*account.deleted.lists.values(), *account.lists.values())},
        sequences={entry.id: public_name(entry) for entry in account.sequences.values()},
        fields=account.names.fields,
    )
    for happened in feed:
        what = happened.event.told(names) if happened.event else f"{happened.kind} {happened.details}"
        yield {"at": _time(happened.at), "what": what}


def _sequence(account: Account, sequence_id: int) -> str:
    found = account.sequence_by_id.get(sequence_id)
    return public_name(found) if found else ""


def _time(at: datetime | None) -> str | None:
    """To the second, in UTC."""
    return at.replace(microsecond=0).isoformat() if at else None
