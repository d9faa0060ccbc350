"""The Lead aggregate: what can happen to a lead. Pure: no clock, no database, no names of the API.

A method changes the lead in memory and notes the change and its event; or it finds that there is nothing to do and
notes nothing. `leadstore` loads leads and writes the changes of many of them at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from msgspec.structs import replace

from cartwheel.leads import events
from cartwheel.leads.events import Event
from cartwheel.leads.leadparts import (
    ANY_TIME,
    LEFT_BY_LEAD,
    NO_RUN,
    NOT_LOADED,
    NOT_STORED,
    ROW,
    SAID_BY_THE_PERSON,
    SCORE,
    STRENGTH,
    Address,
    Consent,
    CustomValue,
    Dirty,
    Enrolment,
    Entry,
    Gdpr,
    Grant,
    Membership,
    Part,
    Parts,
    RunStatus,
    Source,
    Suppression,
    SuppressionReason,
    nobody,
)
from cartwheel.leads.mails import Burst, Mail, MailState, WaitsFor


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
    untracked: bool = False
    """Nobody records what it opens and clicks."""
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
    mails: dict[int, Mail] = NOT_LOADED
    """By key, oldest first."""
    outgoing: list[Mail] = field(default_factory=list)
    """Mails that were queued just now."""
    bursts: dict[int, Burst] = NOT_LOADED
    """The last clicks, by the key of their mail."""
    suppression: Suppression = NOT_LOADED
    addresses: dict[str, Address] = NOT_LOADED

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
            loaded=Part.WHOLE,
            profile={},
            custom={},
            consent=Consent(gdpr),
            tags=set(),
            lists={},
            runs={},
            past_runs=[],
            grants={},
            mails={},
            suppression=Suppression(),
        )
        lead.dirty.add(ROW)
        lead.events.append(events.LeadCreated(source))
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
        twin.outgoing = self.outgoing.copy()
        if loaded & (Part.QUEUE | Part.MAILS):
            twin.mails = self.mails.copy()
        if loaded & Part.CLICKS:
            twin.bursts = self.bursts.copy()
        return twin

    def has(self, parts: Parts) -> bool:
        """Whether all of these are loaded."""
        return self.loaded & parts == parts

    @property
    def erased(self) -> bool:
        """Nothing is left of it but numbers."""
        return self.email == nobody(self.id)

    # -- the row --

    def edit(self, profile: Mapping[str, str], custom: Mapping[int, CustomValue]) -> None:
        """Set the given fields; an empty custom value clears the field."""
        names, changed = self.fill(profile, custom)
        if names or changed:
            self.events.append(events.LeadEdited(names, changed))

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
        """Give the lead another e-mail address, which the caller knows to be free.

        What the person has said goes with it; that the old address did not work says nothing of the new one.
        """
        if email == self.email:
            return
        self.email = email
        self.dirty.add(ROW)
        self.events.append(events.LeadEdited(["email"], []))
        if self.suppression.reason in SAID_BY_THE_PERSON:
            self.put_suppression(self.suppression)
        else:
            self.suppression = Suppression()
            self.blacklisted = False

    def delete(self, now: datetime) -> None:
        """Mark the lead as deleted; it leaves its sequences, and nothing else changes, so that it can be restored."""
        if self.deleted_at is None:
            self.deleted_at = now
            self.stop(now, "the lead was deleted")
            self.dirty.add(ROW)
            self.events.append(events.LeadDeleted())

    def restore(self) -> None:
        """Bring a deleted lead back; not into the sequences that it was in."""
        if self.deleted_at is not None:
            self.deleted_at = None
            self.dirty.add(ROW)
            self.events.append(events.LeadRestored())

    # -- tags --

    def tag(self, tag_id: int) -> None:
        if tag_id not in self.tags:
            self.tags.add(tag_id)
            self.dirty.add((Part.TAGS, tag_id))
            self.events.append(events.TagAssigned(tag_id))

    def untag(self, tag_id: int) -> None:
        if tag_id in self.tags:
            self.tags.remove(tag_id)
            self.dirty.add((Part.TAGS, tag_id))
            self.events.append(events.TagUnassigned(tag_id))

    # -- lists --

    def join(self, list_id: int, now: datetime, *, by_step: bool = False) -> None:
        """Put it on a list; a step does not put it back on one that it has left itself."""
        place = self.lists.get(list_id)
        if by_step and place is not None and place.left_by_lead:
            self.events.append(events.ListRefused(list_id, LEFT_BY_LEAD))
        elif place is None or not place.active:
            self.lists[list_id] = Membership(now)
            self.dirty.add((Part.LISTS, list_id))
            self.events.append(events.ListJoined(list_id))

    def leave(self, list_id: int, now: datetime, *, by_lead: bool = False) -> None:
        """Leave a list; the row stays, inactive. `by_lead` when the person says so, also after having been taken off."""
        place = self.lists.get(list_id)
        if place is None or not (place.active or (by_lead and not place.left_by_lead)):
            return
        self.lists[list_id] = Membership(place.joined_at, place.left_at or now, by_lead)
        self.dirty.add((Part.LISTS, list_id))
        if place.active:
            self.events.append(events.ListLeft(list_id))

    # -- points --

    def grant(self, points: int, days: int, now: datetime) -> None:
        """Add points; after `days` days of 24 hours they are taken back, with 0 never."""
        self.book(points, now, now + timedelta(days=days) if days else None)
        self.events.append(events.PointsGiven(points, days))

    def deduct(self, points: int, now: datetime) -> None:
        """Take points; the score may go below zero."""
        self.book(-points, now, None)
        self.events.append(events.PointsRemoved(points))

    def expire(self, now: datetime) -> None:
        """Take back every loaded grant whose time is over: each exactly once, by exactly its points."""
        for key, grant in self.grants.items():
            if grant.reversed_at is None and grant.expires_at is not None and grant.expires_at <= now:
                self.grants[key] = replace(grant, reversed_at=now)
                self.score -= grant.points
                self.dirty |= {SCORE, (Part.POINTS, key)}
                self.events.append(events.PointsExpired(grant.points))

    def book(self, points: int, now: datetime, expires_at: datetime | None) -> None:
        """A row more in the ledger, without an event of its own."""
        self.booked += 1
        key = -self.booked
        self.grants[key] = Grant(key, points, now, expires_at)
        self.score += points
        self.dirty |= {SCORE, (Part.POINTS, key)}

    # -- sequences --

    def enrol(
        self,
        sequence_id: int,
        step: str,
        now: datetime,
        *,
        version: int = 0,
        entry: Entry = ANY_TIME,
        by_step: bool = False,
    ) -> bool:
        """Start a run at the step with this box label, and tell whether it started.

        A lead that is in the sequence, or has completed it, stays where it is. `by_step` when no person or call does it.
        """
        last = self.runs.get(sequence_id)
        earlier: tuple[datetime, ...] = ()
        left_run = NO_RUN
        if last is not None:
            if last.status is not RunStatus.UNSUBSCRIBED:
                return False
            refusal = last.refusal(entry, now, by_step=by_step)
            if refusal:
                self.events.append(events.SequenceRefused(sequence_id, step, refusal))
                return False
            left_run, earlier = last.left_run, last.starts
            self.past_runs.append(self.runs.pop(sequence_id))
        run = Enrolment(
            NOT_STORED, sequence_id, step, RunStatus.ACTIVE, now, version=version, arrived_at=now, due_at=now
        )
        self._put_run(replace(run, earlier=earlier, left_run=left_run))
        self.events.append(events.SequenceJoined(sequence_id, step))
        return True

    def arrive(self, run: Enrolment, now: datetime) -> Enrolment:
        """The run is at its step: its delay begins."""
        return self._put_run(replace(run, arrived_at=now, due_at=now, reason=""))

    def go_to(self, run: Enrolment, step: str, now: datetime) -> Enrolment:
        """The run leaves its step for another."""
        return self._put_run(replace(run, step=step, arrived_at=now, due_at=now, moves=run.moves + 1, reason=""))

    def wait(self, run: Enrolment, until: datetime | None, reason: str, *, held: bool = False) -> Enrolment:
        """Leave the run alone until then, or until an event wakes it; `reason` says what for, unless a pause holds it."""
        if (run.due_at, run.reason, run.held) == (until, reason, held):
            return run
        return self._put_run(replace(run, due_at=until, reason=reason), held=held)

    def complete(self, run: Enrolment, now: datetime) -> None:
        """The run has come to its end. The lead counts as in the sequence, and so does not start it again."""
        self._put_run(replace(run, status=RunStatus.COMPLETED, ended_at=now, due_at=None, reason=""))
        self.events.append(events.SequenceCompleted(run.sequence_id, run.step))

    def park(self, run: Enrolment, reason: str) -> None:
        """The run cannot go on: an owner has to see to it."""
        self._put_run(replace(run, status=RunStatus.PARKED, due_at=None, reason=reason))
        self.events.append(events.SequenceParked(run.sequence_id, run.step, reason))

    def unpark(self, run: Enrolment, now: datetime) -> None:
        """Try again where it stands."""
        self._put_run(replace(run, status=RunStatus.ACTIVE, due_at=now, reason=""))
        self.events.append(events.SequenceUnparked(run.sequence_id, run.step))

    def move(self, run: Enrolment, version: int, step: str, now: datetime) -> None:
        """Take the run to a step of another version. When it came to its step stays, so that no delay begins anew."""
        self._put_run(replace(run, version=version, step=step, due_at=now if run.runs else run.due_at))
        self.events.append(events.SequenceMoved(run.sequence_id, step, version))

    def _put_run(self, run: Enrolment, *, held: bool = False) -> Enrolment:
        if run.held is not held:  # whatever else happens to a run that was held ends that
            run = replace(run, held=held)
        self.runs[run.sequence_id] = run
        self.dirty.add((Part.SEQUENCES, run.sequence_id))
        return run

    def unenrol(self, sequence_id: int, now: datetime, *, by_itself: bool = False, by_lead: bool = False) -> None:
        """End the run through a sequence, if there is one that has not ended.

        `by_itself` when its own step does it; `by_lead` when the person says so, also of a run that has ended before.
        """
        run = self.runs.get(sequence_id)
        if run is None:
            return
        left_run = run.left_run if by_itself else self._newest_stored(run)
        left = replace(run, left_run=left_run, left_by_lead=by_lead or run.left_by_lead)
        if run.status is not RunStatus.UNSUBSCRIBED:
            self._put_run(replace(left, status=RunStatus.UNSUBSCRIBED, ended_at=now, due_at=None, reason=""))
            self.events.append(events.SequenceLeft(sequence_id, run.step))
        elif left != run:  # it has ended before: now its mails are not wanted either, or the person has said so, too
            self._put_run(left)

    def _newest_stored(self, run: Enrolment) -> int:
        """The key of the run, or of the one before it while it has none itself."""
        before = (past.key for past in self.past_runs if past.sequence_id == run.sequence_id)
        return run.key if run.key != NOT_STORED else max(before, default=run.left_run)

    def stop(self, now: datetime, why: str) -> None:
        """End the runs that have not ended, and send nothing of what waits to be sent."""
        for sequence_id, run in list(self.runs.items()):
            if run.status in {RunStatus.ACTIVE, RunStatus.PARKED}:
                self.unenrol(sequence_id, now)
            elif run.left_run != (newest := self._newest_stored(run)):
                self._put_run(replace(run, left_run=newest))
        for mail in [mail for mail in self.mails.values() if mail.state is MailState.QUEUED]:
            self.not_sent(mail, MailState.SUPPRESSED, why)
        unsent = MailState.SUPPRESSED
        self.outgoing = [replace(mail, state=unsent, next_at=None, reply=why) for mail in self.outgoing]

    def rejoin(self, sequence_id: int, left_at: datetime, now: datetime) -> bool:
        """Take back the leaving of that moment: the run goes on where it stood. False if it has not left just then."""
        run = self.runs.get(sequence_id)
        if run is None or not run.ended_by_leaving or run.ended_at != left_at:
            return False
        again = replace(run, status=RunStatus.ACTIVE, ended_at=None, due_at=now, reason="")
        self._put_run(replace(again, left_run=run.key - 1, left_by_lead=False))
        self.events.append(events.SequenceJoined(sequence_id, run.step))
        return True

    # -- mail --

    def queue_mail(self, run: Enrolment, now: datetime) -> None:
        """The run's step sends its mail: from now on it is in the ledger."""
        self.outgoing.append(
            Mail(0, run.key, run.sequence_id, run.version, run.step, run.moves, MailState.QUEUED, now, next_at=now)
        )
        self._put_run(replace(run, mails_due=run.mails_due + 1))

    def not_sent(self, mail: Mail, state: MailState, reason: str) -> None:
        """It is not sent (`FAILED` or `SUPPRESSED`), and will not be."""
        self.put_mail(replace(mail, state=state, next_at=None, reply=reason, waits_for=WaitsFor.NOTHING))
        self.events.append(events.MailNotSent(mail.sequence_id, mail.box, reason))

    def bounced(
        self, address: str, reason: str, now: datetime, *, hard: bool, most_soft: int, in_a_row: int = 1
    ) -> None:
        """A server says that the address does not work: for good, or for the time being, as of `in_a_row` mails at most.

        Of an address that the lead had before, it says nothing about the one that it has now.
        """
        if address != self.email:
            return
        self.events.append(events.MailBounced(hard, reason))
        soft = min(self.suppression.soft_bounces + 1, in_a_row)
        if hard:
            self.suppress(SuppressionReason.HARD_BOUNCE, reason, now)
        elif soft >= most_soft:
            self.suppress(SuppressionReason.SOFT_BOUNCES, reason, now)
        elif not self.suppression.reason:
            self.put_suppression(Suppression("", now, reason, soft))

    def track(self, *, on: bool) -> None:
        """Whether what it opens and clicks is recorded from now on."""
        if self.untracked is on:
            self.untracked = not on
            self.dirty.add(ROW)
            self.events.append(events.TrackingChanged(on))

    def agree(self, now: datetime, *, agreed: bool) -> None:
        """Whether it agrees to commercial mail, as somebody says who can prove it."""
        status = Gdpr.ACCEPTED if agreed else Gdpr.NOT_ACCEPTED
        if (self.consent.status, self.consent.communications) == (status, agreed):
            return
        self.consent = Consent(status, now, self.consent.ip, agreed)
        self.dirty.add(ROW)
        self.events.append(events.ConsentChanged(agreed))

    def suppress(self, reason: SuppressionReason, details: str, now: datetime) -> None:
        """Mail it no more. A stronger reason replaces a weaker one."""
        known = self.suppression.reason
        if known and STRENGTH.index(SuppressionReason(known)) <= STRENGTH.index(reason):
            return
        self.put_suppression(Suppression(reason, now, details, self.suppression.soft_bounces))
        self.blacklisted = True
        self.dirty.add(ROW)
        self.events.append(events.LeadSuppressed(reason))

    def complain(self, details: str, now: datetime) -> None:
        """It called a mail spam: it is mailed no more, and leaves every sequence."""
        self.suppress(SuppressionReason.COMPLAINT, details, now)
        for sequence_id in list(self.runs):
            self.unenrol(sequence_id, now, by_lead=True)

    def lift_suppression(self, now: datetime) -> None:
        """It may be mailed again."""
        if self.suppression.reason:
            self.events.append(events.SuppressionLifted(self.suppression.reason))
            self.put_suppression(Suppression("", now))
            self.blacklisted = False
            self.dirty.add(ROW)

    def put_suppression(self, suppression: Suppression) -> None:
        self.suppression = suppression
        self.dirty.add((Part.SUPPRESSION, 0))

    def put_mail(self, mail: Mail) -> Mail:
        self.mails[mail.key] = mail
        self.dirty.add((Part.MAILS, mail.key))
        return mail
