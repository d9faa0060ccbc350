"""The test mailbox: what would have been sent, whole."""

from cartwheel.data import mailbox
from cartwheel.people import Right
from cartwheel.readers import digits
from cartwheel.ui import mailframes, mailservers
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, NotThere, Visit

HERE = "/mail/test"
ONE = HERE + "/{lead:int}/{number:int}"
MOST = 50


@page(HERE, menu="mailbox", right=Right.LEADS_READ)
def show_mailbox(visit: Visit) -> Answer:
    with visit.database.read() as connection:
        found = mailbox.kept(connection, visit.account.id, MOST + 1, _place(visit.query.get("after", "")))
    last = found[MOST - 1].place if len(found) > MOST else None
    return visit.show(
        "mailbox.html",
        letters=found[:MOST],
        after="-".join(map(str, last)) if last else "",
        all_kept=not mailservers.in_force(visit),
    )


def _place(text: str) -> mailbox.Place | None:
    match [digits(part) for part in text.split("-")]:
        case [int(at), int(lead_id), int(key)]:
            return at, lead_id, key
    return None


@page(f"{HERE}/empty", menu="mailbox", right=Right.MAIL_WRITE, post=True)
def empty_mailbox(visit: Visit) -> Answer:
    """Emptied the test mailbox."""
    with visit.database.write() as connection:
        number = mailbox.clear(connection, visit.account.id)
    told = visit.language.ngettext("%d mail is thrown away.", "%d mails are thrown away.", number) % number
    return visit.redirect(HERE, told)


@page(ONE, menu="mailbox", right=Right.LEADS_READ)
def show_letter(visit: Visit) -> Answer:
    raw = _raw(visit)
    asked = visit.query.get("show", "")
    return visit.show(
        "kept.html",
        letter=mailbox.read(raw),
        files=[file for file, _ in mailframes.attachments(raw)],
        shown=asked if asked in mailframes.SHOWS else "html",
        lead_id=visit.path["lead"],
        number=visit.path["number"],
        size=len(raw),
    )


@page(f"{ONE}/frame", menu="mailbox", right=Right.LEADS_READ)
def show_letter_frame(visit: Visit) -> Answer:
    return mailframes.frame(_raw(visit))


@page(f"{ONE}/source", menu="mailbox", right=Right.LEADS_READ)
def save_letter(visit: Visit) -> Answer:
    return mailframes.as_file(_raw(visit), f"mail-{visit.path['number']}.eml")


@page(ONE + "/files/{place:int}", menu="mailbox", right=Right.LEADS_READ)
def save_file(visit: Visit) -> Answer:
    for file, data in mailframes.attachments(_raw(visit)):
        if file.place == visit.path["place"]:
            return mailframes.as_file(data, file.name)
    raise NotThere


def _raw(visit: Visit) -> bytes:
    """Raises `NotThere`."""
    with visit.database.read() as connection:
        raw = mailbox.message(connection, visit.account.id, visit.path["lead"], visit.path["number"])
    if raw is None:
        raise NotThere
    return raw
