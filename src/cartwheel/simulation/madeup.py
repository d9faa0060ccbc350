"""Leads that nobody is, to try a sequence out with."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from cartwheel.accounts import Account
from cartwheel.emails import EmailNotValid, read_email
from cartwheel.errors import DomainError
from cartwheel.leads.lead import Lead
from cartwheel.leads.leadparts import Consent, Gdpr, Source
from cartwheel.simulation.stories import BadSimulation
from cartwheel.simulation.whatifs import fill


def made_up(
    account: Account,
    now: datetime,
    fields: Mapping[str, str],
    *,
    number: int = 1,
    tags: Iterable[str] = (),
    lists: Iterable[str] = (),
    consent: bool = True,
) -> Lead:
    """A lead that nobody is; its address may stand among the fields. Raises `BadSimulation`."""
    email = _address(fields.get("email", f"lead{number}@simulation.example"))
    lead = Lead.create(account.id, number, email, now, source=Source.MANUAL, test=False, gdpr=Gdpr.UNKNOWN)
    if consent:
        lead.consent = Consent(Gdpr.ACCEPTED, now, communications=True)
    try:
        fill(lead, account, {name: value for name, value in fields.items() if name != "email"})
        for name in tags:
            lead.tag(account.tag_named(name).id)
        for name in lists:
            lead.join(account.list_named(name).id, now)
    except (DomainError, ValueError) as error:
        raise BadSimulation(str(error)) from error
    lead.events.clear()
    return lead


def _address(text: str) -> str:
    try:
        return read_email(text)
    except EmailNotValid:
        raise BadSimulation(f"{text!r} is no e-mail address") from None
