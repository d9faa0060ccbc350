"""The reference pages, written from the code: nothing in them is written twice, so nothing can differ."""

import json
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from inspect import getdoc
from sys import modules

import msgspec
import typer
from msgspec import inspect as types
from typer.core import TyperCommand, TyperGroup

from cartwheel import accounts, config
from cartwheel.accountfiles.fileparts import AccountFile, Part
from cartwheel.api import wire
from cartwheel.api.bodies import Why
from cartwheel.api.commands import COMMANDS
from cartwheel.api.registry import Command, Scope
from cartwheel.bounces.providers import PROVIDERS
from cartwheel.leads import events
from cartwheel.leads.leadparts import PROFILE_FIELDS
from cartwheel.mail import smtpurl
from cartwheel.reference import hookpages, openapi, restpages, sequencepages
from cartwheel.reference.examples import Examples, Provocation, Rung, Shown, form, run_examples
from cartwheel.reference.tables import block, code, json_block, keys, kind_of, struct_in, table

WRITTEN = "<!-- Written by `make reference` from the code. -->"

SERVER = "https://cartwheel.example"
"""Somebody's, in examples."""

CliCommand = TyperCommand | TyperGroup


def pages(command_line: CliCommand) -> dict[str, str]:
    """Each page's text by its file name."""
    examples = run_examples()
    written = {
        "api.md": _api(examples),
        "rest.md": restpages.rest(),
        "events.md": _events(examples),
        "settings.md": _settings(),
        "account-file.md": _account_file(),
        "steps.md": sequencepages.steps(),
        "automations.md": sequencepages.automations(),
        "merge-fields.md": sequencepages.merge_fields(),
        "webhooks.md": hookpages.webhooks(),
        "cli.md": _cli(command_line),
    }
    texts = {name: "\n".join([WRITTEN, "", *lines]).rstrip() + "\n" for name, lines in written.items()}
    return texts | {"openapi.json": json.dumps(openapi.document(SERVER), indent=2) + "\n"}


# -- the API --


def _api(examples: Examples) -> Iterator[str]:
    yield "# The API"
    yield ""
    yield from _CALLING.strip().splitlines()
    yield ""
    yield from _gate(examples)
    yield "## The shapes of answers"
    yield ""
    for title, shown in examples.shapes.items():
        yield f"{title}:"
        yield ""
        yield from json_block(shown.call)
        yield from json_block(shown.answer)
    yield "## The fields of a lead"
    yield ""
    yield "These can be written in `lead`, and none has to be; `custom_fields` is a list of `field_identifier` and"
    yield "`field_value`, which is a text, the id of an option, or for a `checkbox` a list of ids. What is not sent stays."
    yield ""
    yield ", ".join(code(name) for name in ("email", *PROFILE_FIELDS, "custom_fields"))
    yield ""
    yield "## Permissions"
    yield ""
    yield "An App may use all commands unless its `commands` say which, by their names or by these scopes:"
    yield ""
    yield from table(["scope", "commands"], ((code(scope), _links(_of_scope(scope))) for scope in Scope))
    yield "## Commands"
    yield ""
    yield from _contents()
    for command in COMMANDS.values():
        yield from _command(command, examples.commands[command.name])


_CALLING = """
A call is a `POST` to `/api`: the credentials `app_id`, `api_key` and `api_password`, then `actions`, each with its `cmd`
and parameters, and `lead`, which says whom they are about. The body is a form, as PHP's `http_build_query` writes it, or
the same as JSON. The examples below leave the credentials out; this is one in full:

```console
curl https://cartwheel.example/api \\
  -d app_id=YOUR_APP_ID -d api_key=YOUR_API_KEY -d api_password=YOUR_API_PASSWORD \\
  -d 'lead[email]=ada@shop.example' \\
  -d 'actions[0][cmd]=assign_tag' -d 'actions[0][tag_name]=Trial user'
```

Every answer to a call is JSON with HTTP status 200, but for a caller that comes too often, or finds too many others
waiting: they get 429. What is no call gets another status: 503 with the same JSON when there are too many connections, 431
when the head of the request is too large, 400 with a line of plain text when it is not HTTP, 404 or 405 for other pages.

All actions of a call are committed together, durably, before the answer leaves. `lead` may hold an `id` instead of an
`email`; with both, the id counts, and an id of 0 is none. Names of lists, tags, sequences and fields are matched
without regard to case and surrounding space.

A header `Idempotency-Key` makes a repeated call harmless: for 24 hours the same key with the same body gets the stored
answer again, and nothing is done twice. A call that was refused as a whole did nothing, so its key is not kept. In all
examples the account is that of `cartwheel demo`.

Programs read the same at `/openapi.json` of every server, or [here](openapi.json).
"""


