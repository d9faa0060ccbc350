"""What people see in a terminal of a lead, of an account's Apps, and of the doctor's findings."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.text import Text

from cartwheel.accounts import EVERY_COMMAND, App, Token
from cartwheel.data.doctor import Report
from cartwheel.leads.leadparts import Gdpr, Grant
from cartwheel.views import terminal
from cartwheel.views.leadcard import LeadCard

# -- a lead --


def card(lead_card: LeadCard) -> Iterator[Text]:
    """The lead's state, its ledger, and what happened to it."""
    lead = lead_card.lead
    head = Text.assemble(terminal.plain(lead.email, "bold"), "   score ", (f"{lead.score:,}", "bold"))
    if lead.deleted_at:
        head.append(f"   deleted {_time(lead_card, lead.deleted_at)}", "bold red")
    yield head
    known = (lead_card.name, f"id {lead.id}", lead_card.account.name, f"{lead_card.account.zone.key} time")
    yield terminal.plain(" · ".join(part for part in known if part), "dim")
    state = list(_state(lead_card))
    if state:
        yield Text()
        yield from terminal.pairs(state)
    if lead_card.ledger:
        yield Text()
        yield Text("Points", "bold")
        yield from terminal.indented(terminal.columns(_booking(lead_card, grant) for grant in lead_card.ledger))
    yield Text()
    yield Text("What happened", "bold")
    yield from terminal.indented(terminal.columns(_feed(lead_card)))


def _state(lead_card: LeadCard) -> Iterator[tuple[str, str]]:
    lead, account = lead_card.lead, lead_card.account
    for name, value in lead_card.fields().items():
        yield name.replace("_", " "), value
    if lead.notes:
        yield "notes", lead.notes
    if lead.blacklisted:
        yield "blacklisted", "yes"
    if lead.untracked:
        yield "tracking", "off: what it opens and clicks is not recorded"
    if lead.test:
        yield "test lead", "made by an App in test mode"
    if lead.consent.status is not Gdpr.OFF:
        yield "consent", lead.consent.status.name.lower().replace("_", " ")
    if tags := lead_card.tags():
        yield "tags", ", ".join(tags)
    for name, place in lead_card.lists():
        left = f", left {_time(lead_card, place.left_at)}" if place.left_at else ""
        yield "list", f"{name} since {_time(lead_card, place.joined_at)}{left}"
    for run in lead.runs.values():
        ended = f" {_time(lead_card, run.ended_at)}" if run.ended_at else ""
        name = account.sequence_names[run.sequence_id]
        yield "sequence", f"{name}, step {run.step}, {run.status}{ended}"


def _booking(lead_card: LeadCard, grant: Grant) -> tuple[Text, Text, Text]:
    until = f"until {_time(lead_card, grant.expires_at)}" if grant.expires_at else ""
    if grant.reversed_at:
        until = f"expired {_time(lead_card, grant.reversed_at)}"
    colour = "dim" if grant.reversed_at else "green" if grant.points > 0 else "red"
    width = max(len(f"{entry.points:+,}") for entry in lead_card.ledger)
    points = Text(f"{grant.points:>+{width},}", colour)
    return Text(_time(lead_card, grant.given_at), "dim"), points, Text(until, "dim")


def _feed(lead_card: LeadCard) -> Iterator[tuple[Text, Text, Text]]:
    """Oldest first, as it is told."""
    for entry in reversed(lead_card.feed):
        at = _time(lead_card, entry.at, "%Y-%m-%d %H:%M:%S")
        yield Text(at, "dim"), terminal.plain(entry.text), terminal.plain(entry.by, "dim")


def _time(lead_card: LeadCard, at: datetime, form: str = "%Y-%m-%d %H:%M") -> str:
    return at.astimezone(lead_card.account.zone).strftime(form)


# -- the doctor --


