"""What happens at one moment: calls of one batch that are in each other's way, and accounts that change under a call."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import tomli_w

from cartwheel.accountfiles import accountfile
from cartwheel.api.dispatch import Request
from cartwheel.data import schema
from cartwheel.data.leadstore import Wanted
from cartwheel.leads.leadparts import SCORE, Part
from cartwheel.network import Client, read_address
from cartwheel.work.batches import MOST_IN_BATCH, Desk, IdempotencyKey
from conftest import Databases
from harness import Api, Server, new_api
from watchedlanes import Watch, watch_lanes

ADA = "ada@shop.example"
CREATE = {"cmd": "create_lead"}
EDIT = {"cmd": "edit_lead"}
TAG = {"cmd": "assign_tag", "tag_name": "Customer"}
JOIN = {"cmd": "subscribe_lead_to_sequence_at_step", "sequence_name": "Welcome", "step": "1"}
LEAVE = {"cmd": "unsubscribe_lead_from_sequence", "sequence_name": "Welcome"}


@pytest.fixture(scope="module")
def watched(engine: str, databases: Databases) -> Iterator[tuple[Watch, Server]]:
    with pytest.MonkeyPatch.context() as patch:
        watch = watch_lanes(patch)
        running = Server(databases.migrated(engine))
        yield watch, running
        running.stop()


@pytest.fixture
def watch(watched: tuple[Watch, Server]) -> Iterator[Watch]:
    """Of the lanes of `api`'s server."""
    yield watched[0]
    assert not watched[0].before_begin, "nobody began another transaction"


@pytest.fixture
def api(watched: tuple[Watch, Server]) -> Api:
    """An account that is known to its server already."""
    made = new_api(watched[1], app={"rate_limit": 0})
    made.call({"cmd": "retrieve_account_tags"})
    return made


def at_once(api: Api, *calls: Mapping[str, Any]) -> list[Any]:
    """What calls are answered that arrive in the same moment."""
    client = Client(read_address("127.0.0.1"), secure=True)
    bodies = [json.dumps({**api.credentials, **call}).encode() for call in calls]

    async def answer_all() -> list[Any]:
        requests = [Request(client, b"", "application/json", None, body) for body in bodies]
        answers = await asyncio.gather(*map(api.server.application.dispatcher.answer, requests))
        return [json.loads(answer.body) for answer in answers]

    return api.server.run(answer_all)


def transactions(watch: Watch, api: Api, *calls: Mapping[str, Any]) -> tuple[list[Any], int, int]:
    """The answers, and how many transactions were begun and committed for them."""
    begun, committed = watch.begun, watch.committed
    answers = at_once(api, *calls)
    return answers, watch.begun - begun, watch.committed - committed


# -- calls of one batch --


def test_a_batch_of_calls_that_make_the_same_lead_is_one_transaction(watch: Watch, api: Api) -> None:
    call = {"lead": {"email": ADA}, "actions": [CREATE, TAG]}
    answers, begun, committed = transactions(watch, api, *[call] * MOST_IN_BATCH)
    told = Counter(answer.get("type", answer["status"]) for answer in answers)
    assert told == {"Success": 1, "244": MOST_IN_BATCH - 1}
    assert (begun, committed) == (1, 1)


