"""What the documentation says happens to one lead in its sequences: read as an account file has them, with no code of the
engine's. Times come from the scan of the minutes.

Two things are not said anywhere: which of two runs goes first that are due at the same look, and which way a random split
takes. So a lead has several possible `World`s, and those that turn out not to be the real one are dropped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from clockscan import first_minute, scan

from cartwheel.sequences.schedule import DAYS, Window

Step = dict[str, Any]

MOST_MOVES = 100
GUARD = {"most": 4, "days": 30}
"""How often a step may start somebody in a sequence without a rule of its own."""


@dataclass
class Plan:
    """A sequence as its owner has made it so far."""

    versions: list[list[Step]]
    entry: dict[str, Any]
    paused: bool = False
    resumed: datetime | None = None


@dataclass
class Book:
    """An account as its owner has made it so far."""

    zone: ZoneInfo
    plans: dict[str, Plan]


@dataclass(frozen=True)
class Run:
    number: int
    version: int
    box: str
    arrived: datetime
    status: str = "active"
    moves: int = 0
    unwanted: bool = False
    """Somebody has left it, or one after it: what it sent is not to arrive any more."""


@dataclass(frozen=True)
class Letter:
    """A mail that a step has sent."""

    sequence: str
    run: int
    box: str
    move: int
    queued: datetime
    state: str = "queued"
    sent: datetime | None = None
    opened: datetime | None = None
    clicked: datetime | None = None


Happened = tuple[str, tuple[Any, ...], datetime]


@dataclass
class World:
    """What may have become of the lead."""

    book: Book
    tags: frozenset[str] = frozenset()
    lists: dict[str, bool] = field(default_factory=dict)
    grants: tuple[tuple[int, datetime | None], ...] = ()
    fields: dict[str, str] = field(default_factory=dict)
    deleted: bool = False
    runs: dict[str, tuple[Run, ...]] = field(default_factory=dict)
    """All of each sequence, the latest last."""
    starts: dict[str, tuple[datetime, ...]] = field(default_factory=dict)
    letters: tuple[Letter, ...] = ()
    feed: tuple[Happened, ...] = ()
    taken: frozenset[str] = frozenset()
    """The types of the steps that it took, for the test to see what it tries."""

    def copy(self) -> "World":
        return replace(
            self, lists=dict(self.lists), fields=dict(self.fields), runs=dict(self.runs), starts=dict(self.starts)
        )

    def same(self) -> tuple[Any, ...]:
        """Equal for worlds between which nobody can tell a difference, ever."""
        places = tuple(sorted(self.runs.items())), tuple(sorted(self.starts.items()))
        return (self.tags, tuple(sorted(self.lists.items())), self.grants, places, self.letters, self.feed)

    def tell(self, kind: str, now: datetime, *details: Any) -> None:
        self.feed = (*self.feed, (kind, details, now))

    # -- what anybody can do to a lead --

    @property
    def score(self) -> int:
        return sum(points for points, _ in self.grants)

    def tag(self, name: str, now: datetime) -> None:
        if name not in self.tags:
            self.tags |= {name}
            self.tell("tag_assigned", now, name)

    def untag(self, name: str, now: datetime) -> None:
        if name in self.tags:
            self.tags -= {name}
            self.tell("tag_unassigned", now, name)

    def join(self, name: str, now: datetime) -> None:
        if not self.lists.get(name):
            self.lists[name] = True
            self.tell("list_joined", now, name)

    def leave(self, name: str, now: datetime) -> None:
        if self.lists.get(name):
            self.lists[name] = False
            self.tell("list_left", now, name)

    def points(self, points: int, days: int, now: datetime) -> None:
        if points >= 0:
            self.grants = (*self.grants, (points, now + timedelta(days=days) if days else None))
            self.tell("points_given", now, points, days)
        else:
            self.grants = (*self.grants, (points, None))
            self.tell("points_removed", now, -points)

    def expire(self, now: datetime) -> None:
        over = [grant for grant in self.grants if grant[1] is not None and grant[1] <= now]
        self.grants = tuple(grant for grant in self.grants if grant not in over)
        for points, _ in over:
            self.tell("points_expired", now, points)

    def edit(self, name: str, value: str, now: datetime) -> None:
        if self.fields.get(name, "") != value:
            self.fields[name] = value
            self.tell("lead_edited", now, name)

    def start(self, sequence: str, box: str, now: datetime, *, by_step: bool) -> None:
        plan, before = self.book.plans[sequence], self.runs.get(sequence, ())
        rule = plan.entry if plan.entry.get("most") or not by_step else plan.entry | GUARD
        starts = self.starts.get(sequence, ())
        if before:
            recent = [at for at in starts if at > now - timedelta(days=rule.get("days", 30))]
            too_often = rule.get("most") and len(recent) >= rule["most"]
            if before[-1].status != "unsubscribed":
                return
            if not rule.get("again", True) or too_often:
                self.tell("sequence_refused", now, sequence, box)
                return
        number = 1 + sum(map(len, self.runs.values()))
        self.runs[sequence] = (*before, Run(number, len(plan.versions), box, now))
        self.starts[sequence] = (*starts, now)
        self.tell("sequence_joined", now, sequence, box)

    def stop(self, sequence: str, now: datetime, *, by_itself: bool = False) -> None:
        run = self.latest(sequence)
        if run is None:
            return
        if run.status != "unsubscribed":
            self.put(sequence, replace(run, status="unsubscribed"))
            self.tell("sequence_left", now, sequence, run.box)
        if not by_itself:
            self.runs[sequence] = tuple(replace(run, unwanted=True) for run in self.runs[sequence])

    def stop_all(self, now: datetime) -> None:
        """It leaves whatever it has not come to the end of, and none of its mails goes out any more."""
        for sequence, runs in sorted(self.runs.items(), key=lambda entry: entry[1][-1].number):
            if runs[-1].status in {"active", "parked"}:
                self.stop(sequence, now)
            self.runs[sequence] = tuple(replace(run, unwanted=True) for run in self.runs[sequence])
        for place, letter in enumerate(self.letters):
            if letter.state == "queued":
                self.put_letter(place, replace(letter, state="suppressed"))

    def see(self, place: int, at: datetime, now: datetime, *, click: bool) -> None:
        """Somebody looks at a letter, and it is believed now that it was a person."""
        letter = self.letters[place]
        if click and letter.clicked is None:
            self.put_letter(place, replace(letter, clicked=at))
            self.tell("mail_clicked", now, letter.sequence, letter.box)
        elif not click and letter.opened is None:
            self.put_letter(place, replace(letter, opened=at))
            self.tell("mail_opened", now, letter.sequence, letter.box)

    def latest(self, sequence: str) -> Run | None:
        return self.runs[sequence][-1] if sequence in self.runs else None

    def put(self, sequence: str, run: Run) -> None:
        self.runs[sequence] = (*self.runs[sequence][:-1], run)

    def put_letter(self, place: int, letter: Letter) -> None:
        self.letters = (*self.letters[:place], letter, *self.letters[place + 1 :])

    def post(self, now: datetime) -> None:
        """What is queued goes out, unless it must not."""
        for place, letter in enumerate(self.letters):
            if letter.state == "queued":
                kept_back = self.deleted or next(
                    run.unwanted for run in self.runs[letter.sequence] if run.number == letter.run
                )
                self.put_letter(
                    place,
                    replace(letter, state="suppressed") if kept_back else replace(letter, state="accepted", sent=now),
                )


# -- the way along the steps --


def look(world: World, now: datetime) -> list[World]:
    """All that the world may be after somebody has looked at everything that is due, until nothing was."""
    waiting, seen, settled = [world], set(), {}
    while waiting:
        world = waiting.pop()
        if (same := world.same()) in seen:
            continue
        seen.add(same)
        restless = False
        for sequence in world.runs:
            for after, must in advanced(world, sequence, now):
                waiting.append(after)
                restless |= must
        if not restless:
            settled[same] = world
    return list(settled.values())


def advanced(world: World, sequence: str, now: datetime) -> Iterator[tuple[World, bool]]:
    """What one run may come to; and whether it has to move on, or only may. Nothing if it stays where it is."""
    run, plan = world.latest(sequence), world.book.plans[sequence]
    if run is None or run.status != "active":
        return
    world = world.copy()
    if plan.resumed is not None and run.arrived < plan.resumed <= now:
        world.put(sequence, replace(run, arrived=plan.resumed))
    if world.deleted:
        step = step_of(world, sequence)
        must = not plan.paused and step["type"] not in {"wait_until", "goal"} and ready(world, sequence, now) <= now
        world.stop(sequence, now)
        yield world, must
        return
    if plan.paused:
        return
    under_way = [(world, 0)]
    while under_way:
        world, moves = under_way.pop()
        if moves == MOST_MOVES:
            here = world.runs[sequence][-1]
            world.put(sequence, replace(here, status="parked"))
            world.tell("sequence_parked", now, sequence, here.box)
            yield world, True
            continue
        boxes = take(world, sequence, now)
        under_way += [(moved(world, sequence, box, now), moves + 1) for box in boxes]
        after = world.runs[sequence][-1]
        if not boxes and (moves or after.status != run.status):
            yield world, True


def moved(world: World, sequence: str, box: str, now: datetime) -> World:
    world = world.copy()
    run = world.runs[sequence][-1]
    world.put(sequence, replace(run, box=box, arrived=now, moves=run.moves + 1))
    return world


def steps_of(world: World, sequence: str) -> Sequence[Step]:
    return world.book.plans[sequence].versions[world.runs[sequence][-1].version - 1]


def step_of(world: World, sequence: str) -> Step:
    box = world.runs[sequence][-1].box
    return next(step for step in steps_of(world, sequence) if step["box"] == box)


UNITS = {"minute": 1, "hour": 60, "day": 24 * 60, "week": 7 * 24 * 60}


def length(delay: str) -> timedelta:
    number, unit = delay.split()
    return int(number) * timedelta(minutes=UNITS[unit.removesuffix("s")])


def begins(world: World, sequence: str) -> datetime:
    """When the run's step is to be taken: its delay over, its date come, its window open."""
    step, moment = step_of(world, sequence), world.runs[sequence][-1].arrived
    moment += length(step.get("delay", "0 minutes"))
    if "at" in step:
        moment = max(moment, first_minute(datetime.fromisoformat(step["at"]), world.book.zone))
    return opening(world, step, moment)


