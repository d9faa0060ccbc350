"""Loading the leads of a batch and writing what became of them: the only SQL about a lead's state."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from cartwheel.accounts import Account
from cartwheel.data import dailycounts, erasures, mailstore, schema
from cartwheel.data.hookfeed import DELIVERY, Telling
from cartwheel.data.lanes import Delete, Insert, Lane, Row, Select, Update, Write
from cartwheel.hooks.outbound import Told
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import (
    NOT_STORED,
    PROFILE_FIELDS,
    ROW,
    SCORE,
    Consent,
    CustomValue,
    Dirty,
    Enrolment,
    Gdpr,
    Grant,
    Membership,
    Part,
    Parts,
    RunStatus,
)
from cartwheel.leads.searchkeys import keys_of
from cartwheel.sequences.automations import Notice
from cartwheel.times import from_micros, micros_or_none, moment_or_none, to_micros

LeadKey = tuple[int, int]
"""(account id, lead id)"""


class Wanted(NamedTuple):
    """A lead that a piece of work is about, by id or by e-mail address, and the parts of it that it needs."""

    account_id: int
    lead_id: int | None
    email: str | None
    parts: Parts


@dataclass(frozen=True)
class Loaded:
    """The leads of a batch."""

    leads: dict[LeadKey, Lead]
    ids: dict[tuple[int, str], int]
    """The lead's id by (account id, e-mail address)."""


class _Newest(Select):
    """The highest `id` of each key's rows, in a table whose key is this one and the id."""

    def __init__(self, table: sa.Table, *, by: Sequence[str]) -> None:
        super().__init__(table, ("id",), by=by)
        self._key = ", ".join(f"k.{name}" for name in by)
        self._newest = f"(SELECT t.id FROM {table.name} t WHERE {self.same} ORDER BY t.id DESC LIMIT 1)"

    @lru_cache(maxsize=16)  # noqa: B019 - statements are module constants
    def sqlite(self, count: int) -> str:
        rows = ", ".join([f"({', '.join('?' * len(self.columns))})"] * count)
        return f"WITH k({', '.join(self.columns)}) AS (VALUES {rows}) SELECT {self._key}, {self._newest} FROM k"

    @cached_property
    def postgresql(self) -> bytes:
        return f"SELECT {self._key}, t.id FROM {self.arrays} CROSS JOIN LATERAL {self._newest} t".encode()


_HOT = ("account_id", "id", "email", "score", "source", "test", "created_at", "deleted_at", "untracked")
_CONSENT = ("gdpr_status", "gdpr_status_at", "gdpr_status_ip", "gdpr_communications")
_COLD = (*PROFILE_FIELDS, "notes", "blacklisted", "ip_country", "source_id", *_CONSENT)
_KEYS = ("email_key", "first_key", "last_key")
_EDITABLE = ("email", "deleted_at", "untracked", *_COLD, *_KEYS)
_OF_LEAD = ("account_id", "lead_id")

ID_BY_EMAIL = Select(schema.leads, ("account_id", "email", "id"), by=("account_id", "email"))
_HOT_ROW = Select(schema.leads, _HOT, by=("account_id", "id"), lock=True)
_COLD_ROW = Select(schema.leads, ("account_id", "id", *_COLD), by=("account_id", "id"))
_TAGS = Select(schema.lead_tags, (*_OF_LEAD, "tag_id"), by=_OF_LEAD)
_LISTS = Select(schema.lead_lists, (*_OF_LEAD, "list_id", "joined_at", "left_at", "left_by_lead"), by=_OF_LEAD)
_FIELDS = Select(schema.lead_fields, (*_OF_LEAD, "field_id", "value"), by=_OF_LEAD)
_RUN = ("id", "sequence_id", "step", "status", "started_at", "ended_at", "version", "arrived_at", "due_at", "moves")
_END = ("left_run", "held", "left_by_lead", "mails_due")
_RUNS = Select(
    schema.enrolments,
    (*_OF_LEAD, *_RUN, "reason", "earlier", *_END),
    by=_OF_LEAD,
    where="t.latest",
    hint="t.sequence_id > 0",  # without it SQLite reads every run of the lead
)
_DUE_GRANTS = Select(
    schema.points,
    (*_OF_LEAD, "id", "points", "given_at", "expires_at"),
    by=_OF_LEAD,
    upto="expires_at",
    where="t.reversed_at IS NULL",
)

