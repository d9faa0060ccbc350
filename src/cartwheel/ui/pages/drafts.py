"""The next version of a sequence: its steps edited one by one, looked through, and published."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from cartwheel import accounts
from cartwheel.accountfiles import drafting, sequencefile
from cartwheel.accounts import MOST
from cartwheel.data import catalogchanges, draftstore, runstore
from cartwheel.data.leadstore import LeadKey
from cartwheel.mail import composing
from cartwheel.mail.merge import MERGE_NAMES
from cartwheel.people import Right
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.steps import AnyStep, EmailStep, RandomSplitStep, Step
from cartwheel.ui import attaching, flowdrawings, sequencing, stepforms, stepwords
from cartwheel.ui.registry import page
from cartwheel.ui.sequencing import HERE, Edited, path_of, sequence_of
from cartwheel.ui.visits import Answer, NotThere, Visit
from cartwheel.work import moveplans, runwork

EDIT = f"{HERE}/{{number:int}}/edit"
STEP = f"{EDIT}/step/{{box}}"

LARGEST_STEP = 16 << 20


# -- the whole draft --


@page(EDIT, menu="sequences", right=Right.SEQUENCES_WRITE)
def edit_sequence(visit: Visit) -> Answer:
    found = sequencing.edited(visit)
    return visit.show(
        "sequence_edit.html",
        found=found,
        sequence=found.sequence,
        drawing=flowdrawings.draw(found.draft, visit._),
        findings=sequencing.findings(visit.account, found.sequence, found.draft),
        kinds=stepwords.KINDS,
    )


@page(f"{EDIT}/undo", menu="sequences", right=Right.SEQUENCES_WRITE, post=True)
def undo_change(visit: Visit) -> Answer:
    """Took back the last change of a sequence's draft."""
    sequence = sequence_of(visit)
    visit.about(sequence.name)
    key = (visit.account.id, sequence.id)
    with visit.database.write() as connection:
        draftstore.lock(connection, *key)
        before = draftstore.read(connection, *key)
        same = before is not None and draftstore.digest(before.steps) == visit.text("seen")
        after = draftstore.read(connection, *key) if same and draftstore.undo(connection, *key) else None
    here = path_of(sequence, "edit")
    if before is None:
        return visit.redirect(here, visit._("There is nothing to take back."), alarming=True)
    if after is None:
        told = visit._("Nothing is taken back: that was done already, or the draft was changed since.")
        return visit.redirect(here, told, alarming=True)
    if visit.text("again"):
        return visit.redirect(here, visit._("The change is made again."), sequencing.undo_of(sequence, after.steps))
    again = sequencing.undo_of(sequence, after.steps, again="1")
    return visit.redirect(here, visit._("The last change is taken back."), again)


@page(f"{EDIT}/drop", menu="sequences", right=Right.SEQUENCES_WRITE, post=True)
def drop_draft(visit: Visit) -> Answer:
    """Dropped the changes of a sequence's draft."""
    with sequencing.changing(visit) as change:
        change.steps = list(change.found.published.steps)
    sequence = change.found.sequence
    told = visit._("The draft is as the published version again.")
    return visit.redirect(path_of(sequence, "edit"), told, sequencing.undo(change))


# -- one step --


@page(f"{EDIT}/add", menu="sequences", right=Right.SEQUENCES_WRITE)
def choose_step(visit: Visit) -> Answer:
    found = sequencing.edited(visit)
    tag, after = visit.query.get("type", ""), visit.query.get("after", "")
    if after not in found.draft.by_box:
        after = found.draft.steps[-1].box if found.draft.steps and after != "start" else ""
    if tag not in stepwords.KIND_OF:
        return visit.show("step_add.html", sequence=found.sequence, kinds=stepwords.KINDS, after=after or "start")
    box = visit.query.get("box", "") or sequencing.free_box(found.draft.steps, after)
    tree = {"type": tag, **_BEGINS.get(tag, {})}
    return visit.show("step.html", **_form(visit, found, tag, tree, box, after=after or "start"))


_BEGINS: Mapping[str, Mapping[str, Any]] = {"wait": {"delay": "1 day"}}
"""What stands in the form of a new step."""


