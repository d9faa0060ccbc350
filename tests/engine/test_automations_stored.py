"""Automations in real servers: each effect once, in order, whoever causes the event; random ones against a model."""

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from cartwheel.accountfiles import accountfile
from cartwheel.data import schema
from cartwheel.data.db import Database
from cartwheel.leads.events import AutomationRefused
from cartwheel.leads.leadparts import Part
from cartwheel.work.batches import Batches
from cartwheel.work.leadwork import EditWork
from harness import API_PASSWORD, Api, Server, new_api

TAGS = ["A", "B", "C", "D"]
LISTS = ["X", "Y"]
THRESHOLD = 10


def automated(server: Server, rules: list[dict[str, Any]]) -> Api:
    """An account with these automations."""
    file = {
        "account": {},
        "apps": [{"name": "Website", "rate_limit": 0}],
        "tags": [{"name": name} for name in TAGS],
        "lists": [{"name": name} for name in LISTS],
        "automations": [{"name": f"Rule {number}", **rule} for number, rule in enumerate(rules, 1)],
    }
    return new_api(server, file=tomli_w.dumps(file))


def tag(name: str) -> dict[str, Any]:
    return {"type": "assign_tag", "tag": name}


def origins(api: Api) -> list[tuple[str, str]]:
    return [(row["kind"], row["origin"]) for row in sorted(api.rows(schema.events), key=lambda row: row["id"])]


# -- the model --


class Model:
    """A lead with tags, lists and points, and automations, as simple as they can be."""

    def __init__(self, rules: list[dict[str, Any]]) -> None:
        self.rules = rules
        self.tags: set[str] = set()
        self.lists: set[str] = set()
        self.score = 0
        self.happened: list[tuple[str, Any, int, int]] = []
        """(trigger, name, score before, score after)"""

    def do(self, act: dict[str, Any]) -> None:
        before, kind = self.score, act["type"]
        if kind == "assign_tag" and act["tag"] not in self.tags:
            self.tags.add(act["tag"])
            self.happened.append(("assign_tag", act["tag"], before, before))
        elif kind == "unassign_tag" and act["tag"] in self.tags:
            self.tags.remove(act["tag"])
            self.happened.append(("unassign_tag", act["tag"], before, before))
        elif kind == "subscribe_list" and act["list"] not in self.lists:
            self.lists.add(act["list"])
            self.happened.append(("list_subscription", act["list"], before, before))
        elif kind == "unsubscribe_list" and act["list"] in self.lists:
            self.lists.remove(act["list"])
            self.happened.append(("list_unsubscription", act["list"], before, before))
        elif kind == "points":
            self.score += act["points"]
            self.happened.append(("reaches_score" if act["points"] >= 0 else "", None, before, self.score))

    def settle(self) -> list[tuple[int, str]]:
        """(rule, what) of everything that automations did or refused, in order."""
        told: list[tuple[int, str]] = []
        queue = [(event, number, 0) for number, event in enumerate(self.happened)]
        ran: dict[int, set[int]] = {}
        refused: dict[int, set[int]] = {}
        for event, root, deep in queue:
            for number, rule in enumerate(self.rules, 1):
                if not self._fits(rule["when"], event) or len(told) > 5000:
                    continue
                if number in ran.setdefault(root, set()):
                    if number not in refused.setdefault(root, set()):
                        refused[root].add(number)
                        told.append((number, "refused"))
                elif "condition" in rule and not self._holds(rule["condition"]):
                    told.append((number, "skipped"))
                else:
                    ran[root].add(number)
                    told.append((number, "ran"))
                    known = len(self.happened)
                    for act in rule["then"]:
                        self.do(act)
                    queue += [(new, root, deep + 1) for new in self.happened[known:]]
        self.happened.clear()
        return told

    def _fits(self, when: dict[str, Any], event: tuple[str, Any, int, int]) -> bool:
        if when["type"] != event[0]:
            return False
        if event[0] == "reaches_score":
            return bool(event[2] < when["points"] <= event[3])
        return when.get("tag", when.get("list")) in {None, event[1]}

    def _holds(self, condition: dict[str, Any]) -> bool:
        if condition["type"] == "not":
            return not self._holds(condition["condition"])
        return condition["tag"] in self.tags if "tag" in condition else self.score >= condition["at_least"]


