"""Leads: the people that an account knows."""

from typing import Any

from cartwheel.accounts import Account, CustomField, Mode
from cartwheel.api import wire
from cartwheel.api.bodies import Tree
from cartwheel.api.registry import LeadCall, NewLeadCall, Scope, command
from cartwheel.api.wire import Refused
from cartwheel.errors import LeadExists, LeadIsDeleted, LeadNotFound, WrongFieldFormat
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import (
    LONGEST_CUSTOM_TEXT,
    LONGEST_FIELD,
    PROFILE_FIELDS,
    CustomValue,
    Gdpr,
    Part,
    Source,
)


@command(
    scope=Scope.LEADS_WRITE,
    success=wire.LEAD_CREATED,
    errors={
        LeadExists: wire.LEAD_TAKEN,
        LeadIsDeleted: wire.LEAD_DELETED,
        WrongFieldFormat: wire.FIELD_FORMAT_WRONG,
    },
    first=True,
    refuses_call=True,
    example={"lead": {"email": "linus@shop.example", "first_name": "Linus", "city": "Helsinki"}},
    result={"lead_details": wire.LeadId},
)
def create_lead(call: NewLeadCall) -> dict[str, Any]:
    """Add a lead to the account, with the fields in `lead`. There must be no lead with this e-mail address yet."""
    taken = call.desk.taken(call.account_id, call.email)
    if taken is not None:
        raise LeadExists if taken.deleted_at is None else LeadIsDeleted
    lead = Lead.create(
        call.account_id,
        call.desk.new_lead_id(),
        call.email,
        call.desk.now,
        source=Source.API,
        test=call.app.mode is Mode.TEST,
        gdpr=Gdpr.UNKNOWN if call.account.gdpr else Gdpr.OFF,
    )
    lead.fill(_profile(call.sent), _custom_values(call.sent, call.account))
    call.desk.add(lead)
    return _reference(lead)


@command(
    scope=Scope.LEADS_WRITE,
    loads=Part.PROFILE,
    success=wire.LEAD_UPDATED,
    errors={LeadExists: wire.LEAD_TAKEN, WrongFieldFormat: wire.FIELD_FORMAT_WRONG},
    first=True,
    refuses_call=True,
    example={"lead": {"email": "ada@shop.example", "city": "London"}},
    result={"lead_details": wire.LeadId},
)
def edit_lead(call: LeadCall) -> dict[str, Any]:
    """Change the lead's fields that are in `lead`; the others stay. `lead[new_email]` gives it another address."""
    if call.new_email is not None:
        taken = call.desk.taken(call.account_id, call.new_email)
        if taken is not None and taken.id != call.lead.id:
            raise LeadExists
        call.lead.rename(call.new_email)
    call.lead.edit(_profile(call.sent), _custom_values(call.sent, call.account))
    return _reference(call.lead)


@command(scope=Scope.LEADS_READ, success=wire.LEAD_FOUND, refuses_call=True, result={"lead_details": wire.LeadId})
def search_lead(call: LeadCall) -> dict[str, Any]:
    """Find out whether the account has this lead, and its id."""
    return _reference(call.lead)


@command(
    scope=Scope.LEADS_READ,
    loads=Part.ALL,
    success=None,
    errors={LeadNotFound: wire.LEAD_UNKNOWN_ON_GET},
    top_level=True,
    result={"lead_details": wire.LeadDetails},
)
def get_lead(call: LeadCall) -> dict[str, Any]:
    """Everything about the lead: fields, score, tags, lists, sequences, consent, custom fields.

    Not a `cmd`: `get_lead[email]` or `get_lead[id]` stands beside `actions`, or alone.
    """
    return {"lead_details": wire.lead_details(call.lead, call.account)}


def _reference(lead: Lead) -> dict[str, Any]:
    return {"lead_details": {"id": str(lead.id)}}


def _profile(sent: Tree) -> dict[str, str]:
    """The built-in fields among those sent; raises `Refused`."""
    return {name: _field_text(name, sent[name]) for name in PROFILE_FIELDS if name in sent}


def _field_text(name: str, value: object) -> str:
    text = wire.text(value)
    if text is None:
        raise Refused(wire.unreadable(f"'{name}' has to be text"))
    if len(text) > LONGEST_FIELD:
        raise Refused(wire.unreadable(f"'{name}' is longer than {LONGEST_FIELD} characters"))
    return text


def _custom_values(sent: Tree, account: Account) -> dict[int, CustomValue]:
    """The custom fields among those sent, by id, "" to clear; raises `WrongFieldFormat`. Unknown ones are ignored."""
    values: dict[int, CustomValue] = {}
    for key in sent:  # in the order of sending, so that the last of two spellings wins
        field = None if key in _BUILT_IN else account.field(key)
        if field is not None and field.type.is_text:
            values[field.id] = custom_value(field, sent[key])
    entries = wire.items(sent.get("custom_fields") or [])
    if entries is None:
        raise WrongFieldFormat
    for entry in entries:
        identifier = wire.text(entry.get("field_identifier")) if isinstance(entry, dict) else None
        if not identifier:
            raise WrongFieldFormat
        field = account.field(identifier)
        if field is not None:
            values[field.id] = custom_value(field, entry.get("field_value", _LEFT_OUT))
    return values


_LEFT_OUT: list[object] = []
"""A form cannot carry an empty array: of a field without a choice it has the identifier only."""


_BUILT_IN = {*PROFILE_FIELDS, "id", "email", "new_email", "custom_fields"}


def custom_value(field: CustomField, sent: object) -> CustomValue:
    """The value as it is kept, "" for none; raises `WrongFieldFormat`."""
    chosen = wire.items(sent)
    if chosen is None:
        text = wire.text(sent) or ""
        if field.type.is_text:
            if len(text) > LONGEST_CUSTOM_TEXT:
                raise WrongFieldFormat
            return text
        if not text:
            return ""
        chosen = [text]
        if field.type.takes_many:
            raise WrongFieldFormat
    elif field.type.is_text or (len(chosen) > 1 and not field.type.takes_many):
        raise WrongFieldFormat
    options = {str(option.id): option.id for option in field.options}
    try:
        return tuple(sorted({options[(wire.text(option) or "").strip()] for option in chosen})) or ""
    except KeyError:
        raise WrongFieldFormat from None
