"""The reference page of /v1, written from the table of its operations."""

import json
from collections.abc import Iterator
from inspect import getdoc
from typing import Any

from cartwheel.accountfiles.tokens import SCOPES
from cartwheel.reference.tables import block, code, json_block, keys, kind_of, meaning_of, struct_of, table
from cartwheel.rest.description import DRY_RUN, by_status
from cartwheel.rest.operations import Param
from cartwheel.rest.problems import EVERYWHERE, PROBLEMS, WITH_BODY
from cartwheel.rest.records import BulkItem, LeadChange, LeadChanged
from cartwheel.rest.table import MODULES, OPERATIONS, Operation
from cartwheel.rest.upserts import SCOPES as SCOPES_OF_PARTS

_INTRODUCTION = """
Kartra's API, which [api.md](api.md) describes, cannot make lists, find leads, or tell what happened. This one can: resources
below `/v1`, JSON both ways, HTTP's own methods and statuses. How to use it from Python is told in
[use-the-client.md](../how-to/use-the-client.md); programs read the same at `/openapi.json`, or [here](openapi.json).

```console
curl https://cartwheel.example/v1/leads \\
  -H 'Authorization: Bearer cwt_…' -H 'Content-Type: application/json' \\
  -d '{"email": "ada@shop.example", "add_tags": ["Trial user"]}'
```

**Tokens.** A call shows a token, which the page *Tokens* or `cartwheel token create` makes and shows once. It is for one
account, has scopes, may be for a time only, and may make so many calls a second: the headers `RateLimit` and
`RateLimit-Policy` tell what is left, and `Retry-After` when to come again after 429.

**Trying.** Everything that writes takes `?dry_run=true`: the answer is what it would be, and nothing is kept.

**Repeating.** Everything that writes takes a header `Idempotency-Key`: for 24 hours the same key with the same call gets
the stored answer, with a header `Idempotency-Replayed`. A call that was refused did nothing, so its key is not kept.

**Pages.** Where an answer has `after`, the next page is the same call with `?after=` and that text, up to `null`.

**Problems.** What is not done is answered as [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) has it, with the type
`application/problem+json`: `type` is for programs, `detail` for people, `errors` points into what was sent, and
`request_id`, which is the header `X-Request-Id` too, stands in the server's log. What another account has is not there: 404.
"""


def rest() -> Iterator[str]:
    """The page."""
    yield "# The modern API"
    yield ""
    yield from _INTRODUCTION.strip().splitlines()
    yield ""
    yield "## Scopes"
    yield ""
    yield from table(["scope", "operations"], ((code(scope), _links(scope)) for scope in SCOPES))
    yield "## Problems"
    yield ""
    yield "`type` is `urn:cartwheel:problem:` and the name. The operations list those of their own; these can answer any call"
    yield f"({_names(EVERYWHERE)}), and these one with a body ({_names(WITH_BODY)})."
    yield ""
    rows = (
        (str(status), code(problem.name), problem.title)
        for status, kinds in by_status(PROBLEMS).items()
        for problem in kinds
    )
    yield from table(["status", "name", "title"], rows)
    for module in MODULES:
        noun, _, what = (getdoc(module) or "").splitlines()[0].partition(": ")
        yield f"## {noun}"
        yield ""
        yield what[:1].upper() + what[1:]
        yield ""
        for one in OPERATIONS.values():
            if one.run.__module__ == module.__name__:
                yield from _operation(one)


def _links(scope: str) -> str:
    whole = [f"[`{one.name}`](#{one.name})" for one in OPERATIONS.values() if one.scope == scope]
    parts = [f"{code(name)} of a lead" for name, needed in SCOPES_OF_PARTS.items() if needed == scope]
    return ", ".join(whole + parts)


def _names(kinds: Any) -> str:
    return ", ".join(code(kind.name) for kind in kinds)


def _operation(one: Operation) -> Iterator[str]:
    yield f"### `{one.name}`"
    yield ""
    yield from block(f"{one.method} {one.path}")
    yield from one.doc.splitlines()
    yield ""
    beside = "".join(f"; `{name}` needs `{scope}`" for name, scope in one.also.items())
    yield f"Scope: `{one.scope}`{beside}."
    yield ""
    params = [_param(param) for param in one.params.values()]
    if one.writes:
        params.append(("`dry_run`", "query", "no", DRY_RUN["description"]))
    if params:
        yield from table(["parameter", "in", "required", "what it is"], params)
    if one.body is not None:
        yield "The body:"
        yield ""
        yield from keys(struct_of(one.body).fields)
        if one.name == "upsert_leads":
            yield f"Each of them is what [`upsert_lead`](#upsert_lead) takes (`{LeadChange.__name__}`). For example:"
        else:
            yield "For example:"
        yield ""
        yield from json_block(one.example["body"])
    elif one.example:
        yield f"For example: {code(_address(one))}"
        yield ""
    yield f"The answer, with {' or '.join(map(str, one.statuses))}:"
    yield ""
    told = ((code(field.name), kind_of(field.type), meaning_of(field.type)) for field in struct_of(one.answer).fields)
    yield from table(["key", "type", "what it is"], told)
    if one.name == "upsert_leads":
        yield f"Each item has a `status`, and either a `lead` ({_fields(LeadChanged)}) or a `problem` ({BulkItem.__name__})."
        yield ""
    if one.problems:
        yield f"Problems of its own: {_names(one.problems)}."
        yield ""


def _fields(kind: Any) -> str:
    return ", ".join(code(field.name) for field in struct_of(kind).fields)


def _param(param: Param) -> tuple[str, str, str, str]:
    told = str(param.schema.get("description", ""))
    choices: list[Any] = next((one["enum"] for one in param.schema.get("$defs", {}).values() if "enum" in one), [])
    if choices:
        told = ", ".join(map(code, choices))
    return code(param.name), "path" if param.in_path else "query", "yes" if param.in_path else "no", told


def _address(one: Operation) -> str:
    path, query = one.path, []
    for name, value in one.example.items():
        if one.params[name].in_path:
            path = path.replace(f"{{{name}}}", str(value))
        else:
            query.append(f"{name}={value if isinstance(value, str) else json.dumps(value)}")
    return f"{one.method} {path}{'?' + '&'.join(query) if query else ''}"
