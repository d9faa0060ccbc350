"""One API call, from its bytes to the words of its answer: read, let in, run its actions in one piece of work."""

import hashlib
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cartwheel import commands as _commands  # noqa: F401 - fills the registry
from cartwheel import observe, wire
from cartwheel.batches import Batches, Desk, IdempotencyKey
from cartwheel.bodies import Limits, Tree, Unreadable, read_body, read_form
from cartwheel.catalog import Mode
from cartwheel.config import Settings
from cartwheel.emails import EmailNotValid, in_test_domain, read_email
from cartwheel.errors import DomainError, LeadIsDeleted, LeadNotFound, Overloaded, Unavailable
from cartwheel.gate import Caller, Gate, TooMany
from cartwheel.leads import Lead, Part
from cartwheel.leadstore import Wanted
from cartwheel.network import Client
from cartwheel.registry import COMMANDS, AccountCall, Command, LeadCall, NewLeadCall
from cartwheel.wire import Refused, Reply

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What a call consists of, without HTTP around it."""

    client: Client
    query: bytes
    content_type: str
    idempotency_key: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; `caller` is None when nobody was let in, `refused` the reply to a call that was refused as a whole."""

    body: bytes
    caller: Caller | None = None
    refused: Reply | None = None
    too_many: TooMany | None = None

    def limit_headers(self) -> list[tuple[bytes, bytes]]:
        """Retry-After, and what is left of the App's calls (draft-ietf-httpapi-ratelimit-headers)."""
        if self.too_many is not None:
            wait_s = b"%d" % max(1, math.ceil(self.too_many.retry_s))
            return [(b"retry-after", wait_s), *_limit_headers(self.too_many.limit, 0, wait_s)]
        if self.caller is not None and self.caller.allowance is not None:
            return _limit_headers(self.caller.app.rate_limit, self.caller.allowance.left, b"1")
        return []


def _limit_headers(limit: int, left: int, reset_s: bytes) -> list[tuple[bytes, bytes]]:
    if not limit:
        return []
    return [
        (b"ratelimit-policy", b'"app";q=%d;w=1' % limit),
        (b"ratelimit", b'"app";r=%d;t=%b' % (left, reset_s)),
    ]


class Dispatcher:
    """One for a process."""

    def __init__(self, settings: Settings, batches: Batches, gate: Gate) -> None:
        self._batches = batches
        self._gate = gate
        self._limits = Limits(settings.max_body, settings.max_depth, settings.max_variables)
        self._most_actions = settings.max_actions
        self._test_domain = settings.test_domain

    async def answer(self, request: Request) -> Answer:
        """The answer to any call, however it is made: nothing is raised."""
        caller = None
        try:
            self._gate.check_secure(request.client)
            tree = self._read(request)
            caller = await self._gate.admit(tree, request.client)
            envelope = Envelope.read(tree, self._most_actions)
            work = CallWork(caller, envelope, _idempotency(request, caller), self._test_domain)
            answer = Answer(await self._batches.submit(work), caller)
        except TooMany as refusal:
            return self._refuse(refusal.reply, caller, refusal)
        except Refused as refusal:
            return self._refuse(refusal.reply, caller)
        except Unreadable as trouble:
            return self._refuse(wire.unreadable(str(trouble)), caller)
        except EmailNotValid:
            return self._refuse(wire.EMAIL_NOT_VALID, caller)
        except Overloaded:
            return self._refuse(wire.SERVER_BUSY, caller, TooMany(wire.SERVER_BUSY, 1))
        except Unavailable as trouble:
            log.warning("a call failed: %s", trouble)
            return self._refuse(wire.SERVER_ERROR, caller)
        except Exception:
            log.exception("a call failed")
            return self._refuse(wire.SERVER_ERROR, caller)

        for cmd, type_ in work.told:
            observe.count(cmd, type_)
        return answer

    def refuse(self, reason: str) -> Answer:
        """The answer to a request that did not even arrive."""
        return self._refuse(wire.unreadable(reason), None)

    def _refuse(self, reply: Reply, caller: Caller | None, too_many: TooMany | None = None) -> Answer:
        observe.count("", reply.type)
        return Answer(msgspec.json.encode(reply.fields()), caller, reply, too_many)

    def _read(self, request: Request) -> Tree:
        if len(request.body) > self._limits.body:
            raise Unreadable(f"The request is larger than {self._limits.body} bytes")
        tree = read_body(request.body, request.content_type, self._limits)
        if request.query:
            in_query = read_form(request.query, self._limits)
            for name in ("app_id", "api_key", "api_password"):
                if name not in tree and name in in_query:
                    tree[name] = in_query[name]
        return tree


# -- the envelope --


