"""What an API command is. A command is one function with `@command`; everything else about it is derived.

    @command(
        scope=Scope.TAGS_WRITE,
        loads=Part.TAGS,
        success=wire.TAG_ASSIGNED,
        errors={TagNotFound: wire.TAG_UNKNOWN_ON_ASSIGN},
        example={"tag_name": "Trial user"},
    )
    def assign_tag(call: LeadCall, tag_name: Annotated[str, Name(empty=wire.TAG_EMPTY_ON_ASSIGN)]) -> None:
        \"\"\"Put a tag on the lead. It has the tag already: nothing happens.\"\"\"
        call.lead.tag(call.account.tag_named(tag_name).id)

The function's name is the command, its docstring the documentation, the type of its first argument says whether it
needs a lead, the others are its parameters, in the order in which they are checked. The reference page, `/openapi.json`,
an App's list of permissions and the tests that walk all commands read the registry.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from cartwheel.accounts import Account, App
from cartwheel.api import wire
from cartwheel.api.bodies import Tree
from cartwheel.api.wire import Refused, Reply
from cartwheel.errors import DomainError
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part, Parts
from cartwheel.work.batches import Desk


class Scope(StrEnum):
    """What an App may be allowed to do. Its list of commands may name scopes as well as commands."""

    ACCOUNT_READ = "account:read"
    FIELDS_WRITE = "fields:write"
    LEADS_READ = "leads:read"
    LEADS_WRITE = "leads:write"
    LISTS_WRITE = "lists:write"
    POINTS_WRITE = "points:write"
    SEQUENCES_WRITE = "sequences:write"
    TAGS_WRITE = "tags:write"


# -- what a command works with --


@dataclass(slots=True)
class AccountCall:
    """A call on the account, without a lead."""

    app: App
    desk: Desk
    account_id: int

    @property
    def account(self) -> Account:
        return self.desk.account(self.account_id)


@dataclass(slots=True)
class NewLeadCall(AccountCall):
    """A call that makes its lead. `sent` is the call's `lead`, `email` the address in it, read."""

    sent: Tree
    email: str


@dataclass(slots=True)
class LeadCall(AccountCall):
    """A call on a lead that exists. `sent` is the call's `lead`, `new_email` the address in it to change to, read."""

    sent: Tree
    lead: Lead
    new_email: str | None = None


Handler = Callable[..., Mapping[str, Any] | None]
"""Returns what its answer holds beside the message: nothing, or keys such as `lead_details`."""


# -- parameters --


@dataclass(frozen=True, slots=True)
class Param:
    """How a parameter is read from an action. `empty` is the reply when it is missing, and makes it required."""

    kind: ClassVar[str] = "any"
    empty: Reply | None = None

    def read(self, raw: object) -> Any:
        """The value; raises `Refused`."""
        return raw

    @property
    def schema(self) -> Mapping[str, Any]:
        """What should be sent, as JSON Schema. What a form can carry, `"5"` for 5, is taken as well."""
        return {}

    @property
    def replies(self) -> Mapping[Reply, object]:
        """Each refusal that this parameter can cause, with a value that causes it."""
        return {self.empty: ""} if self.empty else {}


@dataclass(frozen=True, slots=True)
class Name(Param):
    """A text without the space around it. An array is no name of anything."""

    kind = "string"
    NOTHING: ClassVar[str] = "\0"

    @property
    def schema(self) -> Mapping[str, Any]:
        return {"type": "string"}

    def read(self, raw: object) -> str:
        name = wire.text(raw)
        name = Name.NOTHING if name is None else name.strip()
        if not name and self.empty:
            raise Refused(self.empty)
        return name