def some_act(dice: random.Random) -> dict[str, Any]:
    kind = dice.choice(["assign_tag", "unassign_tag", "subscribe_list", "unsubscribe_list", "points"])
    if kind == "points":
        return {"type": kind, "points": dice.choice([-7, 4, 9])}
    return {"type": kind, "tag": dice.choice(TAGS)} if "tag" in kind else {"type": kind, "list": dice.choice(LISTS)}


def some_rule(dice: random.Random) -> dict[str, Any]:
    kind = dice.choice(["assign_tag", "unassign_tag", "list_subscription", "list_unsubscription", "reaches_score"])
    when: dict[str, Any] = {"type": kind}
    if kind == "reaches_score":
        when["points"] = THRESHOLD
    elif dice.random() < 0.7:
        when |= {"tag": dice.choice(TAGS)} if "tag" in kind else {"list": dice.choice(LISTS)}
    rule: dict[str, Any] = {"when": when, "then": [some_act(dice) for _ in range(dice.randint(1, 3))]}
    if dice.random() < 0.4:
        asked: dict[str, Any] = dice.choice(
            [{"type": "has_tag", "tag": dice.choice(TAGS)}, {"type": "score", "at_least": 4}]
        )
        rule["condition"] = asked if dice.random() < 0.5 else {"type": "not", "condition": asked}
    return rule


COMMANDS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "assign_tag": lambda act: {"cmd": "assign_tag", "tag_name": act["tag"]},
    "unassign_tag": lambda act: {"cmd": "unassign_tag", "tag_name": act["tag"]},
    "subscribe_list": lambda act: {"cmd": "subscribe_lead_to_list", "list_name": act["list"]},
    "unsubscribe_list": lambda act: {"cmd": "unsubscribe_lead_from_list", "list_name": act["list"]},
    "points": lambda act: (
        {"cmd": "give_points_to_lead", "points": str(act["points"])}
        if act["points"] > 0
        else {"cmd": "remove_points_from_lead", "points": str(-act["points"])}
    ),
}


@pytest.mark.parametrize("seed", range(12))
def test_random_automations_do_what_the_model_says(server: Server, seed: int) -> None:
    dice = random.Random(seed)
    rules = [some_rule(dice) for _ in range(dice.randint(1, 7))]
    api, model = automated(server, rules), Model(rules)
    number = api.create("ada@shop.example")
    told: list[tuple[int, str]] = []
    for _ in range(6):
        acts = [some_act(dice) for _ in range(dice.randint(1, 3))]
        api.call(*(COMMANDS[act["type"]](act) for act in acts), lead={"email": "ada@shop.example"})
        for act in acts:
            model.do(act)
        told += model.settle()
    found = [(json.loads(row["details"])["automation_id"], row["kind"].removeprefix("automation_"))
             for row in sorted(api.rows(schema.events), key=lambda row: row["id"])
             if row["kind"].startswith("automation_")]  # fmt: skip
    assert found == told
    names = {row["id"]: row["name"] for row in (*api.rows(schema.tags),)}
    lists = {row["id"]: row["name"] for row in api.rows(schema.lists)}
    assert {names[row["tag_id"]] for row in api.rows(schema.lead_tags)} == model.tags
    assert {lists[row["list_id"]] for row in api.rows(schema.lead_lists, left_at=None)} == model.lists
    [lead] = api.rows(schema.leads, id=int(number))
    assert lead["score"] == model.score == sum(row["points"] for row in api.rows(schema.points))


# -- in the work of others --


def test_what_it_does_is_stored_with_what_started_it_and_says_who_did_it(server: Server) -> None:
    api = automated(server, [{"when": tag("A"), "then": [tag("B"), {"type": "points", "points": 3}]}])
    api.create("ada@shop.example")
    api.on("ada@shop.example", "assign_tag", tag_name="A")
    kinds = origins(api)
    assert [kind for kind, _ in kinds] == [
        "lead_created",
        "tag_assigned",
        "automation_ran",
        "tag_assigned",
        "points_given",
    ]
    assert [origin for _, origin in kinds[2:]] == ["automation:1"] * 3
    assert len({row["at"] for row in api.rows(schema.events)}) == 1


