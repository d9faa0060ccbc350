"""Erasing a lead in the database: what is wiped, table by table, and the hashes by which its addresses are known again.

What is kept, and why, is told in docs/how-to/answer-privacy-requests.md.
"""

import base64
import hmac
from collections.abc import Collection, Sequence
from datetime import datetime
from weakref import WeakKeyDictionary

import msgspec
import sqlalchemy as sa

from cartwheel.data import schema
from cartwheel.data.importtables import import_leads, import_refusals
from cartwheel.data.lanes import Change, Delete, Insert, Lane, Select, Update, Write
from cartwheel.leads.events import KINDS, MailClicked, MailOpened
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import ERASED, ERASURE, Address, Suppression
from cartwheel.phrases import form
from cartwheel.times import from_micros, to_micros

_LeadKey = tuple[int, int]
_AddressKey = tuple[int, str]
"""(account id, e-mail address)"""

# -- what is wiped --

_OF_LEAD = ("account_id", "lead_id")
_ABOUT_LEAD = ("account_id", "lead")

_MAIL_WIPED = (
    f"address = '', reply = '{ERASED}', "
    "opened_at = NULL, clicked_at = NULL, machine_opened_at = NULL, machine_clicked_at = NULL"
)
_WIPES: Sequence[Write] = (
    Delete(schema.lead_tags, by=_OF_LEAD),
    Delete(schema.lead_lists, by=_OF_LEAD),
    Delete(schema.lead_fields, by=_OF_LEAD),
    Delete(schema.points, by=_OF_LEAD),
    Delete(schema.test_mailbox, by=_OF_LEAD),
    Delete(schema.clicks, by=_OF_LEAD),
    Delete(import_leads, by=_OF_LEAD),
    Delete(schema.hook_deliveries, by=_OF_LEAD),
    Delete(schema.notices, by=_OF_LEAD),
    Delete(schema.suppressions, by=_ABOUT_LEAD),
    Change(schema.mails, _MAIL_WIPED, by=_OF_LEAD),
    Change(schema.enrolments, "reason = ''", by=_OF_LEAD),
    Change(schema.idempotent_calls, "answer = ''", by=_ABOUT_LEAD),
    Delete(schema.api_calls, by=_ABOUT_LEAD),
    Delete(schema.api_calls, by=("account_id", "other_lead")),
)
"""Beside the row of the lead itself, which is written as it is then, and its events."""

_EVENTS = Select(schema.events, (*_OF_LEAD, "id", "kind", "details"), by=_OF_LEAD)
_EVENT_GONE = Delete(schema.events)
_EVENT_WIPED = Update(schema.events, ("details",))

WATCHED = frozenset({MailOpened.kind, MailClicked.kind})
"""Events that do not stay, because they tell of nothing but what the person did."""

_ADDRESS_GONE = Delete(schema.suppressions)
_CALLS_GONE = [Delete(schema.api_calls, by=("account_id", column)) for column in ("email", "new_email", "other_email")]
"""Calls that named it and found nobody."""
_ROWS_GONE = Delete(import_refusals, by=("account_id", "email"))
"""Rows of files that named it."""
_DIGEST_KEPT = Insert(schema.erased_addresses, update=("reason", "at"))
_DIGEST_GONE = Delete(schema.erased_addresses)


async def write(lane: Lane, leads: Sequence[Lead]) -> None:
    """Wipe what is stored of those among these that were erased just now."""
    erased = [lead for lead in leads if ERASURE in lead.dirty]
    if not erased:
        return
    keys = [(lead.account_id, lead.id) for lead in erased]
    for statement in _WIPES:
        await lane.write(statement, keys)
    await _wipe_events(lane, keys)
    known = [(lead.account_id, email, address) for lead in erased for email, address in lead.addresses.items()]
    addresses = [(account_id, email) for account_id, email, _ in known]
    await lane.write(_ADDRESS_GONE, addresses)
    for statement in (*_CALLS_GONE, _ROWS_GONE):
        await lane.write(statement, addresses)
    kept, gone = [], []
    for account_id, _, address in known:
        told = address.suppression
        if told.reason and told.at is not None:
            kept.append((account_id, address.digest, str(told.reason), to_micros(told.at)))
        else:
            gone.append((account_id, address.digest))
    await lane.write(_DIGEST_KEPT, kept)
    await lane.write(_DIGEST_GONE, gone)


