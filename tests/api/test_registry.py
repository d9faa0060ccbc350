"""What is derived from the registry: every command, whatever it is, keeps these promises without a test of its own."""

from typing import Any

import pytest

from cartwheel.api import wire
from cartwheel.api.commands import COMMANDS
from cartwheel.api.registry import Command
from cartwheel.reference.examples import DELETED, LEAD, LEADS, Provocation, provocations
from harness import Api, Server, new_api

ALL = [provocation for command in COMMANDS.values() for provocation in provocations(command)]


def name_of(provocation: Provocation) -> str:
    reply = provocation.reply
    return f"{provocation.command.name}-{f'{reply.type}-{reply.status}' if reply else 'retrieved'}"


@pytest.fixture
def world(server: Server) -> Api:
    """An account with the leads that the examples speak of."""
    api = new_api(server)
    for lead in LEADS:
        api.create(lead["email"])
    api.delete(DELETED["email"])
    return api


def run(api: Api, provocation: Provocation) -> dict[str, Any]:
    call = dict(provocation.call)
    answer = api.call(*call.pop("actions", ()), **call)
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize("provocation", ALL, ids=map(name_of, ALL))
def test_every_declared_reply_can_be_provoked(world: Api, provocation: Provocation) -> None:
    answer = run(world, provocation)
    if provocation.reply is None:
        assert answer["status"] == "Success"
        assert answer.keys() == {"status", *provocation.command.result}
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
    example = next(provocations(command))
    assert run(api, example) == wire.COMMAND_NOT_PERMITTED.fields


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_an_app_with_just_the_scope_is_let_in(server: Server, command: Command) -> None:
    api = new_api(server, app={"commands": [command.scope.value]})
    example = next(provocations(command))
    assert run(api, example).get("type") != wire.COMMAND_NOT_PERMITTED.type


@pytest.mark.parametrize(
    "command",
    [command for command in COMMANDS.values() if command.needs_lead and not command.makes_lead],
    ids=lambda command: command.name,
)
def test_another_accounts_lead_is_not_found(world: Api, stranger: Api, command: Command) -> None:
    example = next(provocations(command))
    lead_id = world.lead(LEAD["email"])["id"]
    answer = run(stranger, example._replace(lead={"id": lead_id}))
    assert answer["message"] == "No lead found"
    assert world.events(lead_id) == [("lead_created", {"source": "api"})]


def test_no_two_replies_are_the_same() -> None:
    texts = [reply.fields for reply in wire.replies() if reply.type not in {"101", "254"}]
    assert all(texts.count(text) == 1 for text in texts)


def test_every_reply_of_a_command_is_declared_by_one() -> None:
    """A row in `wire` that nothing declares is dead, or a command forgot to declare it."""
    declared = {entry.reply for entry in ALL} | GATE_AND_CALL
    assert {*wire.replies()} == declared - {None}


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
