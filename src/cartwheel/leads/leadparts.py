"""What a lead is made of: the values in its parts, and which parts there are. Pure."""

from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Annotated, Any

import msgspec

from cartwheel.phrases import form

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

LONGEST_FIELD = 1000
"""Characters in a built-in field."""

LONGEST_CUSTOM_TEXT = 65_535

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

    QUEUE = 32
    """Its mails that are not settled: queued, or on their way."""
    MAILS = 64
    """Every mail of the lead in the ledger."""
    SUPPRESSION = 128
    """Why its address is not to be mailed, if so."""
    ADDRESSES = 256
    """Every address by which something is kept of it, for erasing it."""
    CLICKS = 512
    """The last clicks in each of its mails."""

    NONE = 0
    ALL = PROFILE | TAGS | LISTS | SEQUENCES | POINTS
    """What the API and people look at."""
    WHOLE = ALL | MAILS | SUPPRESSION
    """What steps and mails may ask about."""


Parts = int

NOT_LOADED: Any = None
"""What stands in a lead's part that its work did not ask for; any use of it fails."""

NO_RUN = -1
"""Lower than the key of any run."""

NOT_STORED = 0
"""The key of a run that has no number yet."""

Dirty = tuple[int, int]
"""(part, key within the part): what has to be written."""

ROW: Dirty = (Part.NONE, 0)
SCORE: Dirty = (Part.NONE, 1)
ERASURE: Dirty = (Part.NONE, 2)
"""Whatever is stored of the lead beside its row is wiped, last of all."""

ERASED = "erased"
"""What stands where a text was that an erased lead can be known by."""


def nobody(lead_id: int) -> str:
    """What an erased lead has for an address; nobody can write to it, or ask for it."""
    return f"{ERASED}:{lead_id}"


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
    PARKED = "parked"
    """It cannot go on, and says why."""


class Membership(msgspec.Struct, frozen=True):
    """A lead's place on a list. The row stays when the lead leaves."""

    joined_at: datetime
    left_at: datetime | None = None
    left_by_lead: bool = False
    """Whether it was the lead itself that left: then only a call or an owner puts it back."""

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


MOST_EARLIER = 20
"""So many starts are remembered: what an `Entry` can ask for."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who may start a sequence that was in it before."""

    again: Annotated[bool, msgspec.Meta(description="Whether a lead that left it may come back.")] = True
    most: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=MOST_EARLIER,
            description="How often a lead may start it within `days` days; 0 for as often as it likes.",
        ),
    ] = 0
    days: Annotated[int, msgspec.Meta(ge=1, le=3650, description="The days that `most` counts.")] = 30


LEFT_BY_LEAD = form("it has left it itself, and only a call or an owner brings it back")
"""Why no step starts a lead in a sequence, or puts it on a list."""


class Enrolment(msgspec.Struct, frozen=True):
    """One run of a lead through a sequence. `key` is `NOT_STORED` until it is stored."""

    key: int
    sequence_id: int
    step: str
    status: RunStatus
    started_at: datetime
    ended_at: datetime | None = None
    version: int = 0
    """The version of the sequence that it keeps to."""
    arrived_at: datetime | None = None
    """When it came to its step, which its delay counts from."""
    due_at: datetime | None = None
    """When it has to be looked at next; None for never."""
    moves: int = 0
    """How many steps it has come through."""
    reason: str = ""
    """Why it is parked, what it waits for, or that a step of its own ended it, in words."""
    held: bool = False
    """The sequence was paused when it was looked at: it waits for the end of the pause."""
    earlier: tuple[datetime, ...] = ()
    """When the runs before it started: the latest ones, oldest first."""
    left_run: int = NO_RUN
    """The mails of the run with this key, and of those before it, are not sent any more: the lead, or somebody for it, has
    left. A step that takes the lead out of its own sequence leaves this as it is: what it sent before is meant to arrive."""
    mails_due: int = 0
    """How many mails its steps have put into the ledger."""
    left_by_lead: bool = False
    """Whether it was the lead itself that left: then no step starts it again, only a call or an owner does."""

    @property
    def starts(self) -> tuple[datetime, ...]:
        """When it and the runs before it started: the latest ones, oldest first."""
        return (*self.earlier, self.started_at)[-MOST_EARLIER:]

    def refusal(self, entry: Entry, now: datetime, *, by_step: bool = False) -> str:
        """Why the lead, having left, is not let in again; empty if it is. `by_step` when a step would start it."""
        if by_step and self.left_by_lead:
            return LEFT_BY_LEAD
        if not entry.again:
            return form("who has left it may not come back (`again` of its entry)")
        recent = [start for start in self.starts if start > now - timedelta(days=entry.days)]
        if entry.most and len(recent) >= entry.most:
            times = "once" if entry.most == 1 else f"{entry.most} times"
            return f"a lead starts it {times} in {entry.days} days at the most, and this one has"
        return ""

    def mails_are_stopped(self, run_key: int) -> bool:
        """Those of this run, or of one before it."""
        return run_key <= self.left_run

    @property
    def runs(self) -> bool:
        return self.status is RunStatus.ACTIVE

    @property
    def ended_by_leaving(self) -> bool:
        return self.status is RunStatus.UNSUBSCRIBED


ANY_TIME = Entry()


class SuppressionReason(StrEnum):
    """Why an address is not to be mailed, the strongest first."""

    COMPLAINT = form("complaint")
    DO_NOT_CONTACT = form("do not contact")
    HARD_BOUNCE = form("hard bounce")
    SOFT_BOUNCES = form("repeated soft bounces")


STRENGTH = tuple(SuppressionReason)

SAID_BY_THE_PERSON = frozenset({SuppressionReason.COMPLAINT, SuppressionReason.DO_NOT_CONTACT})


class Suppression(msgspec.Struct, frozen=True):
    """Why an address is not to be mailed; with an empty `reason` it may be."""

    reason: str = ""
    at: datetime | None = None
    details: str = ""
    soft_bounces: int = 0
    """How many mails in a row failed for the time being, when the last of them did."""


class Address(msgspec.Struct, frozen=True):
    """One that a lead has or had, by its hash."""

    digest: str
    suppression: Suppression = Suppression()


class Consent(msgspec.Struct, frozen=True):
    """What the lead agreed to, when, and from which address; `communications` is true when it may be contacted."""

    status: Gdpr = Gdpr.OFF
    at: datetime | None = None
    ip: str = ""
    communications: bool = False

    @property
    def declined(self) -> bool:
        """The lead does not want commercial mail, which counts in every account; one that was never asked has said neither."""
        return self.status is Gdpr.NOT_ACCEPTED