def _gate(examples: Examples) -> Iterator[str]:
    yield "## The gate"
    yield ""
    yield "What stops a call before any of it is done, in the order in which it is checked:"
    yield ""
    yield from table(["refused when", "`type`", "`message`"], (_rung(rung) for rung in examples.gate))
    yield "429 comes with HTTP status 429, and `Retry-After` says in how many seconds to come again."
    yield ""
    yield "These can answer any call, too:"
    yield ""
    shown = {(rung.shown.answer["type"], rung.shown.answer["message"]) for rung in examples.gate}
    shown |= {(entry.reply.type, entry.reply.message) for entry in _all(examples) if entry.reply}
    rest = [(reply.type, reply.message) for reply in wire.replies() if (reply.type, reply.message) not in shown]
    yield from table(["`type`", "`message`"], rest)
    yield "And these, when the request cannot be read or makes no sense. The numbers are settings; here are the usual ones:"
    yield ""
    bounds = {name: row.default for name, row in config.rows().items()} | {"reason": "…"}
    unreadable = [wire.unreadable(why.format_map(bounds)) for why in Why]
    unreadable += [wire.unknown_command("…"), wire.not_first("create_lead"), wire.not_first("edit_lead")]
    yield from table(["`type`", "`message`"], ((reply.type, reply.message) for reply in unreadable))


def _rung(rung: Rung) -> tuple[str, str, str]:
    return rung.why, rung.shown.answer["type"], rung.shown.answer["message"]


def _all(examples: Examples) -> Iterator[Provocation]:
    return (entry for entries in examples.commands.values() for entry, _ in entries)


def _of_scope(scope: Scope) -> Iterator[Command]:
    return (command for command in COMMANDS.values() if command.scope is scope)


def _links(commands: Iterable[Command]) -> str:
    return ", ".join(f"[`{command.name}`](#{command.name})" for command in commands)


def _contents() -> Iterator[str]:
    """The commands by the modules in which they stand."""
    nouns: dict[str, list[Command]] = {}
    for command in COMMANDS.values():
        about = (getdoc(modules[command.run.__module__]) or "").splitlines()[0]
        nouns.setdefault(about, []).append(command)
    for about, commands in nouns.items():
        noun, _, what = about.partition(": ")
        yield f"- **{noun}**, {what} {_links(commands)}"
    yield ""


def _command(command: Command, entries: Sequence[tuple[Provocation, Shown]]) -> Iterator[str]:
    yield f"### `{command.name}`"
    yield ""
    yield command.doc
    yield ""
    yield command.conditions
    yield ""
    if command.params:
        rows = [(code(name), param.kind, "yes" if param.empty else "no") for name, param in command.params.items()]
        yield from table(["parameter", "kind", "required"], rows)
    (success, shown), *refusals = entries
    yield from block("\n".join(f"{name}={value}" for name, value in form(success.call)))
    yield from json_block(success.call)
    yield "The answer:"
    yield ""
    yield from json_block(shown.answer)
    if refusals:
        yield from table(
            ["`type`", "`message`", "why", "for example"], (_refusal(entry, success) for entry, _ in refusals)
        )


LONGEST_EXAMPLE = 90
"""Characters in a table's cell; what is longer shows how it begins."""


def _refusal(entry: Provocation, success: Provocation) -> tuple[str, str, str, str]:
    """What differs from the example that succeeds is what provokes it."""
    assert entry.reply is not None  # only a success can be without words
    changes = {name: value for name, value in entry.parameters.items() if success.parameters.get(name) != value}
    if entry.lead != success.lead:
        changes["lead"] = {name: value for name, value in entry.lead.items() if success.lead.get(name) != value}
    example = json.dumps(changes) if changes else ""
    if len(example) > LONGEST_EXAMPLE:
        example = f"{example[:LONGEST_EXAMPLE]} …"
    example = code(example) if example else ""
    return entry.reply.type, entry.reply.message, entry.why.partition("\n")[0], example


# -- events --


def _events(examples: Examples) -> Iterator[str]:
    yield "# Events"
    yield ""
    yield "What can have happened to a lead. Each is stored in the transaction that makes the change, with `kind`, `details`"
    yield "as JSON, `origin` (who did it) and the time; `cartwheel lead show` tells them."
    yield ""
    for kind, event in events.KINDS.items():
        yield f"## `{kind}`"
        yield ""
        yield getdoc(event) or ""
        yield ""
        fields = msgspec.structs.fields(event)
        if fields:
            yield from table(
                ["detail", "type"], ((code(field.name), kind_of(types.type_info(field.type))) for field in fields)
            )
        if told := examples.events.get(kind):
            yield f"For example `{told.details}`, told as “{told.text}”."
            yield ""