def opening(world: World, step: Step, moment: datetime) -> datetime:
    if "window" not in step:
        return moment
    told = {"days": DAYS, "from": "00:00", "to": "24:00", "zone": "account"} | step["window"]
    zones = {"account": world.book.zone, "lead": zone_of(world)}
    tz = zones.get(told["zone"]) or ZoneInfo(told["zone"])
    return scan(moment, Window(frozenset(told["days"]), told["from"], told["to"]), tz)


def zone_of(world: World) -> ZoneInfo:
    name = world.fields.get("lead_preferred_time_zone", "")
    return ZoneInfo(name) if "/" in name else world.book.zone


def ready(world: World, sequence: str, now: datetime) -> datetime:
    """Who comes too late for the window waits until it opens again; whose waiting began in it waits at any hour."""
    begun = begins(world, sequence)
    if step_of(world, sequence)["type"] == "wait_until":
        return begun
    return opening(world, step_of(world, sequence), now) if begun <= now else begun


def follower(world: World, sequence: str, now: datetime) -> list[str]:
    """What follows the run's step; if nothing does, it has completed."""
    steps, step = steps_of(world, sequence), step_of(world, sequence)
    written_next = [after["box"] for before, after in pairwise(steps) if before is step]
    boxes = [] if step.get("ends") else [step["next"]] if "next" in step else written_next
    if not boxes:
        complete(world, sequence, now)
    return boxes


