"""What follows from a lead's events in the piece of work that has them: automations run, and waiting runs are woken."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from cartwheel.accounts import Account
from cartwheel.data.catalog import Catalog
from cartwheel.data.leadstore import LeadKey, Wanted
from cartwheel.leads.lead import Lead
from cartwheel.sequences import automations
from cartwheel.sequences.automations import Reaction


def widened(wanted: Iterable[Wanted], catalog: Catalog) -> list[Wanted]:
    """With the parts that the automations of each account may need."""
    accounts = catalog.accounts
    return [
        each._replace(parts=each.parts | account.reaction_parts)
        if (account := accounts.get(each.account_id)) and account.reactions
        else each
        for each in wanted
    ]


def needs_the_same(wanted: Iterable[Wanted], before: Catalog | None, now: Catalog) -> bool:
    """Whether automations ask no more of these leads now than they did before."""
    return before is not None and widened(wanted, before) == widened(wanted, now)


def react(leads: Mapping[LeadKey, Lead], catalog: Catalog, now: datetime, origin: str) -> dict[LeadKey, Reaction]:
    """Run the automations that hear what has happened to the leads; what came of it, for those that were started."""
    accounts = catalog.accounts
    return {
        key: automations.react(lead, accounts[key[0]], now, origin)
        for key, lead in leads.items()
        if lead.events and automations.starts_any(lead, accounts[key[0]])
    }


def woken_runs(lead: Lead, account: Account) -> set[tuple[int, int, int]]:
    """The runs that the lead's events may concern."""
    kinds = {event.kind for event in lead.events}
    return {
        (lead.account_id, lead.id, sequence.id)
        for sequence in account.sequences.values()
        if not sequence.hears.isdisjoint(kinds)
    }