def test_a_new_lead_is_met_by_what_hears_of_it(server: Server) -> None:
    api = automated(server, [{"when": {"type": "lead_created"}, "then": [tag("A")]}])
    api.create("ada@shop.example")
    assert [row["tag_id"] for row in api.rows(schema.lead_tags)] == [1]


def test_a_call_that_changes_nothing_starts_nothing(server: Server) -> None:
    api = automated(server, [{"when": tag("A"), "then": [{"type": "points", "points": 3}]}])
    api.create("ada@shop.example")
    for _ in range(3):
        api.on("ada@shop.example", "assign_tag", tag_name="A")
    assert [row["points"] for row in api.rows(schema.points)] == [3]


def test_a_refused_call_starts_nothing(server: Server) -> None:
    api = automated(server, [{"when": tag("A"), "then": [{"type": "points", "points": 3}]}])
    api.create("ada@shop.example")
    api.call({"cmd": "assign_tag", "tag_name": "A"}, {"cmd": "no_such_command"}, lead={"email": "ada@shop.example"})
    assert len(api.rows(schema.points)) == len(api.rows(schema.lead_tags))


def test_one_that_is_made_meanwhile_finds_its_lead_loaded(server: Server, engine: str) -> None:
    """The parts that it needs were not asked for when the work was made."""
    api = automated(server, [])
    number = int(api.create("ada@shop.example"))
    publish(
        server.database,
        api,
        [
            {
                "when": tag("A"),
                "then": [{"type": "subscribe_list", "list": "X"}],
                "condition": {"type": "field", "field": "city", "equals": ""},
            }
        ],
    )

    def assign(lead: Any, _account: Any, _now: Any) -> None:
        lead.tag(1)

    work = EditWork((api.account_id, number), Part.TAGS, assign, "tests")
    server.run(lambda: server.application.batches.submit(work))
    assert [row["list_id"] for row in api.rows(schema.lead_lists)] == [1], engine


def publish(database: Database, api: Api, rules: list[dict[str, Any]]) -> None:
    [account] = [row for row in _accounts(database) if row["id"] == api.account_id]
    file = {
        "account": {"name": account["name"], "api_password": API_PASSWORD},
        "automations": [{"name": f"Rule {number}", **rule} for number, rule in enumerate(rules, 1)],
    }
    accountfile.apply(database, accountfile.read_text(tomli_w.dumps(file), Path()), api.server.clock())


def _accounts(database: Database) -> list[dict[str, Any]]:
    with database.read() as connection:
        return [dict(row) for row in connection.execute(schema.accounts.select()).mappings()]


def test_two_processes_that_touch_one_lead_run_it_once(server: Server) -> None:
    """Batches of another process, on the same database: whoever comes second finds that there is nothing to do."""
    api = automated(server, [{"when": tag("A"), "then": [{"type": "points", "points": 1}, {"type": "unassign_tag", "tag": "A"}]},
                             {"when": tag("B"), "then": [{"type": "points", "points": 100}]}])  # fmt: skip
    number = int(api.create("ada@shop.example"))
    rounds = 20

    def assign(lead: Any, _account: Any, _now: Any) -> None:
        lead.tag(1)
        lead.tag(2)

    async def both() -> None:
        others = Batches(server.database, clock=server.clock, most_waiting=1000)
        await others.start()
        try:
            works = [EditWork((api.account_id, number), Part.TAGS, assign, "tests") for _ in range(rounds)]
            theirs = [EditWork((api.account_id, number), Part.TAGS, assign, "tests") for _ in range(rounds)]
            here = asyncio.gather(*(others.submit(work) for work in works))
            there = asyncio.gather(*(server.application.batches.submit(work) for work in theirs))
            await asyncio.gather(here, there)
        finally:
            await others.stop()

    server.run(both)
    [lead] = api.rows(schema.leads)
    assert lead["score"] == 2 * rounds + 100
    assert sum(row["points"] for row in api.rows(schema.points)) == lead["score"]
    assert AutomationRefused.kind not in [kind for kind, _ in origins(api)]