async def _wipe_events(lane: Lane, keys: Sequence[_LeadKey]) -> None:
    gone, wiped = [], []
    for *key, kind, details in await lane.fetch(_EVENTS, keys):
        if kind in WATCHED:
            gone.append(tuple(key))
        elif (left := _wiped(kind, details)) != details:
            wiped.append((left, *key))
    await lane.write(_EVENT_GONE, gone)
    await lane.write(_EVENT_WIPED, wiped)


def _wiped(kind: str, details: str) -> str:
    """The details without what others wrote; nothing of an event that this version cannot read."""
    try:
        event = _READERS[kind].decode(details)
    except (KeyError, msgspec.ValidationError):
        return "{}"
    return msgspec.json.encode(event.wiped()).decode()


_READERS = {kind: msgspec.json.Decoder(event) for kind, event in KINDS.items()}
"""Made ahead: msgspec crashes when several threads are the first to read a type."""

# -- the addresses --

_KEY_NAME = "erased addresses"
_KEY = Select(schema.secrets, ("value",), by=("name",))
_KEYS: WeakKeyDictionary[Lane, bytes] = WeakKeyDictionary()
"""A database's key never changes."""

_OF_ADDRESS = Select(schema.erased_addresses, ("account_id", "digest", "reason", "at"), by=("account_id", "digest"))
_SUPPRESSIONS_OF_LEAD = Select(
    schema.suppressions, (*_ABOUT_LEAD, "email", "reason", "at"), by=_ABOUT_LEAD, where="t.lead IS NOT NULL"
)

DETAILS = form("a lead with this address was erased")


async def load_addresses(lane: Lane, leads: dict[_LeadKey, Lead], keys: list[_LeadKey], _due: int) -> None:
    key = await _key(lane)
    for account_id, lead_id in keys:
        lead = leads[account_id, lead_id]
        lead.addresses = {lead.email: Address(_digest(key, account_id, lead.email))}
    for account_id, lead_id, email, reason, at in await lane.fetch(_SUPPRESSIONS_OF_LEAD, keys):
        told = Suppression(reason, from_micros(at))
        leads[account_id, lead_id].addresses[email] = Address(_digest(key, account_id, email), told)


async def suppressions(lane: Lane, addresses: Collection[_AddressKey]) -> dict[_AddressKey, Suppression]:
    """Why those of these are not to be mailed that an erased lead had."""
    if not addresses:
        return {}
    key = await _key(lane)
    by_digest = {(account_id, _digest(key, account_id, email)): (account_id, email) for account_id, email in addresses}
    return {
        by_digest[account_id, digest]: Suppression(reason, from_micros(at), DETAILS)
        for account_id, digest, reason, at in await lane.fetch(_OF_ADDRESS, sorted(by_digest))
    }


async def _key(lane: Lane) -> bytes:
    key = _KEYS.get(lane)
    if key is None:
        [(value,)] = await lane.fetch(_KEY, [(_KEY_NAME,)])
        key = _KEYS[lane] = base64.b64decode(value)
    return key


def _digest(key: bytes, account_id: int, email: str) -> str:
    """Another one in each account, so that nobody sees who is in several."""
    return hmac.digest(key, f"{account_id} {email}".encode(), "sha256").hex()


def erased_at(connection: sa.Connection, account_id: int, email: str) -> datetime | None:
    """Since when an address is not to be mailed that an erased lead had; None when it may be."""
    secrets, table = schema.secrets, schema.erased_addresses
    value = connection.execute(sa.select(secrets.c.value).where(secrets.c.name == _KEY_NAME)).scalar_one()
    digest = _digest(base64.b64decode(value), account_id, email)
    at = connection.execute(sa.select(table.c.at).filter_by(account_id=account_id, digest=digest)).scalar_one_or_none()
    return None if at is None else from_micros(at)
