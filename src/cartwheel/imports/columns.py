"""What the columns of a file are about: guessed from their names and from what stands in them, or said by somebody. Pure."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from cartwheel.accounts import FIELD_IDENTIFIER, Account
from cartwheel.emails import looks_like_email
from cartwheel.leads.leadparts import PROFILE_FIELDS
from cartwheel.phrases import form

EMAIL = "email"
FIELD, NEW_FIELD = "field:", "new:"
"""Before the identifier of a custom field: one that there is, and one to be made."""

TARGETS: Mapping[str, str] = {
    "": form("Leave out"),
    EMAIL: form("E-mail address"),
    "name": form("Whole name"),
    **{name: form(name.replace("_", " ").capitalize()) for name in PROFILE_FIELDS},
    "tags": form("Tags"),
    "lists": form("Lists"),
    "points": form("Points"),
    "notes": form("Notes"),
    "joined": form("Date of joining"),
    "consent": form("Consent (GDPR status)"),
    "contact": form("May be contacted (yes or no)"),
    "blocked": form("Blocked, or why"),
    "unsubscribed": form("Unsubscribed, if anything stands there"),
    "bounced": form("Bounced, if anything stands there"),
    "complained": form("Complained, if anything stands there"),
}
"""What a column can be about, beside custom fields."""

SEVERAL = frozenset({"", "tags", "lists", "blocked"})
"""More than one column may be about these."""

_ALSO = {
    "email": "e_mail mail email_address e_mail_address subscriber_email contact_email primary_email emailaddress",
    "name": "full_name contact_name subscriber_name fullname",
    "first_name": "firstname first given_name fname vorname nombre",
    "last_name": "lastname last surname family_name lname nachname apellido",
    "middle_name": "middlename",
    "phone": "phone_number mobile telephone tel mobile_phone",
    "phone_country_code": "country_code",
    "company": "company_name organization organisation account_name",
    "address": "street street_address address_1 address_line_1 address1",
    "zip": "zip_code postal_code postcode zipcode plz",
    "state": "province region state_province",
    "website": "url web site web_site",
    "ip": "ip_address optin_ip opt_in_ip signup_ip",
    "lead_preferred_time_zone": "time_zone timezone",
    "sales_tax_id": "vat vat_id tax_id",
    "tags": "tag assigned_tags lead_tags contact_tags",
    "lists": "list subscribed_lists lead_lists mailing_lists",
    "points": "score lead_score lead_points",
    "notes": "note comments",
    "joined": "date_joined created_at date_created created date_added subscribed_at optin_time signup_date joined_at",
    "consent": "gdpr gdpr_status gdpr_lead_status consent_status gdpr_consent",
    "contact": "gdpr_lead_communications gdpr_communications communications accepts_marketing email_marketing",
    "": "line refused_because",
    "blocked": "status state_of_subscription blacklisted blocked_status subscription_status email_status suppression do_not_contact",
    "unsubscribed": "unsub_time unsubscribed_at unsubscribe_date cancelled_at",
    "bounced": "clean_time bounced_at bounce_date",
    "complained": "complaint_time complained_at spam_complaint",
}

PRESETS: Mapping[str, Mapping[str, str]] = {
    "kartra": {"lead_tags": "tags", "lead_lists": "lists", "score": "points", "blacklisted": "blocked", "date": "joined"},
    "mailchimp": {
        "leid": "", "euid": "", "member_rating": "", "optin_time": "", "optin_ip": "ip", "confirm_time": "joined", "confirm_ip": "",
        "unsub_time": "unsubscribed", "clean_time": "bounced", "timezone": "lead_preferred_time_zone", "cc": "", "region": "",
        "unsub_campaign_title": "", "unsub_reason": "", "latitude": "", "longitude": "", "gmtoff": "", "dstoff": "", "last_changed": "",
    },
    "kit": {"state": "blocked", "status": "blocked", "first_name": "first_name", "created_at": "joined", "source": ""},
    "activecampaign": {
        "status": "blocked", "account": "company", "organization": "company", "date_created": "joined", "ip_address": "ip", "id": "",
    },
}  # fmt: skip
"""What columns of other systems' exports are about that their names alone do not say."""

_KNOWN_BY = {
    "mailchimp": {"leid", "euid"},
    "kartra": {"lead_tags", "gdpr_lead_status"},
    "kit": {"subscriber_id", "state", "created_at"},
    "activecampaign": {"contact_id", "date_created"},
}

_NAMES = {name: name for name in TARGETS if name} | {
    also: target for target, others in _ALSO.items() for also in others.split()
}


def plain(header: str) -> str:
    """A header as it is compared: small letters, with one line for whatever stands between words."""
    return re.sub(r"[\W_]+", "_", header.casefold()).strip("_")


def preset_of(columns: Sequence[str]) -> str:
    """Whose export this is, as its columns tell; empty if they do not."""
    names = set(map(plain, columns))
    for preset, marks in _KNOWN_BY.items():
        if marks <= names or (preset == "mailchimp" and marks & names):
            return preset
    return ""


def guess(
    columns: Sequence[str],
    samples: Sequence[Sequence[str]],
    account: Account,
    preset: str = "",
    kept: Mapping[str, str] = {},
) -> list[str]:
    """What each column is about; `kept` is what a template says of some by their names. None is about what another is."""
    known: Mapping[str, str] = {**_NAMES, **PRESETS.get(preset, {})}
    guessed: list[str] = []
    for number, header in enumerate(columns):
        name = plain(header)
        cells = [row[number].strip() for row in samples if number < len(row) and row[number].strip()]
        found = kept[name] if name in kept else _guess_one(header, name, known, account)
        if found == "joined" and not all(read_moment(cell) for cell in cells):
            found = ""
        guessed.append("" if found in guessed and found not in SEVERAL else found)
    if EMAIL not in guessed:
        for number in range(len(columns)):
            cells = [row[number] for row in samples if number < len(row) and row[number].strip()]
            if cells and all(map(looks_like_email, cells)):
                guessed[number] = EMAIL
                break
    return guessed


def _guess_one(header: str, name: str, known: Mapping[str, str], account: Account) -> str:
    field = account.field(header) or account.field(name)
    if field is not None:
        return FIELD + field.identifier
    return known.get(name, "")


def read(target: str, account: Account) -> str | None:
    """A target as somebody wrote it, if there is one like it."""
    if target in TARGETS:
        return target
    if target.startswith(FIELD):
        found = account.field(target.removeprefix(FIELD))
        return FIELD + found.identifier if found else None
    if target.startswith(NEW_FIELD):
        identifier = target.removeprefix(NEW_FIELD)
        found = account.field(identifier)
        if found is not None:
            return FIELD + found.identifier
        return target if re.fullmatch(FIELD_IDENTIFIER, identifier) and not account.reserves(identifier) else None
    return None


def new_field(header: str, account: Account) -> str:
    """A field to be made of a column; empty if none can be."""
    found = read(NEW_FIELD + plain(header)[:100], account)
    return found or ""


def read_moment(text: str) -> datetime | None:
    """A date with or without a time as ISO writes it; of other ways, nobody knows which is the month."""
    try:
        found = datetime.fromisoformat(text.strip().removesuffix(" UTC"))
    except ValueError:
        return None
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
    return found if found.year >= 1971 else None  # noqa: PLR2004 - what the database can hold of time zones, too
