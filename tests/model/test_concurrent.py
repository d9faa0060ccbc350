"""Several callers at once: there has to be an order of their calls that explains every answer and every event."""

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from account import HISTORIES, Account, housekeeping, ordered
from calls import EMAILS, Dice, Encoded
from vocabulary import Answer, Lead, State

from cartwheel.api.dispatch import Request
from cartwheel.data import schema
from cartwheel.network import Client, read_address
from cartwheel.work.leadwork import ExpiryWork
from harness import Server
from rawhttp import Line, request

ROUNDS = max(30, HISTORIES)
CALLERS = 4
CALLS = 4

COMMANDS = (
    *("assign_tag", "unassign_tag", "subscribe_lead_to_list", "unsubscribe_lead_from_list", "give_points_to_lead"),
    *("remove_points_from_lead", "subscribe_lead_to_sequence_at_step", "unsubscribe_lead_from_sequence", "search_lead"),
)


@dataclass
class Call:
    """A call that was made, when, and what came back."""

    sent: Encoded
    key: str | None
    began: float
    ended: float
    answer: Answer

    def __str__(self) -> str:
        return f"{self.began:.4f} to {self.ended:.4f} {self.key} {self.sent.body.decode()}\n    -> {self.answer}"


def some_call(dice: Dice) -> dict[str, Any]:
    """On one of two addresses, or on the lead that was there first."""
    lead = dice.one_of([{"email": EMAILS[0]}, {"email": EMAILS[0].upper()}, {"email": EMAILS[1]}, dice.reference()])
    kind = dice.one_of(["create", "edit", "rename", "rename", "chain", "chain", "chain", "get"])
    chain = dice.several(lambda: dice.action(COMMANDS), 1, 3)
    if kind == "create":
        return {"lead": lead | {"first_name": dice.one_of("abc")}, "actions": [{"cmd": "create_lead"}, *chain]}
    if kind == "edit":
        return {"lead": lead | {"city": dice.one_of("xyz")}, "actions": [{"cmd": "edit_lead"}]}
    if kind == "rename":
        return {"lead": lead | {"new_email": dice.one_of(EMAILS[:3])}, "actions": [{"cmd": "edit_lead"}, *chain]}
    if kind == "get":
        return {"get_lead": lead}
    return {"lead": lead, "actions": chain} | ({"get_lead": lead} if dice.once_in(3) else {})


def all_at_once(account: Account, plans: list[list[tuple[Encoded, str | None]]]) -> list[list[Call]]:
    """Each caller makes its calls one after the other, all callers at the same time."""
    start = threading.Barrier(len(plans))

    def caller(plan: list[tuple[Encoded, str | None]]) -> list[Call]:
        made = []
        with closing(Line(account.server)) as line:
            start.wait(20)
            for sent, key in plan:
                headers = [f"Content-Type: {sent.content_type}", *([f"Idempotency-Key: {key}"] if key else [])]
                began = time.monotonic()
                line.send(request(sent.body, *headers))
                answer = line.answer().json
                made.append(Call(sent, key, began, time.monotonic(), ordered(answer)))
        return made

    with ThreadPoolExecutor(len(plans)) as threads:
        return list(threads.map(caller, plans))


class Explanation:
    """Looks for an order in which the model gives the same answers, and tells each lead's events as they were told."""

    def __init__(self, account: Account, made: list[list[Call]]) -> None:
        self._account = account
        self._model = account.model
        self._made = made
        self._feeds: dict[str, list[tuple[str, Any]]] = {}
        self._seen: set[str] = set()

    def __str__(self) -> str:
        """What there was to explain."""
        return "\n".join(f"{n}: {call}" for n, calls in enumerate(self._made) for call in calls)

    def found(self, done: tuple[int, ...] = ()) -> bool:
        """Whether there is one; the model is left at its end."""
        done = done or (0,) * len(self._made)
        state = self._model.state
        if self._dead_end(done):
            return False
        waiting = [(n, calls[done[n]]) for n, calls in enumerate(self._made) if done[n] < len(calls)]
        if not waiting:
            return all(self._feed(lead) == lead.events for lead in state.leads)
        first_end = min(call.ended for _, call in waiting)
        for n, call in waiting:
            if call.began > first_end:
                continue  # another call was answered before this one was made
            self._model.state = state.copied()
            answer = self._model.call(call.sent.tree, self._account.server.clock(), body=call.sent.body, key=call.key)
            if call.answer == ordered(answer) and self.found((*done[:n], done[n] + 1, *done[n + 1 :])):
                return True
        self._model.state = state
        return False

    def _dead_end(self, done: tuple[int, ...]) -> bool:
        """Events that were not told, or a place where the search has been."""
        state: State = self._model.state
        if any(self._feed(lead)[: len(lead.events)] != lead.events for lead in state.leads):
            return True
        place = repr((done, state))
        if place in self._seen:
            return True
        self._seen.add(place)
        return False

    def _feed(self, lead: Lead) -> list[tuple[str, Any]]:
        lead_id = str(lead.id.known)
        if lead_id not in self._feeds:
            self._feeds[lead_id] = self._account.feed(lead)
        return self._feeds[lead_id]