@dataclass(frozen=True, slots=True)
class Action:
    """One element of `actions`; `command` is None for a `cmd` that does not exist."""

    cmd: str
    command: Command | None
    sent: Tree

    def needs_lead(self, position: int) -> bool:
        """What stands in the wrong place does nothing, with or without a lead."""
        command = self.command
        return command is not None and command.needs_lead and not (command.first and position)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A call's three parts: the lead, `get_lead` and the actions."""

    lead: Tree
    get_lead: Tree | None
    actions: Sequence[Action]

    @classmethod
    def read(cls, tree: Tree, most_actions: int) -> "Envelope":
        """Raises `Refused` if a part is not what it has to be."""
        lead = _object(tree, "lead", wire.LEAD_NOT_ARRAY)
        get_lead = _object(tree, "get_lead", wire.GET_LEAD_NOT_ARRAY)
        sent = tree.get("actions")
        actions = [] if sent is None else wire.items(sent)
        if actions is None:
            raise Refused(wire.ACTIONS_NOT_ARRAY)
        if not actions and (sent is not None or get_lead is None):
            raise Refused(wire.CMD_REQUIRED)
        if len(actions) > most_actions:
            raise Unreadable(f"The call has more than {most_actions} actions")
        return cls(lead or {}, get_lead, [_action(action) for action in actions])


def _object(tree: Tree, name: str, not_array: Reply) -> Tree | None:
    sent = tree.get(name)
    if sent is None:
        return None
    found = wire.one_object(sent)
    if found is None:
        raise Refused(not_array)
    return found


def _action(sent: object) -> Action:
    cmd = (wire.text(sent.get("cmd")) or "").strip() if isinstance(sent, dict) else ""
    if not cmd:
        raise Refused(wire.CMD_REQUIRED)
    command = COMMANDS.get(cmd)
    if command is not None and command.top_level:
        command = None
    return Action(cmd[:LONGEST_ECHO], command, sent)  # type: ignore[arg-type] # a cmd is found in a dict only


LONGEST_ECHO = 100
"""How much of an unknown command's name is repeated in its answer."""


# -- running it --

LeadReference = tuple[int | None, str | None]
"""(id, e-mail address): the id wins, so at most one of them is there."""

_NO_SUCH_ID = -1
_LONGEST_ID = 18


