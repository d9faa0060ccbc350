"""Sequences: all of them, and one with its flow and who stands where."""

from collections import Counter
from typing import Any

import msgspec

from cartwheel import accounts
from cartwheel.accountfiles import accountexport, drafting, sequencefile, uses
from cartwheel.accountfiles.fileparts import SequencePart
from cartwheel.accounts import LONGEST_NAME, name_key
from cartwheel.data import catalogchanges, draftstore, flowstore, runstore, schema
from cartwheel.data.leadstore import LeadKey
from cartwheel.errors import BadAccountFile, NameTaken
from cartwheel.leads.leadparts import ANY_TIME, MOST_EARLIER, Entry, RunStatus
from cartwheel.people import Right
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.steps import AnyStep, EmailStep
from cartwheel.ui import flowdrawings, leadquestions, sequencing
from cartwheel.ui.registry import page
from cartwheel.ui.sequencing import HERE, path_of, sequence_of
from cartwheel.ui.visits import Answer, Download, Undo, Visit
from cartwheel.work import runwork

MOST_PARKED = 50

LONGEST_UNDO = 500_000
"""Characters of a deleted sequence's text that its Undo button carries; longer ones cannot be taken back."""

LARGEST_TEXT = 20 << 20


# -- all of them --


@page(HERE, menu="sequences", right=Right.ACCOUNT_READ)
def show_sequences(visit: Visit) -> Answer:
    return visit.show("sequences.html", **_all(visit))


def _all(visit: Visit) -> dict[str, Any]:
    with visit.database.read() as connection:
        counts = sequencing.counted(visit, connection, runstore.counted)
        drafts = draftstore.of_account(connection, visit.account.id)
    found = sorted(visit.account.sequences.values(), key=lambda entry: entry.name.casefold())
    rows = [(entry, counts.get(entry.id, Counter()), entry.id in drafts) for entry in found if not entry.archived_at]
    archived = [entry for entry in found if entry.archived_at]
    return {"rows": rows, "archived": archived, "statuses": RunStatus, "most_entry": MOST_EARLIER}


@page(HERE, menu="sequences", right=Right.SEQUENCES_WRITE, post=True)
def add_sequence(visit: Visit) -> Answer:
    """Made a sequence."""
    name, public_name = visit.text("name", LONGEST_NAME + 1), visit.text("public_name", LONGEST_NAME + 1)
    errors = _complaints(visit, name, public_name)
    number = 0
    if not errors:
        steps = _welcome(visit) if visit.text("template") == "welcome" else []
        try:
            number = _add(visit, SequencePart(name, public_name, entry=_entry(visit)), steps)
        except NameTaken:
            errors["name"] = visit._("There is a sequence of this name.")
    if errors:
        return visit.refuse("sequences.html", errors, **_all(visit))
    visit.about(name)
    told = visit._("The sequence %s is there. Nothing is sent before you publish it.") % name
    return visit.redirect(f"{HERE}/{number}/edit", told)


def _add(visit: Visit, part: SequencePart, draft: list[AnyStep]) -> int:
    """A sequence that nobody can be in yet, with a draft of its steps. Raises `NameTaken`."""
    with catalogchanges.changing(visit.database, visit.account.id) as connection:
        return drafting.add(connection, visit.account.id, part, draft, visit.now)


def _welcome(visit: Visit) -> list[AnyStep]:
    """A series of three mails to begin with."""
    day = "2 days"
    return [
        EmailStep(
            box="1",
            subject=visit._("Welcome, {first_name|friend}"),
            preview=visit._("Good to have you with us."),
            markdown=visit._(
                "# Welcome!\n\nHello {first_name|there},\n\ngood to have you with us. Here is how to begin: …\n"
            ),
        ),
        EmailStep(
            box="2",
            delay=day,
            subject=visit._("Three things to try"),
            markdown=visit._(
                "Hello {first_name|there},\n\nthese three things are worth trying first:\n\n1. …\n2. …\n3. …\n"
            ),
        ),
        EmailStep(
            box="3",
            delay="4 days",
            subject=visit._("How is it going?"),
            markdown=visit._("Hello {first_name|there},\n\nhow is it going? Just answer this mail: we read it.\n"),
        ),
    ]


def _complaints(visit: Visit, name: str, public_name: str) -> dict[str, str]:
    errors = {}
    if not name:
        errors["name"] = visit._("A sequence needs a name.")
    elif len(name) > LONGEST_NAME:
        errors["name"] = visit._("At most %d characters, please.") % LONGEST_NAME
    if len(public_name) > LONGEST_NAME:
        errors["public_name"] = visit._("At most %d characters, please.") % LONGEST_NAME
    return errors


def _entry(visit: Visit) -> Entry:
    """The rule that was chosen, within its bounds."""
    if "again" not in visit.form and "entry" not in visit.form:
        return ANY_TIME
    most, days = visit.number("most") or 0, visit.number("days") or 30
    return Entry(bool(visit.text("again")), min(most, MOST_EARLIER), max(1, min(days, 3650)))


