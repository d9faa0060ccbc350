"""The first page: how the account does, and what somebody has to see to."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

from cartwheel.data import attention, dailycounts
from cartwheel.data.attention import Attention
from cartwheel.data.dailycounts import BOUNCED, CALLS, CALLS_FAILED, CLICKED, LEADS, LEADS_GONE, OPENED, SENT
from cartwheel.mail.composing import Unsendable, read_sender
from cartwheel.people import Right
from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, Visit

SPANS = (7, 30, 90)
WHATS = (LEADS, SENT, OPENED, CLICKED, BOUNCED, CALLS, CALLS_FAILED)
_EPOCH = date(1970, 1, 1)
_MOST_STUCK = 5
"""Sequences in which leads are stuck that are named; the others are counted."""

Numbers = Mapping[str, Counter[date]]


class Task(NamedTuple):
    """What somebody has to see to; `path` is where, and empty for who may not."""

    text: str
    path: str
    icon: str
    urgent: bool = False


class Step(NamedTuple):
    """On the way to the first mail."""

    title: str
    text: str
    path: str
    done: bool


@page("/", menu="dashboard")
def show_dashboard(visit: Visit) -> Answer:
    asked = visit.query.get("days", "")
    span = int(asked) if asked in map(str, SPANS) else 30
    today = visit.now.astimezone(visit.account.zone).date()
    days = [today - timedelta(days=ago) for ago in reversed(range(span))]
    with visit.database.read() as connection:
        numbers = dailycounts.by_day(connection, visit.account.id, days[0], days[-1], WHATS)
        ever = dailycounts.total(connection, visit.account.id, (LEADS, LEADS_GONE))
        seen = attention.read(connection, visit.account.id)
    steps = _steps(visit, seen, ever[LEADS])
    sums = {what: counts.total() for what, counts in numbers.items()}
    return visit.show(
        "dashboard.html",
        span=span,
        spans=SPANS,
        days=days,
        numbers=numbers,
        sums=sums,
        whats=WHATS,
        leads=ever[LEADS] - ever[LEADS_GONE],
        rates={what: sums[what] / sums[SENT] if sums[SENT] else None for what in (OPENED, CLICKED, BOUNCED)},
        steps=[] if all(step.done for step in steps) else steps,
        tasks=list(_tasks(visit, seen)),
        plots=_plots(visit, days, numbers),
    )


def _plots(visit: Visit, days: list[date], numbers: Numbers) -> dict[str, Any]:
    """What `plots.js` reads."""
    day = visit._("Day")

    def series(what: str, label: str, colour: str) -> dict[str, Any]:
        return {"label": label, "colour": colour, "values": [numbers[what][at] for at in days]}

    mail = [
        series(SENT, visit._("Sent"), "--tblr-primary"),
        series(OPENED, visit._("Opened"), "--tblr-green"),
        series(CLICKED, visit._("Clicked"), "--tblr-purple"),
        series(BOUNCED, visit._("Bounced"), "--tblr-red"),
    ]
    calls = [
        series(CALLS, visit._("Calls"), "--tblr-primary"),
        series(CALLS_FAILED, visit._("With an error"), "--tblr-red"),
    ]
    return {
        "days": [(at - _EPOCH).days for at in days],
        "plots": [
            {"id": "plot-mail", "day": day, "bars": False, "series": mail},
            {
                "id": "plot-leads",
                "day": day,
                "bars": True,
                "series": [series(LEADS, visit._("New leads"), "--tblr-primary")],
            },
            {"id": "plot-calls", "day": day, "bars": False, "series": calls},
        ],
    }


def _steps(visit: Visit, seen: Attention, leads: int) -> list[Step]:
    _, account = visit._, visit.account
    sequences = any(sequence.boxes for sequence in account.sequences.values())
    return [
        Step(
            _("Say who writes"),
            _("The sender and the postal address of your mails."),
            "/settings",
            bool(account.mail.sender),
        ),
        Step(
            _("Make a sequence"),
            _("Its steps are the mails, and what happens between them."),
            "/communication/sequences",
            sequences,
        ),
        Step(_("Add a lead"), _("By hand, or by a call of your web site."), "/leads", leads > 0),
        Step(
            _("Start it in the sequence"),
            _("The first mail goes out at once, or when its step says."),
            "/leads",
            seen.has_mail,
        ),
    ]


def _tasks(visit: Visit, seen: Attention) -> Iterator[Task]:
    _, ngettext = visit._, visit.language.ngettext
    mail, settings, house = visit.account.mail, visit.may(Right.SETTINGS), visit.house.settings
    leads = visit.may(Right.LEADS_READ)
    if seen.in_doubt:
        text = ngettext(
            "%d mail is in doubt: nobody can tell whether it was sent",
            "%d mails are in doubt: nobody can tell whether they were sent",
            seen.in_doubt,
        )
        yield Task(_number(text, seen.in_doubt), "/mail?state=in+doubt" if leads else "", "help", urgent=True)
    if seen.in_trouble:
        text = ngettext(
            "%d mail was tried in vain so far: its server does not take it",
            "%d mails were tried in vain so far: their servers do not take them",
            seen.in_trouble,
        )
        yield Task(_number(text, seen.in_trouble), "/mail?state=queued" if leads else "", "server", urgent=True)
    yield from _stuck(visit, seen)
    for sequence in visit.account.sequences.values():
        if sequence.paused and sequence.archived_at is None:
            yield Task(
                _("The sequence %s is paused") % sequence.name, f"/communication/sequences/{sequence.id}", "pause"
            )
    for number, name, paused in seen.webhooks:
        path = f"/integrations/webhooks/{number}" if visit.may(Right.INTEGRATIONS) else ""
        text = _("The webhook %s is paused: what it would be told waits")
        if not paused:
            text = _("The webhook %s fails: what it would be told is tried again")
        yield Task(text % name, path, "webhook", urgent=True)
    for number, file in seen.imports:
        path = f"/leads/import/{number}" if visit.may(Right.LEADS_WRITE) else ""
        yield Task(_("The import of %s has stopped before its end") % file, path, "upload", urgent=True)
    if not house.smtp:
        yield Task(
            _("No mail server is set: all mail stays in the test mailbox"),
            "/settings/servers" if settings else "/mail/test" if leads else "",
            "mailbox",
        )
    if not mail.sender:
        yield Task(_("Nobody is set as the sender of mails"), "/settings" if settings else "", "user", urgent=True)
    elif not _is_signed(mail.sender, seen.signs):
        yield Task(
            _("Mails are not signed (DKIM): mail servers trust them less"),
            "/settings/domains" if settings else "",
            "world",
        )
    if not mail.address:
        yield Task(
            _("No postal address is set, which the law asks for in commercial mail"),
            "/settings" if settings else "",
            "map-pin",
        )
    if not house.public_url:
        yield Task(
            _("No public address is set: links in mails lead nowhere"),
            "/settings#public-address" if settings else "",
            "link",
        )


def _stuck(visit: Visit, seen: Attention) -> Iterator[Task]:
    """The leads that are stuck, sequence by sequence: each leads to where they are named."""
    names, ngettext = visit.account.sequence_names, visit.language.ngettext
    for sequence_id, leads in sorted(seen.parked.items(), key=lambda entry: -entry[1])[:_MOST_STUCK]:
        text = ngettext(
            "%(number)s lead is stuck in the sequence %(name)s",
            "%(number)s leads are stuck in the sequence %(name)s",
            leads,
        )
        number = f"{attention.MOST}+" if leads >= attention.MOST else leads
        told = text % {"number": number, "name": names.get(sequence_id, sequence_id)}
        yield Task(told, f"/communication/sequences/{sequence_id}#stuck", "route", urgent=True)
    others = len(seen.parked) - _MOST_STUCK
    if others > 0:
        text = ngettext("Leads are stuck in %d more sequence", "Leads are stuck in %d more sequences", others)
        yield Task(text % others, "/communication/sequences", "route", urgent=True)


def _number(text: str, number: int) -> str:
    return text.replace("%d", f"{attention.MOST}+") if number >= attention.MOST else text % number


def _is_signed(sender: str, signs: frozenset[str]) -> bool:
    """By a key of its domain, or of one above it."""
    try:
        domain = read_sender(sender)[1].rpartition("@")[2].lower()
    except Unsendable:
        return False
    return any(domain == signed or domain.endswith(f".{signed}") for signed in signs)
