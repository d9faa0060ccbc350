"""Trying a sequence out: a mail as somebody would get it, a test of it, and a lead's whole way with another clock."""

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from cartwheel.accounts import Account
from cartwheel.data import leadstore, mailbox
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.errors import CartwheelError
from cartwheel.mail import composing
from cartwheel.mail.composing import Unsendable
from cartwheel.mail.merge import BadContent
from cartwheel.mail.render import Filled, compile_mail
from cartwheel.mail.replies import Fate
from cartwheel.people import Right
from cartwheel.sequences import schedule
from cartwheel.sequences.steps import EmailStep
from cartwheel.simulation import madeup, simulator, stories, whatifs, worlds
from cartwheel.simulation.simulator import World
from cartwheel.ui import mailservers, sequencing, stepforms, trials
from cartwheel.ui.registry import page
from cartwheel.ui.sequencing import HERE, path_of, sequence_of
from cartwheel.ui.slots import Busy
from cartwheel.ui.visits import Answer, Download, NotThere, Visit

LARGEST_STEP = 16 << 20

FRAME = {"Content-Security-Policy": trials.POLICY, "X-Frame-Options": "SAMEORIGIN"}

MOST_ASKED = 20
"""Mails of which the form asks what becomes of them; of others a line of text can say it."""

LONGEST_LOOK = timedelta(days=3660)


# -- a mail --


@page(
    f"{HERE}/{{number:int}}/preview",
    menu="sequences",
    right=Right.LEADS_READ,
    post=True,
    largest=LARGEST_STEP,
    quiet=True,
)
def preview_mail(visit: Visit) -> Answer:
    """Showed a mail as it is being written: in its frame the mail itself, to htmx what stands around it."""
    sequence_of(visit)
    begun = visit.text("body", 10)
    step, filled, told = _written(visit) if begun else (None, None, visit._("The mail stands here as you write it."))
    if visit.htmx:
        sender = (step.sender if step else "") or visit.account.mail.sender
        return visit.show(
            "step_preview.html",
            filled=filled,
            preview=step.preview if step else "",
            sender=sender,
            told=told,
            alarming=bool(begun),
            doubts=_doubts(visit.account, step) if step and filled else [],
        )
    if filled is None:
        return Download(told.encode(), "text/plain; charset=utf-8", FRAME)
    if visit.text("view") == "text":
        return Download(filled.text.encode(), "text/plain; charset=utf-8", FRAME)
    return Download(filled.html.encode(), "text/html; charset=utf-8", FRAME)


def _written(visit: Visit) -> tuple[EmailStep | None, Filled | None, str]:
    """The step that was sent, the mail if it can be made, and else why not."""
    found = sequencing.edited(visit)
    kept = found.draft.by_box.get(visit.text("old", 30))
    tree = stepforms.sent_step(visit, "email", visit.text("box", 30), kept)
    tree = {name: value for name, value in tree.items() if name in _SHOWN or name in stepforms.BODIES}
    tree["subject"] = tree.get("subject") or visit._("(no subject)")
    step, errors = stepforms.read_step(tree | {"box": "1"}, visit._)
    if not isinstance(step, EmailStep):
        return None, None, " ".join(errors.values())
    try:
        lead, _there = trials.reader(visit.database, visit.account, visit.text("as_lead", 300), visit.now)
        return step, trials.shown(visit.account, step, lead), ""
    except CartwheelError as error:
        return step, None, str(error)


_SHOWN = {"type", "subject", "preview", "text", "sender", "reply_to", "attachments"}


def _doubts(account: Account, step: EmailStep) -> list[str]:
    try:
        return list(composing.doubts(compile_mail(composing.content_of(step)), account))
    except BadContent:
        return []


@page(f"{HERE}/{{number:int}}/mail/{{box}}", menu="sequences", right=Right.LEADS_READ)
def show_mail(visit: Visit) -> Answer:
    """A mail of the draft, for a frame."""
    step = sequencing.step_of(sequencing.edited(visit), visit.path["box"])
    if not isinstance(step, EmailStep):
        raise NotThere
    lead, _there = trials.reader(visit.database, visit.account, visit.query.get("as", ""), visit.now)
    try:
        filled = trials.shown(visit.account, step, lead)
    except BadContent as error:
        return Download(str(error).encode(), "text/plain; charset=utf-8", FRAME)
    return Download(filled.html.encode(), "text/html; charset=utf-8", FRAME)


