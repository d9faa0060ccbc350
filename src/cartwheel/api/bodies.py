"""Reading a request's body: PHP-style forms with brackets, JSON, and multipart forms, all into the same plain tree.

Arrays of a form become dicts whose keys are texts (`"0"`, `"email"`), as PHP keeps them; `wire` knows what they mean.
Everything is bounded, and what cannot be read is refused with a sentence that says what is wrong.
"""

import logging
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, create_form_parser

from cartwheel.errors import CartwheelError

Tree = dict[str, Any]
Path = tuple[str | None, ...]
"""Where a form variable goes, from the outside in; None appends."""

_DEEPEST = 64
"""Levels of a form variable beyond which nobody counts: no limit is higher."""

_LONGEST_CACHED_KEY = 256
"""Longer keys are read anew each time, so that hostile ones cannot fill the cache's memory."""


class Unreadable(CartwheelError):
    """The request cannot be read."""


class Why(StrEnum):
    """Each reason why a request cannot be read; the names in braces are those of the settings that bound it."""

    TOO_SLOW = "The request took too long to arrive"
    TOO_LARGE = "The request is larger than {max_body} bytes"
    ENCODED = "Content-Encoding is not supported, send the body as it is"
    NOT_UTF8 = "The request is not valid UTF-8"
    NUL = "The request holds a NUL character"
    NOT_JSON = "The request is not valid JSON ({reason})"
    NOT_OBJECT = "The request is not a JSON object"
    DAMAGED_FORM = "The multipart form is damaged"
    FILE = "The request holds a file"
    TOO_DEEP = "The request is nested deeper than {max_depth} levels"
    TOO_MANY_VARIABLES = "The request has more than {max_variables} variables"
    TOO_MANY_ACTIONS = "The call has more than {max_actions} actions"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request: bytes, levels of nesting, values."""

    body: int
    depth: int
    variables: int


def read_body(body: bytes, content_type: str, limits: Limits) -> Tree:
    """The body as a tree, by what it looks like rather than by its label (clients label JSON as a form).

    Raises `Unreadable`.
    """
    label = content_type.lower()
    start = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start in {b"{", b"["} or (label.startswith("application/json") and not _FORM.match(body)):
        return _read_json(body, limits)
    if label.startswith("multipart/form-data"):
        return _read_multipart(body, content_type, limits)
    return read_form(body, limits)


# -- forms --

_FORM = re.compile(rb"\s*([A-Za-z_][\w.%\[\]+-]*=|$)")
"""How a form starts that is labelled as JSON. Nothing at all is an empty form."""

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it warns of every damaged form that anybody sends


def read_form(body: bytes, limits: Limits) -> Tree:
    """`a=1&b[c]=2&b[d][]=3`, the way PHP reads it: in a conflict (`a=1&a[b]=2`) the last one wins."""
    if not body:
        return {}
    if body.count(b"&") >= limits.variables:
        raise Unreadable(Why.TOO_MANY_VARIABLES.format(max_variables=limits.variables))
    form = _Form(limits)
    try:
        text = body.decode()
        if "\0" in text or "%00" in text:
            raise Unreadable(Why.NUL)
        for pair in text.split("&"):
            key, _, value = pair.partition("=")
            if key:
                path = _cached_path(key) if len(key) <= _LONGEST_CACHED_KEY else _path(key)
                form.put(path, _unescape(value) if "%" in value or "+" in value else value)
    except UnicodeDecodeError:
        raise Unreadable(Why.NOT_UTF8) from None
    return form.root


def _read_multipart(body: bytes, content_type: str, limits: Limits) -> Tree:
    form = _Form(limits)
    count = 0

    def on_field(field: Field) -> None:
        nonlocal count
        count += 1
        if count > limits.variables:
            raise Unreadable(Why.TOO_MANY_VARIABLES.format(max_variables=limits.variables))
        name, value = (field.field_name or b"").decode(), (field.value or b"").decode()
        if "\0" in name or "\0" in value:
            raise Unreadable(Why.NUL)
        form.put(_nested(name), value)

    def on_file(_file: File) -> None:
        raise Unreadable(Why.FILE)

    complete = False

    def on_end() -> None:
        nonlocal complete
        complete = True

    try:
        parser = create_form_parser({"Content-Type": content_type.encode("latin-1")}, on_field, on_file)
        parser.on_end = on_end
        parser.write(body)
    except UnicodeDecodeError:
        raise Unreadable(Why.NOT_UTF8) from None
    except (FormParserError, ValueError) as error:
        raise Unreadable(Why.DAMAGED_FORM) from error
    if not complete:  # a part of a call must not be run as if it were all of it
        raise Unreadable(Why.DAMAGED_FORM)
    return form.root


class _Form:
    """A tree that grows variable by variable."""

    def __init__(self, limits: Limits) -> None:
        self.root: Tree = {}
        self._limits = limits
        self._appended: dict[int, tuple[int, int]] = {}
        """How many keys an array had at the last append, and the highest index among them, by the array's identity."""

    def put(self, path: Path, value: str) -> None:
        if len(path) > self._limits.depth:
            raise Unreadable(Why.TOO_DEEP.format(max_depth=self._limits.depth))
        node = self.root
        for part in path[:-1]:
            key = self._next_key(node) if part is None else part
            child = node.get(key)
            if not isinstance(child, dict):
                child = node[key] = {}
                if self._appended:
                    self._appended.pop(id(child), None)  # left by an array that is gone
            node = child
        last = path[-1]
        node[self._next_key(node) if last is None else last] = value

    def _next_key(self, node: Tree) -> str:
        """One more than the highest index, looked for among the keys that came since the last append."""
        seen, highest = self._appended.get(id(node), (0, -1))
        for key in islice(node, seen, None):
            if _INDEX.fullmatch(key):
                highest = max(highest, int(key))
        self._appended[id(node)] = (len(node), highest)
        return str(highest + 1)


