"""A flow as a drawing: where each box stands, and the lines between them. Sizes are those of the drawing's own grid.

Boxes whose labels begin with the same letter stand in one column, below each other as they are written.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cartwheel.sequences.flows import Flow
from cartwheel.sequences.steps import GoalStep, Step
from cartwheel.ui import stepwords
from cartwheel.ui.stepwords import Kind, Translate, Way

WIDTH, HEIGHT = 264, 120
GAP, COLUMN_GAP, LEFT, TOP = 56, 96, 44, 8
LANE = 14
"""How far apart lines run that pass by boxes."""


@dataclass
class Node:
    """A box of the drawing."""

    step: Step
    kind: Kind
    summary: str
    timing: str
    x: int
    y: int
    ways: list[Way]
    lost: bool
    """Nobody ever comes here."""

    @property
    def box(self) -> str:
        return self.step.box

    @property
    def goal(self) -> bool:
        return isinstance(self.step, GoalStep)


@dataclass
class Line:
    """From a box to a box."""

    path: str
    label: str
    x: int
    y: int
    """Where its label begins."""


@dataclass
class Drawing:
    """All of it."""

    nodes: list[Node] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    ends: list[Node] = field(default_factory=list)
    """The boxes after which the sequence is over."""
    width: int = 0
    height: int = 0


def draw(flow: Flow, translate: Translate) -> Drawing:
    columns: dict[str, list[Step]] = {}
    for each in flow.steps:
        columns.setdefault(_column(each.box), []).append(each)
    lost = set(flow.unreachable())
    nodes: dict[str, Node] = {}
    drawing = Drawing()
    for number, steps in enumerate(columns.values()):
        y = _top(steps, nodes) if number else TOP
        for step in steps:
            node = Node(
                step,
                stepwords.kind_of(step),
                stepwords.summary(step, translate),
                stepwords.timing(step, translate),
                LEFT + number * (WIDTH + COLUMN_GAP),
                y,
                list(stepwords.ways(step, flow, translate)),
                step.box in lost,
            )
            nodes[step.box] = node
            drawing.nodes.append(node)
            y += HEIGHT + GAP
    drawing.lines = list(_lines(drawing.nodes, nodes, columns))
    drawing.ends = [
        node for node in drawing.nodes if stepwords.ends(node.step) or None in {way.to for way in node.ways}
    ]
    drawing.width = max((node.x for node in drawing.nodes), default=0) + WIDTH + COLUMN_GAP // 2
    drawing.height = max((node.y for node in drawing.nodes), default=0) + HEIGHT + GAP
    return drawing


def _column(box: str) -> str:
    found = re.match(r"[A-Za-z]*", box)
    return found[0] if found else ""


def _top(steps: Sequence[Step], nodes: Mapping[str, Node]) -> int:
    """Below the first box that leads into the column."""
    boxes = {step.box for step in steps}
    sources = [node.y for node in nodes.values() if any(way.to in boxes for way in node.ways)]
    return (min(sources) + (HEIGHT + GAP) // 2) if sources else TOP


def _lines(order: Sequence[Node], nodes: Mapping[str, Node], columns: Mapping[str, Sequence[Step]]) -> Iterator[Line]:
    below = {one.box: two.box for steps in columns.values() for one, two in pairwise(steps)}
    lanes: Counter[int] = Counter()
    for node in order:
        wanted: dict[str, list[str]] = {}
        for way in node.ways:
            if way.to is not None and way.to in nodes:
                wanted.setdefault(way.to, []).append(way.label)
        for number, (box, labels) in enumerate(wanted.items()):
            label = " · ".join(filter(None, labels))
            yield _line(node, nodes[box], label, straight=below.get(node.box) == box, lanes=lanes, number=number)


def _line(one: Node, two: Node, label: str, *, straight: bool, lanes: Counter[int], number: int) -> Line:
    middle = one.x + WIDTH // 2
    if straight:
        return Line(f"M{middle} {one.y + HEIGHT} V{two.y - 4}", label, middle + 8, one.y + HEIGHT + 20)
    if one.x == two.x:
        lane = one.x - 12 - LANE * (lanes[one.x] % 2)
        lanes[one.x] += 1
        start, end = one.y + HEIGHT // 2 + 12, two.y + HEIGHT // 2 - 12
        path = f"M{one.x} {start} H{lane + 8} Q{lane} {start} {lane} {_toward(start, end)} V{_toward(end, start)} "
        below_or_above = one.y + HEIGHT + 16 if end > start else one.y - 8
        return Line(f"{path}Q{lane} {end} {lane + 8} {end} H{two.x - 4}", label, lane + 5, below_or_above)
    if two.x > one.x:
        start, end = one.y + HEIGHT // 2 - 10 + 20 * number, two.y
        target = two.x + WIDTH // 2
        if end > start:
            path = f"M{one.x + WIDTH} {start} H{target - 8} Q{target} {start} {target} {start + 8} V{end - 4}"
            return Line(path, label, one.x + WIDTH + 8, start - 6)
        turn = two.x - 24 - LANE * (number % 3)
        end = two.y + HEIGHT // 2
        path = (
            f"M{one.x + WIDTH} {start} H{turn - 8} Q{turn} {start} {turn} {_toward(start, end)} V{_toward(end, start)} "
        )
        return Line(f"{path}Q{turn} {end} {turn + 8} {end} H{two.x - 4}", label, one.x + WIDTH + 8, start - 6)
    start, end, turn = one.y + HEIGHT // 2 + 12, two.y + HEIGHT // 2 + 14, one.x - 20 - LANE * (number % 2)
    path = f"M{one.x} {start} H{turn + 8} Q{turn} {start} {turn} {_toward(start, end)} V{_toward(end, start)} "
    return Line(f"{path}Q{turn} {end} {turn - 8} {end} H{two.x + WIDTH + 4}", label, turn - 40, start - 6)


def _toward(start: int, end: int) -> int:
    """A little from `start` in the direction of `end`: where a rounded corner is over."""
    return start + max(-8, min(8, end - start))