class CallWork:
    """The call as a piece of work for a batch. Making one raises `Refused` or `EmailNotValid`."""

    def __init__(
        self, caller: Caller, envelope: Envelope, idempotency: IdempotencyKey | None, test_domain: str
    ) -> None:
        self._caller = caller
        self._envelope = envelope
        self._account_id = caller.key.account_id
        self._test_domain = test_domain if caller.app.mode is Mode.TEST else None
        self.idempotency = idempotency
        self.origin = caller.app.origin
        self.told: list[tuple[str, str]] = []
        """What was answered: (command, reply number), for the metrics."""
        self._check_permissions()
        first = envelope.actions[0].command if envelope.actions else None
        self._makes_lead = first is not None and first.makes_lead
        known = [action.command for action in envelope.actions if action.command]
        self._lead: LeadReference = (None, None)
        if any(action.needs_lead(position) for position, action in enumerate(envelope.actions)):
            self._lead = self._reference(envelope.lead, by_email=self._makes_lead)
        self._get_lead = None if envelope.get_lead is None else self._reference(envelope.get_lead)
        renames = first is not None and first.first and not first.makes_lead
        self._new_email = self._email(envelope.lead.get("new_email")) if renames else None
        parts = Part.NONE if self._makes_lead else _union(known)
        if self._new_email is not None and self._get_lead is not None:
            parts |= GET_LEAD.loads  # it may be asked for by the address that it gets
        self.wanted = self._wanted(parts)

    def _check_permissions(self) -> None:
        app = self._caller.app
        used = [action.command for action in self._envelope.actions if action.command]
        if self._envelope.get_lead is not None:
            used.append(GET_LEAD)
        if not all(app.may(command.name, command.scope) for command in used):
            raise Refused(wire.COMMAND_NOT_PERMITTED)

    def _reference(self, sent: Tree, *, by_email: bool = False) -> LeadReference:
        number = "" if by_email else _given(sent.get("id"))
        if number:
            plain = number.isascii() and number.isdigit() and len(number) <= _LONGEST_ID
            return (int(number) if plain else _NO_SUCH_ID, None)
        email = self._email(sent.get("email"))
        if email is None:
            raise Refused(wire.LEAD_REQUIRED)
        return (None, email)

    def _email(self, sent: object) -> str | None:
        given = _given(sent)
        if not given:
            return None
        email = read_email(given)
        return in_test_domain(email, self._test_domain) if self._test_domain else email

    def _wanted(self, parts: Part) -> list[Wanted]:
        wanted = [Wanted(self._account_id, *self._lead, parts)] if self._lead != (None, None) else []
        if self._get_lead is not None:
            wanted.append(Wanted(self._account_id, *self._get_lead, GET_LEAD.loads))
        if self._new_email is not None:
            wanted.append(Wanted(self._account_id, None, self._new_email, Part.NONE))
        return wanted

    # -- in the batch --

    def decide(self, desk: Desk) -> bytes:
        """The answer; raises `Refused` when the call is refused as a whole."""
        if desk.catalog.version != self._caller.version:
            self._caller.recheck(desk.catalog)
        if self.idempotency is not None and (stored := desk.stored_answer(self.idempotency)):
            digest, answer = stored
            if digest != self.idempotency.body_digest:
                raise Refused(wire.IDEMPOTENCY_KEY_REUSED)
            return answer.encode()
        self.told.clear()
        shape = self._run(desk)
        body = msgspec.json.encode(shape)
        if self.idempotency is not None:
            desk.store_answer(self.idempotency, body.decode())
        return body

    def _run(self, desk: Desk) -> dict[str, Any]:
        elements: list[dict[str, Any]] = []
        beside: dict[str, Any] = {}
        reference = self._lead
        if reference != (None, None) and not self._makes_lead:
            reference = (self._find(desk, reference).id, None)  # the first action may change its address
        for position, action in enumerate(self._envelope.actions):
            command = action.command
            if command is not None and command.success is None:
                beside |= command.run(AccountCall(self._caller.app, desk, self._account_id)) or {}
                self.told.append((command.name, ""))
            else:
                elements.append({action.cmd: self._element(desk, position, action, reference)})
        if self._get_lead is not None:
            beside |= self._run_get_lead(desk, self._get_lead)
        return self._shape(elements, beside)

    def _shape(self, elements: list[dict[str, Any]], beside: dict[str, Any]) -> dict[str, Any]:
        top: dict[str, Any] = {"status": "Success"}
        if elements:
            if len(self._envelope.actions) == 1:
                [only] = elements[0].values()
                top = {name: only[name] for name in ("status", "message", "type") if name in only}
            top["actions"] = elements
        return top | beside

    def _element(self, desk: Desk, position: int, action: Action, lead: LeadReference) -> dict[str, Any]:
        command = action.command
        if command is None:
            return self._told("unknown", wire.unknown_command(action.cmd))
        if command.first and position:
            return self._told(command.name, wire.not_first(command.name))
        try:
            extra = command.run(self._call(command, desk, lead), **command.read(action.sent))
        except (DomainError, Refused) as error:
            reply = error.reply if isinstance(error, Refused) else command.reply_to(error)
            if command.refuses_call:
                raise Refused(reply) from error
            return self._told(command.name, reply)
        return self._told(command.name, command.success) | dict(extra or {})

    def _told(self, command: str, reply: Reply | None) -> dict[str, Any]:
        assert reply is not None  # a retrieval, which has none, makes no element
        self.told.append((command, reply.type))
        return reply.fields()

    def _call(self, command: Command, desk: Desk, lead: LeadReference) -> AccountCall:
        app, account_id, sent = self._caller.app, self._account_id, self._envelope.lead
        if command.makes_lead:
            return NewLeadCall(app, desk, account_id, sent, self._lead[1] or "")
        if command.needs_lead:
            return LeadCall(app, desk, account_id, sent, self._find(desk, lead), self._new_email)
        return AccountCall(app, desk, account_id)

    def _run_get_lead(self, desk: Desk, reference: LeadReference) -> Mapping[str, Any]:
        lead = self._find(desk, reference, unknown=GET_LEAD.errors[LeadNotFound])
        self.told.append((GET_LEAD.name, ""))
        return GET_LEAD.run(LeadCall(self._caller.app, desk, self._account_id, {}, lead)) or {}

    def _find(self, desk: Desk, reference: LeadReference, *, unknown: Reply = wire.LEAD_UNKNOWN) -> Lead:
        """The lead, its points that are due taken back; raises `Refused`."""
        try:
            lead = desk.find(self._account_id, *reference)
        except LeadNotFound:
            raise Refused(unknown) from None
        except LeadIsDeleted:
            raise Refused(wire.LEAD_DELETED) from None
        if lead.has(Part.POINTS):
            lead.expire(desk.now)
        return lead


GET_LEAD = COMMANDS["get_lead"]


def _union(known: Sequence[Command]) -> Part:
    parts = Part.NONE
    for command in known:
        parts |= command.loads
    return parts


def _given(sent: object) -> str:
    """An id or address as text; an array is something that is given, and never right."""
    text = wire.text(sent)
    return "?" if text is None else text.strip()


def _idempotency(request: Request, caller: Caller) -> IdempotencyKey | None:
    key = request.idempotency_key
    if key is None:
        return None
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise Refused(wire.IDEMPOTENCY_KEY_NOT_VALID)
    digest = hashlib.sha256(request.body).hexdigest()
    return IdempotencyKey(caller.key.account_id, caller.app.app_id, key, digest)


_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
