"""Why a call was answered as it was, in words for somebody who wants to mend it, and where that is done."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from cartwheel.accounts import App, name_key
from cartwheel.api import wire
from cartwheel.api.commands import COMMANDS
from cartwheel.api.registry import Command
from cartwheel.api.wire import Reply
from cartwheel.data.callstore import WholeCall
from cartwheel.errors import (
    FieldExists,
    FieldNameNotAllowed,
    FieldTypeUnknown,
    LeadExists,
    ListNotFound,
    SequenceNotFound,
    StepNotFound,
    TagNotFound,
)
from cartwheel.ui.visits import Visit

MOST_NAMED = 8
"""Names of an account that are listed; the others are counted."""

LISTS, TAGS, SEQUENCES = "/communication/lists", "/communication/tags", "/communication/sequences"
FIELDS, APPS, KEY = "/communication/custom-fields", "/integrations/api/developers", "/integrations/api/key"
EXPLORER = "/integrations/api/explorer"


@dataclass(frozen=True, slots=True)
class Explained:
    """The call, or one of its actions. `path` leads to where it is mended."""

    title: str
    ok: bool
    type: str
    message: str
    why: str
    path: str = ""
    label: str = ""


def loaded(text: str) -> Any:
    """JSON that may be cut, or missing."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def app_of(visit: Visit, origin: str) -> App | None:
    """The App, if it is this account's own."""
    return next((app for app in visit.catalog.apps_of(visit.account.id) if app.origin == origin), None)


def explain(visit: Visit, call: WholeCall) -> list[Explained]:
    """The call as a whole if it was refused, else each of its actions."""
    if call.refused:
        return [_whole(visit, call)]
    tree = loaded(call.tree) or {}
    answer = loaded(call.answer)
    elements = iter(answer.get("actions", []) if isinstance(answer, dict) else [])
    sent = wire.items(tree.get("actions")) or []
    told = loaded(call.told) or []
    return [
        _action(visit, cmd, type_, sent[number] if number < len(sent) else {}, elements)
        for number, (cmd, type_) in enumerate(told)
    ]


# -- one action --


def _action(visit: Visit, cmd: str, type_: str, sent: Any, elements: Iterator[Any]) -> Explained:
    command = COMMANDS.get(cmd)
    if command is not None and command.success is None:
        return Explained(cmd, ok=True, type="", message="", why=_first_line(visit, command))
    element = next(elements, None)
    [(name, fields)] = element.items() if isinstance(element, dict) and element else [(cmd, {})]
    message = fields.get("message", "")
    if command is None:
        names = _close(str(name), list(COMMANDS))
        why = visit._("There is no command of this name.") + (" " + _perhaps(visit, names) if names else "")
        return Explained(str(name), False, type_, message, why, EXPLORER, visit._("See all commands"))
    if fields.get("status", wire.SUCCESS) == wire.SUCCESS and type_ not in _errors(command):
        return Explained(cmd, ok=True, type=type_, message=message, why=_first_line(visit, command))
    why, path, label = _why(visit, command, type_, message, sent if isinstance(sent, dict) else {})
    return Explained(cmd, ok=False, type=type_, message=message, why=why, path=path, label=label)


def _meaning(visit: Visit, cause: type) -> str:
    """What a refusal says of itself."""
    return visit._((cause.__doc__ or "").splitlines()[0])


def _errors(command: Command) -> set[str]:
    return {reply.type for reply in command.errors.values()}


def _first_line(visit: Visit, command: Command) -> str:
    return visit._(command.doc.partition("\n")[0]) if command.doc else ""


