"""Reading bodies: what PHP and its kin write comes back as it was, and whatever else comes is told what is wrong."""

import json
import time
from contextlib import suppress
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cartwheel.api.bodies import Limits, Unreadable, read_body, read_form

LIMITS = Limits(body=1 << 20, depth=8, variables=1000)
FORM = "application/x-www-form-urlencoded"
quick = settings(max_examples=100, derandomize=True, deadline=None, database=None)

LONGEST_S = 1.0
"""More than anything of 1 MiB may take, on a machine that is busy."""


# -- PHP, as far as it is needed here --


def http_build_query(tree: Any, *, spaces_as_plus: bool, plain_brackets: bool) -> list[str]:
    """The variables as PHP's function of this name writes them; a list has the keys 0, 1, 2 …."""
    escape = quote_plus if spaces_as_plus else lambda text: quote(text, safe="")
    opened, closed = ("[", "]") if plain_brackets else ("%5B", "%5D")

    def variables(value: Any, name: str) -> list[str]:
        if isinstance(value, str):
            return [f"{name}={escape(value)}"]
        entries = enumerate(value) if isinstance(value, list) else value.items()
        return [
            line for key, entry in entries for line in variables(entry, f"{name}{opened}{escape(str(key))}{closed}")
        ]

    return [line for key, value in tree.items() for line in variables(value, escape(key))]


def as_arrays(value: Any) -> Any:
    """Every PHP array as a map with text keys."""
    if isinstance(value, list):
        return {str(position): as_arrays(entry) for position, entry in enumerate(value)}
    return {key: as_arrays(entry) for key, entry in value.items()} if isinstance(value, dict) else value


def php_reads(variables: list[tuple[list[str | None], str]]) -> dict[str, Any]:
    """What PHP makes of variables that stand in each other's way: plain, and slow."""
    root: dict[str, Any] = {}
    for path, value in variables:
        node: dict[str, Any] = root
        for depth, part in enumerate(path):
            numbers = [int(key) for key in node if key.isdigit() and str(int(key)) == key]
            key = str(max(numbers, default=-1) + 1) if part is None else part
            if depth == len(path) - 1:
                node[key] = value
            else:
                below = node.get(key)
                node[key] = node = below if isinstance(below, dict) else {}
    return root


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0[]"), min_size=1, max_size=12).filter(
    lambda key: key.strip() and not key.startswith(" ")
)
PLAIN_KEYS = st.text("abcXYZ019_-", min_size=1, max_size=6)


def trees(keys: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    values = st.recursive(
        TEXTS,
        lambda below: st.lists(below, min_size=1, max_size=4) | st.dictionaries(keys, below, min_size=1, max_size=4),
        max_leaves=20,
    )
    return st.dictionaries(keys, values, max_size=6).filter(lambda tree: depth_of(tree) <= LIMITS.depth)


def depth_of(value: Any) -> int:
    below = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else None
    return 0 if below is None else 1 + max(map(depth_of, below), default=0)


@quick
@given(trees(KEYS), st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_what_php_writes_comes_back_as_it_was(tree: Any, plus: bool, plain: bool, dice: Any) -> None:  # noqa: FBT001
    lines = http_build_query(tree, spaces_as_plus=plus, plain_brackets=plain)
    assert read_form("&".join(lines).encode(), LIMITS) == as_arrays(tree)
    dice.shuffle(lines)
    assert read_form("&".join(lines).encode(), LIMITS) == as_arrays(tree)


@quick
@given(st.dictionaries(KEYS, st.lists(TEXTS, min_size=1, max_size=5), max_size=5))
def test_appended_values_come_back_in_their_order(tree: dict[str, list[str]]) -> None:
    body = "&".join(f"{quote(key)}[]={quote(value)}" for key, values in tree.items() for value in values)
    assert read_form(body.encode(), LIMITS) == as_arrays(tree)


CONFLICTS = st.lists(
    st.tuples(
        st.lists(st.sampled_from([None, "0", "1", "01", "7", "12", "x"]), max_size=3).map(lambda path: ["a", *path]),
        st.sampled_from(["one", "two", ""]),
    ),
    max_size=12,
)


@quick
@given(CONFLICTS)
def test_variables_that_stand_in_each_others_way_are_read_as_php_does(variables: Any) -> None:
    lines = [path[0] + "".join(f"[{part or ''}]" for part in path[1:]) + f"={value}" for path, value in variables]
    assert read_form("&".join(lines).encode(), LIMITS) == php_reads(variables)


BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"


@quick
@given(
    trees(PLAIN_KEYS),
    st.sampled_from([f"boundary={BOUNDARY}", f'boundary="{BOUNDARY}"', f"Charset=utf-8; Boundary={BOUNDARY}"]),
)
def test_what_curl_and_browsers_write_in_parts_comes_back_as_it_was(tree: Any, parameters: str) -> None:
    body = b"".join(part(name, value) for name, value in flat(as_arrays(tree))) + f"--{BOUNDARY}--\r\n".encode()
    assert read_body(body, f"Multipart/Form-Data; {parameters}", LIMITS) == as_arrays(tree)


def part(name: str, value: str) -> bytes:
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in tree.items():
        name = f"{prefix}[{key}]" if prefix else key
        found += flat(value, name) if isinstance(value, dict) else [(name, value)]
    return found


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 53), 1 << 53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(TEXTS, below, max_size=4),
    max_leaves=30,
)
JSON_TREES = st.dictionaries(TEXTS, JSON, max_size=5).filter(lambda tree: depth_of(tree) <= LIMITS.depth)