@page(
    f"{HERE}/{{number:int}}/test/{{box}}",
    menu="sequences",
    right=Right.SEQUENCES_WRITE,
    post=True,
    largest=LARGEST_STEP,
)
def send_test(visit: Visit) -> Answer:
    """Sent a test of a mail to themselves."""
    found = sequencing.edited(visit)
    step = sequencing.step_of(found, visit.path["box"])
    if not isinstance(step, EmailStep):
        raise NotThere
    if "body" in visit.form:  # with scripts it is what is being written, saved or not
        written, filled, told = _written(visit)
        if written is None or filled is None:
            return _tested(visit, step, visit._("It cannot be sent: %s") % told, alarming=True)
        step = replace(written, box=step.box)
    visit.about(f"{found.sequence.name} {step.box}")
    lead, _there = trials.reader(visit.database, visit.account, visit.text("as_lead", 300), visit.now)
    try:
        with visit.house.slots.one(visit.account.id):
            outcome, server = trials.send(
                mailservers.in_force(visit),
                visit.database,
                visit.account,
                step,
                lead,
                visit.user.email,
                base_url=visit.base_url,
                clock=visit.house.clock,
            )
    except Busy:
        return _tested(visit, step, mailservers.busy(visit), alarming=True)
    except TimeoutError:
        return _tested(visit, step, visit._("The server was too slow."), alarming=True)
    except (Unsendable, BadContent) as error:
        return _tested(visit, step, visit._("It cannot be sent: %s") % error, alarming=True)
    told = _became(visit, sent=outcome.fate is Fate.ACCEPTED, server=server, answer=outcome.text)
    return _tested(visit, step, told, alarming=outcome.fate is not Fate.ACCEPTED)


def _became(visit: Visit, *, sent: bool, server: str, answer: str) -> str:
    """What became of a test. Which servers there are, and what they say, is for those who look after them."""
    if server == mailbox.MAILBOX:
        told = visit._("Sent to %(address)s: it is kept in the test mailbox, because no mail leaves this machine.")
    elif not mailservers.may_see(visit):
        told = (
            visit._("Sent to %(address)s.") if sent else visit._("Not sent to %(address)s: the mail server refused it.")
        )
    elif sent:
        told = visit._("Sent to %(address)s. %(server)s says: %(answer)s")
    else:
        told = visit._("Not sent to %(address)s. %(server)s says: %(answer)s")
    return told % {"address": visit.user.email, "server": server, "answer": answer}


def _tested(visit: Visit, step: EmailStep, told: str, *, alarming: bool) -> Answer:
    """Beside the form, which stays as it is; or without scripts on the page anew."""
    if visit.htmx:
        return visit.show("step_tested.html", told=told, alarming=alarming)
    return visit.redirect(path_of(sequence_of(visit), "edit", "step", step.box), told, alarming=alarming)


# -- the whole way --


@page(f"{HERE}/{{number:int}}/simulate", menu="sequences", right=Right.LEADS_READ)
def simulate(visit: Visit) -> Answer:
    found = sequencing.edited(visit)
    context: dict[str, Any] = {"sequence": found.sequence, "found": found, "story": None, "told": ""}
    if "length" in visit.query:
        try:
            context["story"] = _story(visit, found)
        except CartwheelError as error:
            context["told"] = str(error)
    elif not found.draft.steps:
        context["told"] = visit._("There is no step yet.")
    context["mails"] = [step for step in found.draft.steps if isinstance(step, EmailStep)][:MOST_ASKED]
    context["boxes"] = [step.box for step in found.draft.steps]
    return visit.show("sequence_simulate.html", block="story" if visit.htmx else "", **context)


def _story(visit: Visit, found: sequencing.Edited) -> stories.Story:
    """Raises what is wrong with the question."""
    query = {name: value.strip()[:2000] for name, value in visit.query.items()}
    sequence, account = found.sequence, visit.account
    flow = found.draft if query.get("which") != "published" or not found.published.steps else found.published
    account = sequencing.with_steps(account, sequence, flow)
    stored, _lead = worlds.stored(visit.database, visit.account, sequence.name, None, onward=False, own=flow)
    world = World(account, stored.flows)
    begun = visit.now.replace(second=0, microsecond=0)
    if query.get("from"):
        begun = worlds.moment(query["from"], account)
    until = min(schedule.length(query["length"] or "60 days"), LONGEST_LOOK)
    lines = [line for line in query.get("what_if", "").splitlines() if line.strip()]
    done = {box: query.get(f"mail.{box}", "") for box in flow.by_box}
    lines += [f"{does}:{box}" for box, does in done.items() if does in {"opened", "clicked"}]
    events = [whatifs.read(line) for line in lines]
    email = query.get("email", "")
    lead = None
    if email:
        try:
            email = read_email(email)
        except EmailNotValid as error:
            raise stories.BadSimulation(visit._("That is no e-mail address.")) from error
        with visit.database.read() as connection:
            number = leadstore.find_lead(connection, account.id, email)
        if number is not None:
            lead = worlds.load_lead(visit.database, (account.id, number))
    if lead is None:
        lines = [line for line in query.get("fields", "").splitlines() if line.strip()]
        known = whatifs.assignments(lines) | ({"email": email} if email else {})
        lead = madeup.made_up(account, begun, known)
    step = query.get("step") or None
    return simulator.simulate(world, lead, sequence.id, begun, until, step=step, what_ifs=events)
