"""What is shown of automations: what they have done to a lead, and the table of them."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from cartwheel import accounts
from cartwheel.accounts import Account, Automation
from cartwheel.leads.events import AutomationRan, AutomationRefused, AutomationSkipped
from cartwheel.sequences import telling
from cartwheel.sequences.actions import StartSequence, StopSequence
from cartwheel.sequences.automations import plan_of
from cartwheel.views import terminal
from cartwheel.views.leadcard import Entry

TRACES = frozenset({AutomationRan.kind, AutomationSkipped.kind, AutomationRefused.kind})

MOST_TOLD = 20

UNREADABLE = "it was made by a newer version of Cartwheel, and does nothing in this one"


def of_lead(account: Account, feed: Sequence[Entry]) -> Iterator[str]:
    """What became of automations that the lead started: of each the last time that it ran, and that it did not."""
    last: dict[tuple[str, int], Entry] = {}
    for entry in feed:  # newest first
        if entry.kind in TRACES:
            last.setdefault((entry.kind, entry.details["automation_id"]), entry)
    for entry in list(last.values())[:MOST_TOLD]:
        yield f"{entry.text}, on {telling.clock(entry.at, account.zone)}."


def of_sequence(account: Account, feed: Sequence[Entry], sequence: accounts.Sequence) -> Iterator[str]:
    """Those that start it or take leads out of it, and what became of them."""
    about = [entry for entry in account.automations.values() if _moves(entry, sequence, account)]
    for entry in about:
        yield f"{_named(entry)}: {sentence(entry)}"
    numbers = {entry.id for entry in about}
    yield from of_lead(account, [e for e in feed if e.kind in TRACES and e.details["automation_id"] in numbers])


def _moves(automation: Automation, sequence: accounts.Sequence, account: Account) -> bool:
    plan = plan_of(automation)
    named = [each.sequence for each in plan.then if isinstance(each, StartSequence | StopSequence)] if plan else []
    return any(account.sequences.get(accounts.name_key(name)) is sequence for name in named)


def _named(entry: Automation) -> str:
    return f"The automation {entry.name}" if entry.active else f"The automation {entry.name} is paused"


def sentence(automation: Automation) -> str:
    """What it does."""
    plan = plan_of(automation)
    return plan.told() if plan else UNREADABLE


def data(automation: Automation) -> dict[str, Any]:
    return {
        "id": automation.id,
        "name": automation.name,
        "active": automation.active,
        "does": str(sentence(automation)),
    }


def lines(account: Account) -> Iterator[Text]:
    """A line an automation."""
    if not account.automations:
        yield Text(f"{account.name} has no automations. They are made on the pages, or in an account file.")
        return
    yield from terminal.columns(
        [
            terminal.plain(entry.name, "bold"),
            Text("" if entry.active else "paused", "yellow"),
            terminal.plain(sentence(entry)),
        ]
        for entry in account.automations.values()
    )