@quick
@given(JSON_TREES, st.sampled_from(["application/json", FORM, "text/plain", ""]), st.booleans())
def test_json_comes_back_as_it_was_whatever_it_is_labelled(tree: Any, label: str, ascii_only: bool) -> None:  # noqa: FBT001
    text = json.dumps(tree, ensure_ascii=ascii_only, indent=1)
    for body in (text.encode(), b"\xef\xbb\xbf \r\n" + text.encode()):
        assert read_body(body, label, LIMITS) == json.loads(text)


LABELS = st.sampled_from(
    [FORM, "application/json", f"multipart/form-data; boundary={BOUNDARY}", "multipart/form-data", ""]
)
PIECES = st.sampled_from(
    [
        *(
            b"a",
            b"lead[email]",
            b"[",
            b"]",
            b"%5B",
            b"%",
            b"%zz",
            b"%00",
            b"\0",
            b"=",
            b"&",
            b"+",
            b"\xff",
            b"\xed\xa0\x80",
        ),
        *(b"{", b"}", b'"', b":", b",", b"1e999", b"NaN", b"\\ud800", b"\xef\xbb\xbf"),
        *(b"--" + BOUNDARY.encode(), b"--", b"\r\n", b"\r\n\r\n", b"Content-Transfer-Encoding: base64"),
        *(b'Content-Disposition: form-data; name="a"', b'Content-Disposition: form-data; name="a"; filename="b"'),
    ]
)


@settings(max_examples=2000, derandomize=True, deadline=None, database=None)
@given(st.lists(PIECES, max_size=40).map(b"".join) | st.binary(max_size=200), LABELS)
def test_whatever_comes_is_read_or_called_unreadable(body: bytes, label: str) -> None:
    try:
        told: object = read_body(body, label, LIMITS)
    except Unreadable as trouble:
        told = str(trouble)
    assert isinstance(told, dict) or str(told).startswith(("The request ", "The multipart form "))


# -- by name --


@pytest.mark.parametrize(
    ("body", "tree"),
    [
        ("", {}),
        ("a", {"a": ""}),
        ("a=", {"a": ""}),
        ("=1&&a=b=c&", {"a": "b=c"}),
        ("a=1&a=2", {"a": "2"}),
        ("a=1&a[b]=2", {"a": {"b": "2"}}),
        ("a[b]=2&a=1", {"a": "1"}),
        ("a[5]=x&a[]=y&a[3]=z&a[]=w", {"a": {"5": "x", "6": "y", "3": "z", "7": "w"}}),
        ("a[5]=x&a=1&a[]=y", {"a": {"0": "y"}}),
        ("a[5]=x&a[]=y&a=1&a[]=z", {"a": {"0": "z"}}),
        ("a[x]=1&a[]=2", {"a": {"x": "1", "0": "2"}}),
        ("a[ ]=1", {"a": {"0": "1"}}),
        ("a[b=1", {"a[b": "1"}),
        ("a[b]c=1", {"a": {"b": "1"}}),
        ("a[b][c=1", {"a": {"b": "1"}}),
        ("[a]=1", {"[a]": "1"}),
        ("a[b[c]]=1", {"a": {"b[c": "1"}}),
        ("+a=1", {"a": "1"}),
        ("a=%2B+%20%zz%", {"a": "+  %zz%"}),
        ("a[999999999999999999]=x", {"a": {"999999999999999999": "x"}}),
        ("a[99999999999999999999]=x&a[]=y", {"a": {"99999999999999999999": "x", "0": "y"}}),
        ("a[-5]=x&a[]=y", {"a": {"-5": "x", "0": "y"}}),
        ("%61%5Bb%5D=1", {"a": {"b": "1"}}),
    ],
)
def test_odd_forms_are_read_as_php_reads_them(body: str, tree: dict[str, Any]) -> None:
    assert read_form(body.encode(), LIMITS) == tree


MANY, DEEP, NUL, UTF8 = (
    "The request has more than 1000 variables",
    "The request is nested deeper than 8 levels",
    "The request holds a NUL character",
    "The request is not valid UTF-8",
)
PARTS = f"multipart/form-data; boundary={BOUNDARY}"


