"""PostgreSQL's binary arrays. psycopg writes a list element by element in Python, which was half of the driver's time."""

import struct
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any

_HEAD = struct.Struct("!iiIii")
"""Dimensions, whether there are NULLs, the elements' type, how many, the first one's index."""

_LENGTH = struct.Struct("!i")
_NULL = _LENGTH.pack(-1)


class Array(bytes):
    """An array as it goes over the wire. Its type's number is the dumper's: one class a type of column."""


class BigIntArray(Array):
    element, oid = 20, 1016


class IntArray(Array):
    element, oid = 23, 1007


class BooleanArray(Array):
    element, oid = 16, 1000


class TextArray(Array):
    element, oid = 25, 1009


class BytesArray(Array):
    element, oid = 17, 1001


def bigint_array(values: Sequence[int | None]) -> BigIntArray:
    if None in values:
        return BigIntArray(
            _join(BigIntArray, values, (None if v is None else v.to_bytes(8, signed=True) for v in values))
        )
    count = len(values)
    pairs = chain.from_iterable(zip(repeat(8, count), values, strict=True))
    return BigIntArray(_HEAD.pack(1, 0, BigIntArray.element, count, 1) + struct.pack("!" + "iq" * count, *pairs))


def int_array(values: Sequence[int | None]) -> IntArray:
    return IntArray(_join(IntArray, values, (None if v is None else v.to_bytes(4, signed=True) for v in values)))


def boolean_array(values: Sequence[bool | None]) -> BooleanArray:
    return BooleanArray(_join(BooleanArray, values, (None if v is None else (b"\1" if v else b"\0") for v in values)))


def text_array(values: Sequence[str | None]) -> TextArray:
    return TextArray(_join(TextArray, values, (None if v is None else v.encode() for v in values)))


def bytes_array(values: Sequence[bytes | None]) -> BytesArray:
    return BytesArray(_join(BytesArray, values, values))


def _join(kind: Any, values: Sequence[object], encoded: Iterable[bytes | None]) -> bytes:
    parts = [_HEAD.pack(1, None in values, kind.element, len(values), 1)]
    for value in encoded:
        if value is None:
            parts.append(_NULL)
        else:
            parts += (_LENGTH.pack(len(value)), value)
    return b"".join(parts)