_NEWEST_EVENT = _Newest(schema.events, by=_OF_LEAD)  # each row of a lead comes with an event that is newer

NEW_LEAD = Insert(schema.leads)
_LEAD_SCORE = Update(schema.leads, ("score",))
_LEAD_ROW = Update(schema.leads, _EDITABLE)
_TAG_ADDED = Insert(schema.lead_tags, update=("assigned_at",))
_TAG_REMOVED = Delete(schema.lead_tags)
_LIST_CHANGED = Insert(schema.lead_lists, update=("joined_at", "left_at", "left_by_lead"))
FIELD_SET = Insert(schema.lead_fields, update=("value",))
_FIELD_CLEARED = Delete(schema.lead_fields)
_POINTS_BOOKED = Insert(schema.points)
_POINTS_REVERSED = Update(schema.points, ("reversed_at",))
_RUN_STARTED = Insert(schema.enrolments)
_MOVING = ("step", "status", "ended_at", "version", "arrived_at", "due_at", "moves", "reason")
_RUN_CHANGED = Update(schema.enrolments, (*_MOVING, *_END, "latest"))
_EVENT = Insert(schema.events)
_NOTICE = Insert(schema.notices)


class _Wake(Write):
    """Have the latest run looked at, if it waits for longer."""

    def __init__(self) -> None:
        super().__init__(schema.enrolments, ("due_at", "account_id", "lead_id", "sequence_id"))
        self.sqlite = (
            "UPDATE enrolments SET due_at = ?1 WHERE account_id = ?2 AND lead_id = ?3 AND sequence_id = ?4 AND latest "
            "AND status = 'active' AND (due_at IS NULL OR due_at > ?1)"
        )
        same = " AND ".join(f"t.{name} = k.{name}" for name in self.columns[1:])
        self.postgresql = (
            f"UPDATE enrolments t SET due_at = k.due_at FROM {self.arrays} WHERE {same} AND t.latest "
            "AND t.status = 'active' AND (t.due_at IS NULL OR t.due_at > k.due_at)"
        ).encode()


RUN_WOKEN = _Wake()
"""Rows of (now, account, lead, sequence)."""

_MAKES_ROOM: Sequence[Write] = (_LEAD_ROW, _RUN_CHANGED)
"""To be written first: a lead gives up its address, a run is the latest no more, and others take their place."""


# -- loading --


async def load(lane: Lane, wanted: Iterable[Wanted], clock: Callable[[], datetime]) -> Loaded:
    """The wanted leads that exist, locked against other processes, with the union of the parts asked for."""
    parts: dict[LeadKey, Parts] = {}
    by_email: dict[tuple[int, str], Parts] = {}
    for account_id, lead_id, email, part in wanted:
        if lead_id is not None:
            parts[account_id, lead_id] = parts.get((account_id, lead_id), Part.NONE) | part
        if email is not None:
            by_email[account_id, email] = by_email.get((account_id, email), Part.NONE) | part
    ids: dict[tuple[int, str], int] = {}
    for account_id, email, lead_id in await lane.fetch(ID_BY_EMAIL, list(by_email)):
        ids[account_id, email] = lead_id
        parts[account_id, lead_id] = parts.get((account_id, lead_id), Part.NONE) | by_email[account_id, email]
    leads = {
        (row[0], row[1]): Lead(
            account_id=row[0],
            id=row[1],
            email=row[2],
            score=row[3],
            source=row[4],
            test=bool(row[5]),
            created_at=from_micros(row[6]),
            deleted_at=moment_or_none(row[7]),
            untracked=bool(row[8]),
        )
        for row in await lane.fetch(_HOT_ROW, sorted(parts))
    }
    # Between finding an address and locking its lead, another process may have renamed or removed it.
    ids = {
        (account_id, email): lead_id
        for (account_id, email), lead_id in ids.items()
        if (lead := leads.get((account_id, lead_id))) and lead.email == email
    }
    due = to_micros(clock())  # only now, because the locks may have taken a while
    for part, load_part in _LOADERS:
        keys = [key for key, wished in parts.items() if wished & part and key in leads]
        if keys:
            await load_part(lane, leads, keys, due)
        for key in keys:
            leads[key].loaded |= part
    return Loaded(leads, ids)


