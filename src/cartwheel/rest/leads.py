"""Leads: the people that an account knows."""

import asyncio
import json
from typing import Annotated

import msgspec
from msgspec import Meta

from cartwheel.accounts import Account
from cartwheel.data import leadsearch
from cartwheel.data.leadconditions import Order, Question
from cartwheel.data.leadstore import LeadKey
from cartwheel.errors import CartwheelError, LeadNotFound
from cartwheel.leads import filters
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Part, Parts
from cartwheel.people import Right
from cartwheel.rest.calls import Call, Replayed
from cartwheel.rest.cursors import Cursor, Rows, Text, read_cursor, read_place, written_cursor
from cartwheel.rest.operations import operation
from cartwheel.rest.problems import (
    ADDRESS_TAKEN,
    INVALID,
    LEAD_DELETED,
    NOT_THERE,
    UNKNOWN_NAME,
    Refusal,
    refusal_of,
)
from cartwheel.rest.records import (
    BulkChange,
    BulkChanged,
    BulkItem,
    Change,
    ConsentRecord,
    FactRecord,
    LeadChange,
    LeadChanged,
    LeadGone,
    LeadPage,
    LeadRecord,
    LeadRow,
    MailPage,
    MailRecord,
    OnListRecord,
    ProblemRecord,
    RunRecord,
    WhyRecord,
)
from cartwheel.rest.upserts import SCOPES, Upserted, UpsertWork
from cartwheel.views import asking, leadcard
from cartwheel.work.leadwork import DeletionWork

Who = Annotated[str, Meta(min_length=1, max_length=320, description="The lead's id, or its e-mail address.")]
Filter = Annotated[
    str,
    Meta(
        max_length=filters.LONGEST,
        description='A condition as JSON, by the numbers of lists and tags: `{"type": "tag", "tag": 1}`; with `all`, `any` '
        "and `not` around others. Empty for everybody.",
    ),
]
Words = Annotated[str, Meta(max_length=200, description="The beginning of an address or a name, or an id.")]

_NOBODY = Refusal(NOT_THERE, "The account has no such lead.")


# -- looking --


@operation(
    "GET",
    "/v1/leads",
    scope=Right.LEADS_READ,
    example={"filter": '{"type": "tag", "tag": 1}', "limit": 10},
)
def search_leads(
    call: Call,
    *,
    filter: Filter = "",
    q: Words = "",
    order: Order = Order.NEWEST,
    after: Cursor = "",
    limit: Rows = 50,
) -> LeadPage:
    """Find leads, by the conditions of the page of leads.

    Of a rare condition that no index knows, a page may be short, or empty, and others come after it: go by `after`.
    """
    postgresql = call.database.name == "postgresql"
    question = Question(call.account, filters.read(filter), filters.search(q), order, postgresql)
    place = read_place(after)
    try:
        with call.database.read() as connection:
            found, count = leadsearch.find(connection, question, None if place is None else json.dumps(place), limit)
    except ValueError:
        raise Refusal(INVALID, "There is no such page of leads in this order.", places={"?after": "unknown"}) from None
    rows = [_row(line, call.account) for line in found.leads]
    following = None if found.after is None else written_cursor(json.loads(found.after))
    return LeadPage(leads=rows, after=following, about=count.leads, exact=count.exact)


def _row(line: leadsearch.LeadLine, account: Account) -> LeadRow:
    return LeadRow(
        id=line.id,
        email=line.email,
        name=line.name,
        score=line.score,
        created_at=line.created_at,
        deleted_at=line.deleted_at,
        test=line.test,
        tags=[account.tag_names[number] for number in line.tags if number in account.tag_names],
        not_mailed=line.suppressed,
    )


@operation(
    "GET",
    "/v1/leads/{lead}",
    scope=Right.LEADS_READ,
    problems=(NOT_THERE,),
    example={"lead": "ada@shop.example"},
)
async def read_lead(call: Call, *, lead: Who) -> LeadRecord:
    """Everything about a lead but its history. A deleted one is found by its id."""
    loaded = await _load(call, lead, Part.ALL | Part.SUPPRESSION)
    return _record(loaded, call.account)


