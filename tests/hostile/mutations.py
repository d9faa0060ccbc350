"""Bodies that were valid once: calls in every encoding, and what vandals, bugs and bad lines make of them."""

import json
import re
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote_plus

BOUNDARY = "Frontier7"
FORM = "application/x-www-form-urlencoded"
LABELS = {"json": "application/json", "form": FORM, "multipart": f"multipart/form-data; boundary={BOUNDARY}"}


class Raw(str):
    """Text that stands in JSON as it is, and need not be JSON."""

    __slots__ = ()


class Mutant(NamedTuple):
    body: bytes
    content_type: str
    query: bytes


RED_BLUE = [{"option_name": "Red"}, {"option_name": "Blue"}]
CALLS: list[dict[str, Any]] = [
    {
        "lead": {
            "email": "ada@shop.example",
            "first_name": "Ada",
            "custom_fields": [{"field_identifier": "plan", "field_value": "612"}],
        },
        "actions": [{"cmd": "create_lead"}, {"cmd": "assign_tag", "tag_name": "Customer"}],
    },
    {
        "lead": {"email": "lin@shop.example", "city": "Bern", "new_email": "lin2@shop.example"},
        "actions": [{"cmd": "edit_lead"}, {"cmd": "subscribe_lead_to_list", "list_name": "Newsletter"}],
    },
    {"lead": {"email": "grace@shop.example"}, "actions": [{"cmd": "create_lead"}]},
    *[
        {
            "lead": {"email": "grace@shop.example"}
            | dict.fromkeys(["first_name", "last_name", "city", "address", "company", "website", "shoe_size"], "x"),
            "actions": [{"cmd": "edit_lead"}],
        }
    ]
    * 3,
    {"lead": {"id": "1"}, "actions": [{"cmd": "search_lead"}], "get_lead": {"email": "ada@shop.example"}},
    {"get_lead": {"email": "grace@shop.example"}},
    {
        "lead": {"email": "ada@shop.example"},
        "actions": [
            {"cmd": "give_points_to_lead", "points": 5, "expiration": 30},
            {"cmd": "remove_points_from_lead", "points": "2"},
            {"cmd": "subscribe_lead_to_sequence_at_step", "sequence_name": "Welcome", "step": "A2"},
            {"cmd": "unsubscribe_lead_from_sequence", "sequence_name": "Welcome"},
            {"cmd": "unassign_tag", "tag_name": "customer"},
            {"cmd": "unsubscribe_lead_from_list", "list_name": "Newsletter"},
        ],
    },
    {
        "actions": [
            {"cmd": "retrieve_account_tags"},
            {"cmd": "retrieve_account_lists"},
            {"cmd": "retrieve_custom_fields"},
        ]
    },
    {
        "lead": {
            "email": "ada@shop.example",
            "custom_fields": [{"field_identifier": "interests", "field_value": ["701", "703"]}],
        },
        "actions": [{"cmd": "edit_lead"}],
    },
]
FIELD_CALL: dict[str, Any] = {
    "actions": [
        {
            "cmd": "create_custom_field",
            "custom_field_identifier": "colour",
            "custom_field_type": "drop_down",
            "custom_field_options": RED_BLUE,
        }
    ]
}
"""Seldom: an account has few fields, and each one that succeeds changes the catalog."""

