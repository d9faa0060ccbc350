"""What follows from a lead's events in the piece of work that has them: automations run, and waiting runs are woken."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import repeat

from cartwheel.accounts import Account
from cartwheel.data.catalog import Catalog
from cartwheel.data.leadstore import LeadKey, Recorded, Wanted
from cartwheel.hooks.outbound import told_of
from cartwheel.leads.events import is_quiet
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
    if is_quiet(origin):
        return {}
    accounts = catalog.accounts
    return {
        key: automations.react(lead, accounts[key[0]], now, origin)
        for key, lead in leads.items()
        if lead.events and automations.starts_any(lead, accounts[key[0]])
    }


def recorded(lead: Lead, account: Account, origin: str, reaction: Reaction | None) -> Iterable[Recorded]:
    """The lead's events, and who is told of them: nobody of the leads of test mode, which are not real, nor of imports.

    What automations did in a piece of work is its origin's doing, too, for those who are not told of that.
    """
    origins = reaction.origins if reaction else repeat(origin, len(lead.events))
    happened = zip(lead.events, origins, strict=True)
    if not account.hooks or lead.test or is_quiet(origin):
        return (Recorded(lead, event, event.kind, by) for event, by in happened)
    tellings = told_of(account.hooks, lead.events, origin, account.names, lead.score)
    return (
        Recorded(lead, event, event.kind, by, told, account)
        for (event, by), told in zip(happened, tellings, strict=True)
    )


def woken_runs(lead: Lead, account: Account) -> set[tuple[int, int, int]]:
    """The runs that the lead's events may concern."""
    kinds = {event.kind for event in lead.events}
    return {
        (lead.account_id, lead.id, sequence.id)
        for sequence in account.sequences.values()
        if not sequence.hears.isdisjoint(kinds)
    }