async def _load_profile(lane: Lane, leads: dict[LeadKey, Lead], keys: list[LeadKey], _due: int) -> None:
    count = len(PROFILE_FIELDS)
    for account_id, lead_id, *row in await lane.fetch(_COLD_ROW, keys):
        lead = leads[account_id, lead_id]
        lead.profile = dict(zip(PROFILE_FIELDS, row[:count], strict=True))
        lead.custom = {}
        lead.notes, lead.blacklisted, lead.ip_country, lead.source_id, status, at, ip, communications = row[count:]
        lead.blacklisted = bool(lead.blacklisted)
        lead.consent = Consent(Gdpr(status), moment_or_none(at), ip, bool(communications))
    for account_id, lead_id, field_id, value in await lane.fetch(_FIELDS, keys):
        leads[account_id, lead_id].custom[field_id] = _custom_value(value)


async def _load_tags(lane: Lane, leads: dict[LeadKey, Lead], keys: list[LeadKey], _due: int) -> None:
    for key in keys:
        leads[key].tags = set()
    for account_id, lead_id, tag_id in await lane.fetch(_TAGS, keys):
        leads[account_id, lead_id].tags.add(tag_id)


async def _load_lists(lane: Lane, leads: dict[LeadKey, Lead], keys: list[LeadKey], _due: int) -> None:
    for key in keys:
        leads[key].lists = {}
    for account_id, lead_id, list_id, joined_at, left_at, by_lead in await lane.fetch(_LISTS, keys):
        place = Membership(from_micros(joined_at), moment_or_none(left_at), bool(by_lead))
        leads[account_id, lead_id].lists[list_id] = place


async def _load_runs(lane: Lane, leads: dict[LeadKey, Lead], keys: list[LeadKey], _due: int) -> None:
    for key in keys:
        leads[key].runs, leads[key].past_runs = {}, []
    rows = await lane.fetch(_RUNS, keys)
    for account_id, lead_id, *row in sorted(rows):
        run = _run(row)
        leads[account_id, lead_id].runs[run.sequence_id] = run


def _run(row: Sequence[Any]) -> Enrolment:
    key, sequence_id, step, status, started_at, ended_at, version, arrived_at, due_at, moves, *rest = row
    reason, earlier, left_run, held, left_by_lead, mails_due = rest
    return Enrolment(
        key,
        sequence_id,
        step,
        RunStatus(status),
        from_micros(started_at),
        moment_or_none(ended_at),
        version,
        moment_or_none(arrived_at),
        moment_or_none(due_at),
        moves,
        reason,
        bool(held),
        () if earlier == "[]" else tuple(from_micros(micros) for micros in json.loads(earlier)),
        left_run,
        mails_due,
        bool(left_by_lead),
    )


async def _load_grants(lane: Lane, leads: dict[LeadKey, Lead], keys: list[LeadKey], due: int) -> None:
    for key in keys:
        leads[key].grants = {}
    rows = [(*key, due) for key in keys]
    for account_id, lead_id, key_, points, given_at, expires_at in await lane.fetch(_DUE_GRANTS, rows):
        leads[account_id, lead_id].grants[key_] = Grant(key_, points, from_micros(given_at), from_micros(expires_at))


_LOADERS = (
    (Part.PROFILE, _load_profile),
    (Part.TAGS, _load_tags),
    (Part.LISTS, _load_lists),
    (Part.SEQUENCES, _load_runs),
    (Part.POINTS, _load_grants),
    (Part.QUEUE, mailstore.load_queue),
    (Part.MAILS, mailstore.load_mails),
    (Part.SUPPRESSION, mailstore.load_suppression),
    (Part.ADDRESSES, erasures.load_addresses),
    (Part.CLICKS, mailstore.load_clicks),
)


def _custom_value(value: str) -> CustomValue:
    read = json.loads(value)
    return read if isinstance(read, str) else tuple(read)


# -- writing --


class Recorded(NamedTuple):
    """An event as it is stored."""

    lead: Lead
    event: msgspec.Struct
    kind: str
    origin: str
    told: Sequence[Told] = ()
    """What of the `account`'s endpoints are told of it."""
    account: Account | None = None


class RowIds:
    """Numbers for rows that are only told apart within one lead, and whose order is that of their making.

    They are the time in microseconds, moved on where that was taken already: clocks differ, and are set back.
    """

    def __init__(self) -> None:
        self._last = 0

    def next(self, micros: int) -> int:
        self._last = max(self._last + 1, micros)
        return self._last

    def leave_behind(self, taken: int) -> None:
        """Give only numbers above this one."""
        self._last = max(self._last, taken)


