"""The Lead aggregate: what can happen to a lead. Pure: no clock, no database, no names of the API.

A method changes the lead in memory and notes the change and its event; or it finds that there is nothing to do and
notes nothing. `leadstore` loads leads and writes the changes of many of them at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any, Self

import msgspec

from cartwheel.events import (
    Event,
    LeadCreated,
    LeadDeleted,
    LeadEdited,
    LeadRestored,
    ListJoined,
    ListLeft,
    PointsExpired,
    PointsGiven,
    PointsRemoved,
    SequenceJoined,
    SequenceLeft,
    TagAssigned,
    TagUnassigned,
)

PROFILE_FIELDS = (
    "phone",
    "phone_country_code",
    "first_name",
    "middle_name",
    "last_name",
    "last_name2",
    "ip",
    "address",
    "zip",
    "city",
    "state",
    "country",
    "company",
    "lead_picture",
    "website",
    "facebook",
    "twitter",
    "linkedin",
    "google_plus",
    "lead_preferred_time_zone",
    "sales_tax_id",
    "business_type",
)
"""The text fields that anybody may write. Beside them stand the e-mail address and the account's custom fields."""

CustomValue = str | tuple[int, ...]
"""A text, or the ids of the chosen options."""


class Part:
    """What of a lead is loaded, beyond its row's few hot columns: bits, added up in `Parts`."""

    PROFILE = 1
    """Every text field, the custom fields, notes and consent."""
    TAGS = 2
    LISTS = 4
    SEQUENCES = 8
    POINTS = 16
    """The grants that are due to be taken back. The score itself is always there."""

    NONE = 0
    ALL = PROFILE | TAGS | LISTS | SEQUENCES | POINTS


Parts = int

NOT_LOADED: Any = None
"""What stands in a lead's part that its work did not ask for; any use of it fails."""

NOT_STORED = 0
"""The key of a run that has no number yet."""

Dirty = tuple[int, int]
"""(part, key within the part): what has to be written."""

ROW: Dirty = (Part.NONE, 0)
SCORE: Dirty = (Part.NONE, 1)


class Source(StrEnum):
    """How a lead came into the account."""

    API = "api"
    IMPORT = "import"
    MANUAL = "manual"
    SINGLE_OPTIN = "single-optin"
    DOUBLE_OPTIN = "double-optin"
    CHECKOUT = "checkout"
    HELPDESK = "helpdesk"
    AFFILIATE_SIGNUP = "affiliate-signup"


class Gdpr(Enum):
    """A lead's consent to the storing of its data; the numbers are Kartra's."""

    OFF = 0
    NOT_SUBJECT = 1
    ACCEPTED = 2
    NOT_ACCEPTED = 3
    UNKNOWN = 4
    PENDING = 5


class RunStatus(StrEnum):
    """Where a run through a sequence stands."""

    ACTIVE = "active"
    UNSUBSCRIBED = "unsubscribed"
    COMPLETED = "completed"


class Membership(msgspec.Struct, frozen=True):
    """A lead's place on a list. The row stays when the lead leaves."""

    joined_at: datetime
    left_at: datetime | None = None

    @property
    def active(self) -> bool:
        return self.left_at is None


class Grant(msgspec.Struct, frozen=True):
    """A row of the points ledger: points given, or taken when negative. `key` is negative until it is stored."""

    key: int
    points: int
    given_at: datetime
    expires_at: datetime | None = None
    reversed_at: datetime | None = None


class Enrolment(msgspec.Struct, frozen=True):
    """One run of a lead through a sequence. `key` is `NOT_STORED` until it is stored."""

    key: int
    sequence_id: int
    step: str
    status: RunStatus
    started_at: datetime
    ended_at: datetime | None = None


class Consent(msgspec.Struct, frozen=True):
    """What the lead agreed to, when, and from which address; `communications` is true when it may be contacted."""

    status: Gdpr = Gdpr.OFF
    at: datetime | None = None
    ip: str = ""
    communications: bool = False