@page(f"{HERE}/import", menu="sequences", right=Right.SEQUENCES_WRITE, post=True, largest=LARGEST_TEXT)
def import_sequences(visit: Visit) -> Answer:
    """Took sequences from a text."""
    text = visit.text("text", LARGEST_TEXT)
    try:
        parts = sequencefile.read_text(text)
    except BadAccountFile as error:
        return visit.refuse("sequences.html", {"text": str(error)}, **_all(visit))
    if not parts:
        return visit.refuse("sequences.html", {"text": visit._("There is no [[sequences]] in it.")}, **_all(visit))
    for part in parts:
        if name_key(part.name) not in visit.account.sequences:
            _add(visit, part, part.steps)
            continue
        with visit.database.write() as connection:
            drafting.take(connection, visit.account, part, visit.now)
    names = ", ".join(part.name for part in parts)
    visit.about(names)
    return visit.redirect(HERE, visit._("Taken as drafts: %s. Publish each when you have looked at it.") % names)


# -- one of them --


@page(f"{HERE}/{{number:int}}", menu="sequences", right=Right.ACCOUNT_READ)
def show_sequence(visit: Visit) -> Answer:
    return visit.show("sequence.html", **_one(visit))


def _one(visit: Visit) -> dict[str, Any]:
    account, sequence = visit.account, sequence_of(visit)
    with visit.database.read() as connection:
        found = sequencing.read(connection, account, sequence)
        places = sequencing.counted(visit, connection, runstore.standing, sequence.id)
        mails = sequencing.counted(visit, connection, runstore.mail_counts, sequence.id)
        counts = sequencing.counted(visit, connection, runstore.counted).get(sequence.id, Counter())
        parked = runstore.parked(connection, account.id, sequence.id, MOST_PARKED) if counts[RunStatus.PARKED] else []
        held = sorted({place.version for place in places})
        wanted = visit.query.get("version", "")
        version = int(wanted) if wanted in {str(number) for number in held} else sequence.version
        flow = (
            found.published
            if version == sequence.version
            else flowstore.read(connection, (account.id, sequence.id, version))
        )
    here: Counter[str] = Counter()
    stuck: Counter[str] = Counter()
    for place in places:
        if place.version == version:
            (stuck if place.status is RunStatus.PARKED else here)[place.box] += place.leads
    return {
        "sequence": sequence,
        "found": found,
        "drawing": flowdrawings.draw(flow or Flow(()), visit._),
        "version": version,
        "versions": sorted({*held, sequence.version} - {0}, reverse=True),
        "here": here,
        "stuck": stuck,
        "mails": mails,
        "counts": counts,
        "statuses": RunStatus,
        "parked": parked,
        "among": leadquestions.choices(visit) if visit.may(Right.LEADS_WRITE) else [],
        "most_entry": MOST_EARLIER,
    }


@page(f"{HERE}/{{number:int}}", menu="sequences", right=Right.SEQUENCES_WRITE, post=True)
def change_sequence(visit: Visit) -> Answer:
    """Changed a sequence's names or rules."""
    sequence = sequence_of(visit)
    name, public_name = visit.text("name", LONGEST_NAME + 1), visit.text("public_name", LONGEST_NAME + 1)
    errors = _complaints(visit, name, public_name)
    users = uses.automations_of_sequence(visit.account, sequence.id)
    if users and name_key(name) != name_key(sequence.name):
        errors.setdefault("name", visit._("Automations call it by this name: %s.") % ", ".join(users))
    if not errors:
        try:
            with catalogchanges.changing(visit.database, visit.account.id) as connection:
                entry = msgspec.json.encode(_entry(visit)).decode()
                values = {"public_name": public_name, "entry": entry}
                catalogchanges.rename(connection, schema.sequences, visit.account.id, sequence.id, name, **values)
        except NameTaken:
            errors["name"] = visit._("There is a sequence of this name.")
    if errors:
        return visit.refuse("sequence.html", errors, **_one(visit))
    visit.about(name)
    return visit.redirect(path_of(sequence), visit._("The sequence %s is changed.") % name)


@page(f"{HERE}/{{number:int}}/pause", menu="sequences", right=Right.SEQUENCES_WRITE, post=True)
def pause_sequence(visit: Visit) -> Answer:
    """Paused a sequence."""
    return _pause(visit, paused=True)


@page(f"{HERE}/{{number:int}}/resume", menu="sequences", right=Right.SEQUENCES_WRITE, post=True)
def resume_sequence(visit: Visit) -> Answer:
    """Let a sequence go on."""
    return _pause(visit, paused=False)


def _pause(visit: Visit, *, paused: bool) -> Answer:
    sequence = sequence_of(visit)
    visit.about(sequence.name)
    sequencefile.pause(visit.database, visit.account.id, sequence.id, visit.now, paused=paused)
    if paused:
        return visit.redirect(path_of(sequence), visit._("The sequence is paused. Everybody waits where they are."))
    return visit.redirect(path_of(sequence), visit._("The sequence goes on. Waiting times begin anew."))