def complete(world: World, sequence: str, now: datetime) -> list[str]:
    run = world.runs[sequence][-1]
    world.put(sequence, replace(run, status="completed"))
    world.tell("sequence_completed", now, sequence, run.box)
    return []


def take(world: World, sequence: str, now: datetime) -> list[str]:
    """Take the run's step: the boxes that it may go to; none when it stays, or has ended."""
    step, steps, run = step_of(world, sequence), steps_of(world, sequence), world.runs[sequence][-1]
    for goal in steps:
        wanted = goal["type"] == "goal" and goal.get("active", True) and is_ahead(steps, step, goal)
        if wanted and holds(world, goal["condition"], run):
            return [goal["box"]]
    if not step.get("active", True):
        return follower(world, sequence, now)
    if ready(world, sequence, now) > now:
        return []
    if step["type"] in WAYS:
        boxes: list[str] = WAYS[step["type"]](world, sequence, step, now)
    else:
        act(world, sequence, step, now)
        boxes = follower(world, sequence, now) if world.runs[sequence][-1].status == "active" else []
    if boxes or world.runs[sequence][-1].status != "active":
        world.taken |= {step["type"]}
    return boxes


def is_ahead(steps: Sequence[Step], step: Step, goal: Step) -> bool:
    """Whether the goal is one that those at the step jump to."""
    ways = closure(steps)
    here, there = step["box"], goal["box"]
    in_order, back = steps.index(step) < steps.index(goal), here in ways[there] | {there}
    if there in ways[steps[0]["box"]] | {steps[0]["box"]}:
        return there in ways[here] and (in_order or not back)
    return in_order and not back