_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")


def _unescape(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    return unquote_to_bytes(text).decode() if "%" in text else text


def _path(key: str) -> Path:
    return _nested(_unescape(key))


_cached_path = lru_cache(maxsize=4096)(_path)


def _nested(name: str) -> Path:
    """`lead[email]` → ("lead", "email"), `tags[]` → ("tags", None). What follows an unclosed bracket does not count."""
    name = name.lstrip(" ")
    first, bracket, rest = name.partition("[")
    if not first or not bracket or "]" not in rest:
        return (name,)
    path: list[str | None] = [first]
    while bracket and len(path) <= _DEEPEST:
        part, closed, rest = rest.partition("]")
        if not closed:
            break
        path.append(part if part.strip() else None)
        if not rest.startswith("["):
            break
        rest = rest[1:]
    return tuple(path)


# -- JSON --


def _read_json(body: bytes, limits: Limits) -> Tree:
    try:
        tree = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"))
    except RecursionError:
        raise Unreadable(Why.TOO_DEEP.format(max_depth=limits.depth)) from None
    except UnicodeDecodeError:
        raise Unreadable(Why.NOT_UTF8) from None
    except msgspec.MsgspecError as error:
        raise Unreadable(Why.NOT_JSON.format(reason=error)) from None
    if not isinstance(tree, dict):
        raise Unreadable(Why.NOT_OBJECT)
    _check_json(tree, limits, suspicious=b"\\u0000" in body)
    return tree


def _check_json(tree: Tree, limits: Limits, *, suspicious: bool) -> None:
    """Hold the tree against the limits, level by level."""
    count = 0
    level: list[Any] = [tree]
    for _ in range(limits.depth + 1):
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                below += node.values()
                if suspicious and any("\0" in key for key in node):
                    raise Unreadable(Why.NUL)
            elif isinstance(node, list):
                below += node
            elif suspicious and isinstance(node, str) and "\0" in node:
                raise Unreadable(Why.NUL)
        count += len(below)
        if count > limits.variables:
            raise Unreadable(Why.TOO_MANY_VARIABLES.format(max_variables=limits.variables))
        if not below:
            return
        level = below
    raise Unreadable(Why.TOO_DEEP.format(max_depth=limits.depth))