@page(f"{HERE}/{{number:int}}/archive", menu="sequences", right=Right.SEQUENCES_WRITE, post=True)
def archive_sequence(visit: Visit) -> Answer:
    """Archived a sequence."""
    sequence = sequence_of(visit)
    visit.about(sequence.name)
    with catalogchanges.changing(visit.database, visit.account.id) as connection:
        sequencefile.archive(connection, visit.account.id, sequence.id, visit.now)
    told = visit._("The sequence %s is archived. Who is in it waits; nobody chooses it any more.") % sequence.name
    return visit.redirect(HERE, told, Undo(path_of(sequence, "back"), {} if sequence.paused else {"running": "1"}))


@page(f"{HERE}/{{number:int}}/back", menu="sequences", right=Right.SEQUENCES_WRITE, post=True)
def bring_back(visit: Visit) -> Answer:
    """Brought a sequence back from the archive."""
    sequence = sequence_of(visit)
    visit.about(sequence.name)
    running = bool(visit.text("running"))
    with catalogchanges.changing(visit.database, visit.account.id) as connection:
        sequencefile.bring_back(connection, visit.account.id, sequence.id, visit.now, running=running)
    if running:
        told = visit._("The sequence is back and goes on. Waiting times begin anew.")
    else:
        told = visit._("The sequence is back. It is paused: let it go on when you like.")
    return visit.redirect(path_of(sequence), told)


@page(f"{HERE}/{{number:int}}/clone", menu="sequences", right=Right.SEQUENCES_WRITE, post=True)
def clone_sequence(visit: Visit) -> Answer:
    """Made a copy of a sequence."""
    found = sequencing.edited(visit)
    original = found.sequence
    for number in range(1, 1000):
        suffix = " " + (visit._("(copy)") if number == 1 else visit._("(copy %d)") % number)
        name = original.name[: LONGEST_NAME - len(suffix)] + suffix
        if name_key(name) not in visit.account.sequences:
            break
    copy = _add(visit, SequencePart(name, original.public_name, entry=original.entry), list(found.draft.steps))
    visit.about(name)
    told = visit._("%s is there, as a draft. Nobody is in it.") % name
    return visit.redirect(f"{HERE}/{copy}", told, Undo(f"{HERE}/{copy}/delete"))


@page(f"{HERE}/{{number:int}}/delete", menu="sequences", right=Right.SEQUENCES_WRITE, post=True)
def delete_sequence(visit: Visit) -> Answer:
    """Deleted a sequence that nobody was ever in."""
    found = sequencing.edited(visit)
    sequence = found.sequence
    visit.about(sequence.name)
    if users := uses.automations_of_sequence(visit.account, sequence.id):
        told = visit._("Automations need this sequence, so change them first: %s.") % ", ".join(users)
        return visit.redirect(path_of(sequence), told, alarming=True)
    with catalogchanges.changing(visit.database, visit.account.id) as connection:
        used = runstore.was_used(connection, visit.account.id, sequence.id)
        if not used:
            catalogchanges.delete_sequence(connection, visit.account.id, sequence.id)
    if used:
        told = visit._("Leads were in this sequence, and their histories speak of it: archive it instead.")
        return visit.redirect(path_of(sequence), told, alarming=True)
    text = _as_text(sequence, found.draft)
    undo = Undo(f"{HERE}/import", {"text": text}) if len(text) <= LONGEST_UNDO else None
    return visit.redirect(HERE, visit._("The sequence %s is deleted.") % sequence.name, undo)


@page(f"{HERE}/{{number:int}}/unpark", menu="sequences", right=Right.SEQUENCES_WRITE, post=True)
def unpark(visit: Visit) -> Answer:
    """Let stuck leads of a sequence try again."""
    sequence = sequence_of(visit)
    visit.about(sequence.name)
    lead_id = visit.number("lead")

    def work(key: LeadKey) -> runwork.UnparkWork:
        return runwork.UnparkWork(key, sequence.id, visit.user.origin)

    if lead_id is not None:
        again = visit.submit(work((visit.account.id, lead_id)))
        told = visit._("The lead tries again.") if again else visit._("The lead was not stuck any more.")
        return visit.redirect(path_of(sequence), told)
    done = visit.go_through(
        runwork.through(visit.house.batches, visit.database, (visit.account.id, sequence.id), [RunStatus.PARKED], work)
    )
    if done is None:
        return visit.redirect(path_of(sequence), visit._("They try again, one after the other; it takes a while."))
    return visit.redirect(path_of(sequence), visit._("%d leads try again.") % done[True])


@page(f"{HERE}/{{number:int}}/export", menu="sequences", right=Right.ACCOUNT_READ)
def export_sequence(visit: Visit) -> Answer:
    found = sequencing.edited(visit)
    sequence = found.sequence
    steps = found.published if sequence.version else found.draft
    named = f'attachment; filename="sequence-{sequence.id}.toml"'
    return Download(_as_text(sequence, steps).encode(), "application/toml", {"Content-Disposition": named})


def _as_text(sequence: accounts.Sequence, flow: Flow) -> str:
    part = SequencePart(sequence.name, sequence.public_name, sequence.paused, sequence.entry, list(flow.steps))
    return accountexport.write_sequences([part])
