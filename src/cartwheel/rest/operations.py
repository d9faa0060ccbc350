"""What an operation of /v1 is: declared once, by a function's signature and a decorator; all else is derived from it."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_type_hints

import msgspec

from cartwheel.people import Right
from cartwheel.rest import problems
from cartwheel.rest.problems import INVALID, NOT_THERE, Problem, Refusal
from cartwheel.rest.records import Sent, Told

OPERATIONS: "dict[str, Operation]" = {}
"""By name, in the order of the reference."""

_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True)
class Param:
    """One in the path or in the query."""

    name: str
    type: Any
    default: Any
    in_path: bool

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty

    @cached_property
    def schema(self) -> dict[str, Any]:
        return dict(msgspec.json.schema(self.type))

    @cached_property
    def kinds(self) -> set[str]:
        """What JSON calls the types that it may have."""
        found = [self.schema, *self.schema.get("anyOf", ())]
        return {str(one["type"]) for one in found if "type" in one}

    def read(self, text: str) -> Any:
        """Raises `Refusal`."""
        value: Any = text
        if "integer" in self.kinds and _INTEGER.fullmatch(text):
            value = int(text)
        elif "boolean" in self.kinds and text in {"true", "false"}:
            value = text == "true"
        try:
            return msgspec.convert(value, self.type)
        except msgspec.ValidationError as error:
            if self.in_path:
                raise Refusal(NOT_THERE, f"There is no {self.name} {text[:100]}.") from None
            raise Refusal(INVALID, f"`{self.name}`: {error}", places={f"?{self.name}": str(error)}) from None


@dataclass(frozen=True)
class Operation:
    """One thing that a caller can do."""

    name: str
    method: str
    path: str
    scope: Right
    run: Callable[..., Any]
    params: Mapping[str, Param]
    body: type[Sent] | None
    answer: type[Told]
    status: int
    made: bool
    """Whether it may also answer 201, because something was made."""
    problems: tuple[Problem, ...]
    example: Mapping[str, Any]
    """What its parameters, and `body`, are in the demo's account."""
    also: Mapping[str, Right] = field(default_factory=dict)
    """Scopes that parts of the body need beside `scope`."""

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.run) or ""

    @property
    def about(self) -> str:
        """The noun that it belongs to: the name of its module."""
        return self.run.__module__.rpartition(".")[2]

    @cached_property
    def statuses(self) -> tuple[int, ...]:
        return (201, 200) if self.made else (self.status,)

    @cached_property
    def all_problems(self) -> tuple[Problem, ...]:
        """Every one that it may be answered with."""
        found = [*problems.EVERYWHERE, *self.problems]
        if self.body is not None:
            found += problems.WITH_BODY
        if self.writes:
            found.append(problems.KEY_REUSED)
        return tuple(dict.fromkeys(found))

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(self.path)))

    @cached_property
    def decoder(self) -> "msgspec.json.Decoder[Any] | None":
        return None if self.body is None else msgspec.json.Decoder(self.body)


def operation(
    method: str,
    path: str,
    *,
    scope: Right,
    problems: tuple[Problem, ...] = (),
    example: Mapping[str, Any],
    status: int = 200,
    made: bool = False,
    also: Mapping[str, Right] = {},
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the function to be an operation. What it takes and answers, its annotations say; what it does, its docstring."""

    def declare(run: Callable[..., Any]) -> Callable[..., Any]:
        hints = get_type_hints(run, include_extras=True)
        params = {
            name: Param(name, hints[name], one.default, in_path=f"{{{name}}}" in path)
            for name, one in inspect.signature(run).parameters.items()
            if name not in {"call", "body"}
        }
        missing = set(re.findall(r"\{(\w+)\}", path)) - set(params)
        assert not missing, f"{path}: the function takes no {missing}"
        OPERATIONS[run.__name__] = Operation(
            run.__name__, method, path, scope, run, params, hints.get("body"), hints["return"], status, made, problems,
            example, also,
        )  # fmt: skip
        return run

    return declare
