"""The profile of one lead: what is known of it, and what can be done to it."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from cartwheel.accounts import Account, CustomField
from cartwheel.data import flowstore
from cartwheel.data.leadstore import LeadKey
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.errors import LeadExists, LeadIsDeleted, LeadNotFound, NoSuchName, StepNotFound
from cartwheel.leads import acts, editing
from cartwheel.leads.acts import Act
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import PROFILE_FIELDS, SAID_BY_THE_PERSON, CustomValue, Part, RunStatus, Suppression
from cartwheel.people import Right
from cartwheel.phrases import kept
from cartwheel.readers import digits
from cartwheel.sequences import telling
from cartwheel.ui import bulkforms, mailwords
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Redirect, Undo, Visit
from cartwheel.views import asking, leadcard, why
from cartwheel.views.leadcard import Entry, LeadCard
from cartwheel.work.leadwork import EditWork, EraseWork, MergeWork, ProfileWork

HERE = "/leads/{number:int}"
TABS = ("activity", "fields", "tags", "sequences", "points", "mail", "why")
FEED = 50
LONGEST_FIELD = 1000
LONGEST_TEXT = 65_535
EVERYTHING = Part.ALL | Part.MAILS | Part.SUPPRESSION


@page(HERE, menu="leads", right=Right.LEADS_READ)
def show_lead(visit: Visit) -> Answer:
    asked = visit.query.get("tab", TABS[0])
    return visit.show("lead.html", **_context(visit, asked if asked in TABS else TABS[0]))


def _context(visit: Visit, tab: str) -> dict[str, Any]:
    most = _feed_length(visit) if tab == "activity" else 1
    card = _card(visit, most + 1)
    lead = card.lead
    context: dict[str, Any] = {
        "card": card,
        "lead": lead,
        "tab": tab,
        "initials": _initials(card),
        "feed": [(entry, *_led_to(visit, lead, entry)) for entry in card.feed[:most]],
        "subject_of": lambda mail: mailwords.subject(visit, mail),
        "longer": most + FEED if len(card.feed) > most and most < asking.MOST_EVENTS else None,
        "writable": visit.may(Right.LEADS_WRITE) and not lead.erased,
        "profile_fields": PROFILE_FIELDS,
        "by_person": SAID_BY_THE_PERSON,
    }
    if tab == "sequences":
        context["waits"] = _waits(visit, lead)
    if tab == "why":
        context["facts"] = _facts(visit, lead)
    return context


def _led_to(visit: Visit, lead: Lead, entry: Entry) -> tuple[str, str]:
    """Where more stands of what happened, and what the link says: its mail, or its sequence; empty for neither."""
    number = entry.details.get("sequence_id")
    sequence = visit.account.sequence_by_id.get(number) if isinstance(number, int) else None
    if sequence is None:
        return "", ""
    box = entry.details.get("step")
    mails = [mail for mail in lead.mails.values() if (mail.sequence_id, mail.box) == (sequence.id, box)]
    if entry.kind.startswith("mail_") and mails:
        mail = max(mails, key=lambda mail: (mail.queued_at <= entry.at, mail.key))
        return f"/mail/{lead.id}/{mail.key}", mailwords.subject(visit, mail) or visit._("The mail")
    return f"/communication/sequences/{sequence.id}", sequence.name


def _feed_length(visit: Visit) -> int:
    asked = digits(visit.query.get("most", ""))
    return FEED if asked is None else min(asked, asking.MOST_EVENTS)


def _key(visit: Visit) -> LeadKey:
    number: int = visit.path["number"]
    if number >= 1 << 53:
        raise NotThere
    return visit.account.id, number


def _card(visit: Visit, most_events: int) -> LeadCard:
    """Raises `NotThere`."""
    reading = leadcard.read_card(visit.database, visit.catalog, _key(visit), most_events=most_events, parts=EVERYTHING)
    try:
        return asyncio.run(reading)
    except LeadNotFound:
        raise NotThere from None


def _initials(card: LeadCard) -> str:
    words = card.name.split() or [card.lead.email]
    return "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words)).upper()


def _facts(visit: Visit, lead: Lead) -> list[why.Fact]:
    """About everything, or what the address asks about: a sequence by its number, or a mail."""
    sequence = visit.account.sequence_by_id.get(digits(visit.query.get("sequence", "")) or 0)
    mail = digits(visit.query.get("mail", ""))
    about = sequence.name if sequence else str(mail) if mail in lead.mails else None
    answer = asking.ask(visit.database, visit.catalog, visit.account, str(lead.id), about, visit.now)
    return list(answer.facts)


def _waits(visit: Visit, lead: Lead) -> dict[int, str]:
    """What each run waits for, or why it is stuck, by its sequence."""
    told: dict[int, str] = {}
    with visit.database.read() as connection:
        for number, run in lead.runs.items():
            if run.status is RunStatus.PARKED:
                told[number] = visit.say(kept(run.reason))
            elif run.runs and (run.reason or run.held):
                flow = flowstore.read(connection, (visit.account.id, number, run.version))
                step = flow.by_box.get(run.step) if flow else None
                waits = visit.say(telling.waits_for(run, step, lead, visit.account))
                told[number] = visit._("waits %s") % waits
    return told


# -- acts --


@page(f"{HERE}/act", menu="leads", right=Right.LEADS_WRITE, post=True)
def act_on_lead(visit: Visit) -> Answer:
    """Did something to a lead."""
    act = bulkforms.read(visit.text("act"), visit.text)
    tab = visit.text("tab", 20)
    if act is None:
        return _back(visit, tab, visit._("Something is missing, or is no number."), alarming=True)
    if not visit.may(act.right):
        return visit.show("forbidden.html", status=403)
    try:
        email, before, changed = visit.submit(_work(visit, act))
    except LeadNotFound:
        raise NotThere from None
    except StepNotFound:
        return _back(visit, tab, visit._("The sequence has no such step."), alarming=True)
    except LeadIsDeleted:
        return _back(visit, tab, visit._("The lead is deleted: restore it first."), alarming=True)
    told = act.told(visit.account)
    visit.about(f"{email}: {told}")
    told = visit.say(told)
    if isinstance(act, acts.Allow) and before.reason in SAID_BY_THE_PERSON:
        told = visit._("The person wanted no mail: say here how it asked for mail again. It was not changed yet.")
        return visit.redirect("/mail/suppressed/allow?" + urlencode({"email": email}), told, alarming=True)
    if not changed:
        return _back(visit, tab, visit._("There was nothing to change: %s.") % told, alarming=True)
    return _back(visit, tab, visit._("Done: %s.") % told, _undo(visit, act, tab, email, before))


def _undo(visit: Visit, act: Act, tab: str, email: str, before: Suppression) -> Undo | None:
    """What brings the lead back to how it was; None if nothing does."""
    if isinstance(act, acts.Suppress):
        mistaken = {"email": email, "asked": visit._("It was suppressed by mistake.")}
        return Undo("/mail/suppressed/allow", mistaken) if not before.reason and visit.may(Right.MAIL_WRITE) else None
    if isinstance(act, acts.Allow):
        known = {"email": email, "reason": before.reason, "details": before.details}
        return Undo("/mail/suppressed", known) if visit.may(Right.MAIL_WRITE) else None
    opposite = act.opposite()
    if opposite is None or not visit.may(opposite.right):
        return None
    return Undo(f"/leads/{visit.path['number']}/act", _as_fields(opposite) | {"tab": tab})


def _work(visit: Visit, act: Act) -> EditWork[tuple[str, Suppression, bool]]:
    def change(lead: Lead, account: Account, now: datetime) -> tuple[str, Suppression, bool]:
        before = lead.suppression
        act.apply(lead, account, now)
        return lead.email, before, bool(lead.events)

    return EditWork(_key(visit), act.parts, change, visit.user.origin, deleted=act.to_deleted)


def _as_fields(act: Act) -> dict[str, str]:
    values = {name: str(getattr(act, name)) for name in act.__struct_fields__}
    return {"act": str(act.__struct_config__.tag), **values}


def _back(visit: Visit, tab: str, told: str, undo: Undo | None = None, *, alarming: bool = False) -> Redirect:
    there = f"/leads/{visit.path['number']}" + (f"?tab={tab}" if tab in TABS and tab != TABS[0] else "")
    return visit.redirect(there, told, undo, alarming=alarming)


def _edit(visit: Visit, parts: int, change: Callable[[Lead, Account, datetime], None], tab: str, told: str) -> Answer:
    """Change the lead, and say so."""

    def named(lead: Lead, account: Account, now: datetime) -> str:
        change(lead, account, now)
        return lead.email

    try:
        visit.about(visit.submit(EditWork(_key(visit), parts, named, visit.user.origin)))
    except LeadNotFound:
        raise NotThere from None
    except LeadIsDeleted:
        return _back(visit, tab, visit._("The lead is deleted: restore it first."), alarming=True)
    return _back(visit, tab, told)


# -- fields and notes --


@page(f"{HERE}/fields", menu="leads", right=Right.LEADS_WRITE, post=True)
def edit_lead(visit: Visit) -> Answer:
    """Changed a lead's fields."""
    errors = {}
    try:
        email = read_email(visit.text("email"))
    except EmailNotValid:
        email = ""
        errors["email"] = visit._("This is no e-mail address.")
    profile = {name: visit.text(name, LONGEST_FIELD) for name in PROFILE_FIELDS if name in visit.form}
    if not errors:
        try:
            visit.submit(ProfileWork(_key(visit), email, profile, _custom_values(visit), visit.user.origin))
        except LeadNotFound:
            raise NotThere from None
        except LeadExists:
            errors["email"] = visit._("There is a lead with this address. You can merge the two below.")
    if errors:
        return visit.refuse("lead.html", errors, **_context(visit, "fields"))
    visit.about(email)
    return _back(visit, "fields", visit._("The fields are saved."))


