"""Custom fields: what an account keeps of its leads beside the built-in fields."""

import sqlalchemy as sa

from cartwheel.accounts import MOST, Account, CustomField, name_key
from cartwheel.data import catalogchanges, fieldoptions, schema
from cartwheel.errors import FieldExists, OptionsTooFew
from cartwheel.people import Right
from cartwheel.rest.calls import Call
from cartwheel.rest.named import delete, numbered, rename, renewed
from cartwheel.rest.operations import operation
from cartwheel.rest.problems import ACCOUNT_FULL, IN_USE, INVALID, NAME_TAKEN, NOT_THERE, Refusal
from cartwheel.rest.records import FieldChange, FieldPage, FieldRecord, Gone, NewField, Number, OptionRecord

FEWEST_OPTIONS = 2


def _field(entry: CustomField) -> FieldRecord:
    options = [OptionRecord(id=option.id, name=option.name) for option in entry.options]
    return FieldRecord(id=entry.id, identifier=entry.identifier, type=entry.type, options=options)


@operation("GET", "/v1/fields", scope=Right.ACCOUNT_READ, example={})
def read_fields(call: Call) -> FieldPage:
    """All custom fields of the account, with their options."""
    return FieldPage(fields=[_field(entry) for entry in call.account.fields.values()])


@operation("GET", "/v1/fields/{field}", scope=Right.ACCOUNT_READ, problems=(NOT_THERE,), example={"field": 1})
def read_field(call: Call, *, field: Number) -> FieldRecord:
    """One custom field."""
    return _field(numbered(call.account.fields.values(), field, "field"))


@operation(
    "POST",
    "/v1/fields",
    scope=Right.FIELDS_WRITE,
    status=201,
    problems=(NAME_TAKEN, ACCOUNT_FULL),
    example={"body": {"identifier": "soil", "type": "drop_down", "options": ["Sand", "Clay"]}},
)
def make_field(call: Call, body: NewField) -> FieldRecord:
    """Make a custom field. `drop_down`, `radio_button` and `checkbox` need two options or more."""
    options = [name.strip() for name in body.options]
    _check_options(options)
    if body.type.is_text and options:
        raise Refusal(
            INVALID, f"A field of the type {body.type} has no options.", places={"/options": "has to be empty"}
        )
    if not body.type.is_text and len(options) < FEWEST_OPTIONS:
        raise OptionsTooFew

    def do(connection: sa.Connection, account: Account) -> FieldRecord:
        if account.reserves(body.identifier):
            raise FieldExists
        number = catalogchanges.add_named(
            connection, schema.custom_fields, account.id, body.identifier, call.now, type=body.type.value
        )
        fieldoptions.add(connection, account.id, number, options)
        return _field(numbered(renewed(connection, account).fields.values(), number, "field"))

    return call.change(do)


@operation(
    "PATCH",
    "/v1/fields/{field}",
    scope=Right.FIELDS_WRITE,
    problems=(NOT_THERE, NAME_TAKEN, IN_USE, ACCOUNT_FULL),
    example={"field": 1, "body": {"add_options": ["Bronze"]}},
)
def change_field(call: Call, body: FieldChange, *, field: Number) -> FieldRecord:
    """Give a custom field another identifier, or more options."""

    def do(connection: sa.Connection, account: Account) -> FieldRecord:
        entry = numbered(account.fields.values(), field, "field")
        name = body.identifier or entry.identifier
        if name_key(name) != name_key(entry.identifier) and account.reserves(name):
            raise FieldExists
        more = [option.strip() for option in body.add_options]
        if more and entry.type.is_text:
            raise Refusal(INVALID, f"A field of the type {entry.type} has no options.")
        _check_options([*(option.name for option in entry.options), *more])
        rename(connection, account, entry, name)
        fieldoptions.add(connection, account.id, entry.id, more)
        return _field(numbered(renewed(connection, account).fields.values(), field, "field"))

    return call.change(do)


@operation("DELETE", "/v1/fields/{field}", scope=Right.FIELDS_WRITE, problems=(NOT_THERE, IN_USE), example={"field": 3})
def delete_field(call: Call, *, field: Number) -> Gone:
    """Delete a custom field that no step of a sequence names. On the page, that can be taken back."""
    return call.change(
        lambda connection, account: delete(connection, account, numbered(account.fields.values(), field, "field"), call)
    )


def _check_options(names: list[str]) -> None:
    if len(set(map(name_key, names))) < len(names):
        raise Refusal(INVALID, "Two options have the same name.", places={"/options": "has a name twice"})
    if len(names) > MOST["options of a custom field"]:
        raise Refusal(ACCOUNT_FULL, f"A field has {MOST['options of a custom field']} options at most.")
