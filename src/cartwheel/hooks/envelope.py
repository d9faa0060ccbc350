"""What another system gets: Kartra's envelope, byte by byte, and the made-up one of a test. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from cartwheel.accounts import Account
from cartwheel.api.leadshape import field_details, field_value, local_time
from cartwheel.hooks.outbound import OUTBOUND, REACHES_SCORE, Endpoint, named
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Consent, Gdpr, Part

_BEFORE_DATE = (
    "first_name", "middle_name", "last_name", "last_name2", "email", "phone_country_code", "phone", "company", "address",
    "city", "zip", "state", "country",
)  # fmt: skip
_AFTER_IP = ("facebook", "twitter", "linkedin", "sales_tax_id", "lead_picture")


def lead_object(lead: Lead, account: Account) -> dict[str, Any]:
    """The lead with the keys of Kartra's schema, in its order. Absent text is "", never null."""
    profile, consent = {**lead.profile, "email": lead.email}, lead.consent
    return {
        "id": lead.id,
        **{name: profile.get(name, "") for name in _BEFORE_DATE},
        "date_joined": local_time(lead.created_at, account.zone),
        "website": profile.get("website", ""),
        "ip": profile.get("ip", ""),
        "ip_country": lead.ip_country,
        **{name: profile.get(name, "") for name in _AFTER_IP},
        "source": str(lead.source),
        "score": lead.score,
        "referring_id": 0,
        "blacklisted": int(lead.blacklisted),
        "source_id": lead.source_id,
        "gdpr_lead_status": consent.status.value,
        "gdpr_lead_status_date": local_time(consent.at, account.zone),
        "gdpr_lead_status_ip": consent.ip,
        "gdpr_lead_communications": int(consent.communications),
        "lead_preferred_time_zone": profile.get("lead_preferred_time_zone", ""),
        "custom_fields": [
            {**field_details(field), "field_value": field_value(field, lead.custom[field.id])}
            for field in account.fields.values()
            if lead.custom.get(field.id)
        ],
    }


def body(lead: Lead, account: Account, endpoint: Endpoint, action: str, details: Mapping[str, Any]) -> str:
    """The JSON that the endpoint gets."""
    whole = {"lead": lead_object(lead, account), "action": action, "action_details": dict(details)}
    return msgspec.json.encode(_as_strings(whole) if endpoint.numbers_as_strings else whole).decode()


def _as_strings(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_strings(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_strings(inner) for inner in value]
    return str(value) if isinstance(value, int) else value


TEST_LEAD = 0
"""The number of the lead that tests are about: nobody has it."""


def trial_body(account: Account, endpoint: Endpoint, action: str, now: datetime) -> str:
    """An event that did not happen, about a lead that is not there and something that is, if there is one."""
    row = OUTBOUND[action]
    if action == REACHES_SCORE:
        details: dict[str, Any] = {"points": endpoint.score}
    else:
        things = named(row, account.names)
        number = endpoint.events.get(action) or min(things, default=1)
        details = {row.about: {f"{row.about}_id": number, f"{row.about}_name": things.get(number, "Test")}}
    lead = Lead(
        account_id=account.id,
        id=TEST_LEAD,
        email="test@example.com",
        created_at=now.astimezone(UTC),
        loaded=Part.PROFILE,
        profile={"first_name": "Test", "last_name": "Lead"},
        custom={},
        consent=Consent(Gdpr.OFF),
    )
    return body(lead, account, endpoint, action, details)