async def _load(call: Call, who: str, parts: Parts) -> Lead:
    """Raises `Refusal`."""
    card = await leadcard.read_card(call.database, call.catalog, await _key(call, who), most_events=0, parts=parts)
    if card.lead.erased:
        raise LeadNotFound
    return card.lead


async def _key(call: Call, who: str) -> LeadKey:
    """Raises `Refusal`."""
    found = await asyncio.to_thread(leadcard.find, call.database, call.account, who.strip())
    if found is None:
        raise _NOBODY
    return found


def _record(lead: Lead, account: Account) -> LeadRecord:
    names = account.sequence_names
    return LeadRecord(
        id=lead.id,
        email=lead.email,
        created_at=lead.created_at,
        deleted_at=lead.deleted_at,
        source=lead.source,
        test=lead.test,
        score=lead.score,
        fields={name: value for name, value in lead.profile.items() if value},
        custom_fields=_custom_fields(lead, account),
        tags=[account.tag_names[number] for number in sorted(lead.tags) if number in account.tag_names],
        lists=[
            OnListRecord(
                name=account.list_names[number],
                active=place.active,
                joined_at=place.joined_at,
                left_at=place.left_at,
            )
            for number, place in sorted(lead.lists.items())
            if number in account.list_names
        ],
        sequences=[
            RunRecord(
                name=names[run.sequence_id],
                step=run.step,
                status=run.status.value,
                started_at=run.started_at,
                ended_at=run.ended_at,
            )
            for run in lead.runs.values()
        ],
        consent=ConsentRecord(
            status=lead.consent.status.name.lower(), at=lead.consent.at, communications=lead.consent.communications
        ),
        not_mailed=lead.suppression.reason,
    )


def _custom_fields(lead: Lead, account: Account) -> dict[str, str | list[str]]:
    told: dict[str, str | list[str]] = {}
    for field in account.fields.values():
        value = lead.custom.get(field.id, "")
        if isinstance(value, str):
            told |= {field.identifier: value} if value else {}
        else:
            told[field.identifier] = [option.name for option in field.options if option.id in value]
    return told


@operation(
    "GET",
    "/v1/leads/{lead}/mails",
    scope=Right.LEADS_READ,
    problems=(NOT_THERE,),
    example={"lead": "ada@shop.example"},
)
async def read_mails(call: Call, *, lead: Who, after: Cursor = "", limit: Rows = 50) -> MailPage:
    """The mails to a lead, and what became of each."""
    place = read_cursor(after, (int,))
    loaded = await _load(call, lead, Part.MAILS)
    newest = [one for key, one in sorted(loaded.mails.items(), reverse=True) if place is None or key < place[0]]
    names = call.account.sequence_names
    mails = [
        MailRecord(
            id=one.key,
            sequence=names.get(one.sequence_id, ""),
            step=one.box,
            state=one.state.value,
            queued_at=one.queued_at,
            sent_at=one.sent_at,
            opened_at=one.opened_at,
            clicked_at=one.clicked_at,
            reply=one.reply,
        )
        for one in newest[:limit]
    ]
    return MailPage(mails=mails, after=written_cursor([mails[-1].id]) if len(newest) > limit else None)


@operation(
    "GET",
    "/v1/leads/{lead}/why",
    scope=Right.LEADS_READ,
    problems=(NOT_THERE,),
    example={"lead": "ada@shop.example", "about": "Welcome"},
)
def explain_lead(call: Call, *, lead: Who, about: Text | None = None) -> WhyRecord:
    """Why the lead got a mail or did not; `about` a sequence, or a mail by its number or Message-ID."""
    told = asking.ask(call.database, call.catalog, call.account, lead.strip(), about, call.now)
    facts = [FactRecord(about=fact.about.value, text=fact.text, stops=fact.stops) for fact in told.facts]
    return WhyRecord(email=told.email, facts=facts)


# -- changing --


