"""`export-account`: an account written as a file that `apply` takes."""

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from typing import Any

import msgspec
import tomli_w

from cartwheel.accountfiles import webhookfile
from cartwheel.accountfiles.fileparts import (
    AccountFile,
    AccountPart,
    AutomationPart,
    FieldPart,
    ListPart,
    OptionPart,
    SequencePart,
    TagPart,
    app_part,
)
from cartwheel.accounts import Account, App
from cartwheel.sequences.automations import plan_of


def write(account: Account, apps: Sequence[App], sequences: Iterable[SequencePart]) -> str:
    """The account as a file; key and password are not in it, because nobody knows them any more."""
    file = AccountFile(
        account=AccountPart(
            account.name,
            account.zone.key,
            account.gdpr,
            account.active,
            mail=account.mail,
            retention=account.retention,
        ),
        apps=[app_part(app) for app in apps],
        lists=[ListPart(entry.name, entry.public_name) for entry in account.lists.values()],
        tags=[TagPart(tag.name) for tag in account.tags.values()],
        custom_fields=[
            FieldPart(field.identifier, field.type, [OptionPart(option.name, option.id) for option in field.options])
            for field in account.fields.values()
        ],
        sequences=list(sequences),
        webhooks=list(webhookfile.parts(account, apps)),
        automations=[
            AutomationPart(entry.name, plan.when, plan.then, plan.condition, entry.active)
            for entry in account.automations.values()
            if (plan := plan_of(entry))
        ],
    )
    parts = dict(file.said)
    plain_ends = rb"\r\n" not in msgspec.json.encode(parts)  # a multi-line string would lose them
    for field in parts["custom_fields"]:
        if not field["options"]:
            del field["options"]  # a text has none, and never will
    blocks = [tomli_w.dumps({"account": parts.pop("account")})]
    for name, entries in parts.items():
        for entry in entries:
            blocks += _blocks((name,), entry, multiline_strings=plain_ends)
    return "\n".join(blocks)


def write_sequences(parts: Iterable[SequencePart]) -> str:
    """Sequences as the part of a file."""
    blocks: list[str] = []
    for part in parts:
        plain_ends = rb"\r\n" not in msgspec.json.encode(part)
        blocks += _blocks(("sequences",), dict(part.said), multiline_strings=plain_ends)
    return "\n".join(blocks)


def _blocks(path: Sequence[str], entry: dict[str, Any], *, multiline_strings: bool) -> Iterator[str]:
    """`[[path]]` and the entry's keys, then its steps: the library would put short entries before the first table."""
    steps = entry.pop("steps") if entry.get("steps") else []
    name = ".".join(path)
    nested = reduce(lambda inner, key: {key: inner}, reversed(path), entry)
    table = tomli_w.dumps(nested, multiline_strings=multiline_strings)
    yield f"[[{name}]]{table.removeprefix(f'[{name}]')}"
    for step in steps:
        yield from _blocks([*path, "steps"], step, multiline_strings=multiline_strings)
