"""A mail in the ledger: one row for each mail that a step decided to send. Pure.

    queued → handed over → accepted | failed | in doubt
    queued → suppressed
    in doubt → queued (sent again) | failed (given up) | accepted (a person has opened it, or clicked in it)
    failed → queued (sent again, if no server had taken it)

A row is made in the transaction that decides to send, and is handed over in a transaction of its own before the first
byte goes to a mail server. So after a crash only rows that were handed over can have been sent without our knowing.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

import msgspec


class MailState(StrEnum):
    """Where a mail stands. Each mail that was due is in exactly one of these."""

    QUEUED = "queued"
    HANDED_OVER = "handed over"
    ACCEPTED = "accepted"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    IN_DOUBT = "in doubt"

    @property
    def settled(self) -> bool:
        """Nothing more happens to it by itself."""
        return self not in {MailState.QUEUED, MailState.HANDED_OVER}


class WaitsFor(StrEnum):
    """What a queued mail waits for, beside its time."""

    NOTHING = ""
    OWNER = "owner"
    """The account has to be changed before it can be sent; its `reply` says how."""
    PAUSE = "pause"
    """Its sequence is paused, or its account not active."""
    EARLIER_MAIL = "earlier mail"
    """One of the same run that is not settled: they arrive in the order of their steps."""
    WINDOW = "window"
    """The window of its step is shut."""
    QUOTA = "quota"
    """Its server takes no more for now, whatever it is given."""


class Mail(msgspec.Struct, frozen=True):
    """A mail to a lead. `key` is 0 until it is stored."""

    key: int
    run_key: int
    sequence_id: int
    version: int
    """Which version of the sequence says what it holds."""
    box: str
    move: int
    """The run's count of moves when it came to this step: the same step may send again on another visit."""
    state: MailState
    queued_at: datetime
    next_at: datetime | None
    """When it may be tried (queued), or until when whoever has it is believed to be alive (handed over)."""
    attempts: int = 0
    soft: int = 0
    """Temporary refusals so far, and doubts in which it was sent again: the pauses before the next try grow by them."""
    address: str = ""
    """Where it was handed over to."""
    server: str = ""
    reply: str = ""
    """What the mail server said last, or why it was not sent."""
    waits_for: WaitsFor = WaitsFor.NOTHING
    trouble_since: datetime | None = None
    """When a try went wrong first: so long it has been tried in vain."""
    sent_at: datetime | None = None
    opened_at: datetime | None = None
    clicked_at: datetime | None = None
    machine_opened_at: datetime | None = None
    machine_clicked_at: datetime | None = None

    @property
    def never_taken(self) -> bool:
        """It failed before any server had taken it."""
        return self.state is MailState.FAILED and self.sent_at is None


class Burst(msgspec.Struct, frozen=True):
    """The last clicks in a mail that came one right after the other."""

    link: int
    first_at: datetime
    last_at: datetime
    several: bool = False
    """Whether they are clicks on different links."""
    person_at: datetime | None = None
    """When the first of them came that nothing but another link can show to be a machine's."""
    judge_at: datetime | None = None
    """When it is to be told whose they are; None once that is known."""


def before(mail: Mail, mails: Iterable[Mail]) -> list[Mail]:
    """Those of the same run that have to be settled before it is sent.

    One in doubt is settled: it may stay so for days, and if it is sent again in the end, it comes late.
    """
    return [
        other for other in mails if other.run_key == mail.run_key and other.key < mail.key and not other.state.settled
    ]


def waiting_after(mail: Mail, mails: Iterable[Mail]) -> Mail | None:
    """The next one of the same run that waits for an earlier one."""
    return next(
        (other for other in mails if other.run_key == mail.run_key and other.waits_for is WaitsFor.EARLIER_MAIL), None
    )
