"""A call without its credentials, so that it can be kept and shown: wherever they stand in it, and however they are written.

First by their names, in the syntax of the body; then by their values, wherever else somebody may have put them. What cannot
be read is kept only if all three were found in it.
"""

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus

import msgspec

from cartwheel.api.bodies import Tree
from cartwheel.api.dispatch import CREDENTIALS

HIDDEN = "•••"

MOST_KEPT = 32 << 10
"""Bytes of a body, and characters of an answer."""

SHORTEST_SECRET = 8
"""Shorter texts are nobody's credentials, and may well stand elsewhere."""

NOT_KEPT = "(not kept: it cannot be read, so nobody knows where its credentials stand)"

_LIKE_ONE = re.compile("pas|pwd|secret|token|key", re.IGNORECASE)
_NAMES = "|".join(sorted(CREDENTIALS))
_JSON = re.compile(rf'("(?:{_NAMES})"\s*:\s*)("(?:[^"\\]|\\.)*(?:"|$)|[^,\]}}\s][^,\]}}]*)', re.DOTALL)
_MULTIPART = re.compile(rf'(name="?(?:{_NAMES})\b[^\r\n]*\r?\n(?:[^\r\n]+\r?\n)*\r?\n)(.*?)(?=\r?\n--|$)', re.DOTALL)
_QUOTED = r""""(?:[^"\\]|\\.)*(?:"|$)|'(?:[^'\\]|\\.)*(?:'|$)"""
_LOOSE = re.compile(
    rf"\b({_NAMES})(?:([\"']?\s*[:=]>?\s*)({_QUOTED})|(\W{{1,12}}?)(\w[^&\s]*))", re.IGNORECASE | re.DOTALL
)
"""A name, what stands between, and a value in quotes or without."""


def redact_tree(tree: Tree) -> Tree:
    """The call as it was read."""
    hidden: Tree = {key: HIDDEN if _is_mistyped(key) else value for key, value in _hide(tree).items()}
    return hidden


def _hide(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: HIDDEN if _is_name(key) else _hide(value) for key, value in node.items()}
    return [_hide(value) for value in node] if isinstance(node, list) else node


def _is_name(key: str) -> bool:
    return key.strip().lower() in CREDENTIALS


def _is_mistyped(key: str) -> bool:
    """Whether this, beside the credentials, may be meant for the name of one."""
    return _LIKE_ONE.search(key) is not None and key.strip().lower() != "idempotency_key"


def secrets_in(tree: Tree) -> frozenset[str]:
    """What was sent as credentials, wherever it stands."""
    found: set[str] = set()
    _collect(tree, found, named=False)
    for key, value in tree.items():
        if _is_mistyped(key):
            _collect(value, found, named=True)
    return frozenset(text for text in found if len(text) >= SHORTEST_SECRET)


def _collect(node: Any, found: set[str], *, named: bool) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            if (inside := named or _is_name(key)) or isinstance(value, dict | list):
                _collect(value, found, named=inside)
    elif isinstance(node, list):
        for value in node:
            _collect(value, found, named=named)
    elif named and node is not None:
        found |= {str(node), str(node).strip()}


def spellings(secrets: frozenset[str]) -> Sequence[str]:
    """How these may stand in a text: as they are, or escaped in one of the usual ways; the longest first."""
    return [
        written
        for secret in sorted(secrets, key=len, reverse=True)
        for written in {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], _ascii(secret)}
    ]


def redact_body(body: bytes, spelled: Sequence[str]) -> str:
    """A body that was read: its text, cut where it is too long. `spelled` are `spellings`, as below."""
    text = body[:MOST_KEPT].decode(errors="replace").replace("\0", "�")
    start = text.lstrip("\ufeff \t\r\n")[:1]
    if start in {"{", "["}:
        text = _JSON.sub(rf'\1"{HIDDEN}"', text)
    elif start == "-":
        text = _MULTIPART.sub(rf"\g<1>{HIDDEN}", text)
    else:
        text = redact_form(text)
    return redact_values(text, spelled)


def redact_form(text: str) -> str:
    return "&".join(map(_redact_pair, text.split("&")))


def _redact_pair(pair: str) -> str:
    key, equals, _ = pair.partition("=")
    name = key.partition("[")[0].partition("%5B")[0].partition("%5b")[0]
    if "%" in name or "+" in name:
        name = unquote_plus(name)
    return key + equals + HIDDEN if equals and (_is_name(name) or _is_mistyped(name)) else pair


def redact_values(text: str, spelled: Sequence[str]) -> str:
    """Without the credentials that were sent."""
    for written in spelled:
        if written in text:
            text = text.replace(written, HIDDEN)
    return text


def _ascii(secret: str) -> str:
    return json.dumps(secret, ensure_ascii=False)[1:-1]


def redact_unread(body: bytes) -> str:
    """A body that nobody could read, if it looks as if all credentials were found in it."""
    text = body[:MOST_KEPT].decode(errors="replace").replace("\0", "�")
    found: set[str] = set()

    def hide(match: re.Match[str]) -> str:
        found.add(match[1].lower())
        return match[1] + (match[2] or match[4]) + HIDDEN

    text = _LOOSE.sub(hide, text)
    return text if found == CREDENTIALS else NOT_KEPT


def app_ids_in(body: bytes) -> list[str]:
    """What may be the id of an App in a body that nobody could read."""
    text = body[:MOST_KEPT].decode(errors="replace")
    found = [match for match in _LOOSE.finditer(text) if match[1].lower() == "app_id"]
    return [(match[3] or match[5]).strip("\"'") for match in found]


def as_text(tree: Tree, spelled: Sequence[str]) -> str:
    """JSON; nothing if it is too long."""
    text = redact_values(msgspec.json.encode(redact_tree(tree)).decode(), spelled)
    return text if len(text) <= MOST_KEPT else ""