def _why(visit: Visit, command: Command, type_: str, message: str, sent: Mapping[str, Any]) -> tuple[str, str, str]:
    """Why, where it is mended, and what stands on the way there."""

    def is_it(reply: Reply) -> bool:
        return (reply.type, reply.message) == (type_, message)

    for name, param in command.params.items():
        for reply in param.replies:
            if is_it(reply):
                given = wire.text(sent.get(name))
                told = visit._("%(name)s is missing or empty.") if not given else visit._("%(name)s is “%(given)s”.")
                return told % {"name": name, "given": given}, "", ""
    causes = [error for error, reply in command.errors.items() if is_it(reply)]
    for cause in causes:
        if (found := _named(visit, cause, sent)) is not None:
            return found
    docs = [_meaning(visit, cause) for cause in causes]
    return visit._(" Or: ").join(docs) or _general(visit, type_, message), "", ""


def _named(visit: Visit, cause: type, sent: Mapping[str, Any]) -> tuple[str, str, str] | None:
    account = visit.account
    if cause is TagNotFound:
        told = visit._("There is no tag called “%s”.") % _sent(sent, "tag_name")
        names = [tag.name for tag in account.tags.values()]
        return _missing(visit, told, _sent(sent, "tag_name"), names), TAGS, visit._("Make the tag")
    if cause is ListNotFound:
        told = visit._("There is no list called “%s”.") % _sent(sent, "list_name")
        names = [entry.name for entry in account.lists.values()]
        return _missing(visit, told, _sent(sent, "list_name"), names), LISTS, visit._("Make the list")
    if cause is SequenceNotFound:
        told = visit._("There is no sequence called “%s”.") % _sent(sent, "sequence_name")
        names = [entry.name for entry in account.sequences.values()]
        return _missing(visit, told, _sent(sent, "sequence_name"), names), SEQUENCES, visit._("Make the sequence")
    if cause is StepNotFound:
        sequence = account.sequences.get(name_key(_sent(sent, "sequence_name")))
        told = visit._("The sequence has no step with the box label “%s”.") % _sent(sent, "step")
        boxes = list(sequence.boxes) if sequence else []
        path = f"{SEQUENCES}/{sequence.id}" if sequence else SEQUENCES
        return _missing(visit, told, _sent(sent, "step"), boxes), path, visit._("See the sequence")
    if cause in {FieldExists, FieldNameNotAllowed, FieldTypeUnknown}:
        return _meaning(visit, cause), FIELDS, visit._("See the custom fields")
    return None


def _sent(sent: Mapping[str, Any], name: str) -> str:
    return (wire.text(sent.get(name)) or "").strip()


def _missing(visit: Visit, told: str, name: str, names: Sequence[str]) -> str:
    """There is none of this name; which there are."""
    if not names:
        return told + " " + visit._("The account has none yet.")
    close = _close(name, names)
    return " ".join([told, _perhaps(visit, close) if close else _list(visit, names)])


def _close(name: str, names: Sequence[str]) -> list[str]:
    by_key = {name_key(each): each for each in names[:2000]}
    return [by_key[key] for key in get_close_matches(name_key(name)[:255], by_key, n=3)]


def _perhaps(visit: Visit, names: Iterable[str]) -> str:
    return visit._("Is it meant to be %s?") % ", ".join(f"“{name}”" for name in names)


