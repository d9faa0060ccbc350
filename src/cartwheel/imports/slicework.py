"""What a slice of a file does to leads, as work for the batches: rows of new leads many at once, other rows one by one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from cartwheel.accounts import Account
from cartwheel.data import importstore, mailstore
from cartwheel.data.importstore import Import, NewLeads
from cartwheel.data.lanes import Lane
from cartwheel.data.leadstore import ID_BY_EMAIL, Wanted
from cartwheel.emails import looks_like_email
from cartwheel.errors import CartwheelError
from cartwheel.imports.deciding import Decider, Refused
from cartwheel.leads import importing
from cartwheel.leads.events import by_import
from cartwheel.leads.importing import Change, Joint, Wish
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Gdpr, Source, Suppression
from cartwheel.phrases import phrase
from cartwheel.times import to_micros
from cartwheel.work.batches import Desk, IdempotencyKey, Work

DELETED = phrase("a deleted lead has this address")
FAILED = phrase("Cartwheel failed on it: see the log")


class Elsewhere(CartwheelError):
    """The slice is not to be done, or done already."""


class Would(CartwheelError):
    """What a row would do, in a dry run: raised, so that it is not done."""


@dataclass
class Row:
    """A row of the file on its way: first what it says (None if it is refused), then what became of it."""

    line: int
    cells: list[str]
    wish: Wish | None
    outcome: str = ""
    """One of `Advance.COUNTS`."""
    reason: str = ""


@dataclass
class Slice:
    """`number` is its place in the file; `plain_path` has all leads made one by one, as others are."""

    found: Import
    number: int
    account: Account
    rows: list[Row]
    plain_path: bool = False
    made: list[int] = field(default_factory=list)
    report: str | None = None
    """What is to be said of the import so far, if its report grows with each slice."""

    @property
    def last(self) -> bool:
        return self.number + 1 == self.found.slices


def read_rows(lines: Sequence[Any], decider: Decider) -> list[Row]:
    """What the lines of a slice say."""
    rows = []
    for number, cells, trouble in lines:
        if trouble:
            rows.append(Row(number, cells, None, "refused", trouble))
            continue
        try:
            rows.append(Row(number, cells, decider.decide(cells)))
        except Refused as refused:
            rows.append(Row(number, cells, None, "refused", str(refused)))
    return rows


class RowWork:
    """One row: on the lead that has its address, or on a new one with the id `new`, whose address is suppressed so already."""

    idempotency: IdempotencyKey | None = None
    may_make_lead = False

    def __init__(
        self, slice_: Slice, row: Row, lead_id: int, *, new: bool, known: Suppression, dry: bool = False
    ) -> None:
        self._found, self._row, self._id, self._new, self._known, self._dry = (
            slice_.found,
            row,
            lead_id,
            new,
            known,
            dry,
        )
        self.origin = by_import(slice_.found.id)
        self.wanted: Sequence[Wanted] = []
        if not new:
            self.wanted = [Wanted(slice_.found.account_id, lead_id, None, importing.NEEDED)]

    def decide(self, desk: Desk) -> None:
        account, wish = desk.account(self._found.account_id), self._row.wish
        assert wish is not None
        self._row.outcome, self._row.reason = "refused", FAILED  # unless it comes to its end
        outcome = self._make(desk, account, wish) if self._new else self._change(desk, account, wish)
        self._row.outcome = outcome
        self._row.reason = DELETED if outcome == "refused" else ""
        if self._dry:
            raise Would

    def _make(self, desk: Desk, account: Account, wish: Wish) -> str:
        source = wish.elsewhere.source if wish.elsewhere else Source.IMPORT
        lead = new_lead(account, self._id, wish.email, desk.now, source)
        lead.suppression = self._known
        before = lead.fork()
        importing.first(lead, wish)
        importing.apply(lead, wish, account, desk.now)
        desk.add(lead)
        if lead.suppression != before.suppression:
            self._note(desk, Change(suppression=(before.suppression, lead.suppression)))
        return "made"

    def _change(self, desk: Desk, account: Account, wish: Wish) -> str:
        lead = desk.any_lead(account.id, self._id)
        if lead is None or lead.erased or lead.deleted_at is not None:
            return "refused"
        before = lead.fork()
        importing.apply(lead, wish, account, desk.now)
        changed = bool(lead.dirty)
        self._note(desk, importing.change_of(before, lead) if changed else None)
        return "changed" if changed else "same"

    def _note(self, desk: Desk, change: Change | None) -> None:
        written = "" if change is None else msgspec.json.encode(change).decode()
        desk.put(importstore.NAMED, (self._found.account_id, self._found.id, self._id, written))


def new_lead(account: Account, number: int, email: str, now: datetime, source: Source = Source.IMPORT) -> Lead:
    gdpr = Gdpr.UNKNOWN if account.gdpr else Gdpr.OFF
    return Lead.create(account.id, number, email, now, source=source, test=False, gdpr=gdpr)


class AdvanceWork:
    """Last of a slice: what became of its rows is counted, and the slice is done."""

    idempotency: IdempotencyKey | None = None
    may_make_lead = False
    wanted: Sequence[Wanted] = ()

    def __init__(self, slice_: Slice, first_id: int) -> None:
        self._slice = slice_
        self._first_id = first_id
        self.origin = by_import(slice_.found.id)

    def decide(self, desk: Desk) -> None:
        this, found, now = self._slice, self._slice.found, to_micros(desk.now)
        key = (found.account_id, found.id)
        outcomes = [row.outcome for row in this.rows]
        counts = [outcomes.count(name) for name in importstore.Advance.COUNTS]
        desk.put(
            importstore.ADVANCE,
            (*counts, this.number + 1, now + int(importstore.TAKEN_FOR.total_seconds() * 1e6), *key),
        )
        desk.put(importstore.SLICE_DONE, (b"", self._first_id, len(this.made), now, *key, this.number))
        if this.report is not None:
            desk.put(importstore.REPORTED, (this.report, *key))
        for row in this.rows:
            if row.outcome == "refused":
                email = next((cell.strip().lower() for cell in row.cells if looks_like_email(cell)), "")
                cells = msgspec.json.encode([cell.replace("\0", "\ufffd") for cell in row.cells]).decode()
                desk.put(importstore.REFUSED, (*key, row.line, email, str(row.reason), cells))


async def find_work(lane: Lane, now: datetime, slice_: Slice) -> list[Work[Any]]:
    """Writes what the slice's new leads are, and returns the work on all others. Raises `Elsewhere`."""
    found, account = slice_.found, slice_.account
    key = (found.account_id, found.id)
    [place] = await lane.fetch(importstore.PLACE, [key])
    if tuple(place) != (found.state.value, slice_.number):
        raise Elsewhere
    new, works = await known_rows(lane, slice_)
    first_id = await importstore.take_ids(lane, len(new))
    slice_.made = list(range(first_id, first_id + len(new)))
    blocked = {(account.id, row.wish.email) for row in new if row.wish and row.wish.blocked}
    suppressed = await mailstore.suppressions(lane, blocked) if blocked else {}

    def sample(joint: Joint) -> Lead:
        lead = new_lead(account, 0, "", now)
        importing.apply(lead, Wish("", joint, {}, {}), account, now)
        return lead

    leads = NewLeads(account.id, by_import(found.id), now, sample)
    for number, row in zip(slice_.made, new, strict=True):
        assert row.wish is not None
        if row.wish.blocked or slice_.plain_path:
            known = suppressed.get((account.id, row.wish.email), Suppression())
            works.append(RowWork(slice_, row, number, new=True, known=known))
        else:
            leads.add(row.wish, number)
            row.outcome = "made"
    await leads.write(lane, account.zone)
    return [*works, AdvanceWork(slice_, first_id)]


