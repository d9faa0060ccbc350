"""What the pages of the reference are made of: tables, blocks, and the keys of a struct in words."""

import json
from collections.abc import Iterable, Iterator, Sequence
from enum import EnumMeta
from typing import Any

import msgspec
from msgspec import inspect as types

from cartwheel.views.terminal import compact_json


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def block(text: str, language: str = "") -> Iterator[str]:
    yield f"```{language}"
    yield text
    yield "```"
    yield ""


def json_block(value: Any) -> Iterator[str]:
    return block(compact_json(value), "json")


def code(value: object) -> str:
    return f"`{value}`"


def struct_of(cls: type[msgspec.Struct]) -> types.StructType:
    found = types.type_info(cls)
    assert isinstance(found, types.StructType)  # it is one
    return found


def keys(fields: Iterable[types.Field]) -> Iterator[str]:
    rows = [(code(field.encode_name), kind_of(field.type), _default(field), meaning_of(field.type)) for field in fields]
    yield from table(["key", "type", "default", "what it is for"], rows)


def struct_in(kind: types.Type) -> types.StructType | None:
    """The table behind a type: itself, its elements, or what it is when it is there."""
    match kind:
        case types.StructType():
            return kind
        case types.ListType():
            return struct_in(kind.item_type)
        case types.UnionType():
            return next((found for inner in kind.types if (found := struct_in(inner))), None)
        case types.Metadata():
            return struct_in(kind.type)
    return None


def meaning_of(kind: types.Type) -> str:
    found = kind.extra_json_schema if isinstance(kind, types.Metadata) else None
    return str((found or {}).get("description", ""))


def kind_of(kind: types.Type) -> str:
    """A type in words."""
    match kind:
        case types.Metadata():
            return kind_of(kind.type)
        case types.StrType():
            return "text" + _bounds(kind.min_length, kind.max_length, " characters")
        case types.IntType():
            return "whole number" + _bounds(kind.ge, kind.le, "")
        case types.BoolType():
            return "`true` or `false`"
        case types.LiteralType():
            return _or(sorted(kind.values, key=str))
        case types.EnumType():
            assert isinstance(kind.cls, EnumMeta)  # what else
            return _or([member.value for member in kind.cls])
        case types.ListType():
            what = "list of tables" if struct_in(kind) else f"list: {kind_of(kind.item_type)}"
            return what + _bounds(kind.min_length, kind.max_length, " entries")
        case types.StructType():
            return "table"
        case types.BytesType():
            return "text in base64"
        case types.UnionType():
            if struct_in(kind):
                return "table"
            return _or_words([kind_of(inner) for inner in kind.types if not isinstance(inner, types.NoneType)])
    return "anything"


def _bounds(low: int | None, high: int | None, unit: str) -> str:
    if high is None:
        return ""
    return f", {low:,} to {high:,}{unit}" if low is not None else f", at most {high:,}{unit}"


def _or(values: Iterable[object]) -> str:
    return _or_words([code(value) for value in values])


def _or_words(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _default(field: types.Field) -> str:
    if field.required:
        return "(required)"
    value: Any = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if isinstance(value, msgspec.Struct) or value in ("", [], b"", None):
        return ""
    return code(json.dumps(value))
