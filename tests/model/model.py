"""What the inbound API has to do, told a second time: one account in memory.

Written from the contract, and on purpose not from the code: it imports nothing of Cartwheel. A call is given as the tree
that a client sends; the answer is the one that the contract asks for. Where the contract leaves a number to the server
(ids), a `Chosen` stands in the answer.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from vocabulary import (
    ARRAY,
    DAY,
    FIELD_TYPES,
    FIRST_ONLY,
    MOST_POINTS,
    OTHER_NAMES,
    REFUSE_ALL,
    RETRIEVALS,
    SUCCESSES,
    TEXT_FIELDS,
    TEXT_TYPES,
    Answer,
    Call,
    Chosen,
    Field,
    Lead,
    Refusal,
    State,
    Tree,
    command_of,
    elements,
    key_of,
    required,
    text,
    whole,
)


class Model:
    """An account. `file` is its account file; a `test_domain` is the one of an App in test mode."""

    def __init__(self, file: Tree, *, test_domain: str | None = None) -> None:
        account = file["account"]
        self._zone = ZoneInfo(account.get("timezone", "America/New_York"))
        self._gdpr = 4 if account.get("gdpr") else 0
        self._test_domain = test_domain
        self._lists = {key_of(entry["name"]): entry["name"] for entry in file["lists"]}
        self._tags = {key_of(entry["name"]): entry["name"] for entry in file["tags"]}
        self._sequences = {key_of(entry["name"]): entry["name"] for entry in file["sequences"]}
        self._steps = {key_of(entry["name"]): {step["box"] for step in entry["steps"]} for entry in file["sequences"]}
        self._now: datetime
        self.state = State()
        for entry in file["custom_fields"]:
            options: list[tuple[Chosen | int, str]] = [(row["id"], row["name"]) for row in entry.get("options", [])]
            self.state.fields[key_of(entry["identifier"])] = Field(entry["identifier"], entry["type"], options)

    # -- a call --

    def call(self, tree: Tree, now: datetime, *, body: bytes = b"", key: str | None = None) -> Answer:
        """The answer. With `key`, an Idempotency-Key, `body` tells whether two calls are the same."""
        self.pass_time(now)
        try:
            call = self._read(tree)
            if key is not None and key in self.state.answers:
                return self._repeated(key, body)
            answer = self._run(call)
        except Refusal as refusal:
            return refusal.answer
        if key is not None:
            self.state.answers[key] = (body, answer, now)
        return answer

    def pass_time(self, now: datetime) -> None:
        """Take back the points that are due, and forget the answers that are a day old."""
        self._now = now
        for lead in self.state.leads:
            for expires, points in lead.grants:
                if expires <= now:
                    lead.score -= points
                    lead.tell("points_expired", points=points)
            lead.grants = [grant for grant in lead.grants if grant[0] > now]
        self.state.answers = {key: kept for key, kept in self.state.answers.items() if now - kept[2] <= DAY}

    def _repeated(self, key: str, body: bytes) -> Answer:
        first, answer, _ = self.state.answers[key]
        if body != first:
            raise Refusal("254", "Idempotency-Key was used before with another request. Nothing done")
        return answer

    def _run(self, call: Call) -> Answer:
        """Do the actions; a refusal leaves everything as it was."""
        before = self.state.copied()
        try:
            return self._actions(call)
        except Refusal:
            self.state = before
            raise

    def _actions(self, call: Call) -> Answer:
        lead = self._find(call.lead, "243") if call.needs_lead and not call.creates else None
        made: list[Answer] = []
        beside: Answer = {}
        for position, (cmd, action) in enumerate(zip(call.commands, call.actions, strict=True)):
            if cmd in RETRIEVALS:
                beside[RETRIEVALS[cmd]] = self._retrieve(cmd)
                continue
            if cmd == "create_lead" and not position:
                lead = self._create(call.lead)
            made.append({cmd: self._element(cmd, action, position, lead, call.lead)})
        if call.get_lead is not None:
            beside["lead_details"] = self._details(self._find(call.get_lead, "234"))
        top: Answer = {"status": "Success"}
        if len(call.actions) == 1 and made:
            [only] = made[0].values()
            top = {name: only[name] for name in ("status", "message", "type") if name in only}
        return {**top, **({"actions": made} if made else {}), **beside}

    def _element(self, cmd: str, action: Tree, position: int, lead: Lead | None, sent: Tree) -> Answer:
        if cmd not in SUCCESSES:
            return Refusal("254", f"'{cmd}' is not a known cmd. Nothing done").answer
        if cmd in FIRST_ONLY and position:
            return Refusal("254", f"'{cmd}' must be the first action. Nothing done").answer
        try:
            if cmd == "create_custom_field":
                self._create_custom_field(action)
            elif lead is not None:
                self._lead_command(cmd, action, lead, sent)
        except Refusal as refusal:
            if cmd in REFUSE_ALL:
                raise
            return refusal.answer
        number, message = SUCCESSES[cmd]
        if cmd in REFUSE_ALL and lead is not None:
            return {"status": "Success", "message": message, "lead_details": {"id": lead.id}}
        return {"status": "Success", "message": message, "type": number}

    # -- the envelope --

    def _read(self, tree: Tree) -> Call:
        lead = self._object(tree.get("lead"), "223")
        get_lead = self._object(tree.get("get_lead"), "236")
        actions = [] if tree.get("actions") is None else elements(tree["actions"])
        if actions is None:
            raise Refusal("224")
        if (not actions and (get_lead is None or tree.get("actions") is not None)) or not all(map(command_of, actions)):
            raise Refusal("254")
        call = Call(lead or {}, get_lead, actions)
        if call.needs_lead:
            self._reference(call.lead, by_email=call.creates)
        if get_lead is not None:
            self._reference(get_lead)
        if call.commands[:1] == ["edit_lead"]:
            self._new_email(call.lead)
        return call

    def _object(self, sent: Any, error: str) -> Tree | None:
        if isinstance(sent, Mapping) and sent and all(key.isdigit() and isinstance(sent[key], Mapping) for key in sent):
            sent = elements(sent)  # what a form makes of a list
        if isinstance(sent, list):
            sent = {} if not sent else sent[0] if len(sent) == 1 else "several"
        if sent is not None and not isinstance(sent, Mapping):
            raise Refusal(error)
        return sent

    def _reference(self, sent: Tree, *, by_email: bool = False) -> tuple[str, str]:
        """What the lead is found by, and the value; the id wins."""
        if text(sent.get("id")).strip().strip("0") and not by_email:
            return ("id", text(sent["id"]).strip())
        email = text(sent.get("email")).strip()
        if not email:
            raise Refusal("206")
        return ("email", self._address(email))

    def _new_email(self, sent: Tree) -> str | None:
        email = text(sent.get("new_email")).strip()
        return self._address(email) if email else None

    def _address(self, email: str) -> str:
        name, at, domain = email.lower().rpartition("@")
        if not at or not re.fullmatch(r"[^@\s]+", name) or not re.fullmatch(r"[^@\s.]+(\.[^@\s.]+)+", domain):
            raise Refusal("206", "email is not valid. Nothing done")
        return f"{name}@{self._test_domain or domain}"

    def _find(self, sent: Tree, unknown: str) -> Lead:
        by, value = self._reference(sent)
        for lead in self.state.leads:
            if value == (lead.email if by == "email" else lead.id.known):
                if lead.deleted:
                    raise Refusal("245")
                return lead
        raise Refusal(unknown)

    def named(self, email: str) -> Lead | None:
        return next((lead for lead in self.state.leads if lead.email == email), None)

    # -- leads --

    def _create(self, sent: Tree) -> Lead:
        email = self._reference(sent, by_email=True)[1]
        taken = self.named(email)
        if taken is not None:
            raise Refusal("245" if taken.deleted else "244")
        lead = Lead(email, self._now)
        self._write(lead, sent)
        lead.tell("lead_created", source="api")
        self.state.leads.append(lead)
        return lead

    def _edit(self, lead: Lead, sent: Tree) -> None:
        email = self._new_email(sent)
        if email is not None and email != lead.email:
            if self.named(email) is not None:
                raise Refusal("244")
            lead.email = email
            lead.tell("lead_edited", fields={"email"}, custom_fields=set())
        fields, custom = self._write(lead, sent)
        if fields or custom:
            lead.tell("lead_edited", fields=fields, custom_fields=custom)

    def _write(self, lead: Lead, sent: Tree) -> tuple[set[str], set[str]]:
        """Returns the names of the built-in and of the custom fields that are not what they were."""
        fields = {name: text(sent[name]) for name in TEXT_FIELDS if name in sent}
        custom: dict[str, str | set[int]] = {}
        for name, value in sent.items():
            known = self.state.fields.get(key_of(name))
            if known is not None and known.is_text:
                custom[known.identifier] = self._custom_value(known, value)
        entries = elements(sent.get("custom_fields") or [])
        if entries is None:
            raise Refusal("271")
        for entry in entries:
            identifier = text(entry.get("field_identifier")) if isinstance(entry, Mapping) else ""
            if identifier in {"", ARRAY}:
                raise Refusal("271")
            known = self.state.fields.get(key_of(identifier))
            if known is not None:
                custom[known.identifier] = self._custom_value(known, entry.get("field_value", []))
        changed = {name for name, value in fields.items() if lead.fields.get(name, "") != value}
        changed_custom = {name for name, value in custom.items() if (lead.custom.get(name) or "") != (value or "")}
        lead.fields |= fields
        lead.custom |= custom
        return changed, changed_custom

    def _custom_value(self, known: Field, sent: object) -> str | set[int]:
        chosen = elements(sent)
        if known.is_text:
            if chosen is not None:
                raise Refusal("271")
            return text(sent)
        if chosen is None:
            if not text(sent):
                return set()
            chosen = [sent]
            if known.kind == "checkbox":
                raise Refusal("271")
        if len(chosen) > 1 and known.kind != "checkbox":
            raise Refusal("271")
        return {known.option(option) for option in chosen}

    def _details(self, lead: Lead) -> Answer:
        zone = self._zone
        return {
            "id": lead.id,
            "email": lead.email,
            **{name: lead.fields.get(name, "") for name in TEXT_FIELDS},
            "ip_country": "",
            "date_joined": lead.joined.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S"),
            "score": lead.score,
            "source": "api",
            "source_id": 0,
            "notes": "",
            "blacklisted": 0,
            "gdpr_lead_status": self._gdpr,
            "gdpr_lead_status_date": "",
            "gdpr_lead_status_ip": "",
            "gdpr_lead_communications": 0,
            "tags": [{"tag_name": name} for name in lead.tags],
            "lists": [{"list_name": name, "active": "1" if active else "0"} for name, active in lead.lists.items()],
            "sequences": [
                {"sequence_name": name, "step": step, "status": "active" if active else "unsubscribed"}
                for name, (step, active) in lead.sequences.items()
            ],
            "memberships": [],
            "transactions": [],
            "custom_fields": [self._field_details(lead, known) for known in self.state.fields.values()],
        }

    def _field_details(self, lead: Lead, known: Field) -> Answer:
        shown: object = lead.custom.get(known.identifier, "")
        if not known.is_text:
            chosen = lead.custom.get(known.identifier) or set()
            shown = [option for position, option in enumerate(known.described()) if position in chosen]
        identity = {"field_id": known.number, "field_identifier": known.identifier, "field_type": known.kind}
        return {**identity, "field_value": shown}

    # -- commands on a lead --

    def _lead_command(self, cmd: str, action: Tree, lead: Lead, sent: Tree) -> None:
        run: Mapping[str, Callable[[], None]] = {
            "edit_lead": lambda: self._edit(lead, sent),
            "subscribe_lead_to_list": lambda: self._join(lead, self._named(action, "list_name", "207", "231")),
            "unsubscribe_lead_from_list": lambda: self._leave(lead, self._named(action, "list_name", "208", "209")),
            "assign_tag": lambda: self._tag(lead, self._named(action, "tag_name", "211", "212")),
            "unassign_tag": lambda: self._untag(lead, self._named(action, "tag_name", "213", "214")),
            "give_points_to_lead": lambda: self._give_points(lead, action),
            "remove_points_from_lead": lambda: self._remove_points(lead, action),
            "subscribe_lead_to_sequence_at_step": lambda: self._enter(lead, action),
            "unsubscribe_lead_from_sequence": lambda: self._quit(lead, action),
        }
        if cmd in run:
            run[cmd]()

    def _named(self, action: Tree, parameter: str, empty: str, unknown: str) -> str:
        known = {"list_name": self._lists, "tag_name": self._tags, "sequence_name": self._sequences}
        names: dict[str, str] = known[parameter]
        try:
            return names[key_of(required(action, parameter, empty))]
        except KeyError:
            raise Refusal(unknown) from None

    def _join(self, lead: Lead, name: str) -> None:
        if not lead.lists.get(name):
            lead.lists[name] = True
            lead.tell("list_joined", list=name)

    def _leave(self, lead: Lead, name: str) -> None:
        if lead.lists.get(name):
            lead.lists[name] = False
            lead.tell("list_left", list=name)

    def _tag(self, lead: Lead, name: str) -> None:
        if name not in lead.tags:
            lead.tags.add(name)
            lead.tell("tag_assigned", tag=name)

    def _untag(self, lead: Lead, name: str) -> None:
        if name in lead.tags:
            lead.tags.remove(name)
            lead.tell("tag_unassigned", tag=name)

    def _points(self, action: Tree, empty: str, bad: str) -> int:
        points = whole(action.get("points"), Refusal(bad))
        if not points:
            raise Refusal(empty)
        if points > MOST_POINTS:
            raise Refusal(bad)
        return points

    def _give_points(self, lead: Lead, action: Tree) -> None:
        points = self._points(action, "215", "227")
        days = whole(action.get("expiration"), Refusal("227", "Expiration is not a number"))
        lead.score += points
        if days:
            lead.grants.append((self._now + days * DAY, points))
        lead.tell("points_given", points=points, days=days)

    def _remove_points(self, lead: Lead, action: Tree) -> None:
        points = self._points(action, "217", "228")
        lead.score -= points
        lead.tell("points_removed", points=points)

    def _enter(self, lead: Lead, action: Tree) -> None:
        required(action, "sequence_name", "226")
        step = required(action, "step", "225")
        name = self._named(action, "sequence_name", "226", "219")
        if not re.fullmatch("[A-Za-z0-9]+", step):
            raise Refusal("229")
        if step not in self._steps[key_of(name)]:
            raise Refusal("230")
        if not lead.sequences.get(name, ("", False))[1]:
            lead.sequences[name] = (step, True)
            lead.tell("sequence_joined", sequence=name, step=step)

    def _quit(self, lead: Lead, action: Tree) -> None:
        name = self._named(action, "sequence_name", "226", "220")
        step, active = lead.sequences.get(name, ("", False))
        if active:
            lead.sequences[name] = (step, False)
            lead.tell("sequence_left", sequence=name, step=step)

    def leave_sequences(self, lead: Lead) -> None:
        """What deleting it does: it leaves them in the order in which it joined them."""
        joined = [details["sequence"] for kind, details in reversed(lead.events) if kind == "sequence_joined"]
        for name in sorted(lead.sequences, key=joined.index, reverse=True):
            step, active = lead.sequences[name]
            if active:
                lead.sequences[name] = (step, False)
                lead.tell("sequence_left", sequence=name, step=step)

    # -- the account --

    def _retrieve(self, cmd: str) -> Sequence[object]:
        if cmd == "retrieve_custom_fields":
            return [
                {
                    "field_id": known.number,
                    "field_identifier": known.identifier,
                    "field_type": known.kind,
                    **({} if known.is_text else {"field_value": known.described()}),
                }
                for known in self.state.fields.values()
            ]
        names = {"retrieve_account_lists": self._lists, "retrieve_account_tags": self._tags}
        return list(names.get(cmd, self._sequences).values())

    def _create_custom_field(self, action: Tree) -> None:
        identifier = required(action, "custom_field_identifier", "265")
        kind = text(action.get("custom_field_type")).strip()
        if not re.fullmatch("[A-Za-z0-9_-]+", identifier):
            raise Refusal("263")
        if key_of(identifier) in {*self.state.fields, *TEXT_FIELDS, *OTHER_NAMES}:
            raise Refusal("264")
        if kind not in FIELD_TYPES:
            raise Refusal("269")
        options: list[tuple[Chosen | int, str]] = []
        if kind not in TEXT_TYPES:
            sent = elements(action.get("custom_field_options"))
            if sent is None:
                raise Refusal("270")
            options = [(Chosen(int), required(option, "option_name", "272")) for option in sent]
            if len(options) < 2:
                raise Refusal("273")
        self.state.fields[key_of(identifier)] = Field(identifier, kind, options)