def _changed(done: Upserted) -> LeadChanged:
    names = done.account.names
    changes = [Change(kind=event.kind, text=event.told(names)) for event in done.events]
    return LeadChanged(id=done.lead.id, email=done.lead.email, created=done.created, changes=changes)


async def _upsert(call: Call, sent: LeadChange) -> LeadChanged:
    """Sets the call's status."""
    for name, scope in SCOPES.items():
        if getattr(sent, name):
            call.need(scope, f"`{name}`")

    def tell(done: Upserted) -> LeadChanged:
        call.status = 201 if done.created else 200
        record = _changed(done)
        if call.dry_run and done.created:
            record.id = None
        return record

    work = UpsertWork(call.account.id, sent, call.token.origin)
    return await call.submit(work, tell, lambda done: done.lead.id)


_CONFLICTS = (NOT_THERE, LEAD_DELETED, ADDRESS_TAKEN, UNKNOWN_NAME)


@operation(
    "POST",
    "/v1/leads",
    scope=Right.LEADS_WRITE,
    also=SCOPES,
    made=True,
    problems=_CONFLICTS,
    example={
        "body": {
            "email": "linus@shop.example",
            "fields": {"first_name": "Linus"},
            "add_tags": ["Trial user"],
            "join_lists": ["Newsletter"],
            "start_sequences": [{"sequence": "Welcome"}],
        }
    },
)
async def upsert_lead(call: Call, body: LeadChange) -> LeadChanged:
    """Make a lead, or change the one that is there. Done again, it changes nothing, but for points."""
    return await _upsert(call, body)


@operation(
    "POST",
    "/v1/leads/bulk",
    scope=Right.LEADS_WRITE,
    also=SCOPES,
    example={
        "body": {
            "leads": [
                {"email": "ada@shop.example", "add_tags": ["Customer"]},
                {"email": "joan@shop.example", "fields": {"city": "Paris"}},
            ]
        }
    },
)
async def upsert_leads(call: Call, body: BulkChange) -> BulkChanged:
    """Make or change many leads at once. Each stands for itself: `items` tells of each what happened, or why nothing did."""
    parts = [call.part(number) for number in range(len(body.leads))]
    results = await asyncio.gather(*(_item(part, sent) for part, sent in zip(parts, body.leads, strict=True)))
    return BulkChanged(items=list(results))


async def _item(call: Call, sent: LeadChange) -> BulkItem:
    try:
        return BulkItem(status=201 if (changed := await _upsert(call, sent)).created else 200, lead=changed)
    except Replayed as before:
        return BulkItem(status=before.status, lead=msgspec.json.decode(before.body, type=LeadChanged))
    except CartwheelError as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
        problem = msgspec.convert(refusal.as_data(call.request_id), ProblemRecord)
        return BulkItem(status=problem.status, problem=problem)


@operation(
    "DELETE",
    "/v1/leads/{lead}",
    scope=Right.LEADS_WRITE,
    problems=(NOT_THERE,),
    example={"lead": "grace@shop.example"},
)
async def delete_lead(call: Call, *, lead: Who) -> LeadGone:
    """Delete a lead: it leaves its sequences, and its address stays taken. It can be restored."""
    return await _delete(call, lead, deleted=True)


@operation(
    "POST",
    "/v1/leads/{lead}/restore",
    scope=Right.LEADS_WRITE,
    problems=(NOT_THERE,),
    example={"lead": "grace@shop.example"},
)
async def restore_lead(call: Call, *, lead: Who) -> LeadGone:
    """Bring a deleted lead back; not into the sequences that it was in."""
    return await _delete(call, lead, deleted=False)


async def _delete(call: Call, who: str, *, deleted: bool) -> LeadGone:
    key = await _key(call, who)
    work = DeletionWork(key, deleted=deleted, origin=call.token.origin)

    def tell(changed: bool) -> LeadGone:  # noqa: FBT001 - the result of a piece of work
        return LeadGone(id=key[1], deleted=deleted, changed=changed)

    return await call.submit(work, tell, lambda _: key[1])