def report(found: Report) -> Iterator[Text]:
    """Each check, what is wrong, and counts."""
    for name in found.waiting:
        yield _verdict("WAITING", f"Migration {name} has not run: `cartwheel migrate` runs it.")
    for name in found.unknown:
        yield _verdict("UNKNOWN", f"Migration {name} is a newer Cartwheel's.")
    for result in found.results:
        yield _verdict(f"{result.found:,} FOUND" if result.found else "ok", result.promise)
        for example in result.examples:
            yield terminal.plain(
                f"             {', '.join(f'{name} {value}' for name, value in example.items())}", "dim"
            )
        if result.found > len(result.examples):
            yield Text("             …", "dim")
    counts = ", ".join(
        f"{count:,} {name if count != 1 else name.removesuffix('s')}" for name, count in found.counts.items()
    )
    if found.mails_due or found.counts.get("mails"):
        parts = " + ".join(f"{count:,} {state}" for state, count in found.mails.items())
        yield Text()
        sign = "=" if found.mails_due == sum(found.mails.values()) else "≠"
        yield Text(f"{found.mails_due:,} due {sign} {parts}")
    verdict = Text("All is well.", "bold green") if found.healthy else Text("Something is wrong.", "bold red")
    yield Text()
    yield Text.assemble(verdict, f" {counts}." if counts else "")


def _verdict(verdict: str, promise: str) -> Text:
    return Text.assemble((f"{verdict:>9}", "green" if verdict == "ok" else "bold red"), "  ", promise)


# -- Apps --


def apps(listed: Sequence[App]) -> Iterator[Text]:
    """Without what is secret about them."""
    yield from terminal.columns([_APP_HEADS, *map(_app, listed)])


def app_data(app: App) -> dict[str, Any]:
    """The same, as JSON has it."""
    return {
        "name": app.name,
        "mode": app.mode,
        "rate_limit": app.rate_limit,
        "allow_ips": list(app.allow_ips),
        "commands": [EVERY_COMMAND] if app.commands is None else sorted(app.commands),
        "active": app.active,
    }


_APP_HEADS = [Text(head, "dim") for head in ("app", "mode", "rate", "addresses", "commands", "active")]


def _app(app: App) -> list[Text]:
    rate = f"{app.rate_limit} a second" if app.rate_limit else "no limit"
    commands = "all" if app.commands is None else ", ".join(sorted(app.commands))
    cells = (app.name, app.mode, rate, ", ".join(app.allow_ips) or "any", commands, "yes" if app.active else "no")
    return [terminal.plain(cell) for cell in cells]


# -- people --


def users(entries: Sequence[Mapping[str, Any]]) -> Iterator[Text]:
    """Those who sign in to the pages."""
    if not entries:
        yield Text("Nobody has a login yet: open the link that `cartwheel serve` prints.")
        return
    yield from terminal.columns(
        [
            terminal.plain(entry["email"], "bold"),
            terminal.plain(entry["name"]),
            terminal.plain(", ".join(f"{account}: {role}" for account, role in entry["accounts"].items())),
            Text("second factor" if entry["second_factor"] else "", "dim"),
        ]
        for entry in entries
    )


# -- tokens --


def token_data(token: Token, used: datetime | None) -> dict[str, Any]:
    """Without what is secret about it."""
    return {
        "number": token.number,
        "name": token.name,
        "scopes": sorted(token.scopes),
        "rate_limit": token.rate_limit,
        "created_at": token.created_at.isoformat(),
        "expires_at": token.expires_at.isoformat() if token.expires_at else None,
        "used_at": used.isoformat() if used else None,
    }


def tokens(listed: Sequence[Mapping[str, Any]]) -> Iterator[Text]:
    """As `token_data` tells them."""
    heads = ("number", "name", "scopes", "made", "good until", "last used")
    rows = (
        (
            one["number"],
            one["name"],
            ", ".join(one["scopes"]),
            one["created_at"],
            one["expires_at"] or "revoked",
            one["used_at"] or "not yet",
        )
        for one in listed
    )
    yield from terminal.columns(
        [[Text(head, "dim") for head in heads], *([terminal.plain(cell) for cell in row] for row in rows)]
    )