class Flush:
    """Collects the rows of a batch, statement by statement, and writes them."""

    def __init__(self, now: datetime, row_ids: RowIds, zone_of: Callable[[int], tzinfo | None]) -> None:
        self._at = now
        self._zone_of = zone_of
        self._now = to_micros(now)
        self._row_ids = row_ids
        self._leads: list[Lead] = []
        self._events: list[Recorded] = []
        self._telling = Telling()
        self.notices: list[tuple[Lead, Notice]] = []
        self._rows: dict[Write, list[Row]] = {}

    def add(self, statement: Write, row: Row) -> None:
        rows = self._rows.get(statement)
        if rows is None:
            self._rows[statement] = [row]
        else:
            rows.append(row)

    def lead(self, lead: Lead) -> None:
        """Whatever of this lead has to be written."""
        self._leads.append(lead)

    def event(self, recorded: Recorded) -> None:
        self._events.append(recorded)

    async def write(self, lane: Lane) -> None:
        """Number the new rows, and write them all."""
        touched = (*self._leads, *(recorded.lead for recorded in self._events))  # a refusal changes no lead
        known = dict.fromkeys((lead.account_id, lead.id) for lead in touched if not lead.is_new)
        for *_, newest in await lane.fetch(_NEWEST_EVENT, list(known)):
            self._row_ids.leave_behind(newest or 0)
        if told := [(each.lead, each.told) for each in self._events if each.told]:
            await self._telling.prepare(lane, told, _load_profile)
        self.prepare()
        for statement in _MAKES_ROOM:
            await lane.write(statement, self._rows.pop(statement, []))
        for statement, rows in self._rows.items():
            await lane.write(statement, rows)
        await erasures.write(lane, self._leads)
        happened = [(each.lead, each.kind) for each in self._events if each.kind in dailycounts.LOOKED_AT]
        await dailycounts.write(lane, dailycounts.of(happened, self._at, self._zone_of))  # last: all lanes lock them

    def prepare(self) -> dict[Write, list[Row]]:
        """Number the rows, of which those of leads that there were must come after what is stored of them."""
        for lead in self._leads:
            self._lead(lead)
        for recorded in self._events:
            self._event(recorded)
        for lead, notice in self.notices:
            said = (notice.action.to, notice.event, notice.action.text)
            key = (lead.account_id, lead.id, self._row_ids.next(self._now))
            self.add(_NOTICE, (*key, notice.automation.id, *said, self._now, self._now, 0, ""))
        return self._rows

    def _lead(self, lead: Lead) -> None:
        key = (lead.account_id, lead.id)
        if lead.is_new:
            self.add(NEW_LEAD, _new_row(lead))
        elif ROW in lead.dirty:
            self.add(
                _LEAD_ROW, (lead.email, micros_or_none(lead.deleted_at), lead.untracked, *_cold_values(lead), *key)
            )
        if SCORE in lead.dirty and not lead.is_new:
            self.add(_LEAD_SCORE, (lead.score, *key))
        for part, number in sorted(lead.dirty, key=_oldest_first):
            if part == Part.TAGS:
                if number in lead.tags:
                    self.add(_TAG_ADDED, (*key, number, self._now))
                else:
                    self.add(_TAG_REMOVED, (*key, number))
            elif part == Part.LISTS:
                place = lead.lists[number]
                times = (to_micros(place.joined_at), micros_or_none(place.left_at))
                self.add(_LIST_CHANGED, (*key, number, *times, place.left_by_lead))
            elif part == Part.PROFILE:
                self._custom_field(lead, key, number)
            elif part == Part.POINTS:
                self._grant(lead.grants[number], key)
        if lead.has(Part.SEQUENCES):
            self._runs(lead, key)
        for statement, row in mailstore.rows(lead, lambda: self._row_ids.next(self._now)):
            self.add(statement, row)

    def _event(self, recorded: Recorded) -> None:
        lead, event, kind, origin, told, account = recorded
        details = msgspec.json.encode(event).decode()
        row_id = self._row_ids.next(self._now)
        self.add(_EVENT, (lead.account_id, lead.id, row_id, kind, details, origin, self._now))
        if account is not None:
            for row in self._telling.rows(lead, account, told, row_id, self._now):
                self.add(DELIVERY, row)

    def _custom_field(self, lead: Lead, key: LeadKey, number: int) -> None:
        value = lead.custom.get(number)
        if value is None:
            self.add(_FIELD_CLEARED, (*key, number))
        else:
            self.add(FIELD_SET, (*key, number, json.dumps(value, ensure_ascii=False)))

    def _grant(self, grant: Grant, key: LeadKey) -> None:
        if grant.key < 0:
            row_id = self._row_ids.next(self._now)
            times = (to_micros(grant.given_at), micros_or_none(grant.expires_at), micros_or_none(grant.reversed_at))
            self.add(_POINTS_BOOKED, (*key, row_id, grant.points, *times))
        else:
            self.add(_POINTS_REVERSED, (micros_or_none(grant.reversed_at), *key, grant.key))

    def _runs(self, lead: Lead, key: LeadKey) -> None:
        for run in lead.past_runs:
            self._run(run, key, latest=False)
        for sequence_id, run in lead.runs.items():
            if (Part.SEQUENCES, sequence_id) in lead.dirty:
                self._run(run, key, latest=True)

    def _run(self, run: Enrolment, key: LeadKey, *, latest: bool) -> None:
        ended_at, stops = micros_or_none(run.ended_at), (run.left_run, run.held, run.left_by_lead, run.mails_due)
        times = (run.version, micros_or_none(run.arrived_at), micros_or_none(run.due_at), run.moves, run.reason)
        if run.key == NOT_STORED:
            row_id = self._row_ids.next(self._now)
            row = (row_id, run.sequence_id, run.step, run.status.value, to_micros(run.started_at), ended_at, latest)
            earlier = json.dumps([to_micros(start) for start in run.earlier])
            self.add(_RUN_STARTED, (*key, *row, *times, earlier, *stops))
        else:
            self.add(_RUN_CHANGED, (run.step, run.status.value, ended_at, *times, *stops, latest, *key, run.key))