@page(f"{EDIT}/add", menu="sequences", right=Right.SEQUENCES_WRITE, post=True, largest=LARGEST_STEP)
def add_step(visit: Visit) -> Answer:
    """Added a step to a sequence's draft."""
    found = sequencing.edited(visit)
    tag, after, box = visit.text("type"), visit.text("after"), visit.text("box", 30)
    if tag not in stepwords.KIND_OF:
        raise NotThere
    tree = stepforms.sent_step(visit, tag, box, None)
    step, errors = _read(visit, tree, None)
    if step is None or errors:
        return visit.refuse("step.html", errors, **_form(visit, found, tag, tree, box, after=after))
    with sequencing.changing(visit) as change:
        if not (errors := _complaints(visit, change.found, step, "")):
            last = len(change.steps)  # also when somebody has removed the one before
            at = 0 if after == "start" else change.place(after) + 1 if change.has(after) else last
            change.steps.insert(at, step)
    if errors:
        return visit.refuse("step.html", errors, **_form(visit, change.found, tag, tree, box, after=after))
    told = visit._("Step %s is there.") % box
    return visit.redirect(path_of(found.sequence, "edit"), told, sequencing.undo(change))


@page(STEP, menu="sequences", right=Right.SEQUENCES_WRITE)
def show_step(visit: Visit) -> Answer:
    found = sequencing.edited(visit)
    step = sequencing.step_of(found, visit.path["box"])
    tree = msgspec.to_builtins(step)
    return visit.show("step.html", **_form(visit, found, tree["type"], tree, step.box, step=step))


@page(STEP, menu="sequences", right=Right.SEQUENCES_WRITE, post=True, largest=LARGEST_STEP)
def change_step(visit: Visit) -> Answer:
    """Changed a step of a sequence's draft."""
    found = sequencing.edited(visit)
    old = found.draft.by_box.get(visit.path["box"])
    if old is None:
        return _written_for_nothing(visit, found)
    tag, box = stepwords.kind_of(old).tag, visit.text("box", 30)
    tree = stepforms.sent_step(visit, tag, box, old)
    step, errors = _read(visit, tree, old)
    if step is None or errors:
        return visit.refuse("step.html", errors, **_form(visit, found, tag, tree, box, step=old))
    seen = visit.text("seen")
    with sequencing.changing(visit) as change:
        if not change.has(old.box):
            return _written_for_nothing(visit, change.found)
        at = change.place(old.box)
        if draftstore.digest([change.steps[at]]) != seen:
            seen = draftstore.digest([change.steps[at]])
            told = "This step was changed since you opened it. What you wrote stands here: save again to replace that."
            errors = {"": visit._(told)}
        elif not (errors := _complaints(visit, change.found, step, old.box)):
            change.steps[at] = step
            if step.box != old.box:
                change.steps = [_renamed(each, old.box, step.box) for each in change.steps]
    if errors:
        return visit.refuse("step.html", errors, **_form(visit, change.found, tag, tree, box, step=old, seen=seen))
    if visit.text("stay"):
        return visit.redirect(path_of(found.sequence, "edit", "step", step.box), visit._("Saved in the draft."))
    told = visit._("Step %s is changed in the draft.") % step.box
    return visit.redirect(path_of(found.sequence, "edit"), told, sequencing.undo(change))


def _read(visit: Visit, tree: stepforms.Tree, kept: AnyStep | None) -> tuple[AnyStep | None, dict[str, str]]:
    """The step that was sent, with its files, and what is wrong with it."""
    wrong = attaching.put(visit, tree, kept) if tree["type"] == "email" else ""
    step, errors = stepforms.read_step(tree, visit._)
    return step, errors | ({"attach": wrong} if wrong else {})


def _written_for_nothing(visit: Visit, found: Edited) -> Answer:
    """The step is gone that somebody wrote on: what they wrote stands in the form of a new step."""
    tag, box = visit.text("type"), visit.path["box"]
    if tag not in stepwords.KIND_OF:
        return _gone(visit, found.sequence)
    tree = stepforms.sent_step(visit, tag, visit.text("box", 30), None)
    told = (
        visit._("Step %s was removed since you opened it, or has another label. Add what you wrote as a new step.")
        % box
    )
    label = sequencing.free_box(found.draft.steps, "")
    return visit.refuse("step.html", {"": told}, **_form(visit, found, tag, tree, label, after="", seen=" "))


def _gone(visit: Visit, sequence: accounts.Sequence) -> Answer:
    told = visit._("Step %s is not there any more: somebody else has changed the draft.") % visit.path["box"]
    return visit.redirect(path_of(sequence, "edit"), told, alarming=True)