def _custom_values(visit: Visit) -> dict[int, CustomValue]:
    """Of the fields that the form had: each says so, because boxes that are not checked are not sent."""
    there = set(visit.texts("custom"))
    return {field.id: _value(visit, field) for field in visit.account.fields.values() if str(field.id) in there}


def _value(visit: Visit, field: CustomField) -> CustomValue:
    if field.type.is_text:
        return visit.text(f"custom.{field.id}", LONGEST_TEXT)
    sent = set(visit.texts(f"custom.{field.id}"))
    chosen = tuple(sorted(option.id for option in field.options if str(option.id) in sent))
    return (chosen if field.type.takes_many else chosen[:1]) or ""


@page(f"{HERE}/notes", menu="leads", right=Right.LEADS_WRITE, post=True)
def write_notes(visit: Visit) -> Answer:
    """Wrote a lead's notes."""
    text = visit.text("notes", editing.LONGEST_NOTES).replace("\r\n", "\n")
    told = visit._("The notes are saved.")
    return _edit(visit, Part.PROFILE, lambda lead, _account, _now: editing.note(lead, text), "", told)


# -- sequences --


@page(f"{HERE}/move", menu="leads", right=Right.SEQUENCES_WRITE, post=True)
def move_lead(visit: Visit) -> Answer:
    """Moved a lead to another step of a sequence."""
    sequence = visit.account.sequence_by_id.get(visit.number("sequence") or 0)
    step = visit.text("step", 100)
    if sequence is None or step not in sequence.boxes:
        return _back(visit, "sequences", visit._("The sequence has no such step."), alarming=True)

    def change(lead: Lead, _account: Account, now: datetime) -> None:
        run = lead.runs.get(sequence.id)
        if run is not None and run.status in {RunStatus.ACTIVE, RunStatus.PARKED}:
            editing.send_to(lead, run, step, sequence.version, now)

    told = visit._("It goes on at step %s.") % step
    return _edit(visit, Part.SEQUENCES, change, "sequences", told)


