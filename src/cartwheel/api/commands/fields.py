"""Custom fields: what an account keeps about its leads beyond the built-in fields."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from cartwheel.accounts import FIELD_IDENTIFIER, LONGEST_NAME, MOST, FieldType
from cartwheel.api import wire
from cartwheel.api.leadshape import field_details, option_details
from cartwheel.api.registry import AccountCall, Name, Param, Scope, command
from cartwheel.errors import (
    AccountFull,
    FieldExists,
    FieldNameNotAllowed,
    FieldTypeUnknown,
    NameTooLong,
    OptionEmpty,
    OptionsNotAnArray,
    OptionsTooFew,
)

_IDENTIFIER = re.compile(FIELD_IDENTIFIER)
FEWEST_OPTIONS = 2


@dataclass(frozen=True)
class Options(Param):
    """The options of a choice type; of a text type they are not looked at, so they are read later."""

    kind = "array of `option_name`"

    @property
    def schema(self) -> Mapping[str, Any]:
        name = {"option_name": {"type": "string", "maxLength": LONGEST_NAME}}
        option = {"type": "object", "properties": name, "required": ["option_name"]}
        return {
            "type": "array",
            "items": option,
            "minItems": FEWEST_OPTIONS,
            "maxItems": MOST["options of a custom field"],
        }


@dataclass(frozen=True)
class TypeName(Name):
    """The type, empty or not: what is wrong with the identifier is told before it."""

    def read(self, raw: object) -> str:
        return (wire.text(raw) or "").strip()


@command(scope=Scope.ACCOUNT_READ, success=None, result={"custom_fields": list[wire.FieldDetails]})
def retrieve_custom_fields(call: AccountCall) -> dict[str, Any]:
    """The account's custom fields; the choice types come with their options."""
    return {
        "custom_fields": [
            {**field_details(field), **({} if field.type.is_text else {"field_value": option_details(field)})}
            for field in call.account.fields.values()
        ]
    }


@command(
    scope=Scope.FIELDS_WRITE,
    success=wire.FIELD_CREATED,
    errors={
        FieldNameNotAllowed: wire.FIELD_NAME_NOT_ALLOWED,
        FieldExists: wire.FIELD_EXISTS,
        FieldTypeUnknown: wire.FIELD_TYPE_NOT_VALID,
        OptionsNotAnArray: wire.OPTIONS_NOT_ARRAY,
        OptionEmpty: wire.OPTION_EMPTY,
        OptionsTooFew: wire.OPTIONS_TOO_FEW,
        NameTooLong: wire.FIELD_EXISTS,
        AccountFull: wire.FIELD_EXISTS,
    },
    example={
        "custom_field_identifier": "favourite_colour",
        "custom_field_type": "drop_down",
        "custom_field_options": [{"option_name": "red"}, {"option_name": "blue"}],
    },
)
def create_custom_field(
    call: AccountCall,
    custom_field_identifier: Annotated[str, Name(empty=wire.FIELD_EMPTY)],
    custom_field_type: Annotated[str, TypeName(empty=wire.FIELD_TYPE_NOT_VALID)],
    custom_field_options: Annotated[Any, Options()],
) -> None:
    """Add a custom field to the account.

    The types are `input_field`, `text_area`, `drop_down`, `radio_button` and `checkbox`; the last three need two or more
    options.
    """
    if not _IDENTIFIER.fullmatch(custom_field_identifier):
        raise FieldNameNotAllowed
    if call.account.reserves(custom_field_identifier):
        raise FieldExists
    try:
        kind = FieldType(custom_field_type)
    except ValueError:
        raise FieldTypeUnknown from None
    options = [] if kind.is_text else _option_names(custom_field_options)
    call.desk.add_custom_field(*call.account.with_field(custom_field_identifier, kind, options))


def _option_names(sent: object) -> list[str]:
    options = wire.items(sent)
    if options is None:
        raise OptionsNotAnArray
    names = [_option_name(option) for option in options]
    if len(names) < FEWEST_OPTIONS:
        raise OptionsTooFew
    return names


def _option_name(option: object) -> str:
    name = wire.text(option.get("option_name") if isinstance(option, dict) else option)
    if not name or not name.strip():
        raise OptionEmpty
    return name.strip()
