"""The ledger of mail: what went out to whom, what became of it, and what is to be done about what nobody can know."""

import asyncio
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cartwheel.data import mailbox, mailledger
from cartwheel.data.mailledger import Place
from cartwheel.data.mailstore import Listed
from cartwheel.errors import CartwheelError, LeadNotFound, NotInDoubt
from cartwheel.leads.mails import Mail, MailState
from cartwheel.mail.composing import Composer
from cartwheel.mail.links import Signer
from cartwheel.people import Right
from cartwheel.phrases import kept
from cartwheel.readers import digits
from cartwheel.sequences.steps import EmailStep
from cartwheel.ui import mailframes, mailquestions, mailservers, mailwords, manywork
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Visit
from cartwheel.views import asking, why
from cartwheel.views.why import About, Known
from cartwheel.work.batches import Work
from cartwheel.work.leadwork import DoubtWork
from cartwheel.work.mailwork import DropWork

HERE = "/mail"
MOST = 50
MOST_COUNTED = 1000
LONGEST_REASON = 200


# -- the list --


@page(HERE, menu="mail", right=Right.LEADS_READ)
def show_mails(visit: Visit) -> Answer:
    return visit.show("mails.html", block="rows" if visit.htmx else "", **_list(visit, visit.query))


def _list(visit: Visit, asked: Any) -> dict[str, Any]:
    wish = mailquestions.wish(visit.account, asked)
    with visit.database.read() as connection:
        found = mailledger.page(connection, visit.account.id, wish, after=_place(asked.get("after", "")), most=MOST)
        waiting = {
            state: mailledger.counted(connection, visit.account.id, state, MOST_COUNTED)
            for state in (MailState.IN_DOUBT, MailState.QUEUED)
        }
    sequence = visit.account.sequence_by_id.get(wish.sequence_id or 0)
    return {
        "rows": [mailwords.row(visit, entry) for entry in found.mails],
        "after": "-".join(map(str, found.after)) if found.after else "",
        "scanned": found.more,
        "wish": wish,
        "asked": {name: str(asked.get(name, "")) for name in mailquestions.ASKED},
        "filtered": any(asked.get(name) for name in mailquestions.ASKED) or bool(asked.get("after")),
        "states": mailwords.states(visit),
        "seen": _seen(visit),
        "sequences": sorted(
            visit.account.sequence_choices(wish.sequence_id).items(), key=lambda entry: entry[1].casefold()
        ),
        "sequence": sequence,
        "servers": _servers(visit),
        "in_doubt": waiting[MailState.IN_DOUBT],
        "queued": waiting[MailState.QUEUED],
        "most_counted": MOST_COUNTED,
    }


def _seen(visit: Visit) -> list[tuple[str, str]]:
    return [
        ("opened", visit._("Opened")),
        ("clicked", visit._("Clicked")),
        ("unopened", visit._("Sent, not opened")),
    ]


def _servers(visit: Visit) -> list[tuple[str, str]]:
    routes = mailservers.in_force(visit) if mailservers.may_see(visit) else ()
    names = dict.fromkeys(route.server.name for route in routes)
    return [*zip(names, names, strict=True), (mailbox.SERVER.name, visit._("the test mailbox"))]


def _place(text: str) -> Place | None:
    match [digits(part) for part in text.split("-")]:
        case [int(lead_id), int(key)]:
            return lead_id, key
    return None


# -- deciding about many --


@page(f"{HERE}/doubts", menu="mail", right=Right.MAIL_WRITE, post=True)
def decide_doubts(visit: Visit) -> Answer:
    """Decided about mails in doubt."""
    verb, reason = visit.text("verb"), visit.text("reason", LONGEST_REASON)
    if verb not in {"again", "drop"} or not reason:
        told = {"reason": visit._("Say why, please: it is kept with each mail.")}
        return visit.refuse("mails.html", told, **_list(visit, {**visit.form, "state": MailState.IN_DOUBT}))

    def work(lead_id: int, mail: Mail) -> Work[Any]:
        key, origin = (visit.account.id, lead_id), visit.user.origin
        return DoubtWork(key, mail.key, again=verb == "again", reason=reason, origin=origin)

    done = _all_of(visit, MailState.IN_DOUBT, work)
    visit.about(f"{done.number}: {verb}, {reason}")
    return visit.redirect(HERE, _told(visit, done, again=verb == "again"))


