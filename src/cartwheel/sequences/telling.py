"""Moments, windows and what a run waits for, in words. Pure."""

import shlex
from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from cartwheel.accounts import Account
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Enrolment
from cartwheel.leads.mails import Mail, WaitsFor
from cartwheel.phrases import form, joined, kept, phrase
from cartwheel.sequences import schedule
from cartwheel.sequences.stepparts import WindowPart
from cartwheel.sequences.steps import (
    AssignTagStep,
    EmailStep,
    GoalStep,
    GoToStep,
    PointsStep,
    RandomSplitStep,
    SplitStep,
    StartSequenceStep,
    Step,
    StopSequenceStep,
    SubscribeListStep,
    UnassignTagStep,
    UnsubscribeListStep,
    WaitUntilStep,
)


def lead_zone(lead: Lead) -> ZoneInfo | None:
    """The zone that the lead told, if there is such a zone."""
    return schedule.zone(lead.profile.get("lead_preferred_time_zone", ""))


def clock(at: datetime, account: ZoneInfo, lead: ZoneInfo | None = None) -> str:
    """The account's time, and the lead's where it is another."""
    here = at.astimezone(account)
    told = _moment(here, f"{here:%Y-%m-%d %H:%M}")
    if lead is None or here.utcoffset() == at.astimezone(lead).utcoffset():
        return told
    there = at.astimezone(lead)
    its = f"{there:%H:%M}" if there.date() == here.date() else _moment(there, f"{there:%H:%M}")
    return phrase("{here} ({there} for the lead)", here=told, there=its)


def _moment(at: datetime, told: str) -> str:
    return phrase("{day} {moment}", day=phrase(_WEEKDAYS[at.weekday()]), moment=told)


_WEEKDAYS = (form("Mon"), form("Tue"), form("Wed"), form("Thu"), form("Fri"), form("Sat"), form("Sun"))


def command(*words: str) -> str:
    """What to type, for whoever is told what helps."""
    return f"`cartwheel {shlex.join(words)}`"


def window(part: WindowPart) -> str:
    whose = {schedule.ACCOUNT_ZONE: phrase("the account's time"), schedule.LEAD_ZONE: phrase("the lead's time")}
    times = f"{part.from_}-{part.to}"
    return phrase("{days} {times}, {zone}", days=_days(part), times=times, zone=whose.get(part.zone, part.zone))


_DAYS = {
    "mon": form("mon"),
    "tue": form("tue"),
    "wed": form("wed"),
    "thu": form("thu"),
    "fri": form("fri"),
    "sat": form("sat"),
    "sun": form("sun"),
}


def _days(part: WindowPart) -> str:
    days = [day for day in schedule.DAYS if day in part.days]
    if len(days) == len(schedule.DAYS):
        return phrase("every day")
    in_a_row = len(days) > 1 and " ".join(days) in " ".join(schedule.DAYS)
    told = [phrase(_DAYS[day]) for day in days]
    return phrase("{first}-{last}", first=told[0], last=told[-1]) if in_a_row else joined("{first}, {rest}", told)


def about(step: Step) -> str:
    """What a step is about, next to its kind: a mail's subject, a tag's name, a condition."""
    match step:
        case EmailStep():
            return step.subject
        case PointsStep():
            return f"{step.points}" + (f" for {step.days} days" if step.days else "")
        case AssignTagStep() | UnassignTagStep():
            return step.tag
        case SubscribeListStep() | UnsubscribeListStep():
            return step.list
        case StartSequenceStep():
            return step.sequence + (f", step {step.step}" if step.step else "")
        case StopSequenceStep():
            return step.sequence
        case SplitStep() | GoalStep() | WaitUntilStep():
            return step.condition.told()
        case RandomSplitStep():
            return " : ".join(str(branch.weight) for branch in step.branches)
        case GoToStep():
            return step.to
        case _:
            return ""


def waits_for(run: Enrolment, step: Step | None, lead: Lead, account: Account) -> str:
    """What a run that has come to a halt at the step waits for, as what follows `waits`."""
    if run.held:
        return (
            phrase("because the sequence is paused") if account.active else phrase("because the account is not active")
        )
    due = clock(run.due_at, account.zone, lead_zone(lead)) if run.due_at else ""
    if isinstance(step, WaitUntilStep | GoalStep) and run.reason == f"until {step.condition.told()}":
        met = phrase("until {condition}", condition=step.condition.told())
        return phrase("{condition}, at the latest until {moment}", condition=met, moment=due) if due else met
    if step is None or run.arrived_at is None or not due:
        return phrase("until {moment}", moment=due) if due else run.reason
    parts = joined("{first}, then {rest}", list(_schedule(step, run.arrived_at, run.due_at, lead, account)))
    if run.due_at and _offset(run.arrived_at, account) != _offset(run.due_at, account):
        parts = phrase("{parts} (the clocks change meanwhile)", parts=parts)
    if not parts:
        return phrase("until {moment}", moment=due)
    return phrase("until {moment}: {parts}", moment=due, parts=parts)


def bare(text: str) -> str:
    """What was stored as a sentence, to stand within another."""
    return kept(text.removesuffix(".")) if type(text) is str else text


def mail_waits(mail: Mail, account: Account) -> str:
    """Why a mail that is queued was not sent yet."""
    if mail.waits_for is WaitsFor.OWNER:
        return phrase("an owner has to see to it: {reply}", reply=bare(mail.reply))
    if mail.waits_for is WaitsFor.PAUSE:
        return phrase("the sequence is paused") if account.active else phrase("the account is not active")
    if mail.waits_for is WaitsFor.EARLIER_MAIL:
        return phrase("an earlier mail of the sequence comes first")
    if mail.waits_for is WaitsFor.WINDOW and mail.next_at is not None:
        return phrase("its window is shut until {moment}", moment=clock(mail.next_at, account.zone))
    if mail.waits_for is WaitsFor.QUOTA:
        return phrase("its mail server takes no more for now: {reply}", reply=bare(mail.reply))
    return kept(mail.reply)


def _offset(at: datetime, account: Account) -> timedelta | None:
    return at.astimezone(account.zone).utcoffset()


def _schedule(step: Step, arrived_at: datetime, due_at: datetime | None, lead: Lead, account: Account) -> Iterator[str]:
    """What there is to wait for, in order."""
    if step.at is not None:
        yield phrase("its date ({date})", date=step.at)
    elif not step.delay.startswith("0 "):
        yield schedule.told(step.delay)
    if step.window is None or due_at is None:
        return
    if due_at > replace(step, window=None).due(arrived_at, account.zone, lead_zone(lead)):
        yield phrase("its window ({window})", window=window(step.window))