async def known_rows(lane: Lane, slice_: Slice, *, dry: bool = False) -> tuple[list[Row], list[Work[Any]]]:
    """The rows with new addresses, and the work on those whose addresses leads have; the others come for the second time."""
    found = slice_.found
    by_email: dict[str, Row] = {}
    for row in slice_.rows:
        if row.wish is not None:
            row.outcome = "repeated" if row.wish.email in by_email else ""
            by_email.setdefault(row.wish.email, row)
    known = {
        email: lead_id
        for _, email, lead_id in await lane.fetch(ID_BY_EMAIL, [(found.account_id, email) for email in by_email])
    }
    seen: set[int] = set()
    if known and not dry:
        seen = {
            number
            for (number,) in await lane.fetch(
                importstore.SEEN, [(found.account_id, found.id, n) for n in known.values()]
            )
        }
        made = await lane.fetch(importstore.SLICES_MADE, [(found.account_id, found.id)])
        seen |= {number for number in known.values() if any(first <= number < first + count for first, count in made)}
    works: list[Work[Any]] = []
    new = []
    for email, row in by_email.items():
        number = known.get(email)
        if number is None:
            new.append(row)
        elif number in seen:
            row.outcome = "repeated"
        else:
            works.append(RowWork(slice_, row, number, new=False, known=Suppression(), dry=dry))
    return new, works
