"""Lists and tags: what an account calls its leads by."""

from collections.abc import Iterable
from typing import Any, TypeVar

import sqlalchemy as sa

from cartwheel.accountfiles import uses
from cartwheel.accounts import Account, CustomField, MailingList, Tag, name_key
from cartwheel.data import bygones, catalog, catalogchanges, schema
from cartwheel.people import Right
from cartwheel.rest.calls import Call
from cartwheel.rest.operations import operation
from cartwheel.rest.problems import ACCOUNT_FULL, IN_USE, NAME_TAKEN, NOT_THERE, Refusal
from cartwheel.rest.records import Gone, ListChange, ListPage, ListRecord, NewList, NewTag, Number, TagPage, TagRecord

N = TypeVar("N", MailingList, Tag, CustomField)

_TABLES = {MailingList: schema.lists, Tag: schema.tags, CustomField: schema.custom_fields}


# -- what lists, tags and fields share --


def numbered(entries: Iterable[N], number: int, what: str) -> N:
    """Raises `Refusal` for one that this account does not have."""
    for entry in entries:
        if entry.id == number:
            return entry
    raise Refusal(NOT_THERE, f"The account has no {what} {number}.")


def renewed(connection: sa.Connection, account: Account) -> Account:
    """As it is after what was done in the transaction."""
    return catalog.of(connection, account.id).accounts[account.id]


def check_unused(connection: sa.Connection, account: Account, entry: Any) -> None:
    """Raises `Refusal` if steps would fail without it, or under another name."""
    used = uses.of(connection, account, entry)
    if used:
        where = "; ".join(f"{use.sequence}, box {', '.join(use.boxes)}" for use in used)
        raise Refusal(IN_USE, f"Steps call {entry.name} by this name: {where}.")


def rename(connection: sa.Connection, account: Account, entry: N, name: str, **values: Any) -> None:
    """Raises `Refusal` or `NameTaken`."""
    if name_key(name) != name_key(entry.name):
        check_unused(connection, account, entry)
    catalogchanges.rename(connection, _TABLES[type(entry)], account.id, entry.id, name.strip(), **values)


def delete(connection: sa.Connection, account: Account, entry: Any, call: Call) -> Gone:
    """Raises `Refusal`."""
    check_unused(connection, account, entry)
    bygones.delete(connection, _TABLES[type(entry)], account.id, entry.id, call.now)
    return Gone(id=entry.id)


# -- lists --


def _list(entry: MailingList) -> ListRecord:
    return ListRecord(id=entry.id, name=entry.name, public_name=entry.public_name)


@operation("GET", "/v1/lists", scope=Right.ACCOUNT_READ, example={})
def read_lists(call: Call) -> ListPage:
    """All lists of the account."""
    return ListPage(lists=[_list(entry) for entry in call.account.lists.values()])


@operation("GET", "/v1/lists/{list}", scope=Right.ACCOUNT_READ, problems=(NOT_THERE,), example={"list": 1})
def read_list(call: Call, *, list: Number) -> ListRecord:
    """One list."""
    return _list(numbered(call.account.lists.values(), list, "list"))


@operation(
    "POST",
    "/v1/lists",
    scope=Right.LISTS_WRITE,
    status=201,
    problems=(NAME_TAKEN, ACCOUNT_FULL),
    example={"body": {"name": "Garden letter", "public_name": "Letters from the garden"}},
)
def make_list(call: Call, body: NewList) -> ListRecord:
    """Make a list."""

    def do(connection: sa.Connection, account: Account) -> ListRecord:
        name, public = body.name.strip(), body.public_name
        number = catalogchanges.add_named(connection, schema.lists, account.id, name, call.now, public_name=public)
        return ListRecord(id=number, name=name, public_name=public)

    return call.change(do)


@operation(
    "PATCH",
    "/v1/lists/{list}",
    scope=Right.LISTS_WRITE,
    problems=(NOT_THERE, NAME_TAKEN, IN_USE),
    example={"list": 1, "body": {"public_name": "Our weekly letter"}},
)
def change_list(call: Call, body: ListChange, *, list: Number) -> ListRecord:
    """Change a list's names. While steps of sequences call it by its name, that stays."""

    def do(connection: sa.Connection, account: Account) -> ListRecord:
        entry = numbered(account.lists.values(), list, "list")
        public = entry.public_name if body.public_name is None else body.public_name
        rename(connection, account, entry, body.name or entry.name, public_name=public)
        return _list(numbered(renewed(connection, account).lists.values(), list, "list"))

    return call.change(do)


@operation(
    "DELETE",
    "/v1/lists/{list}",
    scope=Right.LISTS_WRITE,
    problems=(NOT_THERE, IN_USE),
    example={"list": 2},
)
def delete_list(call: Call, *, list: Number) -> Gone:
    """Delete a list that no step of a sequence names. On the page, that can be taken back."""
    return call.change(
        lambda connection, account: delete(connection, account, numbered(account.lists.values(), list, "list"), call)
    )


# -- tags --


@operation("GET", "/v1/tags", scope=Right.ACCOUNT_READ, example={})
def read_tags(call: Call) -> TagPage:
    """All tags of the account."""
    return TagPage(tags=[TagRecord(id=entry.id, name=entry.name) for entry in call.account.tags.values()])


@operation("GET", "/v1/tags/{tag}", scope=Right.ACCOUNT_READ, problems=(NOT_THERE,), example={"tag": 1})
def read_tag(call: Call, *, tag: Number) -> TagRecord:
    """One tag."""
    entry = numbered(call.account.tags.values(), tag, "tag")
    return TagRecord(id=entry.id, name=entry.name)


@operation(
    "POST",
    "/v1/tags",
    scope=Right.TAGS_WRITE,
    status=201,
    problems=(NAME_TAKEN, ACCOUNT_FULL),
    example={"body": {"name": "Gardener"}},
)
def make_tag(call: Call, body: NewTag) -> TagRecord:
    """Make a tag."""

    def do(connection: sa.Connection, account: Account) -> TagRecord:
        name = body.name.strip()
        number = catalogchanges.add_named(connection, schema.tags, account.id, name, call.now)
        return TagRecord(id=number, name=name)

    return call.change(do)


@operation(
    "PATCH",
    "/v1/tags/{tag}",
    scope=Right.TAGS_WRITE,
    problems=(NOT_THERE, NAME_TAKEN, IN_USE),
    example={"tag": 1, "body": {"name": "On trial"}},
)
def rename_tag(call: Call, body: NewTag, *, tag: Number) -> TagRecord:
    """Give a tag another name. While steps of sequences call it by its name, that stays."""

    def do(connection: sa.Connection, account: Account) -> TagRecord:
        rename(connection, account, numbered(account.tags.values(), tag, "tag"), body.name)
        return TagRecord(id=tag, name=body.name.strip())

    return call.change(do)


@operation("DELETE", "/v1/tags/{tag}", scope=Right.TAGS_WRITE, problems=(NOT_THERE, IN_USE), example={"tag": 2})
def delete_tag(call: Call, *, tag: Number) -> Gone:
    """Delete a tag that no step of a sequence names. On the page, that can be taken back."""
    return call.change(
        lambda connection, account: delete(connection, account, numbered(account.tags.values(), tag, "tag"), call)
    )