@page(f"{EDIT}/form", menu="sequences", right=Right.SEQUENCES_WRITE, post=True, largest=LARGEST_STEP, quiet=True)
def reshape_form(visit: Visit) -> Answer:
    """Showed the form of a step again, with the fields of another condition."""
    found = sequencing.edited(visit)
    tag, box, old = visit.text("type"), visit.text("box", 30), visit.text("old", 30)
    if tag not in stepwords.KIND_OF:
        raise NotThere
    step = found.draft.by_box.get(old)
    tree = stepforms.sent_step(visit, tag, box, step)
    context = _form(visit, found, tag, tree, box, step=step, after=visit.text("after"))
    return visit.show("step_fields.html" if visit.htmx else "step.html", **context)


@page(f"{STEP}/remove", menu="sequences", right=Right.SEQUENCES_WRITE, post=True)
def remove_step(visit: Visit) -> Answer:
    """Removed a step from a sequence's draft."""
    box = visit.path["box"]
    with sequencing.changing(visit) as change:
        if not change.has(box):
            return _gone(visit, change.found.sequence)
        del change.steps[change.place(box)]
    sequence = change.found.sequence
    told = visit._("Step %s is removed from the draft.") % box
    return visit.redirect(path_of(sequence, "edit"), told, sequencing.undo(change))


@page(f"{STEP}/move", menu="sequences", right=Right.SEQUENCES_WRITE, post=True)
def move_step(visit: Visit) -> Answer:
    """Moved a step in a sequence's draft."""
    box = visit.path["box"]
    with sequencing.changing(visit) as change:
        if not change.has(box):
            return _gone(visit, change.found.sequence)
        at = change.place(box)
        to = max(0, at - 1) if visit.text("way") == "up" else min(len(change.steps) - 1, at + 1)
        change.steps.insert(to, change.steps.pop(at))
    sequence = change.found.sequence
    told = visit._("Step %s is moved.") % box
    return visit.redirect(path_of(sequence, "edit"), told, sequencing.undo(change))


def _form(
    visit: Visit,
    found: Edited,
    tag: str,
    tree: Mapping[str, Any],
    box: str,
    *,
    step: AnyStep | None = None,
    after: str = "",
    seen: str = "",
) -> dict[str, Any]:
    """What the form of a step shows; `step` is the one that is there already, `seen` the digest of what it replaces."""
    maker = stepforms.Maker(visit.account, found.draft, visit._)
    inputs = {each.name: each for each in maker.inputs(tag, dict(tree))}
    common = [inputs.pop(name) for name in ("delay", "at", "window", "next", "ends", "active")]
    for each in (*common, *inputs.values()):
        if (tag, each.name) in stepforms.LABELS_OF:
            each.label = visit._(stepforms.LABELS_OF[tag, each.name])
    kind = next((name for name in stepforms.BODIES if tree.get(name) is not None), stepforms.BODIES[0])
    return {
        "sequence": found.sequence,
        "kind": stepwords.KIND_OF[tag],
        "box": box,
        "step": step,
        "after": after,
        "seen": seen or visit.text("seen") or (draftstore.digest([step]) if step else ""),
        "inputs_of": inputs,
        "common": common,
        "body_kind": kind,
        "body": tree.get(kind) or "",
        "attachments": attaching.listed(visit, step),
        "most_bytes": attaching.MOST_BYTES // 1_000_000,
        "fields": MERGE_NAMES,
        "custom": sorted(composing.known_names(visit.account) - {entry.name for entry in MERGE_NAMES}),
        "default_sender": visit.account.mail.sender,
    }


def _complaints(visit: Visit, found: Edited, step: AnyStep, old: str) -> dict[str, str]:
    if step.box != old and step.box in found.draft.by_box:
        return {"box": visit._("Another step has this label.")}
    if not old and len(found.draft.steps) >= MOST["steps of all sequences"]:
        return {"": visit._("An account has room for %d steps.") % MOST["steps of all sequences"]}
    if isinstance(step, EmailStep) and not (step.html or step.mjml or step.markdown):
        return {"body": visit._("A mail needs something to say.")}
    return {}


def _renamed(step: AnyStep, old: str, new: str) -> AnyStep:
    """The step with its ways to a box that has a new label."""
    changed = {
        name: new for name in ("next", "then", "otherwise", "to", "on_timeout") if getattr(step, name, None) == old
    }
    if isinstance(step, RandomSplitStep):
        return replace(step, branches=[replace(way, to=new) if way.to == old else way for way in step.branches])
    renamed: AnyStep = replace(step, **changed) if changed else step
    return renamed


# -- publishing --