# -- settings --


def _settings() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "Settings are environment variables. Any of them can come from a file instead, which is meant for secrets: the"
    yield "variable's name with `_FILE` behind it names the file. `cartwheel config` shows what is in force, and why."
    yield ""
    rows = [
        (code(config.PREFIX + name.upper()), code(row.default) if row.default else "", row.help)
        for name, row in config.rows().items()
    ]
    yield from table(["variable", "default", "what it is for"], rows)
    yield "## Options of a mail server"
    yield ""
    yield "They stand behind the `?` of its URL in `CARTWHEEL_SMTP`: `smtp://relay.example?connections=5&per_hour=2000`."
    yield ""
    rows = [(code(name), _option(default), about["help"]) for name, (default, about) in smtpurl.options().items()]
    yield from table(["option", "default", "what it is for"], rows)
    yield "## Providers whose reports are heard"
    yield ""
    yield "These are the names in `CARTWHEEL_BOUNCE_HOOKS`. A provider calls `/hooks/NAME`, or `/hooks/NAME/SECRET`."
    yield ""
    rows = [(code(name), row.title, row.secret) for name, row in PROVIDERS.items()]
    yield from table(["name", "provider", "its secret"], rows)


def _option(default: object) -> str:
    """As it would stand in the URL."""
    if isinstance(default, bool):
        return code("yes" if default else "no")
    return code(f"{default:g}" if isinstance(default, float) else default) if default != "" else ""


# -- account files --


def _account_file() -> Iterator[str]:
    yield "# Account files"
    yield ""
    what, *more = (getdoc(modules[AccountFile.__module__]) or "").partition(": ")[2].splitlines()
    yield from [what[:1].upper() + what[1:], *more]
    yield ""
    yield "A key that does not exist is refused. This is the account of the examples in [api.md](api.md), which `cartwheel demo` makes a small shop of:"
    yield ""
    yield from block(files("cartwheel").joinpath("demo.toml").read_text().strip(), "toml")
    root = types.type_info(AccountFile)
    assert isinstance(root, types.StructType)  # it is one
    for field in root.fields:
        yield from _toml_table(field.encode_name, field.type)
    yield "## How much an account may hold"
    yield ""
    yield "Every process holds all of it, for all accounts. A file that would bring more is refused as a whole."
    yield ""
    yield from table(["what", "at most"], ((what, f"{most:,}") for what, most in accounts.MOST.items()))


def _toml_table(path: str, kind: types.Type) -> Iterator[str]:
    """A table of the file, then those in it."""
    while isinstance(kind, types.Metadata):
        kind = kind.type
    many = isinstance(kind, types.ListType)
    struct = struct_in(kind)
    if struct is None:
        return
    if struct.tag is not None:
        if path.endswith(".steps"):
            yield f"`[[{path}]]` is one of [these](steps.md)."
            yield ""
        return
    yield f"## `[[{path}]]`" if many else f"## `[{path}]`"
    yield ""
    if struct.cls.__doc__ and struct.cls.__doc__ != Part.__doc__:
        yield from (getdoc(struct.cls) or "").splitlines()
        yield ""
    yield from keys(struct.fields)
    for field in struct.fields:
        yield from _toml_table(f"{path}.{field.encode_name}", field.type)


# -- the command line --


def _cli(command: CliCommand) -> Iterator[str]:
    yield "# The command line"
    yield ""
    yield "Exit codes: 0 for success, 1 when something is wrong, 2 when it was asked for wrongly or a setting is bad; one"
    yield "line on stderr says what. Messages of the server go to stderr as JSON, one object a line."
    yield ""
    yield from _verb(command, "cartwheel", None)


def _verb(command: CliCommand, name: str, parent: typer.Context | None) -> Iterator[str]:
    context = typer.Context(command, info_name=name, parent=parent)
    if isinstance(command, TyperGroup):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert isinstance(found, TyperCommand | TyperGroup)  # it was listed
            yield from _verb(found, inner, context)
        return
    yield f"## `{context.command_path}`"
    yield ""
    yield from (command.help or "").strip().splitlines()
    yield ""
    yield from block(" ".join([context.command_path, *command.collect_usage_pieces(context)]))
    records = [param.get_help_record(context) for param in command.get_params(context)]
    rows = [(code(left), right) for left, right in filter(None, records) if "--help" not in left]
    if rows:
        yield from table(["argument or option", "what it is"], rows)
