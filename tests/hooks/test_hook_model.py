"""Whatever happens, in whatever order: what was told is what a small model says, once at least and in order."""

import os
import random
from dataclasses import dataclass, field

import pytest
from hookshop import Teller, deliveries, endpoint
from receiver import DROP, Receiver

from cartwheel.data import hookstore
from harness import Api

HISTORIES = int(os.environ.get("HOOK_HISTORIES", "2"))
STEPS = 40
TAGS = ("Customer", "Trial user")
THRESHOLD = 10
DEEDS: list[int | str] = [200, 500, DROP]


@dataclass
class Person:
    """A lead of the model, and all that an endpoint has to hear of it, in order."""

    email: str
    tags: set[str] = field(default_factory=set)
    listed: bool = False
    score: int = 0
    highest: int = 0
    told: list[str] = field(default_factory=list)

    def tag(self, name: str, *, on: bool) -> None:
        if (name in self.tags) is not on:
            self.tags ^= {name}
            self.told.append(f"{'assign' if on else 'unassign'}_tag {name}")

    def subscribe(self, *, on: bool) -> None:
        if self.listed is not on:
            self.listed = on
            self.told.append("list_subscription" if on else "list_unsubscription")

    def give(self, points: int) -> None:
        self.score += points
        if self.highest < THRESHOLD <= self.score:
            self.told.append("reaches_score")
        self.highest = max(self.highest, self.score)


def act(api: Api, person: Person, dice: random.Random) -> None:
    """Something happens to the lead, or does not, because it is so already."""
    on, name, points = dice.random() < 0.5, dice.choice(TAGS), dice.randrange(1, 8)
    what = dice.randrange(3)
    if what == 0:
        api.on(person.email, "assign_tag" if on else "unassign_tag", tag_name=name)
        person.tag(name, on=on)
    elif what == 1:
        api.on(
            person.email,
            f"{'subscribe' if on else 'unsubscribe'}_lead_{'to' if on else 'from'}_list",
            list_name="Newsletter",
        )
        person.subscribe(on=on)
    else:
        cmd = "give_points_to_lead" if on else "remove_points_from_lead"
        api.on(person.email, cmd, points=str(points))
        person.give(points if on else -points)


def heard(receiver: Receiver, email: str) -> list[str]:
    """What it was told of the lead, each delivery the first time it came."""
    seen: dict[str, str] = {}
    for got in receiver.got:
        if got.json["lead"]["email"] == email:
            tag = got.json["action_details"].get("tag", {}).get("tag_name", "")
            seen.setdefault(got.headers["webhook-id"], f"{got.action} {tag}".strip())
    return list(seen.values())


@pytest.mark.parametrize("history", range(HISTORIES))
def test_what_is_told_is_what_happened(api: Api, history: int) -> None:
    dice = random.Random(history)
    people = [Person(f"lead{number}@shop.example") for number in range(3)]
    with Receiver() as receiver, Teller(api) as one, Teller(api) as other:
        number = endpoint(api, receiver.url(), score=THRESHOLD)
        for person in people:
            api.create(person.email)
        for _ in range(STEPS):
            act(api, dice.choice(people), dice)
            what = dice.randrange(6)
            if what == 0:
                receiver.script = dice.choices(DEEDS, k=3)
            elif what == 1:
                dice.choice([one, other]).begin()
            elif what == 2:
                dice.choice([one, other]).settle()
            elif what == 3:
                api.server.clock.forward(seconds=dice.choice([1, 10, 300]))
            elif what == 4:
                with api.server.database.write() as connection:
                    change = dice.choice([hookstore.pause, hookstore.resume])
                    change(connection, api.account_id, number, api.server.clock())
        receiver.script = []
        with api.server.database.write() as connection:
            hookstore.resume(connection, api.account_id, number, api.server.clock())
        one.settle()
        for _ in range(4):
            api.server.clock.forward(hours=1)
            other.settle()
    assert {row["state"] for row in deliveries(api)} <= {"delivered"}
    for person in people:
        assert heard(receiver, person.email) == person.told, person.email
    assert len(deliveries(api)) == sum(len(person.told) for person in people)