@page(f"{HERE}/{{number:int}}/publish", menu="sequences", right=Right.SEQUENCES_WRITE)
def preview_publishing(visit: Visit) -> Answer:
    return visit.show("sequence_publish.html", **_publishing(visit))


def _publishing(visit: Visit) -> dict[str, Any]:
    found = sequencing.edited(visit)
    with visit.database.read() as connection:
        plan = _plan(connection, visit, found.sequence, found.draft)
    return {
        "found": found,
        "sequence": found.sequence,
        "findings": sequencing.findings(visit.account, found.sequence, found.draft),
        "missing": sequencefile.missing_for_mail([found.part], visit.account),
        "plan": plan,
        "changes": _changes(found),
        "names": {step.box: _named(step, visit) for step in (*found.published.steps, *found.draft.steps)},
    }


def _plan(connection: Any, visit: Visit, sequence: accounts.Sequence, draft: Flow) -> moveplans.MovePlan:
    """Who would go where, if everybody went along who can."""
    return moveplans.plan(
        connection,
        visit.account,
        sequence,
        {},
        source=None,
        everybody=True,
        to=sequence.version + 1,
        draft=draft,
        counting=partial(sequencing.counted, visit, connection),
    )


def _named(step: Step, visit: Visit) -> str:
    kind = visit._(stepwords.kind_of(step).label)
    summary = stepwords.summary(step, visit._)
    return f"{kind}: {summary}" if summary else kind


def _changes(found: Edited) -> list[tuple[str, str]]:
    """(what, box) of each step that is new, changed or gone."""
    was, now = found.published.by_box, found.draft.by_box
    told = [("new" if box not in was else "changed", box) for box in now if was.get(box) != now[box]]
    told += [("gone", box) for box in was if box not in now]
    same = [box for box in was if box in now]
    if not told and same != [box for box in now if box in was]:
        told.append(("order", ""))
    return told


@page(f"{HERE}/{{number:int}}/publish", menu="sequences", right=Right.SEQUENCES_WRITE, post=True)
def publish(visit: Visit) -> Answer:
    """Published a new version of a sequence."""
    context = _publishing(visit)
    found: Edited = context["found"]
    sequence = found.sequence
    visit.about(sequence.name)
    if not found.draft.steps:
        return visit.refuse("sequence_publish.html", {"": visit._("There is no step yet.")}, **context)
    if any(finding.stops for finding in context["findings"]):
        told = visit._("It cannot run like this: mend what is shown first.")
        return visit.refuse("sequence_publish.html", {"": told}, **context)
    if not found.changed:
        _tidy(visit, sequence)
        return visit.redirect(path_of(sequence), visit._("Nothing was changed: this version runs already."))
    version = None
    if visit.text("seen") == found.seen:
        version = _release(visit, found)
    if version is None:
        visit.renew_catalog()
        told = visit._("The draft was changed since you opened this page. Look at what would be published now.")
        return visit.refuse("sequence_publish.html", {"": told}, **_publishing(visit))
    told = visit._("Version %d is published: it is what leads get who start from now on.") % version
    if visit.text("move") == "all" and context["plan"].going:
        told += " " + _move(visit, sequence, context["plan"])
    return visit.redirect(path_of(sequence), told)


def _tidy(visit: Visit, sequence: accounts.Sequence) -> None:
    """Drop a draft that says what runs."""
    with visit.database.write() as connection:
        draftstore.lock(connection, visit.account.id, sequence.id)
        if not sequencing.read(connection, visit.account, sequence).changed:
            draftstore.drop(connection, visit.account.id, sequence.id)


def _release(visit: Visit, found: Edited) -> int | None:
    """Make the draft that was looked at the version that runs. None if there is another one meanwhile."""
    with catalogchanges.changing(visit.database, visit.account.id) as connection:
        return drafting.release(connection, visit.account, found, visit.now)


def _move(visit: Visit, sequence: accounts.Sequence, plan: moveplans.MovePlan) -> str:
    origin, number = visit.user.origin, sequence.id

    def work(key: LeadKey) -> runwork.MoveWork:
        return runwork.MoveWork(key, number, plan.move, origin)

    where = (visit.account.id, number)
    versions = plan.move.sources.keys()
    done = visit.go_through(
        runwork.through(visit.house.batches, visit.database, where, runstore.IN_IT, work, versions=versions)
    )
    if done is None:
        return visit._("Leads are being moved to it; it takes a while.")
    moved = sum(count for way, count in done.items() if way is not None and way.box is not None)
    return visit._("%d leads moved to it.") % moved
