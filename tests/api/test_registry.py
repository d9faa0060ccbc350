"""What is derived from the registry: every command, whatever it is, keeps these promises without a test of its own."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from cartwheel import commands, wire
from cartwheel.registry import COMMANDS, Command
from cartwheel.wire import Reply
from harness import Api, Server, new_api

assert commands  # importing it fills the registry

EXAMPLE_LEAD = {"email": "ada@shop.example"}


class Provocation(NamedTuple):
    """A call of a command that has to be answered with this reply."""

    command: Command
    parameters: dict[str, Any]
    lead: dict[str, Any]
    reply: Reply | None

    @property
    def name(self) -> str:
        return (
            f"{self.command.name}-{self.reply.type if self.reply else 'retrieved'}-{self.reply and self.reply.status}"
        )


def provocations() -> Iterator[Provocation]:
    for command in COMMANDS.values():
        example = dict(command.example)
        lead: dict[str, Any] = {**example.pop("lead", EXAMPLE_LEAD)}
        yield Provocation(command, example, lead, command.success)
        for name, param in command.params.items():
            for reply, value in param.replies.items():
                yield Provocation(command, example | {name: value}, lead, reply)
        for error, reply in command.errors.items():
            changes: dict[str, Any] = dict(error.example)
            provoked = lead | changes.pop("lead", {})
            yield Provocation(command, example | changes, provoked, reply)
        if command.needs_lead and not command.makes_lead:
            unknown = wire.LEAD_UNKNOWN_ON_GET if command.top_level else wire.LEAD_UNKNOWN
            yield Provocation(command, example, {"email": "nobody@shop.example"}, unknown)
            yield Provocation(command, example, {"email": "deleted@shop.example"}, wire.LEAD_DELETED)


ALL = list(provocations())


@pytest.fixture
def world(server: Server) -> Api:
    return populated(new_api(server))


def populated(api: Api) -> Api:
    """With the leads that the examples speak of."""
    for name in ("ada", "grace", "deleted"):
        api.create(f"{name}@shop.example")
    api.delete("deleted@shop.example")
    return api


def run(api: Api, provocation: Provocation) -> dict[str, Any]:
    command, parameters, lead, _ = provocation
    if command.top_level:
        answer = api.call(**{command.name: lead})
    else:
        parts = {"lead": lead} if command.needs_lead else {}
        answer = api.call({"cmd": command.name, **parameters}, **parts)
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize("provocation", ALL, ids=[provocation.name for provocation in ALL])
def test_every_declared_reply_can_be_provoked(world: Api, provocation: Provocation) -> None:
    answer = run(world, provocation)
    if provocation.reply is None:
        assert answer["status"] == "Success"
        assert len(answer) == 2
    else:
        assert {name: answer.get(name) for name in provocation.reply.fields} == provocation.reply.fields


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_every_command_is_documented(command: Command) -> None:
    assert command.doc.endswith(".")
    assert all(name in command.example or not param.empty for name, param in command.params.items())


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_an_app_without_the_permission_is_refused(server: Server, command: Command) -> None:
    others = [other.name for other in COMMANDS.values() if other.scope is not command.scope]
    api = new_api(server, app={"commands": others})
    example = next(entry for entry in ALL if entry.command is command)
    assert run(api, example) == wire.COMMAND_NOT_PERMITTED.fields


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_an_app_with_just_the_scope_is_let_in(server: Server, command: Command) -> None:
    api = new_api(server, app={"commands": [command.scope.value]})
    example = next(entry for entry in ALL if entry.command is command)
    assert run(api, example).get("type") != wire.COMMAND_NOT_PERMITTED.type


@pytest.mark.parametrize(
    "command",
    [command for command in COMMANDS.values() if command.needs_lead and not command.makes_lead],
    ids=lambda command: command.name,
)
def test_another_accounts_lead_is_not_found(world: Api, stranger: Api, command: Command) -> None:
    example = next(entry for entry in ALL if entry.command is command)
    lead_id = world.lead("ada@shop.example")["id"]
    answer = run(stranger, example._replace(lead={"id": lead_id}))
    assert answer["message"] == "No lead found"
    assert world.events(lead_id) == [("lead_created", {"source": "api"})]


def test_no_two_replies_are_the_same() -> None:
    replies = [reply for reply in vars(wire).values() if isinstance(reply, Reply)]
    texts = [reply.fields for reply in replies if reply.type not in {"101", "254"}]
    assert all(texts.count(text) == 1 for text in texts)


def test_every_reply_of_a_command_is_declared_by_one() -> None:
    """A row in `wire` that nothing declares is dead, or a command forgot to declare it."""
    declared = {entry.reply for entry in ALL} | GATE_AND_CALL
    assert {reply for reply in vars(wire).values() if isinstance(reply, Reply)} == declared - {None}


GATE_AND_CALL = {
    wire.NOT_SECURE,
    wire.APP_ID_EMPTY,
    wire.APP_ID_UNKNOWN,
    wire.APP_ACCOUNT_INACTIVE,
    wire.API_KEY_EMPTY,
    wire.API_KEY_UNKNOWN,
    wire.PASSWORD_WRONG,
    wire.ACCOUNT_INACTIVE,
    wire.IP_NOT_ALLOWED,
    wire.LEAD_NOT_ARRAY,
    wire.GET_LEAD_NOT_ARRAY,
    wire.ACTIONS_NOT_ARRAY,
    wire.CMD_REQUIRED,
    wire.COMMAND_NOT_PERMITTED,
    wire.LEAD_REQUIRED,
    wire.TOO_MANY_REQUESTS,
    wire.EMAIL_NOT_VALID,
    wire.SERVER_BUSY,
    wire.SERVER_ERROR,
    wire.IDEMPOTENCY_KEY_NOT_VALID,
    wire.IDEMPOTENCY_KEY_REUSED,
}