def closure(steps: Sequence[Step]) -> dict[str, set[str]]:
    """By box, wherever the connections lead from there."""
    ways = {step["box"]: set(next_to(steps, number)) for number, step in enumerate(steps)}
    for _ in steps:
        ways = {box: ahead.union(*(ways[other] for other in ahead)) for box, ahead in ways.items()}
    return ways


def next_to(steps: Sequence[Step], number: int) -> Iterator[str]:
    step = steps[number]
    if not step.get("ends"):
        yield from [step["next"]] if "next" in step else [after["box"] for after in steps[number + 1 : number + 2]]
    if step.get("active", True):
        yield from (step[name] for name in ("to", "then", "otherwise", "on_timeout") if name in step)
        yield from (branch["to"] for branch in step.get("branches", ()))


def act(world: World, sequence: str, step: Step, now: datetime) -> None:
    kind, run = step["type"], world.runs[sequence][-1]
    if kind == "email":
        if "only_if" not in step or holds(world, step["only_if"], run):
            world.letters = (*world.letters, Letter(sequence, run.number, run.box, run.moves, now))
    elif kind == "points":
        world.points(step["points"], step.get("days", 0), now)
    elif kind == "start_sequence":
        first: str = world.book.plans[step["sequence"]].versions[-1][0]["box"]
        world.start(step["sequence"], step.get("step", first), now, by_step=True)
    elif kind in {"stop_sequence", "unsubscribe"}:
        stopped = step.get("sequence", sequence)
        world.stop(stopped, now, by_itself=stopped == sequence)
    else:
        {
            "assign_tag": world.tag,
            "unassign_tag": world.untag,
            "subscribe_list": world.join,
            "unsubscribe_list": world.leave,
        }[kind](step.get("tag") or step["list"], now)


def split(world: World, sequence: str, step: Step, now: datetime) -> list[str]:
    way = "then" if holds(world, step["condition"], world.runs[sequence][-1]) else "otherwise"
    return [step[way]] if way in step else follower(world, sequence, now)


def wait_until(world: World, sequence: str, step: Step, now: datetime) -> list[str]:
    if holds(world, step["condition"], world.runs[sequence][-1]):
        return follower(world, sequence, now)
    if "timeout" not in step or begins(world, sequence) + length(step["timeout"]) > now:
        return []
    return [step["on_timeout"]] if "on_timeout" in step else follower(world, sequence, now)


def goal(world: World, sequence: str, step: Step, now: datetime) -> list[str]:
    unmet = step.get("unmet", "go on")
    if unmet == "go on" or holds(world, step["condition"], world.runs[sequence][-1]):
        return follower(world, sequence, now)
    return complete(world, sequence, now) if unmet == "end" else []


WAYS: dict[str, Any] = {
    "split": split,
    "wait_until": wait_until,
    "goal": goal,
    "random_split": lambda _world, _sequence, step, _now: sorted({branch["to"] for branch in step["branches"]}),
    "wait": lambda world, sequence, _step, now: follower(world, sequence, now),
    "go_to": lambda _world, _sequence, step, _now: [step["to"]],
    "complete": lambda world, sequence, _step, now: complete(world, sequence, now),
}
"""The steps that say themselves where to go."""


# -- conditions --


def holds(world: World, asked: Step, run: Run) -> bool:
    kind = asked["type"]
    if kind == "not":
        return not holds(world, asked["condition"], run)
    if kind in {"all", "any"}:
        answers = [holds(world, each, run) for each in asked["conditions"]]
        return all(answers) if kind == "all" else any(answers)
    if kind in {"opened", "clicked"}:
        return any(soon(letter, asked) for letter in world.letters if letter.run == run.number)
    if kind == "score":
        return bool(asked.get("at_least", world.score) <= world.score <= asked.get("at_most", world.score))
    if kind in {"in_sequence", "completed", "left"}:
        other = world.latest(asked["sequence"])
        statuses = {"in_sequence": {"active", "parked", "completed"}, "left": {"unsubscribed"}}.get(kind, {kind})
        return other is not None and other.status in statuses
    if kind == "field":
        return bool(world.fields.get(asked["field"], "").casefold() == asked["equals"].casefold())
    return asked["tag"] in world.tags if kind == "has_tag" else world.lists.get(asked["list"], False)


def soon(letter: Letter, asked: Step) -> bool:
    """Whether the letter was opened or clicked, as asked, in time after it was sent."""
    seen = [letter.clicked] if asked["type"] == "clicked" else [letter.opened, letter.clicked]
    if letter.sent is None or asked.get("box", letter.box) != letter.box:
        return False
    limit = length(asked["within"]) if "within" in asked else timedelta.max
    return any(at - letter.sent <= limit for at in seen if at is not None)
