"""What an import does to a lead, and how it is taken back. Pure.

An import adds to what there is: an empty cell changes nothing, nobody is taken off a list, and whoever said no to mail is
not talked out of it. What it has changed is kept as a `Change`, by which it can be taken back.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from cartwheel.accounts import Account
from cartwheel.leads import editing, events
from cartwheel.leads.events import ConsentChanged
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import (
    ROW,
    Consent,
    CustomValue,
    Gdpr,
    Membership,
    Part,
    RunStatus,
    Source,
    Suppression,
    SuppressionReason,
)

NEEDED = Part.PROFILE | Part.TAGS | Part.LISTS | Part.SUPPRESSION | Part.SEQUENCES

DETAILS = "as the imported file says"


class Stated(NamedTuple):
    """What a file says of a lead's consent."""

    status: Gdpr
    communications: bool
    at: datetime | None = None
    """When it was said; now, if that is not known."""
    ip: str = ""


class Joint(NamedTuple):
    """What many rows of a file have in common. `start` is (sequence, step)."""

    tags: tuple[int, ...] = ()
    lists: tuple[int, ...] = ()
    consent: Stated | None = None
    points: int = 0
    start: tuple[int, str] | None = None


class Wish(NamedTuple):
    """What a row of a file says of a lead."""

    email: str
    joint: Joint
    profile: Mapping[str, str]
    custom: Mapping[int, CustomValue]
    notes: str = ""
    joined: datetime | None = None
    blocked: SuppressionReason | None = None
    elsewhere: "Elsewhere | None" = None


class Elsewhere(NamedTuple):
    """What else is known of a lead that is moved from another account. It fills up what a lead has here, and replaces nothing."""

    source: Source = Source.IMPORT
    ip_country: str = ""
    source_id: int = 0
    left: tuple[int, ...] = ()
    """The lists that it was on. Nobody can tell who took it off, so it counts as having left them itself."""
    starts: tuple[tuple[int, str], ...] = ()
    """(sequence, step) where it stands."""


class Change(msgspec.Struct, omit_defaults=True):
    """What an import has changed of a lead that there was: pairs of what it was before, and is after."""

    profile: dict[str, tuple[str, str]] = {}
    custom: dict[int, tuple[CustomValue, CustomValue]] = {}
    notes: tuple[str, str] | None = None
    tags: list[int] = []
    lists: dict[int, tuple[Membership | None, Membership]] = {}
    consent: tuple[Consent, Consent] | None = None
    suppression: tuple[Suppression, Suppression] | None = None
    blacklisted: bool = False
    """Whether it was before."""
    started: list[int] = []
    """The sequences that it was started in."""


def first(lead: Lead, wish: Wish) -> None:
    """The fields of a lead that the import makes."""
    lead.fill(wish.profile, wish.custom)
    lead.notes = wish.notes
    if wish.joined is not None:
        lead.created_at = wish.joined
    if wish.elsewhere is not None:
        lead.ip_country, lead.source_id = wish.elsewhere.ip_country, wish.elsewhere.source_id


def apply(lead: Lead, wish: Wish, account: Account, now: datetime) -> None:
    """What else the row says, of a new lead; all that it says, of one that there was."""
    joint = wish.joint
    if not lead.is_new:
        _edit(lead, wish)
        if wish.notes and not lead.notes:
            editing.note(lead, wish.notes)
    for tag in joint.tags:
        lead.tag(tag)
    for number in joint.lists:
        place = lead.lists.get(number)
        if place is None or not place.left_by_lead:
            lead.join(number, now)
    if joint.points and lead.is_new:
        lead.grant(joint.points, 0, now)
    if joint.consent is not None:
        _agree(lead, joint.consent, now)
    if wish.blocked is not None:
        lead.suppress(wish.blocked, DETAILS, now)
    if joint.start is not None:
        _start(lead, *joint.start, account, now)
    if wish.elsewhere is not None:
        _arrive(lead, wish.elsewhere, account, now)


def _edit(lead: Lead, wish: Wish) -> None:
    profile, custom = wish.profile, wish.custom
    if wish.elsewhere is not None:
        profile = {name: text for name, text in profile.items() if not lead.profile.get(name)}
        custom = {number: value for number, value in custom.items() if not lead.custom.get(number)}
    lead.edit(profile, custom)


def _arrive(lead: Lead, elsewhere: Elsewhere, account: Account, now: datetime) -> None:
    for number in elsewhere.left:
        if number not in lead.lists:
            lead.join(number, now)
            lead.leave(number, now, by_lead=True)
    for number, step in elsewhere.starts:
        _start(lead, number, step, account, now)


