"""Mails of the ledger in words, in the visitor's language."""

from typing import NamedTuple

from msgspec import DecodeError

from cartwheel.data import flowstore, mailbox
from cartwheel.data.mailstore import Listed
from cartwheel.leads.leadparts import SuppressionReason
from cartwheel.leads.mails import Mail, MailState, WaitsFor
from cartwheel.phrases import kept
from cartwheel.sequences import telling
from cartwheel.sequences.steps import EmailStep
from cartwheel.ui.visits import Visit


class Row(NamedTuple):
    """A line of the ledger."""

    entry: Listed
    path: str
    to: str
    subject: str
    what: str
    state: str
    look: str
    told: str
    seen: str


def states(visit: Visit) -> dict[MailState, str]:
    return {
        MailState.QUEUED: visit._("Queued"),
        MailState.HANDED_OVER: visit._("On its way"),
        MailState.ACCEPTED: visit._("Sent"),
        MailState.FAILED: visit._("Failed"),
        MailState.SUPPRESSED: visit._("Held back"),
        MailState.IN_DOUBT: visit._("In doubt"),
    }


LOOKS = {
    MailState.QUEUED: "blue",
    MailState.HANDED_OVER: "blue",
    MailState.ACCEPTED: "green",
    MailState.FAILED: "red",
    MailState.SUPPRESSED: "secondary",
    MailState.IN_DOUBT: "yellow",
}


def row(visit: Visit, entry: Listed) -> Row:
    mail = entry.mail
    path = f"/mail/{entry.lead_id}/{mail.key}"
    state = states(visit)[mail.state]
    look, said = LOOKS[mail.state], told(visit, mail)
    return Row(
        entry,
        path,
        address(visit, entry),
        subject(visit, mail),
        step(visit, mail),
        state,
        look,
        said,
        seen(visit, mail),
    )


def address(visit: Visit, entry: Listed) -> str:
    if entry.email.startswith("erased:"):
        return visit._("An erased lead")
    return entry.mail.address or entry.email


def subject(visit: Visit, mail: Mail) -> str:
    """As the step has it, merge fields and all; empty if the step is not known any more."""
    key = (visit.account.id, mail.sequence_id, mail.version)

    def subjects() -> dict[str, str]:
        try:
            with visit.database.read() as connection:
                flow = flowstore.read(connection, key)
        except DecodeError:  # a newer version of Cartwheel wrote it
            flow = None
        return {each.box: each.subject for each in flow.steps if isinstance(each, EmailStep)} if flow else {}

    return visit.house.remembered.get(("subjects", *key), visit.now, subjects).get(mail.box, "")


def step(visit: Visit, mail: Mail) -> str:
    name = visit.account.sequence_names.get(mail.sequence_id) or visit._("a sequence of the past")
    return visit._("%(sequence)s, step %(step)s") % {"sequence": name, "step": mail.box}


def told(visit: Visit, mail: Mail) -> str:
    """What there is to say of its state."""
    if mail.state is MailState.QUEUED:
        return _waits(visit, mail)
    if mail.state is MailState.HANDED_OVER:
        return visit._("Try %(number)d, with %(server)s") % {"number": mail.attempts, "server": server(visit, mail)}
    if mail.state is MailState.ACCEPTED:
        return visit._("Taken by %s") % server(visit, mail)
    if mail.state is MailState.IN_DOUBT:
        return visit._("Nobody can tell whether %(server)s took it: %(reply)s") % {
            "server": server(visit, mail),
            "reply": visit.say(kept(mail.reply)),
        }
    return visit.say(kept(mail.reply))


def server(visit: Visit, mail: Mail) -> str:
    return visit._("the test mailbox") if mail.server == mailbox.SERVER.name else mail.server


def _waits(visit: Visit, mail: Mail) -> str:
    if mail.waits_for is WaitsFor.OWNER:
        return visit._("Somebody has to see to it: %s") % visit.say(kept(mail.reply))
    if mail.waits_for is WaitsFor.PAUSE:
        return visit._("The sequence is paused") if visit.account.active else visit._("The account is not active")
    if mail.waits_for is WaitsFor.EARLIER_MAIL:
        return visit._("An earlier mail of the sequence comes first")
    if mail.waits_for:
        told = visit.say(telling.mail_waits(mail, visit.account))
        return told[:1].upper() + told[1:]
    if mail.attempts:
        return visit._("Tried %(number)d times: %(reply)s") % {
            "number": mail.attempts,
            "reply": visit.say(kept(mail.reply)),
        }
    return visit.say(kept(mail.reply)) or visit._("Goes out next")


def seen(visit: Visit, mail: Mail) -> str:
    if mail.clicked_at is not None:
        return visit._("Clicked")
    return visit._("Opened") if mail.opened_at is not None else ""


def reasons(visit: Visit) -> dict[SuppressionReason, str]:
    """Why addresses are not mailed."""
    return {
        SuppressionReason.COMPLAINT: visit._("Called it spam"),
        SuppressionReason.DO_NOT_CONTACT: visit._("Wants no mail"),
        SuppressionReason.HARD_BOUNCE: visit._("Does not exist"),
        SuppressionReason.SOFT_BOUNCES: visit._("Failed too often"),
    }