@dataclass(kw_only=True)
class Lead:
    """One lead as one piece of work sees it. A part that no work asked for is not loaded."""

    account_id: int
    id: int
    email: str
    created_at: datetime
    source: str = Source.API
    test: bool = False
    score: int = 0
    deleted_at: datetime | None = None
    is_new: bool = False
    loaded: Parts = Part.NONE

    profile: dict[str, str] = NOT_LOADED
    custom: dict[int, CustomValue] = NOT_LOADED
    consent: Consent = Consent()
    notes: str = ""
    blacklisted: bool = False
    ip_country: str = ""
    source_id: int = 0
    tags: set[int] = NOT_LOADED
    lists: dict[int, Membership] = NOT_LOADED
    runs: dict[int, Enrolment] = NOT_LOADED
    """The latest run through each sequence, by the sequence's id, in the order of their beginning."""
    past_runs: list[Enrolment] = NOT_LOADED
    """Those that another run has followed since the lead was loaded, oldest first."""
    grants: dict[int, Grant] = NOT_LOADED
    """By key: those loaded as due, and new ones."""
    booked: int = 0
    """How many grants are new."""

    events: list[Event] = field(default_factory=list)
    dirty: set[Dirty] = field(default_factory=set)
    """What has to be written: (part, key within the part)."""

    @classmethod
    def create(
        cls, account_id: int, lead_id: int, email: str, now: datetime, *, source: str, test: bool, gdpr: Gdpr
    ) -> Self:
        """A lead that did not exist; every part of it is loaded, and empty."""
        lead = cls(
            account_id=account_id,
            id=lead_id,
            email=email,
            created_at=now,
            source=source,
            test=test,
            is_new=True,
            loaded=Part.ALL,
            profile={},
            custom={},
            consent=Consent(gdpr),
            tags=set(),
            lists={},
            runs={},
            past_runs=[],
            grants={},
        )
        lead.dirty.add(ROW)
        lead.events.append(LeadCreated(source))
        return lead

    def fork(self) -> "Lead":
        """A twin to try a piece of work on: it shares nothing that changes, and starts without events."""
        twin = object.__new__(Lead)
        twin.__dict__ |= self.__dict__
        twin.events = []
        twin.dirty = self.dirty.copy()
        loaded = self.loaded
        if loaded & Part.PROFILE:
            twin.profile, twin.custom = self.profile.copy(), self.custom.copy()
        if loaded & Part.TAGS:
            twin.tags = self.tags.copy()
        if loaded & Part.LISTS:
            twin.lists = self.lists.copy()
        if loaded & Part.SEQUENCES:
            twin.runs, twin.past_runs = self.runs.copy(), self.past_runs.copy()
        if loaded & Part.POINTS:
            twin.grants = self.grants.copy()
        return twin

    def has(self, parts: Parts) -> bool:
        """Whether all of these are loaded."""
        return self.loaded & parts == parts

    # -- the row --

    def edit(self, profile: Mapping[str, str], custom: Mapping[int, CustomValue]) -> None:
        """Set the given fields; an empty custom value clears the field."""
        names, changed = self.fill(profile, custom)
        if names or changed:
            self.events.append(LeadEdited(names, changed))

    def fill(self, profile: Mapping[str, str], custom: Mapping[int, CustomValue]) -> tuple[list[str], list[int]]:
        """Set fields without an event of its own, as part of creating the lead; returns what was different before."""
        names = [name for name, value in profile.items() if self.profile.get(name, "") != value]
        changed = [key for key, value in custom.items() if self.custom.get(key, "") != value]
        self.profile.update((name, profile[name]) for name in names)
        if names:
            self.dirty.add(ROW)
        for key in changed:
            if custom[key]:
                self.custom[key] = custom[key]
            else:
                self.custom.pop(key, None)
            self.dirty.add((Part.PROFILE, key))
        return names, changed

    def rename(self, email: str) -> None:
        """Give the lead another e-mail address, which the caller knows to be free."""
        if email != self.email:
            self.email = email
            self.dirty.add(ROW)
            self.events.append(LeadEdited(["email"], []))

    def delete(self, now: datetime) -> None:
        """Mark the lead as deleted; nothing else changes, so that it can be restored."""
        if self.deleted_at is None:
            self.deleted_at = now
            self.dirty.add(ROW)
            self.events.append(LeadDeleted())

    def restore(self) -> None:
        """Bring a deleted lead back as it was."""
        if self.deleted_at is not None:
            self.deleted_at = None
            self.dirty.add(ROW)
            self.events.append(LeadRestored())

    # -- tags --

    def tag(self, tag_id: int) -> None:
        if tag_id not in self.tags:
            self.tags.add(tag_id)
            self.dirty.add((Part.TAGS, tag_id))
            self.events.append(TagAssigned(tag_id))

    def untag(self, tag_id: int) -> None:
        if tag_id in self.tags:
            self.tags.remove(tag_id)
            self.dirty.add((Part.TAGS, tag_id))
            self.events.append(TagUnassigned(tag_id))

    # -- lists --

    def join(self, list_id: int, now: datetime) -> None:
        place = self.lists.get(list_id)
        if place is None or not place.active:
            self.lists[list_id] = Membership(now)
            self.dirty.add((Part.LISTS, list_id))
            self.events.append(ListJoined(list_id))

    def leave(self, list_id: int, now: datetime) -> None:
        """Leave a list; the row stays, inactive."""
        place = self.lists.get(list_id)
        if place is not None and place.active:
            self.lists[list_id] = Membership(place.joined_at, now)
            self.dirty.add((Part.LISTS, list_id))
            self.events.append(ListLeft(list_id))

    # -- points --

    def grant(self, points: int, days: int, now: datetime) -> None:
        """Add points; after `days` days of 24 hours they are taken back, with 0 never."""
        self._book(points, now, now + timedelta(days=days) if days else None)
        self.events.append(PointsGiven(points, days))

    def deduct(self, points: int, now: datetime) -> None:
        """Take points; the score may go below zero."""
        self._book(-points, now, None)
        self.events.append(PointsRemoved(points))

    def expire(self, now: datetime) -> None:
        """Take back every loaded grant whose time is over: each exactly once, by exactly its points."""
        for key, grant in self.grants.items():
            if grant.reversed_at is None and grant.expires_at is not None and grant.expires_at <= now:
                self.grants[key] = msgspec.structs.replace(grant, reversed_at=now)
                self.score -= grant.points
                self.dirty |= {SCORE, (Part.POINTS, key)}
                self.events.append(PointsExpired(grant.points))

    def _book(self, points: int, now: datetime, expires_at: datetime | None) -> None:
        self.booked += 1
        key = -self.booked
        self.grants[key] = Grant(key, points, now, expires_at)
        self.score += points
        self.dirty |= {SCORE, (Part.POINTS, key)}

    # -- sequences --

    def enrol(self, sequence_id: int, step: str, now: datetime) -> None:
        """Start a run at the step with this box label. A lead that is in it, or has completed it, stays where it is."""
        run = self.runs.get(sequence_id)
        if run is not None:
            if run.status is not RunStatus.UNSUBSCRIBED:
                return
            self.past_runs.append(self.runs.pop(sequence_id))
        self.runs[sequence_id] = Enrolment(NOT_STORED, sequence_id, step, RunStatus.ACTIVE, now)
        self.dirty.add((Part.SEQUENCES, sequence_id))
        self.events.append(SequenceJoined(sequence_id, step))

    def unenrol(self, sequence_id: int, now: datetime) -> None:
        """End the run through a sequence, if there is one that has not ended."""
        run = self.runs.get(sequence_id)
        if run is not None and run.status is not RunStatus.UNSUBSCRIBED:
            self.runs[sequence_id] = msgspec.structs.replace(run, status=RunStatus.UNSUBSCRIBED, ended_at=now)
            self.dirty.add((Part.SEQUENCES, sequence_id))
            self.events.append(SequenceLeft(sequence_id, run.step))