def _list(visit: Visit, names: Sequence[str]) -> str:
    shown = ", ".join(f"“{name}”" for name in names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    if more > 0:
        return visit._("The account has %(names)s and %(more)d more.") % {"names": shown, "more": more}
    return visit._("The account has %s.") % shown


# -- the call as a whole --


def _whole(visit: Visit, call: WholeCall) -> Explained:
    type_, _, message = call.refused.partition(" ")
    why, path, label = _refusal(visit, call, type_, message)
    title = visit._("The call was refused as a whole; nothing was done")
    return Explained(title, ok=False, type=type_, message=message, why=why, path=path, label=label)


def _refusal(visit: Visit, call: WholeCall, type_: str, message: str) -> tuple[str, str, str]:
    reply = _REPLIES.get((type_, message))
    app = app_of(visit, call.app)
    its_page = f"{APPS}/{app.id}" if app else APPS
    if reply in {wire.COMMAND_NOT_PERMITTED, wire.IP_NOT_ALLOWED, wire.TOO_MANY_REQUESTS} and app is not None:
        told = {
            wire.COMMAND_NOT_PERMITTED: visit._("The App “%s” may not use one of the commands, so none was run."),
            wire.IP_NOT_ALLOWED: visit._(
                "The App “%s” may be used from certain addresses only, and this is none of them."
            ),
            wire.TOO_MANY_REQUESTS: visit._("The App “%s” makes more calls a second than it may."),
        }[reply] % app.name
        return told, its_page, visit._("Change the App")
    if reply in _AT_THE_KEY:
        return _general(visit, type_, message), KEY, visit._("See the API key")
    if reply in _AT_THE_APP:
        return _general(visit, type_, message), APPS, visit._("See the Apps")
    if reply in {wire.LEAD_UNKNOWN, wire.LEAD_UNKNOWN_ON_GET}:
        told = visit._("There is no lead “%s” in this account.") % (call.email or "?")
        if app is not None and app.mode == "test":
            told += " " + visit._("In test mode an App sees test leads only. Make one with create_lead first.")
            return told, f"{EXPLORER}?cmd=create_lead", visit._("Make a test lead")
        return told, "/leads", visit._("See the leads")
    if reply is wire.LEAD_TAKEN:
        return _meaning(visit, LeadExists), "/leads", visit._("See the leads")
    return _general(visit, type_, message), "", ""


_REPLIES = {(reply.type, reply.message): reply for reply in wire.replies()}

_AT_THE_KEY = {wire.API_KEY_EMPTY, wire.API_KEY_UNKNOWN, wire.PASSWORD_WRONG}
_AT_THE_APP = {wire.APP_ID_EMPTY, wire.APP_ID_UNKNOWN, wire.IP_NOT_ALLOWED, wire.COMMAND_NOT_PERMITTED}


def _general(visit: Visit, type_: str, message: str) -> str:
    texts = {
        wire.NOT_SECURE: visit._("The call came over plain http from another machine. Call https://…/api instead."),
        wire.APP_ID_EMPTY: visit._("The call has no app_id. Each App's page shows its own."),
        wire.APP_ID_UNKNOWN: visit._("There is no App with this app_id, or it is switched off."),
        wire.API_KEY_EMPTY: visit._("The call has no api_key."),
        wire.API_KEY_UNKNOWN: visit._("There is no such API key any more: it was replaced, revoked, or mistyped."),
        wire.PASSWORD_WRONG: visit._("The API key is right, but the api_password is not the one that belongs to it."),
        wire.ACCOUNT_INACTIVE: visit._("The account is switched off."),
        wire.APP_ACCOUNT_INACTIVE: visit._("The account that the App belongs to is switched off."),
        wire.LEAD_NOT_ARRAY: visit._("lead has to hold named values, such as lead[email]."),
        wire.GET_LEAD_NOT_ARRAY: visit._("get_lead has to hold named values, such as get_lead[email]."),
        wire.ACTIONS_NOT_ARRAY: visit._("actions has to be a list, such as actions[0][cmd]."),
        wire.CMD_REQUIRED: visit._("One of the actions has no cmd, or the call asks for nothing."),
        wire.LEAD_REQUIRED: visit._("A command needs a lead, and neither lead[email] nor lead[id] says which."),
        wire.EMAIL_NOT_VALID: visit._("No mail could ever be sent to this address."),
        wire.LEAD_DELETED: visit._("The lead was deleted in this account."),
        wire.TOO_MANY_REQUESTS: visit._("Calls came faster than allowed. Wait as long as Retry-After says."),
        wire.SERVER_BUSY: visit._("The server had too much to do at that moment. Try again."),
        wire.SERVER_ERROR: visit._("Something went wrong on the server; its log says what. Try again."),
    }
    reply = _REPLIES.get((type_, message))
    return texts.get(reply, message) if reply is not None else message
