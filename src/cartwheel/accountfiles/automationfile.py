"""Automations as files and pages give them: checked against the account, and stored."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from cartwheel.accountfiles.fileparts import AutomationPart
from cartwheel.accounts import Account, name_key
from cartwheel.data import catalogchanges, schema, userstore
from cartwheel.errors import BadAccountFile
from cartwheel.phrases import phrase
from cartwheel.sequences import automations
from cartwheel.sequences.actions import ACTION_TYPES, Notify
from cartwheel.sequences.automations import Plan
from cartwheel.sequences.conditions import CONDITION_TYPES
from cartwheel.sequences.triggers import TRIGGER_TYPES

_PLACE = re.compile(r"\$\.automations\[(\d+)\](\.\S+?)?`")


def place_in(tree: dict[str, Any], message: str) -> str:
    """What a person calls the automation of a path in the library's message, and the types if that is wrong."""
    found = _PLACE.search(message)
    if not found:
        return ""
    entry, key = tree["automations"][int(found[1])], found[2] or ""
    named = isinstance(entry, dict) and "name" in entry
    types: Sequence[type[msgspec.Struct]] = ()
    if key.endswith(".type"):
        types = TRIGGER_TYPES if key == ".when.type" else ACTION_TYPES if key.startswith(".then") else CONDITION_TYPES
    tags = ", ".join(str(each.__struct_config__.tag) for each in types)
    return (f" (automation {entry['name']})" if named else "") + (f"; the types are {tags}" if tags else "")


def encode(plan: Plan) -> str:
    return msgspec.json.encode(plan).decode()


def check(parts: Iterable[AutomationPart], account: Account) -> None:
    """Raises `BadAccountFile` with what keeps one of them from running."""
    for part in parts:
        for problem in part.plan.problems(account):
            raise BadAccountFile(f"automation {part.name}: {problem}")


def doubts(connection: sa.Connection, parts: Iterable[AutomationPart], account: Account) -> list[str]:
    """What is only worth knowing of them."""
    told = [
        f"automation {part.name}: {doubt}" for part in parts for doubt in strangers(connection, account.id, part.plan)
    ]
    return [*told, *automations.warnings(account)] if parts else []


def strangers(connection: sa.Connection, account_id: int, plan: Plan) -> Iterator[str]:
    """Who is to be notified and does not work on the account: a file may come to an account before its people."""
    notified = [action.to for action in plan.then if isinstance(action, Notify)]
    if notified:
        known = {name_key(member.user.email) for member in userstore.members(connection, account_id)}
        for to in notified:
            if name_key(to) not in known:
                yield phrase("{person} is nobody of this account, and is not notified", person=to)


# -- one by one, as people make them --


def add(connection: sa.Connection, account_id: int, name: str, plan: Plan, now: datetime) -> int:
    """Returns its number. Raises `NameTaken`."""
    table = schema.automations
    return catalogchanges.add_named(connection, table, account_id, name, now, active=True, plan=encode(plan))


def change(connection: sa.Connection, account_id: int, number: int, name: str, plan: Plan) -> None:
    """Raises `NameTaken`."""
    catalogchanges.rename(connection, schema.automations, account_id, number, name, plan=encode(plan))


def switch(connection: sa.Connection, account_id: int, number: int, *, active: bool) -> None:
    """Have it run, or not."""
    table = schema.automations
    here = (table.c.account_id == account_id) & (table.c.id == number)
    connection.execute(sa.update(table).where(here).values(active=active))