def test_calls_that_meet_leads_at_the_addresses_they_have_just_got_take_one_transaction_more(
    watch: Watch, api: Api
) -> None:
    """They are entangled: what they need of the lead was not loaded under its new address."""
    calls: list[dict[str, Any]] = []
    for number in range(MOST_IN_BATCH // 2):
        old, new = f"old{number}@shop.example", f"new{number}@shop.example"
        api.create(old)
        calls += [
            {"lead": {"email": old, "new_email": new}, "actions": [EDIT]},
            {"lead": {"email": new}, "actions": [TAG]},
        ]
    answers, begun, committed = transactions(watch, api, *calls)
    assert [answer["message"] for answer in answers] == ["Lead updated", "Tag added to lead"] * (MOST_IN_BATCH // 2)
    assert (begun, committed) == (2, 2)


def test_leads_that_swap_addresses_are_written_one_by_one_and_after_few_tries(watch: Watch, api: Api) -> None:
    """No order of their rows is free of a conflict; the others of the batch come through as well."""
    ids = [api.create(f"{name}@shop.example") for name in ("one", "two")]
    swap = [(ids[0], "middle"), (ids[1], "one"), (ids[0], "two")]
    calls: list[dict[str, Any]] = [
        {"lead": {"id": lead_id, "new_email": f"{name}@shop.example"}, "actions": [EDIT]} for lead_id, name in swap
    ]
    calls += [{"lead": {"email": f"other{number}@shop.example"}, "actions": [CREATE]} for number in range(20)]
    answers, begun, committed = transactions(watch, api, *calls)
    assert {answer["status"] for answer in answers} == {"Success"}
    assert [api.lead(f"{name}@shop.example")["id"] for name in ("two", "one")] == ids
    assert committed == len(calls)
    assert begun <= 4 + len(calls)


def test_who_enters_a_sequence_anew_is_in_nobodys_way(watch: Watch, api: Api) -> None:
    """One lead's first run is written together with the end of another one's."""
    emails = [f"lead{number}@shop.example" for number in range(10)]
    for email in emails:
        api.create(email)
    for email in emails[5:]:
        api.call(JOIN, LEAVE, lead={"email": email})
    calls = [{"lead": {"email": email}, "actions": [JOIN]} for email in emails]
    answers, begun, committed = transactions(watch, api, *calls)
    assert {answer["message"] for answer in answers} == {"Lead added to sequence"}
    assert (begun, committed) == (1, 1)
    assert sum(row["latest"] for row in api.rows(schema.enrolments)) == 10


def test_a_piece_that_cannot_be_written_costs_each_neighbour_one_transaction(watch: Watch, api: Api) -> None:
    api.create(ADA)

    class Unwritable:
        idempotency: IdempotencyKey | None = None
        may_make_lead = False
        origin = "tests"
        wanted = (Wanted(api.account_id, None, ADA, Part.PROFILE),)

        def decide(self, desk: Desk) -> None:
            desk.find(*self.wanted[0]).score = 1 << 70
            desk.find(*self.wanted[0]).dirty.add(SCORE)

    async def submit() -> list[Any]:
        call = {"lead": {"email": ADA}, "actions": [TAG]}
        body = json.dumps({**api.credentials, **call}).encode()
        request = Request(Client(read_address("127.0.0.1"), secure=True), b"", "application/json", None, body)
        neighbours = [api.server.application.dispatcher.answer(request) for _ in range(20)]
        bad = api.server.application.batches.submit(Unwritable())
        return await asyncio.gather(bad, *neighbours, return_exceptions=True)

    begun, committed = watch.begun, watch.committed
    bad, *neighbours = api.server.run(submit)
    assert isinstance(bad, Exception)
    assert {json.loads(answer.body)["type"] for answer in neighbours} == {"103"}
    assert watch.committed - committed == 20
    assert watch.begun - begun <= 1 + 1 + 20


# -- accounts that change between the gate and the decision --


def change(api: Api, *, account: Mapping[str, Any] = {}, **app: Any) -> None:
    """As an operator does it, in another process for all that the server knows."""
    with api.server.database.read() as connection:
        name = connection.execute(sa.select(schema.accounts.c.name).filter_by(id=api.account_id)).scalar_one()
    file = {"account": {"name": name, **account}, "apps": [{"name": "Website", "rate_limit": 0, **app}]}
    read = accountfile.read_text(tomli_w.dumps(file), Path())
    accountfile.apply(api.server.database, read, api.server.clock())


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "fewer commands": ({"commands": ["leads:write"]}, "262"),
    "other commands, and this one still": ({"commands": ["assign_tag"]}, "103"),
    "an inactive App": ({"active": False}, "239"),
    "another address": ({"allow_ips": ["203.0.113.0/24"]}, "242"),
    "another app_id": ({"app_id": "quite-another-app"}, "239"),
    "an inactive account": ({"account": {"active": False}}, "240"),
    "another key": ({"account": {"api_key": "quite-another-key"}}, "203"),
    "another password": ({"account": {"api_password": "quite-another-password"}}, "233"),
    "another time zone": ({"account": {"timezone": "Asia/Kathmandu"}}, "103"),
}


@pytest.mark.parametrize(("changed", "type_"), CHANGES.values(), ids=CHANGES)
def test_a_call_is_answered_by_the_rights_of_the_moment_in_which_it_is_decided(
    watch: Watch, api: Api, changed: dict[str, Any], type_: str
) -> None:
    lead_id = api.create(ADA)
    watch.before_begin.append(lambda _lane: change(api, **changed))
    [answer] = at_once(api, {"lead": {"email": ADA}, "actions": [TAG]})
    assert answer["type"] == type_
    done = [("lead_created", {"source": "api"})] + [("tag_assigned", {"tag_id": 2})] * (type_ == "103")
    assert api.events(lead_id) == done


def test_a_lead_is_made_in_the_mode_of_the_moment_in_which_it_is_decided(watch: Watch, api: Api) -> None:
    watch.before_begin.append(lambda _lane: change(api, mode="test"))
    [answer] = at_once(api, {"lead": {"email": ADA}, "actions": [CREATE]})
    assert answer["message"] == "Lead created"
    assert [(row["email"], row["test"]) for row in api.rows_of_leads()] == [("ada@test.invalid", True)]


def test_of_a_batch_only_the_calls_of_the_changed_app_are_read_again(watch: Watch, api: Api) -> None:
    other = replace(new_api(api.server, app={"rate_limit": 0}), server=api.server)
    other.create(ADA)
    api.create(ADA)
    tag = {"lead": {"email": ADA}, "actions": [TAG]}
    watch.before_begin.append(lambda _lane: change(api, commands=["assign_tag"]))
    answers = at_once(api, tag, {**tag, **other.credentials}, {"lead": {"email": ADA}, "actions": [EDIT]})
    assert [answer["type"] for answer in answers] == ["103", "103", "262"]


def test_an_account_that_changes_again_and_again_under_a_call_is_asked_for_its_last_state(
    watch: Watch, api: Api
) -> None:
    def to_commands(commands: list[str], _lane: object) -> None:
        change(api, commands=commands)

    api.create(ADA)
    for commands in (["assign_tag"], ["assign_tag", "unassign_tag"], ["assign_tag"]):
        watch.before_begin.append(partial(to_commands, commands))
    [answer] = at_once(api, {"lead": {"email": ADA}, "actions": [TAG]})
    assert answer["type"] == "103"


# -- one call in two processes --


def test_who_sees_what_another_processes_call_did_sees_its_answer_too(databases: Databases) -> None:
    """The same call comes to both; the other one's commits between what this one's batch reads first and next."""
    with pytest.MonkeyPatch.context() as patch:
        watch = watch_lanes(patch)
        url = databases.migrated("postgresql")  # on SQLite a batch is alone from its beginning
        here, elsewhere = Server(url), Server(url)
    api = new_api(here, app={"rate_limit": 0})
    api.call({"cmd": "retrieve_account_tags"})
    client = Client(read_address("127.0.0.1"), secure=True)
    body = json.dumps({**api.credentials, "lead": {"email": ADA}, "actions": [CREATE]}).encode()
    request = Request(client, b"", "application/json", "order-1", body)
    answers: list[bytes] = []

    def call(server: Server) -> None:
        answers.append(server.run(lambda: server.application.dispatcher.answer(request)).body)

    watch.after_fetch.append(lambda _lane: call(elsewhere))
    call(here)
    here.stop()
    elsewhere.stop()
    assert len(answers) == 2
    assert json.loads(answers[0])["message"] == "Lead created"
    assert answers[0] == answers[1]
