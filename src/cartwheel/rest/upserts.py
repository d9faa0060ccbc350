"""Making or changing a lead as one piece of work, in the same terms as everything that happens to leads."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from cartwheel.accounts import Account, CustomField
from cartwheel.api.commands.leads import custom_value
from cartwheel.data.leadstore import Wanted
from cartwheel.emails import read_email
from cartwheel.errors import LeadExists, LeadIsDeleted, LeadNotFound, WrongFieldFormat
from cartwheel.leads import acts
from cartwheel.leads.acts import Act
from cartwheel.leads.events import Event
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import PROFILE_FIELDS, CustomValue, Gdpr, Part, Source
from cartwheel.people import Right
from cartwheel.rest.problems import INVALID, UNKNOWN_NAME, Refusal
from cartwheel.rest.records import LONGEST_TEXT, FieldValue, LeadChange, Start
from cartwheel.work.batches import Desk, Entangled, IdempotencyKey


class _Kind(NamedTuple):
    """A part of what is sent: what is done to the lead, and how that is made of an account's names."""

    act: type[Act]
    make: Callable[[Account, LeadChange], Iterator[Act]]


def _points(_account: Account, sent: LeadChange) -> Iterator[Act]:
    if sent.points > 0:
        yield acts.GivePoints(sent.points, sent.points_days)
    elif sent.points:
        yield acts.TakePoints(-sent.points)


def _starts(account: Account, sent: LeadChange) -> Iterator[Act]:
    for start in sent.start_sequences:
        yield _start(account, start)


def _start(account: Account, start: Start) -> Act:
    sequence = account.sequence_named(start.sequence)
    if not sequence.boxes:
        raise Refusal(UNKNOWN_NAME, f"The sequence {sequence.name} was never published.")
    step = sequence.check_box(start.step.strip()) if start.step.strip() else ""
    return acts.StartSequence(sequence.id, step)


_KINDS: Mapping[str, _Kind] = {
    "join_lists": _Kind(acts.JoinList, lambda owner, sent: (acts.JoinList(owner.list_named(one).id) for one in sent.join_lists)),
    "leave_lists": _Kind(acts.LeaveList, lambda owner, sent: (acts.LeaveList(owner.list_named(one).id) for one in sent.leave_lists)),
    "add_tags": _Kind(acts.GiveTag, lambda owner, sent: (acts.GiveTag(owner.tag_named(one).id) for one in sent.add_tags)),
    "remove_tags": _Kind(acts.TakeTag, lambda owner, sent: (acts.TakeTag(owner.tag_named(one).id) for one in sent.remove_tags)),
    "points": _Kind(acts.GivePoints, _points),
    "stop_sequences": _Kind(acts.StopSequence, lambda owner, sent: (acts.StopSequence(owner.sequence_named(one).id) for one in sent.stop_sequences)),
    "start_sequences": _Kind(acts.StartSequence, _starts),
}  # fmt: skip
"""In the order in which they are done."""

SCOPES: Mapping[str, Right] = {name: Right(kind.act.right) for name, kind in _KINDS.items()}
"""What each of them needs beside `leads:write`."""


class Upserted(NamedTuple):
    lead: Lead
    created: bool
    events: Sequence[Event]
    account: Account