def test_there_is_an_order_that_explains_what_callers_at_once_were_told(server: Server) -> None:
    dice = Random() if HISTORIES else Random(7)
    for _ in range(ROUNDS):
        with closing(Account(server, test_mode=False, gdpr=False, zone="America/New_York")) as account:
            account.send(
                account.encode({"lead": {"email": EMAILS[0]}, "actions": [{"cmd": "create_lead"}]}, "json"), None
            )
            account.send(account.encode({"actions": [{"cmd": "retrieve_custom_fields"}]}, "json"), None)
            plans = []
            for _ in range(CALLERS):
                rolls = [Dice(dice.getrandbits(32)) for _ in range(CALLS)]
                keys = [roll.one_of([None, None, None, "one", "two"]) for roll in rolls]
                plans.append(
                    [(account.encode(some_call(roll), "json"), key) for roll, key in zip(rolls, keys, strict=True)]
                )
            made = all_at_once(account, plans)
            last = [
                account.encode({"get_lead": {"id": str(row["id"])}}, "json") for row in account.api.rows(schema.leads)
            ]
            made += all_at_once(account, [[(ask, None) for ask in last]])
            explanation = Explanation(account, made)
            assert explanation.found(), explanation
            account.check()


def test_points_are_exact_however_many_give_take_and_expire_at_once(server: Server) -> None:
    with closing(Account(server, test_mode=False, gdpr=False, zone="America/New_York")) as account:
        account.send(account.encode({"lead": {"email": EMAILS[0]}, "actions": [{"cmd": "create_lead"}]}, "json"), None)
        give = [{"cmd": "give_points_to_lead", "points": n, "expiration": n % 2} for n in range(1, 6)]
        take = [{"cmd": "remove_points_from_lead", "points": 2}]
        call = account.encode({"lead": {"email": EMAILS[0]}, "actions": give + take}, "json")
        all_at_once(account, [[(call, None)] * 10] * CALLERS)
        for _ in range(10 * CALLERS):
            account.model.call(call.tree, server.clock())
        [lead] = account.model.state.leads
        assert lead.score == 10 * CALLERS * (15 - 2)
        server.clock.forward(hours=24)
        ask = account.encode(
            {"get_lead": {"email": EMAILS[0]}, "actions": [{"cmd": "search_lead"}], "lead": {"email": EMAILS[0]}},
            "json",
        )
        key = (account.api.account_id, int(str(lead.id.known)))

        async def expire_often() -> None:
            await asyncio.gather(*(server.application.batches.submit(ExpiryWork(key)) for _ in range(100)))

        with ThreadPoolExecutor(2) as threads:
            expired = threads.submit(server.run, expire_often)
            kept_house = threads.submit(housekeeping, server)
            told = all_at_once(account, [[(ask, None)] * 10] * CALLERS)
            expired.result(30)
            kept_house.result(30)
        assert {call.answer["lead_details"]["score"] for calls in told for call in calls} == {10 * CALLERS * (6 - 2)}
        account.check()


@pytest.mark.parametrize("by", ["id", "email"])
def test_a_call_that_meets_a_lead_at_the_address_it_has_just_got_is_answered(server: Server, by: str) -> None:
    with closing(Account(server, test_mode=False, gdpr=False, zone="America/New_York")) as account:
        lead_id = account.api.create(EMAILS[0])
        lead = {"id": lead_id} if by == "id" else {"email": EMAILS[0]}
        rename = {"lead": lead | {"new_email": EMAILS[1]}, "actions": [{"cmd": "edit_lead"}]}
        tag = {"lead": {"email": EMAILS[1]}, "actions": [{"cmd": "assign_tag", "tag_name": "Customer"}]}
        ask = {"get_lead": {"email": EMAILS[1]}}
        bodies = [json.dumps(account.api.credentials | call).encode() for call in (rename, tag, ask)]

        async def in_one_batch() -> list[Any]:
            client = Client(read_address("127.0.0.1"), secure=True)
            requests = [Request(client, b"", "application/json", None, body) for body in bodies]
            answers = await asyncio.gather(*(server.application.dispatcher.answer(entry) for entry in requests))
            return [json.loads(answer.body) for answer in answers]

        renamed, tagged, asked = server.run(in_one_batch)
        assert renamed["message"] == "Lead updated"
        assert tagged["message"] in {"Tag added to lead", "No lead found"}
        assert asked.get("message") == "No lead found" or asked["lead_details"]["id"] == lead_id
        [row] = account.api.rows(schema.leads)
        assert row["email"] == EMAILS[1]