def _agree(lead: Lead, stated: Stated, now: datetime) -> None:
    known = lead.consent
    answered = {Gdpr.ACCEPTED, Gdpr.NOT_ACCEPTED}
    if (known.status, known.communications) == stated[:2] or (
        known.declined and stated.status is not Gdpr.NOT_ACCEPTED
    ):
        return
    if known.status in answered and stated.status not in answered:
        return
    lead.consent = Consent(stated.status, stated.at or now, stated.ip or known.ip, stated.communications)
    lead.dirty.add(ROW)
    if stated.status in answered:
        lead.events.append(ConsentChanged(stated.communications))
    elif not lead.is_new:
        lead.events.append(events.LeadEdited(["gdpr_status"], []))


def _start(lead: Lead, number: int, step: str, account: Account, now: datetime) -> None:
    sequence = account.sequence_by_id.get(number)
    if sequence is not None and sequence.boxes and number not in lead.runs:
        box = step if step in sequence.boxes else sequence.boxes[0]
        lead.enrol(number, box, now, version=sequence.version, entry=sequence.entry, by_step=True)


# -- taking it back --


def change_of(before: Lead, lead: Lead) -> Change:
    """What is different now."""
    change = Change(
        profile={name: (before.profile.get(name, ""), text) for name, text in lead.profile.items() if before.profile.get(name, "") != text},
        custom={
            number: (before.custom.get(number, ""), value)
            for number, value in lead.custom.items()
            if before.custom.get(number, "") != value
        },
        tags=sorted(lead.tags - before.tags),
        lists={
            number: (before.lists.get(number), place)
            for number, place in lead.lists.items()
            if before.lists.get(number) != place
        },
        blacklisted=before.blacklisted,
    )  # fmt: skip
    if before.notes != lead.notes:
        change.notes = (before.notes, lead.notes)
    if before.consent != lead.consent:
        change.consent = (before.consent, lead.consent)
    if before.suppression != lead.suppression:
        change.suppression = (before.suppression, lead.suppression)
    change.started = [number for number in lead.runs if number not in before.runs]
    return change


class Reverted(NamedTuple):
    """`whole` if the lead is as it was before; then nothing tells of the import any more."""

    whole: bool
    lists: list[int]
    """Of these it has no row again."""
    address: bool
    """Nor of its address."""


def revert(lead: Lead, change: Change, now: datetime) -> Reverted:
    """Put back what is still as the import left it; what somebody has changed since stays."""
    kept = _revert_fields(lead, change) + _revert_mail(lead, change)
    for tag in change.tags:
        kept += tag not in lead.tags
        lead.untag(tag)
    gone = []
    for number, (before, after) in change.lists.items():
        if lead.lists.get(number) != after:
            kept += 1
        elif before is None:
            gone.append(number)
            del lead.lists[number]
        else:
            lead.lists[number] = before
            lead.dirty.add((Part.LISTS, number))
    for number in change.started:
        kept += 1
        run = lead.runs.get(number)
        if run is not None and run.status is RunStatus.ACTIVE:
            lead.unenrol(number, now)
    address = change.suppression is not None and lead.suppression == Suppression()
    return Reverted(not kept, gone, address)


def _revert_fields(lead: Lead, change: Change) -> int:
    """How many were changed since."""
    profile = {name: old for name, (old, new) in change.profile.items() if lead.profile.get(name, "") == new}
    custom = {number: old for number, (old, new) in change.custom.items() if lead.custom.get(number, "") == new}
    lead.edit(profile, custom)
    kept = len(change.profile) - len(profile) + len(change.custom) - len(custom)
    if change.notes is not None:
        if lead.notes == change.notes[1]:
            editing.note(lead, change.notes[0])
        else:
            kept += 1
    return kept


def _revert_mail(lead: Lead, change: Change) -> int:
    kept = 0
    if change.consent is not None:
        if lead.consent == change.consent[1]:
            lead.consent = change.consent[0]
            lead.dirty.add(ROW)
        else:
            kept += 1
    if change.suppression is not None:
        if lead.suppression == change.suppression[1]:
            lead.suppression = change.suppression[0]
            if lead.suppression != Suppression():
                lead.put_suppression(lead.suppression)
            lead.blacklisted = change.blacklisted
            lead.dirty.add(ROW)
        else:
            kept += 1
    return kept
