"""Suppressions: addresses that are not mailed, and why."""

import asyncio
from datetime import datetime

import sqlalchemy as sa

from cartwheel.accounts import Account
from cartwheel.data import leadstore, suppressionstore
from cartwheel.data.suppressionstore import Place, Suppressed
from cartwheel.emails import read_email
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import SAID_BY_THE_PERSON, Part, Suppression, SuppressionReason
from cartwheel.people import Right
from cartwheel.rest.calls import Call
from cartwheel.rest.cursors import Cursor, Rows, Text, read_cursor, written_cursor
from cartwheel.rest.operations import operation
from cartwheel.rest.problems import NOT_THERE, SAID_BY_PERSON, Refusal
from cartwheel.rest.records import Lifted, NewSuppression, SuppressionPage, SuppressionRecord
from cartwheel.work.leadwork import BY_OWNER, EditWork, SuppressionWork


def _record(known: Suppressed) -> SuppressionRecord:
    return SuppressionRecord(email=known.email, reason=known.reason, at=known.at, details=known.details)


def _known(call: Call, email: str) -> tuple[Suppressed | None, int | None]:
    """Why it is not mailed, and the living lead that has it."""
    with call.database.read() as connection:
        known = suppressionstore.of(connection, call.account.id, email)
        return known, leadstore.find_lead(connection, call.account.id, email)


@operation("GET", "/v1/suppressions", scope=Right.LEADS_READ, example={})
def read_suppressions(call: Call, *, after: Cursor = "", limit: Rows = 50) -> SuppressionPage:
    """The addresses that are not mailed, newest first."""
    place = read_cursor(after, (int, str))
    with call.database.read() as connection:
        since: Place | None = None if place is None else (place[0], place[1])
        rows, end = suppressionstore.newest(connection, call.account.id, reason="", after=since, most=limit)
    return SuppressionPage(suppressions=[_record(row) for row in rows], after=written_cursor(end) if end else None)


@operation(
    "GET",
    "/v1/suppressions/{email}",
    scope=Right.LEADS_READ,
    problems=(NOT_THERE,),
    example={"email": "stop@shop.example"},
)
def read_suppression(call: Call, *, email: Text) -> SuppressionRecord:
    """Why an address is not mailed."""
    known, _ = _known(call, read_email(email))
    if known is None:
        raise Refusal(NOT_THERE, f"{email} may be mailed.")
    return _record(known)


@operation(
    "POST",
    "/v1/suppressions",
    scope=Right.MAIL_WRITE,
    example={"body": {"email": "stop@shop.example", "details": "said so by phone"}},
)
async def suppress(call: Call, body: NewSuppression) -> SuppressionRecord:
    """Mail an address no more. One that is not mailed already stays as it is, unless this reason is stronger."""
    email, reason = read_email(body.email), SuppressionReason(body.reason)
    details = body.details or BY_OWNER
    _, lead_id = await asyncio.to_thread(_known, call, email)
    if lead_id is None:

        def put(connection: sa.Connection) -> SuppressionRecord:
            suppressionstore.put(connection, call.account.id, email, reason.value, details, call.now)
            known = suppressionstore.of(connection, call.account.id, email)
            assert known is not None  # it was put there
            return _record(known)

        return await asyncio.to_thread(call.write, put)

    def change(lead: Lead, _account: Account, now: datetime) -> Suppression:
        lead.suppress(reason, details, now)
        return lead.suppression

    def tell(told: Suppression) -> SuppressionRecord:
        return SuppressionRecord(email=email, reason=told.reason, at=told.at or call.now, details=told.details)

    parts = Part.PROFILE | Part.SUPPRESSION
    work = EditWork((call.account.id, lead_id), parts, change, call.token.origin)
    return await call.submit(work, tell, lambda _: lead_id)


@operation(
    "DELETE",
    "/v1/suppressions/{email}",
    scope=Right.MAIL_WRITE,
    problems=(NOT_THERE, SAID_BY_PERSON),
    example={"email": "stop@shop.example", "asked": "wrote to us and wants our letters again"},
)
async def lift_suppression(call: Call, *, email: Text, asked: Text | None = None) -> Lifted:
    """Let an address be mailed again. If the person wanted no mail, `asked` says how it asked for mail again."""
    email = read_email(email)
    known, lead_id = await asyncio.to_thread(_known, call, email)
    if known is None:
        raise Refusal(NOT_THERE, f"{email} may be mailed.")
    if known.reason in SAID_BY_THE_PERSON and not asked:
        raise Refusal(SAID_BY_PERSON, f"{email} wanted no mail. Say in `asked` how the person asked for mail again.")
    record = Lifted(email=email, reason=known.reason)
    if lead_id is None:

        def lift(connection: sa.Connection) -> Lifted:
            suppressionstore.lift(connection, call.account.id, email)
            return record

        return await asyncio.to_thread(call.write, lift)
    work = SuppressionWork((call.account.id, lead_id), suppressed=False, origin=call.token.origin)
    return await call.submit(work, lambda _: record, lambda _: lead_id)
