"""Random sequences, as an account file has them: every type of step, delays, dates, windows, jumps, lettered steps."""

from datetime import datetime, timedelta
from random import Random
from typing import Any

from cartwheel.sequences.schedule import DAYS

Step = dict[str, Any]

SEQUENCES = ("One", "Two", "Three")
TAGS = ("Red", "Blue")
LISTS = ("News", "Offers")
CITIES = ("Paris", "paris", "Rome", "")
LEAD_ZONES = ("Asia/Tokyo", "Australia/Lord_Howe", "America/Sao_Paulo", "somewhere", "")

SHORT = ("1 minute", "90 minutes", "5 hours", "23 hours")
LONG = ("1 day", "2 days", "3 days", "1 week")


class Dice(Random):
    """Makes the same flows of the same seed."""

    def once_in(self, times: int) -> bool:
        return self.randrange(times) == 0

    def delay(self) -> str:
        return self.choice(SHORT + LONG)

    # -- steps --

    def flow(self, now: datetime) -> list[Step]:
        boxes = [str(number) for number in range(1, self.randint(3, 7))]
        boxes += [
            f"{letter}{number}" for letter in "AB"[: self.randint(0, 2)] for number in range(1, self.randint(2, 4))
        ]
        types = [self.choice(TYPES) for _ in boxes]
        types = [
            "wait" if kind == "complete" and box.isdigit() else kind for box, kind in zip(boxes, types, strict=True)
        ]
        mails = [box for box, kind in zip(boxes, types, strict=True) if kind == "email"]
        return [self.step(box, kind, boxes, mails, now) for box, kind in zip(boxes, types, strict=True)]

    def step(self, box: str, kind: str, boxes: list[str], mails: list[str], now: datetime) -> Step:
        step: Step = {"box": box, "type": kind} | self.own(kind, boxes, mails)
        if self.once_in(10) and kind not in {"split", "random_split", "go_to", "complete", "unsubscribe"}:
            step["next"] = self.choice(boxes)
        elif self.once_in(12):
            step["ends"] = True
        step |= self.schedule(now)
        if self.once_in(10):
            step["active"] = False
        elif kind == "random_split" or (self.goes_back(step, boxes) and not self.once_in(10)):
            step.pop("at", None)
            step["delay"] = self.delay()
        if kind == "wait" and not {"at", "window"} & set(step):
            step["delay"] = "1 day"
        return step

    def own(self, kind: str, boxes: list[str], mails: list[str]) -> Step:
        """What the type asks for."""
        condition = self.condition(mails)
        if kind == "email":
            return {"subject": "Hello", "html": "<p>Hello</p>"} | ({"only_if": condition} if self.once_in(4) else {})
        if kind == "points":
            return {"points": self.choice([-3, 1, 2, 5, 8]), "days": self.choice([0, 0, 1, 3])}
        if kind == "random_split":
            return {"branches": [{"weight": self.randint(1, 3), "to": box} for box in self.sample(boxes, 2)]}
        if kind == "split":
            return {"condition": condition, "then": self.choice(boxes)} | self.maybe("otherwise", self.choice(boxes))
        if kind == "wait_until":
            late = {"timeout": self.delay()} | self.maybe("on_timeout", self.choice(boxes))
            return {"condition": condition} | ({} if self.once_in(3) else late)
        if kind == "goal":
            return {"condition": condition, "unmet": self.choice(["go on", "wait", "end"])}
        return {
            "assign_tag": {"tag": self.choice(TAGS)},
            "unassign_tag": {"tag": self.choice(TAGS)},
            "subscribe_list": {"list": self.choice(LISTS)},
            "unsubscribe_list": {"list": self.choice(LISTS)},
            "start_sequence": {"sequence": self.choice(SEQUENCES)} | self.maybe("step", "1"),
            "stop_sequence": {"sequence": self.choice(SEQUENCES)},
            "go_to": {"to": self.choice(boxes)},
        }.get(kind, {})

    def maybe(self, name: str, value: Any) -> Step:
        return {name: value} if self.once_in(2) else {}

    def schedule(self, now: datetime) -> Step:
        part: Step = {}
        if self.once_in(12):
            at = (now + timedelta(days=self.randint(-3, 9))).replace(hour=self.randrange(24), minute=self.randrange(60))
            part["at"] = f"{at:%Y-%m-%d %H:%M}"
        elif not self.once_in(3):
            part["delay"] = self.choice(("0 minutes", *SHORT, *LONG[:2]))
        if self.once_in(4):
            part["window"] = self.window()
        return part

    def window(self) -> Step:
        opens, closes = self.sample(range(0, 24 * 60, 15), 2)
        days = sorted(self.sample(DAYS, self.randint(1, 7)), key=DAYS.index)
        told = {"from": f"{opens // 60:02}:{opens % 60:02}", "to": f"{closes // 60:02}:{closes % 60:02}"}
        return told | {"days": days, "zone": self.choice(["account", "lead", "lead", "Pacific/Apia"])}

    @staticmethod
    def goes_back(step: Step, boxes: list[str]) -> bool:
        named = [step.get(name) for name in ("next", "to", "then", "otherwise", "on_timeout")]
        here = boxes.index(step["box"])
        return any(box is not None and boxes.index(box) <= here for box in named)

    # -- conditions --

    def condition(self, mails: list[str], depth: int = 0) -> Step:
        kind = self.choice(CONDITIONS[: None if depth < 2 else -3])
        if kind in {"opened", "clicked"}:
            box = {"box": self.choice(mails)} if mails and not self.once_in(3) else {}
            return {"type": kind} | box | self.maybe("within", self.delay())
        asked: dict[str, Step] = {
            "has_tag": {"tag": self.choice(TAGS)},
            "on_list": {"list": self.choice(LISTS)},
            "in_sequence": {"sequence": self.choice(SEQUENCES)},
            "completed": {"sequence": self.choice(SEQUENCES)},
            "left": {"sequence": self.choice(SEQUENCES)},
            "score": self.choice([{"at_least": 4}, {"at_most": 2}, {"at_least": 0, "at_most": 6}]),
            "field": {"field": "city", "equals": "Paris"},
        }
        own = asked.get(kind, {})
        if kind == "not":
            own = {"condition": self.condition(mails, depth + 1)}
        elif kind in {"all", "any"}:
            own = {"conditions": [self.condition(mails, depth + 1) for _ in range(2)]}
        return {"type": kind} | own


TYPES = (
    *["email"] * 6, *["points", "assign_tag", "unassign_tag", "subscribe_list", "unsubscribe_list"],
    *["split", "random_split", "go_to", "start_sequence", "stop_sequence"], *["wait_until", "goal"] * 2,
    "complete", "unsubscribe",
)  # fmt: skip
CONDITIONS = (
    *["has_tag"] * 2, "on_list", "in_sequence", "completed", "left", "score", "field", "opened", "clicked",
    "not", "all", "any",
)  # fmt: skip
