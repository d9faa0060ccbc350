"""A call as code to copy, with placeholders where its credentials belong."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pprint import pformat
from typing import Any

from cartwheel.api import wire
from cartwheel.api.dispatch import CREDENTIALS
from cartwheel.reference.examples import form

PLACEHOLDERS = {name: f"YOUR_{name.upper()}" for name in sorted(CREDENTIALS)}


@dataclass(frozen=True, slots=True)
class Snippet:
    """`name` is of letters, for an element's id."""

    name: str
    label: str
    text: str


def snippets(call: Mapping[str, Any], url: str, credentials: Mapping[str, str] = PLACEHOLDERS) -> list[Snippet]:
    """`url` is the server's, without `/api`. Credentials in the call are left out."""
    whole = {**credentials, **plain(without_credentials(call))}
    address = f"{url}/api"
    return [
        Snippet("curl", "curl", _curl(whole, address)),
        Snippet("php", "PHP", _php(whole, address)),
        Snippet("python", "Python", _python(whole, address)),
        Snippet("node", "JavaScript (Node)", _node(whole, address)),
    ]


def without_credentials(call: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in call.items() if name.strip().lower() not in CREDENTIALS}


def plain(value: Any) -> Any:
    """What a form wrote as `actions[0]` is a list."""
    if isinstance(value, dict):
        items = wire.items(value) if value and all(key.isdigit() for key in value) else None
        return {key: plain(inner) for key, inner in value.items()} if items is None else [plain(each) for each in items]
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def _curl(call: Mapping[str, Any], url: str) -> str:
    pairs = [f"{name}={wire.text(value) or ''}" for name, value in form(call)]
    return " \\\n".join([f"curl {shlex.quote(url)}", *(f"  --data-urlencode {shlex.quote(pair)}" for pair in pairs)])


def _php(call: Mapping[str, Any], url: str) -> str:
    return f"""<?php
$call = {_php_value(call)};

$request = curl_init({_php_value(url)});
curl_setopt_array($request, [
    CURLOPT_POST => true,
    CURLOPT_POSTFIELDS => http_build_query($call),
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_TIMEOUT => 30,
]);
$answer = json_decode(curl_exec($request), true);
print_r($answer);
"""


def _php_value(value: Any, indent: str = "") -> str:
    inner = indent + "    "
    if isinstance(value, Mapping):
        rows = [f"{inner}{_php_value(str(key))} => {_php_value(each, inner)}," for key, each in value.items()]
    elif isinstance(value, list):
        rows = [f"{inner}{_php_value(each, inner)}," for each in value]
    elif isinstance(value, bool):
        return "true" if value else "false"
    elif value is None:
        return "null"
    elif isinstance(value, int | float):
        return str(value)
    else:
        escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    return "\n".join(["[", *rows, f"{indent}]"]) if rows else "[]"


def _python(call: Mapping[str, Any], url: str) -> str:
    written = pformat(dict(call), sort_dicts=False, width=88)
    return f"import requests\n\ncall = {written}\n\nanswer = requests.post({url!r}, json=call, timeout=30).json()\nprint(answer)\n"


def _node(call: Mapping[str, Any], url: str) -> str:
    written = json.dumps(call, indent=2)
    return f"""const call = {written};

const response = await fetch({json.dumps(url)}, {{
  method: "POST",
  headers: {{ "Content-Type": "application/json" }},
  body: JSON.stringify(call),
}});
console.log(await response.json());
"""
