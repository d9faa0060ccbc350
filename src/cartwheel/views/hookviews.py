"""What people and programs see of webhooks and their deliveries."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from cartwheel.accounts import Account
from cartwheel.data.hookfeed import DELIVERED, PARKED
from cartwheel.data.hookstore import Delivery, Health
from cartwheel.hooks.outbound import OUTBOUND, REACHES_SCORE, Endpoint, named
from cartwheel.sequences import telling
from cartwheel.views import terminal

_STYLES = {DELIVERED: "green", PARKED: "bold yellow"}


def _heads(*names: str) -> list[Text]:
    return [Text(name, "dim") for name in names]


def wishes(endpoint: Endpoint, account: Account) -> list[str]:
    """What it is told: `assign_tag Customer`, `reaches_score 100`."""
    told = []
    for action, number in endpoint.events.items():
        row = OUTBOUND[action]
        if action == REACHES_SCORE:
            told.append(f"{action} {endpoint.score}")
        elif number is None:
            told.append(action)
        else:
            told.append(f"{action} {named(row, account.names).get(number, number)}")
    return told


def state_of(endpoint: Endpoint, health: Health) -> str:
    """In a word: `off`, `paused`, `failing` or `running`."""
    if not endpoint.enabled:
        return "off"
    if health.paused_at is not None:
        return "paused"
    return "failing" if health.failing_since is not None else "running"


def endpoints(account: Account, health: Mapping[int, Health]) -> Iterator[Text]:
    if not account.hooks:
        yield Text("There is no webhook.", "dim")
        return
    rows = [
        [
            Text(str(entry.id)),
            terminal.plain(entry.name, "bold"),
            terminal.plain(entry.url),
            terminal.plain(", ".join(wishes(entry, account))),
            Text(state_of(entry, health[entry.id])),
            Text(f"{health[entry.id].waiting:,}"),
            Text(f"{health[entry.id].parked:,}"),
        ]
        for entry in account.hooks
    ]
    yield from terminal.columns([_heads("no.", "name", "url", "events", "state", "waiting", "parked"), *rows])
    for entry in account.hooks:
        if why := health[entry.id].paused_why:
            yield terminal.plain(f"{entry.name} was paused: {why}", "yellow")


def data(endpoint: Endpoint, account: Account, health: Health) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "name": endpoint.name,
        "url": endpoint.url,
        "events": wishes(endpoint, account),
        "state": state_of(endpoint, health),
        "paused_why": health.paused_why,
        "failing_since": health.failing_since and health.failing_since.isoformat(),
        "waiting": health.waiting,
        "parked": health.parked,
    }


def _outcome(row: Delivery) -> str:
    return str(row.status) if row.status is not None else row.trouble


def deliveries(rows: Sequence[Delivery], account: Account) -> Iterator[Text]:
    if not rows:
        yield Text("There is no such delivery.", "dim")
        return
    lines = [
        [
            Text(row.token),
            Text(telling.clock(row.queued_at, account.zone), "dim"),
            Text(row.action),
            Text(row.state, _STYLES.get(row.state, "")),
            Text(f"{row.attempts:,}"),
            Text("" if row.micros is None else f"{row.micros / 1000:,.0f} ms"),
            terminal.plain(_outcome(row)),
        ]
        for row in rows
    ]
    yield from terminal.columns([_heads("delivery", "queued", "event", "state", "tries", "took", "answer"), *lines])


def delivery(row: Delivery, account: Account) -> Iterator[Text]:
    next_try = telling.clock(row.next_at, account.zone) if row.next_at else "-"
    pairs = {"event": row.action, "state": row.state, "tries": row.attempts, "next try": next_try}
    yield from terminal.pairs(pairs.items())
    yield Text("request", "dim")
    yield terminal.plain(row.body)
    yield Text("answer", "dim")
    yield terminal.plain(f"{_outcome(row)} {row.answer}".strip())


def delivery_data(row: Delivery) -> dict[str, Any]:
    return {
        "delivery": row.token,
        "event": row.action,
        "state": row.state,
        "queued_at": row.queued_at.isoformat(),
        "next_at": row.next_at and row.next_at.isoformat(),
        "tries": row.attempts,
        "tried_at": row.tried_at and row.tried_at.isoformat(),
        "ms": None if row.micros is None else row.micros / 1000,
        "status": row.status,
        "answer": row.answer,
        "trouble": row.trouble,
        "request": row.body,
    }