@page(f"{HERE}/backlog", menu="mail", right=Right.MAIL_WRITE, post=True)
def drop_backlog(visit: Visit) -> Answer:
    """Gave up the queued mails of a sequence."""
    reason, wish = visit.text("reason", LONGEST_REASON), mailquestions.wish(visit.account, visit.form)
    sequence = visit.account.sequence_by_id.get(wish.sequence_id or 0)
    if sequence is None:
        raise NotThere
    if not reason:
        told = {"reason": visit._("Say why, please: it is kept with each mail.")}
        return visit.refuse("mails.html", told, **_list(visit, {**visit.form, "state": MailState.QUEUED}))

    def work(lead_id: int, mail: Mail) -> Work[Any]:
        return DropWork((visit.account.id, lead_id), mail.key, reason=reason, origin=visit.user.origin)

    done = _all_of(visit, MailState.QUEUED, work)
    visit.about(f"{sequence.name}: {done.number}, {reason}")
    return visit.redirect(HERE, _told(visit, done, again=False))


def _all_of(visit: Visit, state: MailState, work: Any) -> manywork.Done:
    """All mails in a state that are as the form's filter says."""
    wish = mailquestions.wish(visit.account, {**visit.form, "state": state})
    place: Place | None = None
    over = False

    def portion(most: int) -> Sequence[Work[Any]]:
        nonlocal place, over
        while not over:
            with visit.database.read() as connection:
                found = mailledger.page(connection, visit.account.id, wish, after=place, most=most)
            place, over = found.after, found.after is None
            if found.mails:
                return [work(entry.lead_id, entry.mail) for entry in found.mails]
        return []

    return manywork.in_portions(visit, portion)


def _told(visit: Visit, done: manywork.Done, *, again: bool) -> str:
    ngettext = visit.language.ngettext
    if again:
        told = ngettext("%d mail is sent again.", "%d mails are sent again.", done.number) % done.number
    else:
        told = ngettext("%d mail is given up.", "%d mails are given up.", done.number) % done.number
    return f"{told} {visit._('There are more: please do it once again.')}" if done.more else told


# -- one mail --


@page(HERE + "/{lead:int}/{number:int}", menu="mail", right=Right.LEADS_READ)
def show_mail(visit: Visit) -> Answer:
    return visit.show("mail.html", **_story(visit))


@page(HERE + "/{lead:int}/{number:int}", menu="mail", right=Right.MAIL_WRITE, post=True)
def decide_doubt(visit: Visit) -> Answer:
    """Decided about a mail in doubt."""
    known, mail = _known(visit)
    verb, reason = visit.text("verb"), visit.text("reason", LONGEST_REASON)
    if verb not in {"again", "drop"} or not reason:
        return visit.refuse(
            "mail.html", {"reason": visit._("Say why, please: it is kept with the mail.")}, **_story(visit)
        )
    key = (visit.account.id, visit.path["lead"])
    try:
        visit.submit(DoubtWork(key, mail.key, again=verb == "again", reason=reason, origin=visit.user.origin))
    except NotInDoubt:
        return visit.redirect(visit.url, visit._("It is not in doubt any more."), alarming=True)
    visit.about(f"{known.lead.email}, {mail.box}: {verb}, {reason}")
    return visit.redirect(visit.url, visit._("It is sent again.") if verb == "again" else visit._("It is given up."))


@page(HERE + "/{lead:int}/{number:int}/frame", menu="mail", right=Right.LEADS_READ)
def show_mail_frame(visit: Visit) -> Answer:
    raw, _ = _message(visit, *_known(visit))
    return mailframes.frame(raw)


