"""What people see in a terminal of an account's sequences, of who is in them, and of a move."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from cartwheel import accounts
from cartwheel.accounts import Account
from cartwheel.data.runstore import Parked, Standing
from cartwheel.leads.leadparts import RunStatus
from cartwheel.sequences import telling
from cartwheel.sequences.flows import Flow
from cartwheel.sequences.moving import Move
from cartwheel.sequences.steps import Step
from cartwheel.views import terminal
from cartwheel.work.moveplans import Line, MovePlan

_COUNTS = {
    "active": RunStatus.ACTIVE,
    "completed": RunStatus.COMPLETED,
    "left": RunStatus.UNSUBSCRIBED,
    "parked": RunStatus.PARKED,
}


# -- all of them --


def sequence_data(sequence: accounts.Sequence, runs: Counter[RunStatus]) -> dict[str, Any]:
    return {
        "name": sequence.name,
        "version": sequence.version,
        "steps": len(sequence.boxes),
        "paused": sequence.paused,
        "runs": {name: runs[status] for name, status in _COUNTS.items()},
    }


def sequences(account: Account, runs: Mapping[int, Counter[RunStatus]]) -> Iterator[Text]:
    """A line a sequence."""
    if not account.sequences:
        yield Text("There is no sequence yet.")
        return
    rows = [[Text(head, "dim") for head in ("sequence", "version", "steps", *_COUNTS, "")]]
    for entry in account.sequences.values():
        data = sequence_data(entry, runs.get(entry.id, Counter()))
        counts = [_count(count, "bold red" if name == "parked" else "") for name, count in data["runs"].items()]
        head = [terminal.plain(entry.name, "bold"), _count(entry.version), _count(len(entry.boxes))]
        rows.append([*head, *counts, Text("paused" if entry.paused else "", "bold yellow")])
    yield from terminal.columns(rows)


def _count(number: int, style: str = "") -> Text:
    return Text(f"{number:,}", style if number else "dim")


# -- one of them --


def version_data(flow: Flow, places: Sequence[Standing]) -> list[dict[str, Any]]:
    """A version's steps, and the boxes at which somebody stands without there being a step."""
    found = Counter({(place.box, place.status): place.leads for place in places})
    boxes = dict.fromkeys([*flow.by_box, *(place.box for place in places)])
    return [
        {
            "box": box,
            "step": _what(flow.by_box.get(box)),
            "active": found[box, RunStatus.ACTIVE],
            "parked": found[box, RunStatus.PARKED],
        }
        for box in boxes
    ]


def _what(step: Step | None) -> str:
    if step is None:
        return "there is no such step"
    parts = [_name(step)]
    if step.at:
        parts.append(f"at {step.at}")
    elif not step.delay.startswith("0 "):
        parts.append(f"after {step.delay}")
    if step.window:
        parts.append(telling.window(step.window))
    return ", ".join(parts if step.active else [*parts, "not active"])


def _name(step: Step | None) -> str:
    if step is None:
        return ""
    kind = str(step.__struct_config__.tag).replace("_", " ")
    return f"{kind} {telling.about(step)}".rstrip()


def sequence(entry: accounts.Sequence, versions: Mapping[int, Sequence[Mapping[str, Any]]]) -> Iterator[Text]:
    """Who stands at which step, version by version."""
    state = "   paused" if entry.paused else ""
    yield Text.assemble(terminal.plain(entry.name, "bold"), (state, "bold yellow"))
    for version, steps in versions.items():
        yield Text()
        newest = " (the newest)" if version == entry.version else ""
        yield Text(f"Version {version}{newest}", "bold")
        rows = [[Text(head, "dim") for head in ("step", "leads", "parked", "")]]
        rows += [
            [
                terminal.plain(step["box"]),
                _count(step["active"]),
                _count(step["parked"], "bold red"),
                terminal.plain(step["step"], "dim"),
            ]
            for step in steps
        ]
        yield from terminal.indented(terminal.columns(rows))


# -- the parked --


def parked_data(account: Account, row: Parked) -> dict[str, Any]:
    at = row.arrived_at.astimezone(account.zone).isoformat() if row.arrived_at else None
    return row._asdict() | {"arrived_at": at}


def parked(account: Account, entry: accounts.Sequence, rows: Sequence[Parked], count: int) -> Iterator[Text]:
    """Who is parked, where, since when and why, and what helps."""
    if not rows:
        yield terminal.plain(f"Nobody is parked in {entry.name}.")
        return
    yield from terminal.columns(
        [
            terminal.plain(row.email, "bold"),
            terminal.plain(f"version {row.version}", "dim"),
            terminal.plain(f"step {row.box}"),
            Text(telling.clock(row.arrived_at, account.zone) if row.arrived_at else "", "dim"),
            terminal.plain(row.reason, "red"),
        ]
        for row in rows
    )
    if count > len(rows):
        yield terminal.plain(f"… and {count - len(rows):,} more (--most shows more of them).", "dim")
    yield Text()
    yield terminal.plain(f"Once the cause is mended: {telling.command('sequence', 'unpark', entry.name, '--all')}")


# -- moving --


def move(plan: MovePlan) -> Iterator[Text]:
    """Who goes where, and who stays."""
    yield Text.assemble(terminal.plain(plan.sequence.name, "bold"), f" to version {plan.move.to}")
    if not plan.lines:
        yield Text("Nobody is in another version.")
        return
    yield Text()
    rows = [[Text(head, "dim") for head in ("version", "step", "", "leads", "goes to", "", "")]]
    rows += [_line(plan.move, line) for line in plan.lines]
    yield from terminal.indented(terminal.columns(rows))
    yield Text()
    yield Text("What a lead waits for at its step goes on from when it came there. No mail is sent again.", "dim")


def _line(asked: Move, line: Line) -> list[Text]:
    notes = ["stays parked"] * (line.parked and line.to is not None)
    notes += [f"stays: {line.why}"] if line.to is None else []
    return [
        Text(str(line.version)),
        terminal.plain(line.box),
        terminal.plain(_name(asked.sources[line.version].by_box.get(line.box)), "dim"),
        Text(f"{line.leads:,}"),
        terminal.plain(f"step {line.to}" if line.to is not None else "-"),
        terminal.plain(_name(asked.flow.by_box[line.to]) if line.to is not None else "", "dim"),
        terminal.plain(", ".join(notes), "" if line.to is not None else "yellow"),
    ]