def _oldest_first(dirty: Dirty) -> int:
    """New grants have the keys -1, -2, …, in the order of their making."""
    return -dirty[1]


def _new_row(lead: Lead) -> Row:
    known = (lead.account_id, lead.id, lead.email, lead.score, lead.source, lead.source_id, lead.test)
    profile = (lead.profile.get(name, "") for name in PROFILE_FIELDS)
    consent = (lead.consent.status.value, micros_or_none(lead.consent.at), lead.consent.ip, lead.consent.communications)
    times = (to_micros(lead.created_at), micros_or_none(lead.deleted_at))
    rest = (lead.notes, lead.ip_country, lead.blacklisted, *consent, lead.untracked)
    return (*known, *times, *profile, *rest, *found_by(lead.email, lead.profile))


def found_by(email: str, profile: Mapping[str, str]) -> tuple[str, str, str]:
    """The last columns of a lead's row."""
    return keys_of(email, profile.get("first_name", ""), profile.get("last_name", ""))


def _cold_values(lead: Lead) -> Sequence[object]:
    consent = (lead.consent.status.value, micros_or_none(lead.consent.at), lead.consent.ip, lead.consent.communications)
    profile = (lead.profile.get(name, "") for name in PROFILE_FIELDS)
    rest = (lead.notes, lead.blacklisted, lead.ip_country, lead.source_id, *consent)
    return (*profile, *rest, *found_by(lead.email, lead.profile))


# -- what is due --


def leads_with_points_due(connection: sa.Connection, now: datetime, limit: int) -> list[LeadKey]:
    """Leads that hold a grant whose time is over, those waiting longest first."""
    table = schema.points
    query = (
        sa.select(table.c.account_id, table.c.lead_id)
        .where(table.c.expires_at <= to_micros(now), table.c.expires_at.is_not(None), table.c.reversed_at.is_(None))
        .order_by(table.c.expires_at)
        .limit(limit)
    )
    return list(dict.fromkeys((row.account_id, row.lead_id) for row in connection.execute(query)))


# -- looking --


def find_lead(connection: sa.Connection, account_id: int, email: str) -> int | None:
    """The id of the lead with this address, be it deleted."""
    table = schema.leads
    query = sa.select(table.c.id).where(table.c.account_id == account_id, table.c.email == email)
    return connection.execute(query).scalar_one_or_none()