def _known(visit: Visit) -> tuple[Known, Mail]:
    """Raises `NotThere`."""
    key = (visit.account.id, visit.path["lead"])
    try:
        known = asyncio.run(asking.read(visit.database, visit.catalog, key))
    except LeadNotFound:
        raise NotThere from None
    mail = known.lead.mails.get(visit.path["number"])
    if mail is None:
        raise NotThere
    return known, mail


def _story(visit: Visit) -> dict[str, Any]:
    known, mail = _known(visit)
    trouble, letter, whole = "", None, False
    try:
        raw, whole = _message(visit, known, mail)
        letter = mailbox.read(raw)
    except CartwheelError as refusal:
        trouble = str(refusal)
    except NotThere:
        trouble = visit._("What it said is not known any more.")
    facts = why.explain(known, visit.now, mail=mail.key)
    asked = visit.query.get("show", "")
    return {
        "known": known,
        "mail": mail,
        "row": mailwords.row(visit, Listed(known.lead.id, known.lead.email, mail)),
        "letter": letter,
        "kept": whole,
        "trouble": trouble,
        "story": _moments(visit, known, mail),
        "facts": [fact for fact in facts if fact.about in {About.LEAD, About.MAIL}],
        "shown": asked if asked in mailframes.SHOWS else "html",
    }


def _moments(visit: Visit, known: Known, mail: Mail) -> list[tuple[datetime, str, str]]:
    """(when, what, details), oldest first."""
    _ = visit._
    found: list[tuple[datetime | None, str, str]] = [
        (mail.queued_at, _("Queued"), mailwords.step(visit, mail)),
        (mail.trouble_since, _("A try went wrong"), _tries(visit, mail)),
        (
            mail.sent_at,
            _("Taken by %s") % mailwords.server(visit, mail),
            visit.say(kept(mail.reply)) if mail.state is MailState.ACCEPTED else "",
        ),
        (mail.opened_at, _("Opened"), ""),
        (mail.clicked_at, _("Clicked"), ""),
        (mail.machine_opened_at, _("Opened by a machine"), _("A mail scanner looks at mails before people do.")),
        (mail.machine_clicked_at, _("Clicked by a machine"), _("A mail scanner follows links before people do.")),
    ]
    place = {"sequence_id": mail.sequence_id, "step": mail.box}
    for entry in known.feed:
        here = place.items() <= dict(entry.details).items()
        if entry.kind == "mail_not_sent" and here and entry.at >= mail.queued_at:
            found.append((entry.at, _("Not sent"), visit.say(kept(str(entry.details["reason"])))))
        elif entry.kind == "mail_bounced" and mail.sent_at is not None and entry.at >= mail.sent_at:
            found.append(
                (entry.at, _("A mail to this address came back"), visit.say(kept(str(entry.details["reason"]))))
            )
    return sorted((at, what, details) for at, what, details in found if at is not None)


def _tries(visit: Visit, mail: Mail) -> str:
    return visit.language.ngettext("%d try so far", "%d tries so far", mail.attempts) % mail.attempts


def _message(visit: Visit, known: Known, mail: Mail) -> tuple[bytes, bool]:
    """What went out if it was kept, and that; else as it would be made now, with links that lead nowhere."""
    with visit.database.read() as connection:
        raw = mailbox.message(connection, visit.account.id, known.lead.id, mail.key)
    if raw is not None:
        return raw, True
    flow = known.flow(mail.sequence_id, mail.version)
    step = flow.by_box.get(mail.box) if flow else None
    if not isinstance(step, EmailStep) or known.lead.erased:
        raise NotThere
    composer = Composer(Signer(secrets.token_bytes(32)), visit.base_url)
    at = mail.sent_at or visit.now
    return composer.compose(known.account, known.lead, mail, step, now=at, nobody_outside=True).data, False