# -- duplicates --


@page(f"{HERE}/merge", menu="leads", right=Right.LEADS_WRITE)
def show_merge(visit: Visit) -> Answer:
    card = _card(visit, 1)
    sent, other = visit.query.get("with", "").strip(), None
    errors = {}
    if sent:
        try:
            other = _other(visit, sent, card)
        except NotThere:
            errors["with"] = visit._("There is no other lead with this address or number.")
    return visit.show("lead_merge.html", card=card, lead=card.lead, other=other, errors=errors, asked=sent)


@page(f"{HERE}/merge", menu="leads", right=Right.LEADS_WRITE, post=True)
def merge_leads(visit: Visit) -> Answer:
    """Merged two leads."""
    card = _card(visit, 1)
    other = _other(visit, visit.text("with"), card)
    key, account_id = _key(visit), visit.account.id
    try:
        visit.submit(MergeWork(key, (account_id, other.lead.id), other.ledger, visit.user.origin))
    except LeadNotFound:
        raise NotThere from None
    visit.about(f"{card.lead.email}, {other.lead.email}")
    told = visit._("They are one now. The lead %s is deleted, and its mails stay with it.") % other.lead.email
    return _back(visit, "", told)


def _other(visit: Visit, who: str, card: LeadCard) -> LeadCard:
    """Raises `NotThere` if there is none, or it is the same."""
    try:
        key = leadcard.find(visit.database, visit.account, who)
        if key is None or key[1] == card.lead.id:
            raise NotThere
        reading = leadcard.read_card(visit.database, visit.catalog, key, most_events=1, parts=EVERYTHING)
        found = asyncio.run(reading)
    except (LeadNotFound, NoSuchName):
        raise NotThere from None
    if found.lead.deleted_at is not None:
        raise NotThere
    return found


# -- the end --


@page(f"{HERE}/erase", menu="leads", right=Right.LEADS_WRITE)
def show_erase(visit: Visit) -> Answer:
    return visit.show("lead_erase.html", lead=_card(visit, 1).lead)


@page(f"{HERE}/erase", menu="leads", right=Right.LEADS_WRITE, post=True)
def erase_lead(visit: Visit) -> Answer:
    """Erased a lead."""
    lead = _card(visit, 1).lead
    if lead.erased:
        raise NotThere
    if visit.text("email").lower() != lead.email:
        told = visit._("Please type the lead's address, so that nobody is erased by mistake.")
        return visit.refuse("lead_erase.html", {"email": told}, lead=lead)
    visit.submit(EraseWork((lead.account_id, lead.id), visit.user.origin))
    visit.about(f"no. {lead.id}")
    return visit.redirect("/leads", visit._("The lead is erased. Nothing is left of it but numbers."))