VALUES: list[Any] = [
    *("", " ", "0", "-1", "1e9", "null", "true", "\u202eسلم שלום\u202c", "😀" * 3, "é" * 2, "İ", "ß", "ﬀ"),
    *(
        "x" * 10_000,
        "😀" * 2500,
        "a@b\r\nBcc: c@d.example",
        "%00",
        "a\0b",
        "\\",
        '"',
        "[]",
        "{}",
        "&=+%",
        "ada@shop.example",
    ),
    *(0, -1, 1, 1.5, -0.0, 10**18, 2**63, 2**64, 10**30, None, True, False, [], {}, [[]], {"": ""}, {"0": {"0": "x"}}),
    *(Raw("1e999"), Raw("-1e999"), Raw("NaN"), Raw("Infinity"), Raw("9" * 5000), Raw("1." + "9" * 5000), Raw("1e-999")),
    *(
        Raw('"\\ud800"'),
        Raw('"\\udc00\\ud800"'),
        Raw('"\\u0000"'),
        Raw("[" * 100),
        Raw('{"a":' * 20),
        Raw("01"),
        Raw("+1"),
    ),
    *(Raw("[" * 30 + "]" * 30), Raw('{"a":1,"a":2}'), Raw("'x'"), Raw("undefined"), Raw(""), Raw("[1,]"), Raw("/**/1")),
]
TOKENS = [
    *(
        b"\0",
        b"%00",
        b"%",
        b"%%",
        b"%zz",
        b"%c3",
        b"%c3%28",
        b"%ed%a0%80",
        b"\xff\xfe",
        b"\xc3",
        b"\xf0\x9f\x98",
        b"+",
        b" ",
    ),
    *(b"[", b"]", b"[]", b"[[", b"]]", b"%5B", b"%5D", b"][", b"[0]", b"[-1]", b"[99999999999999999999]", b"[a]" * 20),
    *(b"&", b"=", b"&&", b"==", b";", b"&lead=1", b"&actions=1", b"&lead[]=1", b"&lead[email][x]=1", b"&actions[0]=x"),
    *(
        b"{",
        b"}",
        b'"',
        b",",
        b":",
        b"\\",
        b"\\u",
        b"\\ud83d",
        b"null",
        b"[]",
        b"{}",
        b"NaN",
        b"1e999",
        b"\xef\xbb\xbf",
    ),
    *(b"\r\n", b"\r\n\r\n", b"\n", b"--", b"--" + BOUNDARY.encode(), b"\r\n--" + BOUNDARY.encode() + b"--"),
    *(b'; filename="x"', b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n"),
]


class Mutator:
    """Makes mutants: the same number makes the same one."""

    def __init__(self, credentials: Mapping[str, str]) -> None:
        self._credentials = dict(credentials)
        self._query = "&".join(f"{name}={quote_plus(value)}" for name, value in credentials.items()).encode()
        self._random = Random()

    def mutant(self, number: int) -> Mutant:
        self._random.seed(number)
        dice = self._random
        inside = dice.random() < 0.15
        tree = dice.choice(CALLS) if dice.random() < 0.97 else FIELD_CALL
        tree = self._credentials | tree if inside else tree
        encoding = dice.choice(["json", "json", "form", "form", "multipart"])
        gentle = dice.random() < 0.3
        for _ in range(dice.choice([0, 1, 1, 2, 3])):
            tree = self._leaf_changed(tree) if gentle else self._changed(tree)
        body = self._encoded(tree, encoding)
        for _ in range(0 if gentle else dice.choice([0, 0, 0, 1, 1, 2])):
            body = dice.choice(_CHANGES)(self, body)
        if dice.random() < 0.004:
            body = dice.choice(_BOMBS)(body)
        label = (
            LABELS[encoding]
            if dice.random() < 0.95
            else dice.choice([*LABELS.values(), "", "text/plain", "multipart/form-data"])
        )
        return Mutant(body, label, b"" if inside else self._query)

    # -- trees --

    def _changed(self, value: Any) -> Any:
        """The tree with one value in it replaced, doubled, dropped or moved."""
        dice = self._random
        if not isinstance(value, dict | list) or not value or dice.random() < 0.12:
            return dice.choice([*VALUES, value, [value], {"0": value}, [value, value]])
        if isinstance(value, list):
            position = dice.randrange(len(value))
            kept = [*value[:position], self._changed(value[position]), *value[position + 1 :]]
            return dice.choice([kept, kept, kept, [*value, value[position]], value[:position], dict(enumerate(kept))])
        key = dice.choice(list(value))
        changed = value | {key: self._changed(value[key])}
        if dice.random() < 0.1:
            changed[dice.choice([f" {key}", key.upper() if isinstance(key, str) else "x", "", "😀", "a" * 10_000])] = (
                changed.pop(key)
            )
        return changed

    def _leaf_changed(self, value: Any) -> Any:
        """The tree with another value in one of its places: most likely still a call."""
        if isinstance(value, dict) and value:
            key = self._random.choice([key for key in value if key not in {"email", "cmd"}] or list(value))
            return value | {key: self._leaf_changed(value[key])}
        if isinstance(value, list) and value:
            position = self._random.randrange(len(value))
            return [*value[:position], self._leaf_changed(value[position]), *value[position + 1 :]]
        return self._random.choice(VALUES)

    def _encoded(self, tree: Any, encoding: str) -> bytes:
        if encoding == "json" or not isinstance(tree, dict):
            return as_json(tree).encode("utf-8", "surrogatepass")
        pairs = list(variables(tree))
        if encoding == "form":
            escape: Callable[[str], str] = (
                quote_plus if self._random.random() < 0.5 else lambda text: text.replace("&", "%26")
            )
            return "&".join(f"{escape(name)}={escape(value)}" for name, value in pairs).encode()
        parts = [
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in pairs
        ]
        return ("".join(parts) + f"--{BOUNDARY}--\r\n").encode()

    # -- bytes --

    def _place(self, body: bytes) -> int:
        return self._random.randrange(len(body) + 1)

    def _flip_bits(self, body: bytes) -> bytes:
        changed = bytearray(body)
        for _ in range(self._random.choice([1, 1, 2, 8]) if body else 0):
            changed[self._random.randrange(len(changed))] ^= 1 << self._random.randrange(8)
        return bytes(changed)

    def _truncate(self, body: bytes) -> bytes:
        return body[: self._place(body)]

    def _splice(self, body: bytes) -> bytes:
        other = self._encoded(self._random.choice(CALLS), self._random.choice(list(LABELS)))
        return body[: self._place(body)] + other[self._place(other) :]

    def _repeat(self, body: bytes) -> bytes:
        start = self._place(body)
        piece = body[start : start + self._random.choice([1, 5, 30, 300])]
        return body[:start] + piece * self._random.choice([2, 3, 50]) + body[start:]

    def _cut_out(self, body: bytes) -> bytes:
        start = self._place(body)
        return body[:start] + body[start + self._random.choice([1, 2, 10, 50]) :]

    def _insert(self, body: bytes) -> bytes:
        start = self._place(body)
        return body[:start] + self._random.choice(TOKENS) + body[start:]

    def _replace_token(self, body: bytes) -> bytes:
        """Brackets, escapes, indexes, quotes: one of those that are there becomes something else."""
        places = list(_TOKEN.finditer(body))
        if not places:
            return self._insert(body)
        found = self._random.choice(places)
        return body[: found.start()] + self._random.choice(TOKENS) + body[found.end() :]

    def _shuffle_variables(self, body: bytes) -> bytes:
        pairs = body.split(b"&")
        pairs += self._random.choices(pairs, k=2)
        self._random.shuffle(pairs)
        return b"&".join(pairs)


_TOKEN = re.compile(rb"[\[\]{}\":,&=%+]|%5[BD]|\d+|\r\n|--")
_CHANGES: list[Callable[[Mutator, bytes], bytes]] = [
    Mutator._flip_bits,
    Mutator._truncate,
    Mutator._splice,
    Mutator._repeat,
    Mutator._cut_out,
    Mutator._insert,
    Mutator._insert,
    Mutator._replace_token,
    Mutator._replace_token,
    Mutator._shuffle_variables,
]
_BOMBS: list[Callable[[bytes], bytes]] = [
    lambda body: body + b"&a[]=1" * 100_000,
    lambda body: body + b"&a" + b"[b]" * 100_000 + b"=1",
    lambda body: body + b"&" + b"lead[email]" * 100_000,
    lambda body: body * (2_000_000 // (len(body) + 1)),
    lambda _: b"[" * 500_000,
    lambda _: b'{"a":' * 100_000,
    lambda _: b'{"actions":[' + b'{"cmd":"assign_tag"},' * 5000 + b'{"cmd":"assign_tag"}]}',
    lambda _: b'{"lead":{"email":"ada@shop.example"},"actions":[' + b",".join([b'{"cmd":"search_lead"}'] * 101) + b"]}",
    lambda _: b"&".join(b"actions[%d][cmd]=assign_tag" % n for n in range(5000)),
    lambda _: b'{"actions":' + b"9" * 900_000 + b"}",
    lambda _: b'{"actions":"' + b"\\u0041" * 150_000 + b'"}',
    lambda _: b"a=" + b"%41" * 300_000,
    lambda _: (b"--" + BOUNDARY.encode() + b"\r\n") * 50_000,
    lambda _: b"\r\n" * 500_000,
]


def as_json(value: Any) -> str:
    """JSON, but for what is `Raw`; keys that are no text become text."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(key))}:{as_json(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(as_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def variables(value: Any, name: str = "") -> list[tuple[str, str]]:
    """A tree as form variables."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return [(name, str(value))]
    return [found for key, entry in value.items() for found in variables(entry, f"{name}[{key}]" if name else str(key))]
