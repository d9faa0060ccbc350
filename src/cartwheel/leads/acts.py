"""What people do to one lead or to many: one class an act, each with its opposite where it has one. Pure.

They are kept as JSON while they are done to many, and speak of an account's things by number.
"""

from datetime import datetime
from typing import Annotated, ClassVar, get_args

import msgspec
from msgspec import Meta

from cartwheel.accounts import Account
from cartwheel.errors import StepNotFound
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import SAID_BY_THE_PERSON, Part, Parts, RunStatus, SuppressionReason
from cartwheel.phrases import phrase

Number = Annotated[int, Meta(ge=1, lt=1 << 53)]
Points = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Days = Annotated[int, Meta(ge=0, le=1_000_000)]


class Act(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type"):
    """Done to a lead that is so already, it changes nothing."""

    parts: ClassVar[Parts] = Part.NONE
    right: ClassVar[str] = "leads:write"
    to_deleted: ClassVar[bool] = False
    """Whether it is done to deleted leads, too."""
    ordered: ClassVar[bool] = True
    """Whether somebody can order it by itself, and not only by undoing another."""

    def apply(self, lead: Lead, account: Account, now: datetime) -> None:
        raise NotImplementedError

    def opposite(self) -> "Act | None":
        return None

    def told(self, account: Account) -> str:
        """As what somebody can order."""
        raise NotImplementedError


class GiveTag(Act, tag="give_tag", frozen=True):
    tag: Number

    parts = Part.TAGS
    right = "tags:write"

    def apply(self, lead: Lead, account: Account, _now: datetime) -> None:
        if self.tag in account.tag_names:
            lead.tag(self.tag)

    def opposite(self) -> Act:
        return TakeTag(self.tag)

    def told(self, account: Account) -> str:
        return phrase("Give the tag {name}", name=account.tag_names.get(self.tag, self.tag))


class TakeTag(Act, tag="take_tag", frozen=True):
    tag: Number

    parts = Part.TAGS
    right = "tags:write"

    def apply(self, lead: Lead, _account: Account, _now: datetime) -> None:
        lead.untag(self.tag)

    def opposite(self) -> Act:
        return GiveTag(self.tag)

    def told(self, account: Account) -> str:
        return phrase("Take the tag {name} away", name=account.tag_names.get(self.tag, self.tag))


class JoinList(Act, tag="join_list", frozen=True):
    list: Number

    parts = Part.LISTS
    right = "lists:write"

    def apply(self, lead: Lead, account: Account, now: datetime) -> None:
        if self.list in account.list_names:
            lead.join(self.list, now)

    def opposite(self) -> Act:
        return LeaveList(self.list)

    def told(self, account: Account) -> str:
        return phrase("Subscribe to the list {name}", name=account.list_names.get(self.list, self.list))


class LeaveList(Act, tag="leave_list", frozen=True):
    list: Number

    parts = Part.LISTS
    right = "lists:write"

    def apply(self, lead: Lead, _account: Account, now: datetime) -> None:
        lead.leave(self.list, now)

    def opposite(self) -> Act:
        return JoinList(self.list)

    def told(self, account: Account) -> str:
        return phrase("Unsubscribe from the list {name}", name=account.list_names.get(self.list, self.list))


class StartSequence(Act, tag="start_sequence", frozen=True):
    """At the step with this box label; at the first one, if it is empty."""

    sequence: Number
    step: Annotated[str, Meta(max_length=100)] = ""

    parts = Part.SEQUENCES
    right = "sequences:write"

    def apply(self, lead: Lead, account: Account, now: datetime) -> None:
        sequence = account.sequence_by_id.get(self.sequence)
        if sequence is not None and sequence.boxes:
            step = self.step or sequence.boxes[0]
            if step not in sequence.boxes:
                raise StepNotFound
            lead.enrol(sequence.id, step, now, version=sequence.version, entry=sequence.entry)

    def opposite(self) -> Act:
        return StopSequence(self.sequence)

    def told(self, account: Account) -> str:
        name = account.sequence_names.get(self.sequence, self.sequence)
        if self.step:
            return phrase("Start the sequence {name} at step {step}", name=name, step=self.step)
        return phrase("Start the sequence {name}", name=name)


class StopSequence(Act, tag="stop_sequence", frozen=True):
    sequence: Number

    parts = Part.SEQUENCES
    right = "sequences:write"

    def apply(self, lead: Lead, _account: Account, now: datetime) -> None:
        run = lead.runs.get(self.sequence)
        if run is not None and run.status in {RunStatus.ACTIVE, RunStatus.PARKED}:
            lead.unenrol(self.sequence, now)

    def opposite(self) -> Act:
        return GoOnInSequence(self.sequence)

    def told(self, account: Account) -> str:
        name = account.sequence_names.get(self.sequence, self.sequence)
        return phrase("Stop the sequence {name}", name=name)


class GoOnInSequence(Act, tag="go_on_in_sequence", frozen=True):
    """Where the lead left it last."""

    sequence: Number

    parts = Part.SEQUENCES
    right = "sequences:write"

    def apply(self, lead: Lead, _account: Account, now: datetime) -> None:
        run = lead.runs.get(self.sequence)
        if run is not None and run.ended_by_leaving and run.ended_at is not None:
            lead.rejoin(self.sequence, run.ended_at, now)

    def opposite(self) -> Act:
        return StopSequence(self.sequence)

    def told(self, account: Account) -> str:
        name = account.sequence_names.get(self.sequence, self.sequence)
        return phrase("Go on in the sequence {name}", name=name)


class GivePoints(Act, tag="give_points", frozen=True):
    points: Points
    days: Days = 0
    """After so many they are taken back; 0 for never."""

    parts = Part.POINTS
    right = "points:write"

    def apply(self, lead: Lead, _account: Account, now: datetime) -> None:
        lead.grant(self.points, self.days, now)

    def opposite(self) -> Act | None:
        return None if self.days else TakePoints(self.points)

    def told(self, _account: Account) -> str:
        points, days = f"{self.points:,}", f"{self.days:,}"
        if self.days:
            return phrase("Give {points} points for {days} days", points=points, days=days)
        return phrase("Give {points} points", points=points)


class TakePoints(Act, tag="take_points", frozen=True):
    points: Points

    parts = Part.POINTS
    right = "points:write"

    def apply(self, lead: Lead, _account: Account, now: datetime) -> None:
        lead.deduct(self.points, now)

    def opposite(self) -> Act:
        return GivePoints(self.points)

    def told(self, _account: Account) -> str:
        return phrase("Take {points} points", points=f"{self.points:,}")


class Suppress(Act, tag="suppress", frozen=True):
    parts = Part.PROFILE | Part.SUPPRESSION

    def apply(self, lead: Lead, _account: Account, now: datetime) -> None:
        before = lead.suppression.reason
        lead.suppress(SuppressionReason.DO_NOT_CONTACT, _SAID + (_BEFORE + before if before else ""), now)

    def opposite(self) -> Act:
        return TakeSuppressionBack()

    def told(self, _account: Account) -> str:
        return phrase("Do not mail any more")


_SAID, _BEFORE = "an owner said so", "; before: "


class TakeSuppressionBack(Act, tag="take_suppression_back", frozen=True):
    """What was suppressed by the act, and by nobody else since, is as it was."""

    parts = Part.PROFILE | Part.SUPPRESSION
    ordered = False

    def apply(self, lead: Lead, _account: Account, now: datetime) -> None:
        said, _, before = lead.suppression.details.partition(_BEFORE)
        if lead.suppression.reason == SuppressionReason.DO_NOT_CONTACT and said == _SAID:
            lead.lift_suppression(now)
            if before in set(SuppressionReason):
                lead.suppress(SuppressionReason(before), "as before", now)

    def opposite(self) -> Act:
        return Suppress()

    def told(self, _account: Account) -> str:
        return phrase("Allow to be mailed again")


class Allow(Act, tag="allow", frozen=True):
    """Addresses that did not work; what the person has said is lifted one by one, with a reason."""

    parts = Part.PROFILE | Part.SUPPRESSION

    def apply(self, lead: Lead, _account: Account, now: datetime) -> None:
        if lead.suppression.reason not in SAID_BY_THE_PERSON:
            lead.lift_suppression(now)

    def told(self, _account: Account) -> str:
        return phrase("Allow to be mailed again")


class Delete(Act, tag="delete", frozen=True):
    parts = Part.PROFILE | Part.SEQUENCES | Part.QUEUE

    def apply(self, lead: Lead, _account: Account, now: datetime) -> None:
        lead.delete(now)

    def opposite(self) -> Act:
        return TakeDeletionBack()

    def told(self, _account: Account) -> str:
        return phrase("Delete")


class TakeDeletionBack(Act, tag="take_deletion_back", frozen=True):
    """The lead is there again, and in the sequences that it left by being deleted. Mails that waited then are not sent."""

    parts = Part.PROFILE | Part.SEQUENCES
    to_deleted = True

    def apply(self, lead: Lead, _account: Account, now: datetime) -> None:
        at = lead.deleted_at
        lead.restore()
        if at is not None:
            for run in [run for run in lead.runs.values() if not run.left_by_lead]:
                lead.rejoin(run.sequence_id, at, now)

    def opposite(self) -> Act:
        return Delete()

    def told(self, _account: Account) -> str:
        return phrase("Restore")


class Restore(Act, tag="restore", frozen=True):
    parts = Part.PROFILE
    to_deleted = True

    def apply(self, lead: Lead, _account: Account, _now: datetime) -> None:
        lead.restore()

    def opposite(self) -> Act:
        return Delete()

    def told(self, _account: Account) -> str:
        return phrase("Restore")


AnyAct = (
    GiveTag | TakeTag | JoinList | LeaveList | StartSequence | StopSequence | GoOnInSequence | GivePoints | TakePoints
    | Suppress | TakeSuppressionBack | Allow | Delete | TakeDeletionBack | Restore
)  # fmt: skip

KINDS: dict[str, type[Act]] = {str(act.__struct_config__.tag): act for act in get_args(AnyAct)}

_READER: msgspec.json.Decoder[Act] = msgspec.json.Decoder(AnyAct)


def read(text: str) -> Act:
    """From JSON. Raises `msgspec.DecodeError`."""
    return _READER.decode(text)


def written(act: Act) -> str:
    return msgspec.json.encode(act).decode()
