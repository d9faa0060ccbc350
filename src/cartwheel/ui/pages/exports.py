"""Taking data away: leads and mails as they are filtered, and everything of one lead."""

from collections.abc import Callable, Generator, Iterator

from cartwheel.data.leadstore import LeadKey
from cartwheel.errors import LeadNotFound
from cartwheel.exports import streams
from cartwheel.exports.formats import Format
from cartwheel.exports.writers import MARK
from cartwheel.leads import filters
from cartwheel.leads.leadparts import Part
from cartwheel.people import Right
from cartwheel.public import publicdata
from cartwheel.sending.tracking import LookWork
from cartwheel.ui import filterforms, leadquestions, mailquestions
from cartwheel.ui.registry import page
from cartwheel.ui.slots import Busy
from cartwheel.ui.visits import Answer, Download, NotThere, Streamed, Visit

_WHAT = {
    "leads": streams.leads,
    "events": streams.events,
}


@page("/leads/export", menu="leads", right=Right.EXPORT, post=True)
def export_leads(visit: Visit) -> Answer:
    """Exported leads."""
    what, form = visit.text("what", 20), _format(visit)
    question, wrong = leadquestions.read(visit)
    if wrong or what not in _WHAT:
        raise NotThere
    told = [filterforms.told(question.tree, visit.account)] if filters.written(question.tree) else []
    visit.about(", ".join([what, *told, *question.search.words]))
    return _streamed(visit, f"{what}.{form}", form, lambda: _WHAT[what](visit.database, question, form))


@page("/mail/export", menu="mail", right=Right.EXPORT, post=True)
def export_mails(visit: Visit) -> Answer:
    """Exported mails."""
    form, wish = _format(visit), mailquestions.wish(visit.account, visit.query)
    visit.about(", ".join(f"{name}: {value}" for name in mailquestions.ASKED if (value := visit.query.get(name))))
    make = lambda: streams.messages(visit.database, visit.account, wish, form)  # noqa: E731 - as short as it is
    return _streamed(visit, f"mails.{form}", form, make)


@page("/leads/{number:int}/export", menu="leads", right=Right.EXPORT, post=True)
def export_lead(visit: Visit) -> Answer:
    """Exported everything of a lead."""
    key: LeadKey = (visit.account.id, visit.path["number"])
    if key[1] >= 1 << 53:
        raise NotThere
    try:
        lead = visit.submit(LookWork(key, Part.ALL | Part.SUPPRESSION))
    except LeadNotFound:
        raise NotThere from None
    if lead.erased:
        raise NotThere
    visit.about(lead.email)
    data = publicdata.as_json(visit.database, lead, visit.account)
    return Download(data, "application/json", _attached(f"lead-{lead.id}.json"))


def _format(visit: Visit) -> Format:
    asked = visit.text("format", 20)
    if asked not in set(Format):
        raise NotThere
    return Format(asked)


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _streamed(visit: Visit, name: str, form: Format, make: Callable[[], Iterator[bytes]]) -> Answer:
    """Begun already, so that what goes wrong at once is told on a page."""
    parts = _parts(visit, form, make)
    try:
        first = next(parts)
    except Busy:
        told = visit._("Other exports are under way. Please try again when they have ended.")
        return visit.show("trouble.html", status=503, told=told)
    return Streamed(_going_on(first, parts), form.media_type, _attached(name))


def _parts(visit: Visit, form: Format, make: Callable[[], Iterator[bytes]]) -> Generator[bytes]:
    with visit.house.exports.one(visit.account.id):
        if form is Format.CSV:
            yield MARK
        yield from make()


def _going_on(first: bytes, parts: Generator[bytes]) -> Generator[bytes]:
    try:
        yield first
        yield from parts
    finally:
        parts.close()
