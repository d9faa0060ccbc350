"""Everything about one lead, for people who look at it: its state, its ledger and what happened to it."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from cartwheel import times
from cartwheel.accounts import Account, CustomField
from cartwheel.data import leadfeed, leadstore, userstore
from cartwheel.data.catalog import Catalog
from cartwheel.data.db import Database
from cartwheel.data.leadfeed import Happened
from cartwheel.data.leadstore import LeadKey, Wanted
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.errors import LeadNotFound, NoSuchName
from cartwheel.leads.events import told_origin
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import CustomValue, Grant, Membership, Part, Parts
from cartwheel.phrases import form, phrase
from cartwheel.readers import digits


class Entry(NamedTuple):
    """A line of the feed; `by` says who did it."""

    at: datetime
    kind: str
    text: str
    by: str
    details: Any


@dataclass(frozen=True)
class LeadCard:
    """A lead with what is not part of it in memory. `feed` is newest first."""

    lead: Lead
    account: Account
    ledger: Sequence[Grant]
    feed: Sequence[Entry]

    @property
    def name(self) -> str:
        parts = (self.lead.profile.get(part, "") for part in ("first_name", "middle_name", "last_name"))
        return " ".join(part for part in parts if part)

    def fields(self) -> dict[str, str]:
        """The built-in and custom fields that are not empty, as text."""
        built_in = {name: value for name, value in self.lead.profile.items() if value}
        custom = {
            field.identifier: _value_text(field, self.lead.custom[field.id])
            for field in self.account.fields.values()
            if field.id in self.lead.custom
        }
        return built_in | custom

    def tags(self) -> list[str]:
        names = self.account.tag_names
        return [names[number] for number in sorted(self.lead.tags) if number in names]

    def lists(self) -> list[tuple[str, Membership]]:
        names = self.account.list_names
        return [(names[number], place) for number, place in sorted(self.lead.lists.items()) if number in names]

    def as_data(self) -> dict[str, Any]:
        """As JSON has it: times with the account's offset from UTC."""
        lead, account = self.lead, self.account
        return {
            "account": account.name,
            "id": lead.id,
            "email": lead.email,
            "created_at": self._time(lead.created_at),
            "deleted_at": self._time(lead.deleted_at),
            "source": lead.source,
            "test": lead.test,
            "score": lead.score,
            "fields": self.fields(),
            "notes": lead.notes,
            "blacklisted": lead.blacklisted,
            "untracked": lead.untracked,
            "consent": {
                "status": lead.consent.status.name.lower(),
                "at": self._time(lead.consent.at),
                "ip": lead.consent.ip,
                "communications": lead.consent.communications,
            },
            "tags": self.tags(),
            "lists": [
                {
                    "name": name,
                    "joined_at": self._time(place.joined_at),
                    "left_at": self._time(place.left_at),
                }
                for name, place in self.lists()
            ],
            "sequences": [
                {
                    "name": account.sequence_names[run.sequence_id],
                    "step": run.step,
                    "status": run.status.value,
                    "started_at": self._time(run.started_at),
                    "ended_at": self._time(run.ended_at),
                }
                for run in lead.runs.values()
            ],
            "points": [
                {
                    "points": grant.points,
                    "given_at": self._time(grant.given_at),
                    "expires_at": self._time(grant.expires_at),
                    "reversed_at": self._time(grant.reversed_at),
                }
                for grant in self.ledger
            ],
            "events": [{**entry._asdict(), "at": self._time(entry.at)} for entry in self.feed],
        }

    def _time(self, at: datetime | None) -> str | None:
        return at.astimezone(self.account.zone).isoformat() if at else None


def find(database: Database, account: Account, who: str) -> LeadKey | None:
    """The lead of this e-mail address, or of this id, which may have no lead. Raises `NoSuchName` for what is neither."""
    if (lead_id := digits(who)) is not None:
        return (account.id, lead_id)
    try:
        email = read_email(who)
    except EmailNotValid:
        raise NoSuchName(f"{who} is no e-mail address") from None
    with database.read() as connection:
        lead_id = leadstore.find_lead(connection, account.id, email)
    return None if lead_id is None else (account.id, lead_id)


async def read_card(
    database: Database, catalog: Catalog, key: LeadKey, *, most_events: int, parts: Parts = Part.ALL
) -> LeadCard:
    """The card as the database has it now, and the newest of its events. Raises `LeadNotFound`."""
    lane = database.lane()
    try:
        loaded = await leadstore.load(lane, [Wanted(*key, None, parts)], times.now)
    finally:
        await lane.close()
    if key not in loaded.leads:
        raise LeadNotFound
    account = catalog.accounts[key[0]]
    ledger, feed, people = await asyncio.to_thread(_read_history, database, key, most_events)
    entries = [_entry(happened, account, catalog, people) for happened in feed]
    return LeadCard(loaded.leads[key], account, ledger, entries)


People = Mapping[str, str]
"""The names of those who have signed in and did something, by their origins."""


def _read_history(database: Database, key: LeadKey, most_events: int) -> tuple[list[Grant], list[Happened], People]:
    with database.read() as connection:
        feed = leadfeed.feed(connection, key, most_events)
        people = userstore.by_origin(connection, {happened.origin for happened in feed})
        return leadfeed.ledger(connection, key), feed, people


def _entry(happened: Happened, account: Account, catalog: Catalog, people: People) -> Entry:
    text = happened.event.told(account.names) if happened.event else f"{happened.kind} {happened.details}"
    by = _who(happened.origin, account, catalog, people)
    return Entry(happened.at, happened.kind, text, by, json.loads(happened.details))


def _who(origin: str, account: Account, catalog: Catalog, people: People) -> str:
    """The `origin` of an event, for people."""
    if origin in people:
        return phrase("by {name}", name=people[origin])
    for app in catalog.apps.values():
        if app.origin == origin:
            owner = catalog.accounts[app.account_id]
            if owner is account:
                return phrase("by App {name}", name=app.name)
            return phrase("by App {name} of {account}", name=app.name, account=owner.name)
    token = next((token for token in catalog.tokens_of(account.id) if token.origin == origin), None)
    if token is not None:
        return phrase("by token {name}", name=token.name)
    return told_origin(origin, account.names) or phrase(_OTHERS.get(origin, "by {name}"), name=origin)


_OTHERS = {"cli": form("by the command line"), "cartwheel": form("by Cartwheel"), "sequence": form("by a sequence")}


def _value_text(field: CustomField, value: CustomValue) -> str:
    if isinstance(value, str):
        return value
    return ", ".join(option.name for option in field.options if option.id in value)
