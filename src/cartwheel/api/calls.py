"""A call as a piece of work: what it consists of, what it needs, and how its actions are run and answered."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cartwheel.accounts import Mode
from cartwheel.api import commands as _commands  # noqa: F401 - fills the registry
from cartwheel.api import wire
from cartwheel.api.bodies import Tree, Unreadable, Why
from cartwheel.api.gate import Caller
from cartwheel.api.registry import COMMANDS, AccountCall, Command, LeadCall, NewLeadCall
from cartwheel.api.wire import Refused, Reply
from cartwheel.data.leadstore import Wanted
from cartwheel.emails import in_test_domain, read_email
from cartwheel.errors import DomainError, LeadIsDeleted, LeadNotFound
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part, Parts
from cartwheel.readers import digits
from cartwheel.work.batches import Desk, IdempotencyKey

# -- the envelope --


class Action(msgspec.Struct, frozen=True):
    """One element of `actions`; `command` is None for a `cmd` that does not exist."""

    cmd: str
    command: Command | None
    sent: Tree


class Envelope(msgspec.Struct, frozen=True):
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
            raise Unreadable(Why.TOO_MANY_ACTIONS.format(max_actions=most_actions))
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

NO_LEAD: LeadReference = (None, None)

_NO_SUCH_ID = -1


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
        self.failed = False
        """Whether one of the actions did."""
        """What was answered: (command, reply number), for the metrics."""
        self._told_lead: int | None = None
        """The lead whose data the answer tells."""
        self.about: list[int] = []
        """The leads that it was found to be about."""
        first = envelope.actions[0].command if envelope.actions else None
        self.may_make_lead = first is not None and first.makes_lead
        needs_lead, self._parts = self._needs()
        self._lead = self._reference(envelope.lead, by_email=self.may_make_lead) if needs_lead else NO_LEAD
        self._get_lead = None if envelope.get_lead is None else self._reference(envelope.get_lead)
        renames = first is not None and first.first and not first.makes_lead
        self._new_email = self._email(envelope.lead.get("new_email")) if renames else None
        if self._new_email is not None:
            self._parts |= Part.SUPPRESSION
        if self._new_email is not None and self._get_lead is not None:
            self._parts |= GET_LEAD.loads  # it may be asked for by the address that it gets
        self.wanted = self._wanted()

    def _needs(self) -> tuple[bool, Parts]:
        """Whether there has to be a lead, and its parts; raises `Refused` if the App may not do all of this."""
        app = self._caller.app
        needs_lead, parts = False, Part.NONE
        for position, action in enumerate(self._envelope.actions):
            command = action.command
            if command is None:
                continue
            if not app.may(command.name, command.scope):
                raise Refused(wire.COMMAND_NOT_PERMITTED)
            parts |= command.loads
            if command.needs_lead and not (command.first and position):  # what stands in the wrong place does nothing
                needs_lead = True
        if self._envelope.get_lead is not None and not app.may(GET_LEAD.name, GET_LEAD.scope):
            raise Refused(wire.COMMAND_NOT_PERMITTED)
        return needs_lead, Part.NONE if self.may_make_lead else parts

    def _reference(self, sent: Tree, *, by_email: bool = False) -> LeadReference:
        number = "" if by_email else _given(sent.get("id"))
        if number.strip("0"):  # of a 0 a plugin means that it does not know the id
            lead_id = digits(number)
            return (_NO_SUCH_ID if lead_id is None else lead_id, None)
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

    def _wanted(self) -> list[Wanted]:
        wanted = []
        if self._lead is not NO_LEAD:
            wanted.append(Wanted(self._account_id, *self._lead, self._parts))
        if self._get_lead is not None:
            wanted.append(Wanted(self._account_id, *self._get_lead, GET_LEAD.loads))
        if self._new_email is not None:
            wanted.append(Wanted(self._account_id, None, self._new_email, Part.NONE))
        return wanted

    # -- in the batch --

    def decide(self, desk: Desk) -> bytes:
        """The answer; raises `Refused` when the call is refused as a whole."""
        if desk.catalog.version != self._caller.version:
            self._caller.recheck(desk.catalog, desk.now)
        if self.idempotency is not None and (stored := desk.stored_answer(self.idempotency)):
            digest, answer = stored
            if digest != self.idempotency.body_digest:
                raise Refused(wire.IDEMPOTENCY_KEY_REUSED)
            if not answer:  # it told of a lead that was erased since
                raise Refused(GET_LEAD.errors[LeadNotFound])
            return answer.encode()
        self.told.clear()
        self.failed = False
        self._told_lead = None
        self.about.clear()
        shape = self._run(desk)
        body = msgspec.json.encode(shape)
        if self.idempotency is not None:
            desk.store_answer(self.idempotency, body.decode(), self._told_lead)
        return body

    def _run(self, desk: Desk) -> dict[str, Any]:
        elements: list[dict[str, Any]] = []
        beside: dict[str, Any] = {}
        lead = None
        if self._lead is not NO_LEAD and not self.may_make_lead:
            lead = self._find(desk, self._lead, self._parts)
        for position, action in enumerate(self._envelope.actions):
            command = action.command
            if command is not None and command.success is None:
                beside |= command.run(AccountCall(self._caller.app, desk, self._account_id)) or {}
                self.told.append((command.name, ""))
            else:
                elements.append({action.cmd: self._element(desk, position, action, lead)})
            if self.may_make_lead and lead is None:
                lead = self._find(desk, self._lead, Part.ALL)
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

    def _element(self, desk: Desk, position: int, action: Action, lead: Lead | None) -> Mapping[str, Any]:
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
        told = self._told(command.name, command.success)
        return {**told, **extra} if extra else told

    def _told(self, command: str, reply: Reply | None) -> Mapping[str, Any]:
        assert reply is not None  # a retrieval, which has none, makes no element
        self.told.append((command, reply.type))
        self.failed = self.failed or reply.status == wire.ERROR
        return reply.fields

    def _call(self, command: Command, desk: Desk, lead: Lead | None) -> AccountCall:
        app, account_id, sent = self._caller.app, self._account_id, self._envelope.lead
        if command.makes_lead:
            return NewLeadCall(app, desk, account_id, sent, self._lead[1] or "")
        if command.needs_lead:
            assert lead is not None  # `_needs` has seen to it
            return LeadCall(app, desk, account_id, sent, lead, self._new_email)
        return AccountCall(app, desk, account_id)

    def _run_get_lead(self, desk: Desk, reference: LeadReference) -> Mapping[str, Any]:
        lead = self._find(desk, reference, GET_LEAD.loads, unknown=GET_LEAD.errors[LeadNotFound])
        self.told.append((GET_LEAD.name, ""))
        self._told_lead = lead.id
        return GET_LEAD.run(LeadCall(self._caller.app, desk, self._account_id, {}, lead)) or {}

    def _find(self, desk: Desk, reference: LeadReference, parts: Parts, *, unknown: Reply = wire.LEAD_UNKNOWN) -> Lead:
        """The lead, its points that are due taken back; raises `Refused`."""
        if self._caller.app.mode is Mode.TEST and self._is_live(desk, *reference):
            raise Refused(unknown)
        try:
            lead = desk.find(self._account_id, *reference, parts)
        except LeadNotFound:
            raise Refused(unknown) from None
        except LeadIsDeleted:
            raise Refused(wire.LEAD_DELETED) from None
        self.about.append(lead.id)
        if lead.has(Part.POINTS):
            lead.expire(desk.now)
        return lead

    def _is_live(self, desk: Desk, lead_id: int | None, email: str | None) -> bool:
        """Whether it is a real person's lead, deleted or not. An App in test mode does not know any."""
        if lead_id is None:
            lead = desk.taken(self._account_id, email or "")
        else:
            lead = desk.any_lead(self._account_id, lead_id)
        return lead is not None and not lead.test


GET_LEAD = COMMANDS["get_lead"]


def _given(sent: object) -> str:
    """An id or address as text; an array is something that is given, and never right."""
    text = wire.text(sent)
    return "?" if text is None else text.strip()