@pytest.mark.parametrize(
    ("body", "label", "reason"),
    [
        (b"&".join([b"a[]=1"] * 1001), FORM, MANY),
        (b"a" + b"[b]" * 8 + b"=1", FORM, DEEP),
        (b"a" + b"[]" * 100_000 + b"=1", FORM, DEEP),
        (b"a=%00", FORM, NUL),
        (b"a\0=1", FORM, NUL),
        (b"a[%00]=1", FORM, NUL),
        (b"a=\xff", FORM, UTF8),
        (b"a=%ff", FORM, UTF8),
        (b"%c3%28=1", FORM, UTF8),
        (b"a=%ed%a0%80", FORM, UTF8),
        (b'{"a":"\xff"}', FORM, "The request is not valid"),
        (b'{"a":' * 9 + b"1" + b"}" * 9, FORM, DEEP),
        (b'{"a":' * 100_000, FORM, "The request is "),
        (b"[" * 200_000, FORM, "The request is "),
        (b'{"a":[' + b"1," * 1000 + b"1]}", FORM, MANY),
        (b'{"a":"\\u0000"}', FORM, NUL),
        (b'{"\\u0000":1}', FORM, NUL),
        (b'{"a":"\\ud800"}', FORM, "The request is not valid JSON"),
        (b'{"a":NaN}', FORM, "The request is not valid JSON"),
        (b'{"a":Infinity}', FORM, "The request is not valid JSON"),
        (b'{"a":1e999}', FORM, "The request is not valid JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", FORM, "The request is not valid JSON"),
        (b'{"a":1} trailing', FORM, "The request is not valid JSON"),
        (b'{"a":1', FORM, "The request is not valid JSON"),
        (b"[]", FORM, "The request is not a JSON object"),
        (b'"text"', "application/json", "The request is not a JSON object"),
        (part("a", "1"), PARTS, "The multipart form is damaged"),
        (b"nonsense", PARTS, "The multipart form is damaged"),
        (b"nonsense", "multipart/form-data", "The multipart form is damaged"),
        (part("a", "x\0y") + f"--{BOUNDARY}--".encode(), PARTS, NUL),
        (part("a[]", "1") * 1001 + f"--{BOUNDARY}--".encode(), PARTS, MANY),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(body: bytes, label: str, reason: str) -> None:
    with pytest.raises(Unreadable) as trouble:
        read_body(body, label, LIMITS)
    assert str(trouble.value).startswith(reason)


def test_the_limits_themselves_are_allowed() -> None:
    assert len(read_form(b"&".join([b"a[]=1"] * 1000), LIMITS)["a"]) == 1000
    assert depth_of(read_form(b"a" + b"[b]" * 7 + b"=1", LIMITS)) == 8
    assert depth_of(read_body(b'{"a":' * 8 + b"1" + b"}" * 8, "", LIMITS)) == 8
    assert len(read_body(b'{"a":[' + b"1," * 998 + b"1]}", "", LIMITS)["a"]) == 999


def test_of_two_json_keys_the_last_one_counts() -> None:
    assert read_body(b'{"a":1,"a":{"b":1,"b":2}}', "", LIMITS) == {"a": {"b": 2}}


MIB = 1 << 20
SLOW = {
    "brackets": b"a" + b"[]" * (MIB // 2) + b"=1",
    "open brackets": b"a" + b"[" * MIB + b"]=1",
    "an append after an append": b"&".join([b"a[]=" + b"x" * 1000] * 999),
    "escapes": b"a=" + b"%41" * (MIB // 3),
    "escaped brackets": b"a" + b"%5B%5D" * (MIB // 6) + b"=1",
    "pluses": b"+" * MIB,
    "ampersands": b"&" * MIB,
    "JSON arrays": b"[" * MIB,
    "JSON objects": b'{"a":' * (MIB // 5),
    "JSON numbers": b'{"a":[' + b"1," * (MIB // 2),
    "a long JSON number": b'{"a":' + b"9" * MIB + b"}",
    "JSON escapes": b'{"a":"' + b"\\u0041" * (MIB // 6) + b'"}',
}
SLOW_PARTS = {
    "line ends before the parts": b"\r\n" * (MIB // 2) + part("a", "1"),
    "line ends after the parts": part("a", "1") + f"--{BOUNDARY}--".encode() + b"\r\n" * (MIB // 2),
    "almost boundaries": part("a", f"\r\n--{BOUNDARY[:-1]}" * (MIB // 50)) + f"--{BOUNDARY}--".encode(),
    "hyphens": b"-" * MIB,
    "empty parts": f"--{BOUNDARY}\r\n\r\n\r\n".encode() * (MIB // 50),
    "headers": f"--{BOUNDARY}\r\n".encode() + b"X-A: b\r\n" * (MIB // 8),
    "a long header": f"--{BOUNDARY}\r\nX-A: ".encode() + b"b" * MIB,
    "a deep name": part("a" + "[]" * (MIB // 2), "1") + f"--{BOUNDARY}--".encode(),
}


@pytest.mark.parametrize(
    ("body", "label"),
    [
        *(pytest.param(body, FORM, id=name) for name, body in SLOW.items()),
        *(pytest.param(body, PARTS, id=name) for name, body in SLOW_PARTS.items()),
    ],
)
def test_nothing_that_fits_takes_long(body: bytes, label: str) -> None:
    began = time.process_time()
    with suppress(Unreadable):
        read_body(body, label, LIMITS)
    assert time.process_time() - began < LONGEST_S
