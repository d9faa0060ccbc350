"""The parts of a lead that the API's answers and the calls to other systems write in the same way. Pure."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from cartwheel.accounts import CustomField
from cartwheel.leads.leadparts import CustomValue

_EASTERN_FORMAT = "%Y-%m-%d %H:%M:%S"


def local_time(at: datetime | None, zone: ZoneInfo) -> str:
    """A naive time in the account's zone, which is US Eastern unless the account says otherwise."""
    return at.astimezone(zone).strftime(_EASTERN_FORMAT) if at else ""


def field_details(field: CustomField) -> dict[str, Any]:
    return {"field_id": field.id, "field_identifier": field.identifier, "field_type": field.type.value}


def option_details(field: CustomField, chosen: tuple[int, ...] | None = None) -> list[dict[str, Any]]:
    """The options of a choice field: all, or the chosen ones."""
    return [
        {"option_id": option.id, "option_value": option.name}
        for option in field.options
        if chosen is None or option.id in chosen
    ]


def field_value(field: CustomField, value: CustomValue) -> str | list[dict[str, Any]]:
    """A text, or the chosen options."""
    if field.type.is_text:
        return value if isinstance(value, str) else ""
    return option_details(field, value if isinstance(value, tuple) else ())