@dataclass(frozen=True, kw_only=True)
class Whole(Param):
    """A whole number from 0 to `most`, as a number or as digits; with `empty`, 0 counts as empty."""

    kind = "integer"
    bad: Reply
    most: int = 1_000_000_000

    @property
    def schema(self) -> Mapping[str, Any]:
        return {"type": "integer", "minimum": 1 if self.empty else 0, "maximum": self.most}

    def read(self, raw: object) -> int:
        digits = "?" if isinstance(raw, bool | float) else (wire.text(raw) or "").strip()
        if isinstance(raw, list | dict) or not ((digits.isascii() and digits.isdigit()) or not digits):
            raise Refused(self.bad)
        digits = digits.lstrip("0")
        if not digits:
            if self.empty:
                raise Refused(self.empty)
            return 0
        if len(digits) > len(str(self.most)) or int(digits) > self.most:
            raise Refused(self.bad)
        return int(digits)

    @property
    def replies(self) -> Mapping[Reply, object]:
        return {**super().replies, self.bad: "many"}


# -- commands --


@dataclass(frozen=True)
class Command:
    """One command, as declared."""

    name: str
    run: Handler
    scope: Scope
    success: Reply | None
    """None for a retrieval, whose result stands at the top of the answer."""
    errors: Mapping[type[DomainError], Reply]
    params: Mapping[str, Param]
    call: type[AccountCall]
    loads: Parts
    first: bool
    refuses_call: bool
    top_level: bool
    example: Mapping[str, Any]
    result: Mapping[str, Any]
    """The types of what its answer holds beside the message, by their names in it."""
    doc: str

    @property
    def needs_lead(self) -> bool:
        return self.call is not AccountCall

    @property
    def makes_lead(self) -> bool:
        return self.call is NewLeadCall

    @property
    def conditions(self) -> str:
        """In words."""
        about = "Makes its lead." if self.makes_lead else "Needs a lead." if self.needs_lead else "Needs no lead."
        first = " It has to be the first action of its call." if self.first else ""
        whole = " When it is refused, the whole call is." if self.refuses_call else ""
        return f"{about}{first}{whole} An App needs the permission `{self.name}` or `{self.scope}`."

    def read(self, action: Tree) -> dict[str, Any]:
        """The parameters of an action, checked in the order in which they are declared; raises `Refused`."""
        return {name: param.read(action.get(name)) for name, param in self.params.items()}

    def reply_to(self, error: DomainError) -> Reply:
        """The declared reply; an undeclared error passes through, as the programming error that it is."""
        try:
            return self.errors[type(error)]
        except KeyError:
            raise error from None


COMMANDS: dict[str, Command] = {}
"""By name. Importing `cartwheel.commands` fills it."""


def command(
    *,
    scope: Scope,
    success: Reply | None,
    errors: Mapping[type[DomainError], Reply] | None = None,
    loads: Parts = Part.NONE,
    first: bool = False,
    refuses_call: bool = False,
    top_level: bool = False,
    example: Mapping[str, Any] | None = None,
    result: Mapping[str, Any] | None = None,
) -> Callable[[Handler], Handler]:
    """Declare a command.

    first: it has to be the first action of its call.
    refuses_call: when it is refused, the whole call is.
    top_level: it is not a `cmd` but a key of the request beside `actions`.
    example: parameters that work in the demo account; `lead` in it replaces the example's lead.
    result: the types of what the function returns, by their names in it.
    """

    def declare(function: Handler) -> Handler:
        hints = get_type_hints(function, include_extras=True)
        hints.pop("return", None)
        call, *names = hints
        name = function.__name__
        if name in COMMANDS:
            raise TypeError(f"two commands are named {name}")
        COMMANDS[name] = Command(
            name=name,
            run=function,
            scope=scope,
            success=success,
            errors=errors or {},
            params={parameter: _param(hints[parameter], parameter) for parameter in names},
            call=hints[call],
            loads=loads,
            first=first,
            refuses_call=refuses_call,
            top_level=top_level,
            example=example or {},
            result=result or {},
            doc=inspect.getdoc(function) or "",
        )
        return function

    return declare


def _param(hint: object, name: str) -> Param:
    if get_origin(hint) is Annotated:
        for extra in get_args(hint)[1:]:
            if isinstance(extra, Param):
                return extra
    raise TypeError(f"parameter {name} needs a type like Annotated[str, Name()]")