class UpsertWork:
    """Raises `Refusal` when it is made, or a `DomainError` when it is decided."""

    idempotency: IdempotencyKey | None = None

    def __init__(self, account_id: int, sent: LeadChange, origin: str) -> None:
        self.origin = origin
        self._account_id = account_id
        self._sent = sent
        self._email = None if sent.email is None else read_email(sent.email)
        if sent.id is None and self._email is None:
            raise Refusal(INVALID, "Say which lead: by `id` or `email`.", places={"": "has neither id nor email"})
        unknown = [name for name in sent.fields if name not in PROFILE_FIELDS]
        if unknown:
            told = f"There is no built-in field {unknown[0]}; there are: {', '.join(PROFILE_FIELDS)}."
            raise Refusal(UNKNOWN_NAME, told, places={f"/fields/{unknown[0]}": "is no built-in field"})
        parts = Part.NONE
        if sent.fields or sent.custom_fields or sent.agreed is not None:
            parts |= Part.PROFILE
        for name, kind in _KINDS.items():
            if getattr(sent, name):
                parts |= kind.act.parts
        self.may_make_lead = sent.id is None
        self._renames = sent.id is not None and self._email is not None
        if self._renames:
            parts |= Part.PROFILE | Part.SUPPRESSION
        self._parts = parts
        self.wanted = [] if sent.id is None else [Wanted(account_id, sent.id, None, parts)]
        if self._email is not None:
            self.wanted.append(Wanted(account_id, None, self._email, Part.NONE if self._renames else parts))

    def decide(self, desk: Desk) -> Upserted:
        account, sent = desk.account(self._account_id), self._sent
        lead, created = self._lead(desk, account)
        if lead.has(Part.POINTS):
            lead.expire(desk.now)
        custom = dict(_custom_values(account, sent))
        if created:
            lead.fill(sent.fields, custom)
        elif sent.fields or custom:
            lead.edit(sent.fields, custom)
        if sent.agreed is not None:
            lead.agree(desk.now, agreed=sent.agreed)
        for kind in _KINDS.values():
            for act in kind.make(account, sent):
                act.apply(lead, account, desk.now)
        return Upserted(lead, created, tuple(lead.events), account)

    def _lead(self, desk: Desk, account: Account) -> tuple[Lead, bool]:
        if self._sent.id is not None:
            lead = desk.find(account.id, self._sent.id, None, self._parts)
            if self._email is not None:
                holder = desk.taken(account.id, self._email)
                if holder is not None and holder.id != lead.id:
                    raise LeadExists
                lead.rename(self._email)
            return lead, False
        assert self._email is not None  # it is what a lead without an id is found by
        known = desk.taken(account.id, self._email)
        if known is None:
            lead = Lead.create(
                account.id,
                desk.new_lead_id(),
                self._email,
                desk.now,
                source=Source.API,
                test=False,
                gdpr=Gdpr.UNKNOWN if account.gdpr else Gdpr.OFF,
            )
            desk.add(lead)
            return lead, True
        if known.erased:
            raise LeadNotFound
        if known.deleted_at is not None:
            raise LeadIsDeleted(f"The lead {known.id} of this address was deleted. Restore it first.")
        if not known.has(self._parts):
            raise Entangled
        return known, False


def _custom_values(account: Account, sent: LeadChange) -> Iterator[tuple[int, CustomValue]]:
    """By the field's id. Raises `Refusal`: what is unknown is not passed over in silence."""
    for identifier, value in sent.custom_fields.items():
        field, place = account.field(identifier), f"/custom_fields/{identifier}"
        if field is None:
            there = ", ".join(one.identifier for one in account.fields.values()) or "none"
            told = f"There is no custom field {identifier}; there are: {there}."
            raise Refusal(UNKNOWN_NAME, told, places={place: "is no custom field"})
        try:
            yield field.id, _custom_value(field, value)
        except WrongFieldFormat:
            options = ", ".join(option.name for option in field.options)
            what = f"one of: {options}" if options else f"a text of at most {LONGEST_TEXT:,} characters"
            what = f"any of: {options}" if field.type.takes_many else what
            raise Refusal(INVALID, f"`{identifier}` takes {what}.", places={place: f"takes {what}"}) from None


def _custom_value(field: CustomField, value: FieldValue) -> CustomValue:
    """Raises `WrongFieldFormat`."""
    if field.type.is_text:
        if not isinstance(value, str):
            raise WrongFieldFormat
        return custom_value(field, value)
    chosen = value if isinstance(value, list) else [] if value == "" else [value]
    ids = {option.name: option.id for option in field.options}
    return custom_value(field, [ids.get(one, one) if isinstance(one, str) else one for one in chosen])
