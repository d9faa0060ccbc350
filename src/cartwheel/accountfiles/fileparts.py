"""What an account file holds: an account as TOML, made so by `apply`, written back by `export-account`.

What the file does not mention is left alone. `apply` never deletes a list, a tag or a field that leads may have, and a key
that is absent keeps what is there; only in what is new it stands for its default. So a short file changes what it names.
A list, like `commands`, is replaced as a whole, and so are the steps of a sequence, because their order is part of what
the file says; `steps = []` takes them away. The tables `[account.mail]`, `[account.retention]` and `entry` are changed key by key.

`export-account` writes every key, be it the default, so that whatever is in its file becomes the same in any account; only
the steps leave out their defaults.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from cartwheel.accounts import (
    AS_USUAL,
    EVERY_COMMAND,
    FIELD_IDENTIFIER,
    FOR_EVER,
    LONGEST_NAME,
    MOST_ADDRESSES,
    App,
    FieldType,
    MailSettings,
    Retention,
)
from cartwheel.hooks.outbound import MOST_EVENTS
from cartwheel.leads.leadparts import ANY_TIME, Entry
from cartwheel.sequences.actions import AnyAction
from cartwheel.sequences.automations import MOST_ACTIONS, Plan
from cartwheel.sequences.conditions import AnyCondition
from cartwheel.sequences.steps import AnyStep
from cartwheel.sequences.triggers import AnyTrigger

NAME_FORM = r"^\S(.*\S)?\Z"
UNSPACED_FORM = r"^\S+\Z"
IDENTIFIER_FORM = rf"^{FIELD_IDENTIFIER}\Z"

S = TypeVar("S", bound=msgspec.Struct)


def _says(description: str) -> msgspec.Meta:
    """What a key is for, as the reference has it."""
    return msgspec.Meta(description=description)


Text = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME, pattern=NAME_FORM)]
"""A name: not empty, without space around it."""

Secret = Annotated[str, msgspec.Meta(min_length=8, max_length=255, pattern=UNSPACED_FORM)]


class Part(msgspec.Struct, forbid_unknown_fields=True, dict=True):
    """A table of the file. A key that does not exist is refused: it is most likely misspelt."""

    @cached_property
    def said(self) -> Mapping[str, Any]:
        """What the file says, key by key: the other values hold for something new only. A part of no file says all."""
        said: dict[str, Any] = _written(self)
        return said


class AccountPart(Part):
    name: Annotated[Text, _says("What the account is found by.")]
    timezone: Annotated[str, _says("The zone of the times that its people and callers read.")] = "America/New_York"
    gdpr: Annotated[
        bool,
        _says(
            "Whether the GDPR applies: only leads that have agreed are mailed then, and calls cannot say so, `cartwheel lead agree` can. "
            "Who has declined is mailed in no account."
        ),
    ] = False
    active: Annotated[bool, _says("Whether its calls are answered, and its sequences go on.")] = True
    api_key: Annotated[Secret | None, _says("Given, or made when the account is new.")] = None
    api_password: Annotated[Secret | None, _says("Given, or made when the account is new.")] = None
    mail: Annotated[MailSettings, _says("How its mail is sent.")] = AS_USUAL
    retention: Annotated[Retention, _says("For how many days it keeps what happened; 0 for ever.")] = FOR_EVER


class AppPart(Part):
    name: Annotated[Text, _says("What the App is found by.")]
    app_id: Annotated[Secret | None, _says("Given, or made when the App is new.")] = None
    mode: Annotated[Literal["live", "test"], _says("`test`: its leads get addresses that nobody has.")] = "live"
    rate_limit: Annotated[int, msgspec.Meta(ge=0, le=1_000_000, description="Calls a second; 0 for no limit.")] = 20
    allow_ips: Annotated[
        list[str],
        msgspec.Meta(
            max_length=MOST_ADDRESSES,
            description="Addresses and networks that it may call from; none: from everywhere.",
        ),
    ] = []
    commands: Annotated[list[str], _says("The commands and scopes that it may use; `*` stands for all.")] = (
        msgspec.field(default_factory=lambda: [EVERY_COMMAND])
    )
    active: Annotated[bool, _says("Whether its calls are answered.")] = True


class ListPart(Part):
    name: Text
    public_name: Annotated[str, msgspec.Meta(max_length=LONGEST_NAME, description="What subscribers see.")] = ""


class TagPart(Part):
    name: Text


class OptionPart(Part):
    name: Text
    id: Annotated[Annotated[int, msgspec.Meta(ge=1, le=1 << 53)] | None, _says("Given, or the next free one.")] = None


class FieldPart(Part):
    identifier: Annotated[
        str,
        msgspec.Meta(
            pattern=IDENTIFIER_FORM, description="Letters, digits, dashes and underscores; it stays as it is."
        ),
    ]
    type: Annotated[FieldType, _says("It stays as it is.")]
    options: Annotated[
        list[OptionPart],
        _says("Of the choice types only: two or more. Those that are there already stay, behind these."),
    ] = []


class SequencePart(Part):
    """A series of steps that leads go through."""

    name: Text
    public_name: Annotated[str, msgspec.Meta(max_length=LONGEST_NAME, description="What subscribers see.")] = ""
    paused: Annotated[bool, _says("Whether everybody in it waits.")] = False
    entry: Annotated[Entry, _says("Who may start it again.")] = ANY_TIME
    steps: list[AnyStep] = []
    archived: Annotated[
        bool | None, _says("Whether it is laid aside: paused, and nothing that people choose any more.")
    ] = None


class WebhookPart(Part):
    """An address that is told what happens."""

    url: Annotated[str, _says("`http://…` or `https://…`, with its query.")]
    events: Annotated[
        list[str],
        msgspec.Meta(min_length=1, max_length=MOST_EVENTS, description="What it is told: see the events of webhooks."),
    ]
    name: Annotated[Text | None, _says("What it is found by; the URL, if there is none.")] = None
    only: Annotated[
        str | dict[str, str] | None,
        _says("The only tag, list or sequence that counts, by its name; or a table with one for an event."),
    ] = None
    score: Annotated[
        int, msgspec.Meta(ge=0, le=1 << 53, description="The points at which `reaches_score` is told.")
    ] = 0
    enabled: Annotated[bool, _says("Whether it is told anything.")] = True
    numbers_as_strings: Annotated[bool, _says('Whether numbers are written like `"1"`.')] = False
    not_from: Annotated[list[str], _says("The Apps whose doings it is not told, by name.")] = []
    secret: Annotated[str | None, _says("What deliveries are signed with: `whsec_…`. Given, or made.")] = None


class AutomationPart(Part):
    """When something happens to a lead, something is done. All but `active` is replaced as a whole."""

    name: Text
    when: Annotated[AnyTrigger, _says("What starts it, one of [these](automations.md#what-starts-them).")]
    then: Annotated[
        list[AnyAction],
        msgspec.Meta(
            min_length=1,
            max_length=MOST_ACTIONS,
            description="What is done, one after the other: some of [these](automations.md#what-they-do).",
        ),
    ]
    condition: Annotated[
        AnyCondition | None, _says("Only if this [condition](steps.md#conditions) holds; without it, always.")
    ] = None
    active: Annotated[bool, _says("Whether it is started by anything.")] = True

    @property
    def plan(self) -> Plan:
        return Plan(self.when, self.then, self.condition)


class AccountFile(Part):
    account: AccountPart
    apps: list[AppPart] = []
    lists: list[ListPart] = []
    tags: list[TagPart] = []
    custom_fields: list[FieldPart] = []
    sequences: list[SequencePart] = []
    webhooks: list[WebhookPart] = []
    automations: list[AutomationPart] = []


def app_part(app: App) -> AppPart:
    """The App as a file has it."""
    commands = [EVERY_COMMAND] if app.commands is None else sorted(app.commands)
    return AppPart(app.name, app.app_id, app.mode.value, app.rate_limit, list(app.allow_ips), commands, app.active)


# -- what is said --


def note_said(part: Part, table: Mapping[str, Any]) -> None:
    """Have the part, and the parts in it, remember which keys their tables in the file have."""
    part.said = table
    for key, value in table.items():
        read = getattr(part, key)
        for inner, its_table in zip(read, value, strict=True) if isinstance(read, list) else [(read, value)]:
            if isinstance(inner, Part):
                note_said(inner, its_table)


def laid_over(known: S, wanted: S, said: Mapping[str, Any]) -> S:
    """`known` with those values of `wanted` that are said."""
    return msgspec.structs.replace(known, **{key: getattr(wanted, key) for key in said})


def _written(value: object) -> Any:
    """As TOML has it, with every key that says something; a step and the like, which nothing is laid over, without their defaults."""
    if isinstance(value, list):
        return [_written(entry) for entry in value]
    if isinstance(value, msgspec.Struct) and value.__struct_config__.tag is None:
        return {key: _written(inner) for key, inner in msgspec.structs.asdict(value).items() if inner is not None}
    return msgspec.to_builtins(value)
